"""A window on a simulation: MuJoCo's passive viewer, in real time, with objects that can be dragged."""

from __future__ import annotations

import atexit
import contextlib
import copy
import math
import os
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import mujoco
import numpy as np

from aloha_marl.arms import CONTROL_TIMESTEP
from aloha_marl.copies import Uncopied
from aloha_marl.processes import in_children
from aloha_marl.rendering.opengl import USED, WINDOWS, check_fork
from aloha_marl.rendering.renderer import LOOKS

CAMERA = "angle"
"""Camera whose view a window opens with."""

_TEXT = np.array([-0.25, 0.2, -0.35])
"""Position of the line of text [m]."""

_WHITE = np.ones(4, np.float32)


class Viewer(Uncopied):
    """Shows a simulation while it is stepped, no faster than real time.

    The window opens with the first :meth:`redraw`. It has a thread of its own, which draws a copy of
    the state: a slow one shows fewer pictures and delays nothing, and what is set in the viewer's
    panels (Tab) does not change the simulation. A window that is closed by hand stays closed, and the
    simulation goes on without it as fast as it can, until :meth:`close` allows a new one.

    A double click selects a body. With Ctrl held the right mouse button then pulls it and the left one
    turns it, by MuJoCo's own force, which grows with the body's mass; an arm hardly yields to it.

    Its size is two thirds of the screen's; MuJoCo's viewer takes no other. A process has one window: a
    second closes the first, as if by hand.

    Args:
        model, data: of the simulation, live.

    Attributes:
        handle: MuJoCo's, of the window; None before it opens and after :meth:`close`.
        on_key: called with GLFW's code of each key pressed, in the window's thread; set it before the
            window opens.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData):
        self.on_key: Callable[[int], None] | None = None
        self._model, self._data = model, data
        self.handle: Any = None
        self._due = 0.0
        in_children(self, Viewer._lose)

    @property
    def is_open(self) -> bool:
        """True while there is a window."""
        return self in WINDOWS and self.handle.is_running()

    def redraw(self) -> None:
        """Draws the current state, 0.02 s after the last one; opens the window if there was none yet.

        Raises:
            RuntimeError: no window can be opened; the message says why.
        """
        if self.handle is None:
            self._open()
        if not self.is_open:
            return
        self._copy()
        with contextlib.suppress(mujoco.UnexpectedError):  # it may have been closed just now
            cast(Any, self.handle).sync()
        now = time.perf_counter()
        self._due = max(self._due + CONTROL_TIMESTEP, now)
        time.sleep(self._due - now)

    def write(self, text: str) -> None:
        """Writes a line in front of the table, seen after the next :meth:`redraw`."""
        if not self.is_open:
            return
        # A label in the scene. The viewer's own texts wait for the last one to be drawn, and hold
        # Python's lock meanwhile: a key that is pressed then would stop everything.
        scene, kind = self.handle.user_scn, mujoco.mjtGeom.mjGEOM_LABEL
        label = scene.geoms[0]
        mujoco.mjv_initGeom(label, kind, np.zeros(3), _TEXT, np.eye(3).ravel(), _WHITE)
        label.label = text
        scene.ngeom = 1

    @contextlib.contextmanager
    def pulling(self) -> Iterator[None]:
        """Applies the mouse's force to the body being dragged, if there is one, inside the context."""
        if not self._drags():
            yield
            return
        forces = self._data.xfrc_applied.copy()
        with self.handle.lock():  # the mouse moves in the window's thread
            mujoco.mjv_applyPerturbForce(self._model, self._data, self.handle.perturb)
        try:
            yield
        finally:
            self._data.xfrc_applied[:] = forces

    def place(self) -> bool:
        """Puts an object that is being dragged where the mouse has it, if the simulation stands still.

        Returns:
            True if one was moved; what MuJoCo derives from the positions is then out of date.
        """
        if not self._drags():
            return False
        with self.handle.lock():
            mujoco.mjv_applyPerturbPose(self._model, self._data, self.handle.perturb, 1)
        return True

    def close(self) -> None:
        """Closes the window and waits for its thread; the next :meth:`redraw` opens a new one."""
        if (end := WINDOWS.pop(self, None)) is not None:
            end()
            atexit.unregister(end)
        self.handle = None

    def _lose(self) -> None:
        """In a forked child: leaves the window to the parent, here it counts as closed by hand."""
        if (end := WINDOWS.pop(self, None)) is not None:
            end.detach()
            atexit.unregister(end)

    def _drags(self) -> bool:
        return self.is_open and self.handle.perturb.active != 0

    def _open(self) -> None:
        for end in WINDOWS.values():  # two of GLFW's threads would end the process
            end()
        try:
            check_screen()
            from mujoco import viewer

            # Its own copies: the viewer writes to what it is given, and derives it anew at the start.
            self._shown = copy.copy(self._model), mujoco.MjData(self._model)
            self._shown[0].vis.global_.fovy = self._model.camera(CAMERA).fovy[0]
            self._copy()
            others = set(threading.enumerate())
            self.handle = viewer.launch_passive(
                *self._shown, key_callback=self.on_key, show_left_ui=False, show_right_ui=False
            )
        except RuntimeError as error:
            raise RuntimeError(
                f"no window for render_mode='human': {error}. `aloha-marl doctor` says what can be "
                "drawn here. Without a window: render_mode='rgb_array' or 'depth_array', and "
                "`aloha-marl record-video`."
            ) from error
        # Closed at the latest when this object is gone, and at exit before GLFW is.
        threads = set(threading.enumerate()) - others
        WINDOWS[self] = end = weakref.finalize(self, _end, self.handle, threads)
        end.atexit = False
        atexit.register(end)
        with self.handle.lock():
            _look_through(self.handle.cam, self._data.camera(CAMERA))
        self._due = time.perf_counter()

    def _copy(self) -> None:
        model, data = self._shown
        for field in LOOKS:
            getattr(model, field)[:] = getattr(self._model, field)
        mujoco.mj_copyData(data, model, self._data)


