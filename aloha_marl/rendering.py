"""Pictures: one OpenGL context per environment, made when the first picture is asked for."""

from __future__ import annotations

import atexit
import copy
import ctypes.util
import importlib
import os
import sys
import weakref

import mujoco
import numpy as np

_OPEN: weakref.WeakSet[mujoco.Renderer] = weakref.WeakSet()


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

    def draw(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """(height, width, 3) uint8 picture of the current state."""
        self._renderer.update_scene(data, self._cameras[camera])
        return self._renderer.render()

    def close(self) -> None:
        """Frees the OpenGL context."""
        _OPEN.discard(self._renderer)
        self._renderer.close()


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
