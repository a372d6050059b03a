"""Pictures: one OpenGL context per environment, made when the first picture is asked for."""

from __future__ import annotations

import atexit
import copy
import ctypes.util
import importlib
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import mujoco
import numpy as np

from aloha_marl.core.core import Core
from aloha_marl.rendering.gym_aloha import load_gym_aloha
from aloha_marl.simulation.base import pose

BACKENDS = {"linux": ("glfw", "egl", "osmesa"), "darwin": ("cgl", "glfw")}.get(
    sys.platform, ("glfw",)
)
"""Libraries MuJoCo can draw with on this system, its own default first."""

_OPEN: weakref.WeakSet[mujoco.Renderer] = weakref.WeakSet()

_PROCESSES: set[int] = set()
"""This process, once it has drawn, and those it was forked from that had drawn before."""

_KEPT: list[mujoco.Renderer] = []
"""What can't be freed here, and must not be by the garbage collector."""

WINDOWS: weakref.WeakSet[Any] = weakref.WeakSet()
"""Viewers that have opened a window; while it is open GLFW is busy in its thread."""


def _keep_what_a_parent_drew_with() -> None:
    """In a forked child: freeing the parent's contexts would hang, so they are kept for good."""
    _KEPT.extend(_OPEN)
    _OPEN.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_keep_what_a_parent_drew_with)
_looked = False


LOOKS = ("geom_size", "geom_rgba", "mat_rgba")
"""Fields of a model that are read when a picture is drawn, and may have changed since the last."""


def camera_names(model: mujoco.MjModel) -> dict[str, int]:
    """Camera name -> id. A camera of an arm, ``left/wrist`` in the MJCF, is ``left_wrist`` here."""
    return {model.camera(i).name.replace("/", "_"): i for i in range(model.ncam)}


_OWN = ("wrist_wide", "wrist")
"""Cameras that each arm has one of."""


def own_camera(name: str, side: str) -> str:
    """What ``wrist_wide`` and ``wrist`` mean to that arm; every other name means itself."""
    return f"{side}_{name}" if name in _OWN else name


def _check_cameras(names: Iterable[str], model: mujoco.MjModel, own: bool = False) -> None:
    valid = (_OWN if own else ()) + tuple(camera_names(model))
    for name in names:
        if name not in valid:
            raise ValueError(f"camera {name!r} does not exist; valid: {', '.join(valid)}")


_SMALL = 64
"""Width [texels] of a texture, such as the palette, that "fast" pictures keep."""

_SCENERY = 1
"""Group of the geoms that "fast" pictures leave out."""

_SHADOWS = {"fast": 0, "high": 1024}
"""Quality -> size of the map of shadows [texels]. On a CPU four times the size takes three times as long,
and smooth edges twice as long."""