_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY")


def has_screen() -> bool:
    """True unless this is Linux and no variable names a screen."""
    return not sys.platform.startswith("linux") or any(map(os.environ.get, _SCREENS))


def check_screen() -> None:
    """Raises RuntimeError if no window can be opened on this system; the message says why.

    MuJoCo's viewer itself would hang, or end the process.
    """
    if not has_screen():
        raise RuntimeError(f"there is no screen, neither {' nor '.join(_SCREENS)} is set")
    check_fork()
    USED.setdefault("glfw", os.getpid())
    if not sys.platform.startswith("linux"):
        return
    screens = {name: os.environ.get(name) for name in _SCREENS}
    named = ", ".join(f"{name}={screen}" for name, screen in screens.items() if screen)
    with ThreadPoolExecutor(1) as thread:  # in this one OpenGL may be in use otherwise
        reason = thread.submit(_screen_problem).result()
    if reason is not None:
        raise RuntimeError(
            f"{named} can't be drawn on ({reason}); if a library is missing, install it, on Debian or "
            "Ubuntu with 'apt-get install libgl1'"
        )


def _screen_problem() -> str | None:
    """GLFW's reason why it can't open a window; None if it can. It tries one that is not visible."""
    import glfw

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is returned
        window = None
        if glfw.init():
            glfw.window_hint(glfw.VISIBLE, False)
            window = glfw.create_window(1, 1, "", None, None)
            glfw.default_window_hints()
    if window is None:
        reason: Any = glfw.get_error()[1] or b"GLFW does not say why"
        return reason.decode()
    glfw.destroy_window(window)
    return None


def _end(handle: Any, threads: Collection[threading.Thread]) -> None:
    with contextlib.suppress(mujoco.UnexpectedError):
        handle.close()
    for thread in threads:
        thread.join()


def _look_through(view: Any, camera: Any) -> None:
    """Puts the free camera where a fixed one is, turning about the point it sees on the table."""
    ahead = -camera.xmat.reshape(3, 3)[:, 2]
    view.type = mujoco.mjtCamera.mjCAMERA_FREE
    view.distance = -camera.xpos[2] / ahead[2]
    view.lookat = camera.xpos + view.distance * ahead
    view.azimuth = math.degrees(math.atan2(ahead[1], ahead[0]))
    view.elevation = math.degrees(math.asin(np.clip(ahead[2], -1, 1)))
