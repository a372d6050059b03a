"""Draws the cameras of a model, in one size and quality."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Iterable
from contextlib import AbstractContextManager

import mujoco
import numpy as np

from aloha_marl.arms import SIDES
from aloha_marl.copies import Uncopied
from aloha_marl.rendering.opengl import current, free_context, hold, make_context, release

LOOKS = ("geom_size", "geom_rgba", "mat_rgba")
"""Fields of a model that are read when a picture is drawn, and may have changed since the last."""

_OWN = ("wrist_wide", "wrist")
"""Cameras that each arm has one of."""

_SMALL = 64
"""Width [texels] of a texture, such as the palette, that "fast" pictures keep."""

_SCENERY = 1
"""Group of the geoms that "fast" pictures leave out."""

_SHADOWS = {"fast": 0, "high": 1024, "best": 4096}
"""Quality -> size of the map of shadows [texels]. On a CPU the largest takes three times as long."""


def camera_names(model: mujoco.MjModel) -> dict[str, int]:
    """Camera name -> id. A camera of an arm, ``left/wrist`` in the MJCF, is ``left_wrist`` here."""
    return {model.camera(i).name.replace("/", "_"): i for i in range(model.ncam)}


def own_camera(name: str, side: str) -> str:
    """The model's camera: an arm's own for ``wrist_wide`` and ``wrist``, else the one of that name."""
    return f"{side}_{name}" if name in _OWN else name


def cameras_of_both(names: Iterable[str]) -> tuple[str, ...]:
    """The model's cameras, each once: both arms' for ``wrist_wide`` and ``wrist``."""
    return tuple(dict.fromkeys(own_camera(name, side) for name in names for side in SIDES))


def check_cameras(names: Iterable[str], model: mujoco.MjModel, own: bool = False) -> None:
    """Raises ValueError for names of no camera; ``own`` allows ``wrist_wide`` and ``wrist``."""
    valid = (_OWN if own else ()) + tuple(camera_names(model))
    for name in names:
        if name not in valid:
            raise ValueError(f"camera {name!r} does not exist; valid: {', '.join(valid)}")


class Renderer(Uncopied):
    """Draws the cameras of one model in one size and quality.

    Args:
        model: the model whose data will be drawn.
        width, height: of the pictures [pixels].
        quality: "fast" draws plain surfaces, jagged edges and no shadows; "high" draws textures and
            shadows; "best" also smooths all edges, those of shadows and highlights too; "model" leaves
            shadows and edges to the model's own settings.

    Raises:
        RuntimeError: no OpenGL context can be made; the message says what is missing.
        ValueError: OpenGL can't draw pictures so large.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, quality: str):
        # The framebuffer's size and samples are read from the model; ours stays as it is.
        self._model = model = copy.copy(model)
        # OpenGL's own smoothing takes as long and leaves the edges of shadows jagged.
        self._scale = 2 if quality == "best" else 1
        model.vis.global_.offwidth = width * self._scale
        model.vis.global_.offheight = height * self._scale
        if quality in _SHADOWS:
            model.vis.quality.offsamples = 0
            model.vis.quality.shadowsize = _SHADOWS[quality]
        self._option = mujoco.MjvOption()
        self._option.geomgroup[_SCENERY] = quality != "fast"
        self._factors = _plain(model) if quality == "fast" else np.ones_like(model.mat_rgba)
        self._looks = {field: getattr(model, field) for field in LOOKS}  # live views
        self._cameras = {name: _fixed(number) for name, number in camera_names(model).items()}
        self._renderer = make_context(model, width, height, self._scale)
        self._free = weakref.finalize(self, free_context, self._renderer)
        self._free.atexit = False
        if quality == "fast":
            self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
            with self.current():
                _unsmooth_textures(model, self._renderer._mjr_context)
        self._flags = self._renderer.scene.flags.copy()

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(height, width, 3) uint8 picture of the current state, with the model's current looks."""
        self._renderer.disable_depth_rendering()  # an interrupt may have left it enabled
        picture = self._draw(model, data, camera, self._option)
        return picture if self._scale == 1 else _halved(picture)

    def _draw(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: str,
        option: mujoco.MjvOption | None,
    ) -> np.ndarray:
        if camera not in self._cameras:
            check_cameras((camera,), model)
        for field, looks in self._looks.items():
            looks[:] = getattr(model, field)
        self._looks["mat_rgba"] *= self._factors
        self._renderer.scene.flags[:] = self._flags  # those of depth, if it was interrupted
        self._renderer.update_scene(data, self._cameras[camera], option)
        hold(self._renderer)
        try:
            return self._renderer.render()
        finally:
            release(self._renderer)

    def depth(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(height, width) float32 depth buffer, 0 at the near plane .. 1 at the far plane.

        As Gymnasium's MuJoCo environments give it: OpenGL's own, which is not linear in the distance.
        """
        self._renderer.enable_depth_rendering()
        distance = self._draw(model, data, camera, None).astype(float)  # with the scenery
        extent, planes = self._model.stat.extent, self._model.vis.map
        near, far = planes.znear * extent, planes.zfar * extent
        return ((1 / near - 1 / distance) / (1 / near - 1 / far)).astype(np.float32)

    def current(self) -> AbstractContextManager[None]:
        """Has the calling thread hold the OpenGL context inside."""
        return current(self._renderer)

    def close(self) -> None:
        """Frees the OpenGL context."""
        self._free()


def _fixed(number: int) -> mujoco.MjvCamera:
    """The view of one of the model's cameras."""
    camera = mujoco.MjvCamera()
    camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
    camera.fixedcamid = number
    return camera


def _halved(picture: np.ndarray) -> np.ndarray:
    """A picture of half the width and height: the mean of each four pixels."""
    total = picture[::2].astype(np.uint16) + picture[1::2]
    total = total[:, ::2] + total[:, 1::2] + 2
    return (total >> 2).astype(np.uint8)


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