class Renderer:
    """Draws the cameras of one model in one size and quality.

    Args:
        model: the model whose data will be drawn.
        width, height: of the pictures [pixels].
        quality: "fast" draws plain surfaces, jagged edges and no shadows; "high" draws textures and
            shadows, "best" also smooth edges and sharper shadows, as the model says.

    Raises:
        RuntimeError: no OpenGL context can be made; the message says what is missing.
        ValueError: OpenGL can't draw pictures so large.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, quality: str):
        # The framebuffer's size and samples are read from the model; ours stays as it is.
        model = copy.copy(model)
        model.vis.global_.offwidth = width
        model.vis.global_.offheight = height
        self._model = model
        if quality != "best":
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = _SHADOWS[quality]
        self._option = mujoco.MjvOption()
        self._option.geomgroup[_SCENERY] = quality != "fast"
        self._factors = _plain(model) if quality == "fast" else np.ones_like(model.mat_rgba)
        self._cameras = camera_names(model)
        _check_fork()
        try:
            _choose_backend()
            self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:
            if "framebuffer" in str(error):
                raise ValueError(
                    f"pictures of {width} x {height} pixels are too large for this OpenGL ({error})"
                ) from error
            raise RuntimeError(
                f"no OpenGL for pictures ({error}). On Debian or Ubuntu install it with "
                "'apt-get install libegl1 libgl1-mesa-dri'; MUJOCO_GL=egl, osmesa or glfw chooses "
                "a backend. `aloha-marl doctor` says what is missing here. State observations need none "
                "of this."
            ) from error
        if not _OPEN:
            # After OpenGL's own, so run before it: a context can't be freed once that is gone.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _OPEN.add(self._renderer)
        self._free = weakref.finalize(self, _free, self._renderer)
        self._free.atexit = False
        if quality == "fast":
            self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            _unsmooth_textures(model, self._renderer._mjr_context)

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(height, width, 3) uint8 picture of the current state, with the model's current looks."""
        if camera not in self._cameras:
            _check_cameras((camera,), model)
        for field in LOOKS:
            getattr(self._model, field)[:] = getattr(model, field)
        self._model.mat_rgba[:] *= self._factors
        self._renderer.update_scene(data, self._cameras[camera], self._option)
        return self._renderer.render()

    def depth(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(height, width) float32 depth buffer, 0 at the near plane .. 1 at the far plane.

        As Gymnasium's MuJoCo environments give it: OpenGL's own, which is not linear in the distance.
        """
        self._renderer.enable_depth_rendering()
        try:
            distance = self.draw(model, data, camera).astype(float)
        finally:
            self._renderer.disable_depth_rendering()
        extent, planes = self._model.stat.extent, self._model.vis.map
        near, far = planes.znear * extent, planes.zfar * extent
        return ((1 / near - 1 / distance) / (1 / near - 1 / far)).astype(np.float32)

    def close(self) -> None:
        """Frees the OpenGL context."""
        self._free()


def _plain(model: mujoco.MjModel) -> np.ndarray:
    """Takes large textures, such as the wood, off the materials, in place.

    Returns:
        (nmat, 4) factors of the materials' colours that give each the mean colour of its texture.
    """
    factors = np.ones_like(model.mat_rgba)
    for material, textures in enumerate(model.mat_texid):
        texture = textures[mujoco.mjtTextureRole.mjTEXROLE_RGB]
        if texture >= 0 and model.tex_width[texture] > _SMALL:
            width, channels = model.tex_width[texture], model.tex_nchannel[texture]
            texels = model.tex_data[model.tex_adr[texture] :]
            texels = texels[: width * model.tex_height[texture] * channels].reshape(-1, channels)
            factors[material, :3] = texels[:, :3].mean(axis=0) / 255
            textures[:] = -1
    return factors


def _unsmooth_textures(model: mujoco.MjModel, context: mujoco.MjrContext) -> None:
    """Has the textures of the current context, the palette and the sky, looked up at one texel.

    MuJoCo mixes eight of them and offers no choice; a processor takes long for that.
    """
    try:
        from OpenGL import GL

        for kind, name in zip(model.tex_type, context.texture, strict=False):
            plane = kind == mujoco.mjtTexture.mjTEXTURE_2D
            target = GL.GL_TEXTURE_2D if plane else GL.GL_TEXTURE_CUBE_MAP
            GL.glBindTexture(target, int(name))
            for use in (GL.GL_TEXTURE_MIN_FILTER, GL.GL_TEXTURE_MAG_FILTER):
                GL.glTexParameteri(target, use, GL.GL_NEAREST)
            GL.glBindTexture(target, 0)
    except Exception:  # PyOpenGL may not know the platform; the pictures only take longer
        return


class Pictures:
    """Draws the simulations of an environment, only what is asked for.

    There is one OpenGL context for each of the two sizes and qualities, made with its first picture;
    many simulations are drawn one after another through the same.

    Attributes:
        model: the scene that is drawn, by the option ``visuals``.
    """

    def __init__(self, core: Core):
        self._simulation = core.simulation
        self._options = core.options
        self._renderers: dict[bool, Renderer] = {}
        self.model = core.model
        self._posed: mujoco.MjData | None = None
        # gym-aloha's pictures are only its own if nothing is left out.
        exact = core.options.visuals == "gym_aloha" and core.options.render_quality == "high"
        self._observed = "best" if exact else core.options.render_quality
        if core.options.visuals == "gym_aloha":
            self.model = load_gym_aloha(core.task, core.model)
            self._posed = mujoco.MjData(self.model)

    def check_cameras(self, names: Iterable[str], own: bool = False) -> None:
        """Raises ValueError for a camera that is not there.

        Args:
            names: what was asked for.
            own: whether "wrist_wide" and "wrist", each arm's own cameras, are valid names.
        """
        _check_cameras(names, self.model, own)

    def draw(self, camera: str, row: int = 0, observed: bool = False) -> np.ndarray:
        """(height, width, 3) uint8 picture of a simulation.

        Args:
            camera: one of the model's cameras.
            row: which simulation.
            observed: in the size and quality of observations, instead of those of ``render()``.
        """
        return self._renderer(observed).draw(*self.show(row), camera)

    def render(self, camera: str, row: int = 0) -> np.ndarray | None:
        """What ``render()`` returns of a simulation, by the option ``render_mode``."""
        match self._options.render_mode:
            case "rgb_array":
                return self.draw(camera, row)
            case "depth_array":
                return self._renderer(False).depth(*self.show(row), camera)
        return None

    def observe(self, cameras: Iterable[str], rows: Iterable[int]) -> dict[str, np.ndarray]:
        """Camera -> (m, height, width, 3) uint8 pictures of those simulations."""
        renderer = self._renderer(observed=True)
        drawn: dict[str, list[np.ndarray]] = {camera: [] for camera in cameras}
        for row in rows:
            model, data = self.show(row)
            for camera, pictures in drawn.items():
                pictures.append(renderer.draw(model, data, camera))
        return {camera: np.stack(pictures) for camera, pictures in drawn.items()}

    def close(self) -> None:
        """Frees the OpenGL contexts; the next picture makes new ones."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def show(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """The model and data that a simulation is drawn from, valid until the next call."""
        if self._posed is None:
            return self._simulation.show(row)
        pose(self.model, self._posed, self._simulation.qpos[row])
        return self.model, self._posed

    def _renderer(self, observed: bool) -> Renderer:
        if observed not in self._renderers:
            options = self._options
            use = "observation" if observed else "visualization"
            self._renderers[observed] = Renderer(
                self.model,
                getattr(options, f"{use}_width"),
                getattr(options, f"{use}_height"),
                self._observed if observed else "best",
            )
            if observed:
                _warn_of_software()
        return self._renderers[observed]


def _free(renderer: mujoco.Renderer) -> None:
    """Frees a context, unless that has been done or it is a parent process's."""
    if renderer not in _OPEN:
        return
    _OPEN.discard(renderer)
    try:
        # MuJoCo deletes buffers by their number, in whichever context is current: it has to be this.
        renderer._gl_context.make_current()
    except Exception:  # another thread still has it
        _KEPT.append(renderer)
    else:
        renderer.close()


def _close_all() -> None:
    for renderer in list(_OPEN):
        _free(renderer)


def backend(environ: Mapping[str, str], has: Callable[[str], object]) -> tuple[str, str]:
    """Which library makes the OpenGL context, and why that one.

    Args:
        environ: the environment's variables.
        has: whether a library, such as "EGL", is installed.

    Returns:
        One of ``BACKENDS``, or what MUJOCO_GL says if that is none; and the reason in words.
    """
    asked = environ.get("MUJOCO_GL", "").lower().strip()
    if asked:
        default = asked in ("enable", "enabled", "on", "true", "1", "glx", "wgl")
        return BACKENDS[0] if default else asked, f"MUJOCO_GL={environ['MUJOCO_GL']}"
    if not sys.platform.startswith("linux"):
        return BACKENDS[0], f"MuJoCo's own choice on {sys.platform}"
    # MuJoCo's own default, GLFW, needs a screen, and can't draw beside a window it shows there.
    if has("EGL"):
        return "egl", "libEGL is installed"
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        if environ.get(variable):
            return "glfw", f"there is a screen, {variable}={environ[variable]}, and no libEGL"
    if has("OSMesa"):
        return "osmesa", "there is no screen and no libEGL, but libOSMesa is installed"
    return "glfw", "there is no screen, and neither libEGL nor libOSMesa"


def driver() -> dict[str, str]:
    """What OpenGL says of itself. The context made or drawn with last is the one that is asked."""
    from OpenGL import GL

    names = ("GL_RENDERER", "GL_VENDOR", "GL_VERSION")
    return {name: (GL.glGetString(getattr(GL, name)) or b"").decode() for name in names}


def is_software(renderer: str) -> bool:
    """Whether a GL_RENDERER draws on the processor."""
    return any(
        name in renderer.lower() for name in ("llvmpipe", "softpipe", "swiftshader", "swrast")
    )


def has_nvidia(root: Path = Path("/")) -> bool:
    """Whether an NVIDIA device is present."""
    return any((root / "dev").glob("nvidia[0-9]*")) or (root / "proc/driver/nvidia").exists()


def _check_fork() -> None:
    """Raises RuntimeError where OpenGL would hang: its threads do not survive a fork."""
    if _PROCESSES and os.getpid() not in _PROCESSES and os.environ.get("LP_NUM_THREADS") != "0":
        raise RuntimeError(
            "pictures were drawn before this process was forked, and OpenGL does not survive that: "
            "start the workers with 'spawn' (AsyncVectorEnv(..., context='spawn')), or before the first "
            "picture is drawn"
        )
    _PROCESSES.add(os.getpid())


def _choose_backend() -> None:
    """Has MuJoCo use our choice of library, whatever it chose itself when it was imported."""
    name, why = backend(os.environ, ctypes.util.find_library)
    if name not in BACKENDS:
        raise ValueError(f"{why}; valid: {', '.join(BACKENDS)}")
    if name == "glfw" and "egl" in BACKENDS and any(viewer.is_open for viewer in WINDOWS):
        raise RuntimeError(f"{why}, and GLFW, which would draw, would hang beside its open window")
    from mujoco.rendering.classic import gl_context

    gl_context.GLContext = importlib.import_module(f"mujoco.{name}").GLContext


def _warn_of_software() -> None:
    """Warns if a processor draws beside an NVIDIA device; looks once in a process."""
    global _looked
    if _looked:
        return
    _looked = True
    if not has_nvidia():
        return
    try:
        renderer = driver()["GL_RENDERER"]
    except Exception:  # PyOpenGL may not know the platform; the pictures are drawn all the same
        return
    if is_software(renderer):
        warnings.warn(
            f"{renderer} draws the observed pictures on the CPU, though an NVIDIA device is "
            "present. `aloha-marl doctor` says how to draw on it.",
            RuntimeWarning,
            stacklevel=2,
        )
