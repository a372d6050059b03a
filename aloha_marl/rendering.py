"""Pictures: one OpenGL context per environment, made when the first picture is asked for."""

from __future__ import annotations

import atexit
import copy
import ctypes.util
import importlib
import os
import sys
import weakref
from collections.abc import Iterable

import mujoco
import numpy as np

from aloha_marl.options import Options
from aloha_marl.simulation import Simulation

_OPEN: weakref.WeakSet[mujoco.Renderer] = weakref.WeakSet()


_LOOKS = ("geom_size", "geom_rgba", "mat_rgba")
"""Fields of a model that are read when a picture is drawn, and may have changed since the last."""


def camera_names(model: mujoco.MjModel) -> dict[str, int]:
    """Camera name -> id. A camera of an arm, ``left/wrist`` in the MJCF, is ``left_wrist`` here."""
    return {model.camera(i).name.replace("/", "_"): i for i in range(model.ncam)}


def own_camera(name: str, side: str) -> str:
    """What ``wrist`` means to that arm; every other name means itself."""
    return f"{side}_wrist" if name == "wrist" else name


def check_cameras(names: tuple[str, ...], model: mujoco.MjModel, own: bool) -> None:
    """Raises ValueError for a camera that is not there.

    Args:
        names: what was asked for.
        model: whose cameras there are.
        own: whether "wrist", each arm's own camera, is a valid name.
    """
    valid = (("wrist",) if own else ()) + tuple(camera_names(model))
    for name in names:
        if name not in valid:
            raise ValueError(f"camera {name!r} does not exist; valid: {', '.join(valid)}")


class Renderer:
    """Draws the cameras of one model in one size and quality.

    Args:
        model: the model whose data will be drawn.
        width, height: of the pictures [pixels].
        quality: "fast" draws neither shadows nor multisampled edges; "high" draws both.

    Raises:
        RuntimeError: no OpenGL context can be made; the message says what is missing.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int, quality: str):
        # The framebuffer's size and samples are read from the model; ours stays as it is.
        model = copy.copy(model)
        model.vis.global_.offwidth = width
        model.vis.global_.offheight = height
        self._model = model
        if quality == "fast":
            model.vis.quality.offsamples = 0
        self._cameras = camera_names(model)
        _choose_backend()
        try:
            self._renderer = mujoco.Renderer(model, height, width)
        except Exception as error:
            raise RuntimeError(
                f"no OpenGL for pictures ({error}). On Debian or Ubuntu install it with "
                "'apt-get install libegl1 libgl1-mesa-dri'; MUJOCO_GL=egl, osmesa or glfw chooses "
                "a backend. State observations need none of this."
            ) from error
        if not _OPEN:
            # After OpenGL's own, so run before it: a context can't be freed once that is gone.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _OPEN.add(self._renderer)
        if quality == "fast":
            self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0

    def draw(self, model: mujoco.MjModel, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(height, width, 3) uint8 picture of the current state, with the model's current looks."""
        for field in _LOOKS:
            getattr(self._model, field)[:] = getattr(model, field)
        self._renderer.update_scene(data, self._cameras[camera])
        return self._renderer.render()

    def close(self) -> None:
        """Frees the OpenGL context."""
        _OPEN.discard(self._renderer)
        self._renderer.close()


class Pictures:
    """Draws the simulations of an environment, only what is asked for.

    There is one OpenGL context for each of the two sizes and qualities, made with its first picture;
    many simulations are drawn one after another through the same.
    """

    def __init__(self, simulation: Simulation, options: Options):
        self._simulation = simulation
        self._options = options
        self._renderers: dict[bool, Renderer] = {}

    def draw(self, camera: str, row: int = 0, observed: bool = False) -> np.ndarray:
        """(height, width, 3) uint8 picture of a simulation.

        Args:
            camera: one of the model's cameras.
            row: which simulation.
            observed: in the size and quality of observations, instead of those of ``render()``.
        """
        return self._renderer(observed).draw(*self._simulation.show(row), camera)

    def observe(self, cameras: Iterable[str], rows: Iterable[int]) -> dict[str, np.ndarray]:
        """Camera -> (m, height, width, 3) uint8 pictures of those simulations."""
        renderer = self._renderer(observed=True)
        drawn: dict[str, list[np.ndarray]] = {camera: [] for camera in cameras}
        for row in rows:
            model, data = self._simulation.show(row)
            for camera, pictures in drawn.items():
                pictures.append(renderer.draw(model, data, camera))
        return {camera: np.stack(pictures) for camera, pictures in drawn.items()}

    def close(self) -> None:
        """Frees the OpenGL contexts; the next picture makes new ones."""
        for renderer in self._renderers.values():
            renderer.close()
        self._renderers.clear()

    def _renderer(self, observed: bool) -> Renderer:
        if observed not in self._renderers:
            options = self._options
            use = "observation" if observed else "visualization"
            self._renderers[observed] = Renderer(
                self._simulation.model,
                getattr(options, f"{use}_width"),
                getattr(options, f"{use}_height"),
                options.render_quality if observed else "high",
            )
        return self._renderers[observed]


def _close_all() -> None:
    for renderer in list(_OPEN):
        renderer.close()


def _choose_backend() -> None:
    """Lets headless Linux draw without MUJOCO_GL set: MuJoCo's own default there needs a screen."""
    if not sys.platform.startswith("linux") or os.environ.get("MUJOCO_GL"):
        return
    if os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        return
    for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
        if ctypes.util.find_library(library):
            from mujoco.rendering.classic import gl_context

            gl_context.GLContext = importlib.import_module(f"mujoco.{backend}").GLContext
            return
