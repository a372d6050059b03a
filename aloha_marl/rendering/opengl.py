"""OpenGL contexts: the library that makes them, what draws, and when they are freed.

All process-wide state of drawing is in this module: contexts, forks and windows.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes.util
import functools
import importlib
import os
import re
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import mujoco

from aloha_marl.processes import in_children, never_free

BACKENDS = {"linux": ("glfw", "egl", "osmesa"), "darwin": ("cgl", "glfw")}.get(
    sys.platform, ("glfw",)
)
"""Libraries MuJoCo can draw with on this system, its own default first."""

WINDOWS: weakref.WeakKeyDictionary[Any, weakref.finalize[..., Any]] = weakref.WeakKeyDictionary()
"""Viewer -> function that closes its window, for all that were opened in this process. GLFW bears one
window at a time, draws it in a thread of its own, and draws no pictures beside it."""

_CONTEXTS: weakref.WeakSet[mujoco.Renderer] = weakref.WeakSet()
"""Renderers whose context was made in this process and is not freed."""

_THREAD = threading.local()
"""Its ``drawing`` is the renderer whose context this thread holds, or None."""

USED: dict[str, int] = {}
"""Library -> id of the first process that drew with it: this one, or one that it was forked from."""


def _spare_libraries() -> None:
    """Has a forked child not end the parent's libraries at exit, which would hang or close its windows."""
    if not USED:
        return
    if egl := sys.modules.get("mujoco.egl"):
        atexit.unregister(getattr(egl, "_terminate_display", egl.EGL.eglTerminate))  # 4.x, 3.x
    if glfw := sys.modules.get("glfw"):
        atexit.unregister(glfw.terminate)
    libc = ctypes.CDLL(None)
    if hasattr(libc, "on_exit"):  # once Python has ended: libraries have handlers in C, too
        libc.on_exit(libc._exit, None)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_spare_libraries)


def backend(environ: Mapping[str, str], has: Callable[[str], object]) -> tuple[str, str]:
    """Chooses the library that makes the OpenGL context.

    Args:
        environ: the environment's variables.
        has: name of a library, such as "EGL" -> something true if it is installed.

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
    """GL_RENDERER, GL_VENDOR and GL_VERSION of the context made or drawn with last."""
    from OpenGL import GL

    names = ("GL_RENDERER", "GL_VENDOR", "GL_VERSION")
    return {name: (GL.glGetString(getattr(GL, name)) or b"").decode() for name in names}


def is_software(renderer: str) -> bool:
    """True if a GL_RENDERER draws on the processor."""
    return bool(re.search("llvmpipe|softpipe|swiftshader|swrast", renderer.lower()))


def has_nvidia(root: Path = Path("/")) -> bool:
    """True if an NVIDIA device is present."""
    return any((root / "dev").glob("nvidia[0-9]*")) or (root / "proc/driver/nvidia").exists()


def make_context(model: mujoco.MjModel, width: int, height: int, scale: int = 1) -> mujoco.Renderer:
    """Makes a renderer with an OpenGL context that no thread holds; errors are those of ``Renderer``.

    Its pictures have ``scale`` times the width and height [pixels].
    """
    check_fork()
    try:
        _choose_backend()
        renderer = mujoco.Renderer(model, height * scale, width * scale)
        release(renderer)
    except Exception as error:
        if "framebuffer" in str(error):
            raise ValueError(
                f"pictures of {width} x {height} pixels are too large for this OpenGL ({error})"
            ) from error
        raise RuntimeError(
            f"no OpenGL for pictures ({error}). On Debian or Ubuntu install it with "
            "'apt-get install libegl1 libgl1 libgl1-mesa-dri'; MUJOCO_GL=egl, osmesa or glfw chooses "
            "a backend. `aloha-marl doctor` says what is missing here. State observations need none "
            "of this."
        ) from error
    if not _CONTEXTS:
        # After OpenGL's own, so run before it: a context can't be freed once that is gone.
        atexit.unregister(_free_all)
        atexit.register(_free_all)
    _CONTEXTS.add(renderer)
    in_children(renderer, _abandon)
    return renderer


def hold(renderer: mujoco.Renderer) -> None:
    """Notes that this thread draws with a context until :func:`release`, whoever makes it current."""
    _THREAD.drawing = renderer


def release(renderer: mujoco.Renderer) -> None:
    """Has this thread let go of a context, which any thread may hold next."""
    _THREAD.drawing = None
    context = renderer._gl_context
    modules = {kind.__module__ for kind in type(context).__mro__}  # MuJoCo 4 makes a subclass
    name = next(name for name in map("mujoco.{}".format, BACKENDS) if name in modules)
    library: Any = sys.modules[name]
    match name:
        case "mujoco.egl":
            library.EGL.eglReleaseThread()  # an eighth of the time of eglMakeCurrent
        case "mujoco.glfw":
            library.glfw.make_context_current(None)
        case "mujoco.osmesa":
            library.osmesa.OSMesaMakeCurrent(None, None, library.GL.GL_FLOAT, 0, 0)
        case "mujoco.cgl":
            library.cgl.CGLUnlockContext(context._context)
            library.cgl.CGLSetCurrentContext(None)


@contextlib.contextmanager
def current(renderer: mujoco.Renderer) -> Iterator[None]:
    """Has this thread hold a context inside, for calls of OpenGL itself."""
    hold(renderer)
    try:
        renderer._gl_context.make_current()
        yield
    finally:
        release(renderer)


def free_context(renderer: mujoco.Renderer) -> None:
    """Frees a renderer's context, unless that has been done or it is a parent process's."""
    if renderer not in _CONTEXTS:
        return
    _CONTEXTS.discard(renderer)
    try:
        # MuJoCo deletes buffers by their number, in whichever context is current: it has to be this.
        renderer._gl_context.make_current()
    except Exception:  # another thread still has it
        never_free(renderer)
    else:
        renderer.close()
    if (drawing := getattr(_THREAD, "drawing", None)) is not None:
        drawing._gl_context.make_current()  # memory was cleaned up in the middle of a picture


@functools.cache
def warn_of_software() -> None:
    """Warns if a processor draws beside an NVIDIA device; checks once in a process."""
    if not has_nvidia():
        return
    try:
        renderer = driver()["GL_RENDERER"]
    except Exception:  # PyOpenGL may not know the platform; the pictures are drawn all the same
        return
    if is_software(renderer):
        warnings.warn(
            f"{renderer} draws the pictures on the CPU, though an NVIDIA device is "
            "present. `aloha-marl doctor` says how to draw on it.",
            RuntimeWarning,
            stacklevel=2,
        )


def _free_all() -> None:
    for renderer in list(_CONTEXTS):
        free_context(renderer)


def _abandon(renderer: mujoco.Renderer) -> None:
    _CONTEXTS.discard(renderer)
    never_free(renderer)


def check_fork() -> None:
    """Raises RuntimeError where a parent process has drawn, and so drawing here would hang.

    With ``LP_NUM_THREADS=0`` Mesa has no threads to miss; GLFW still has the parent's screen.
    """
    inherited = [library for library, process in USED.items() if process != os.getpid()]
    if "glfw" in inherited or (inherited and os.environ.get("LP_NUM_THREADS") != "0"):
        raise RuntimeError(
            "pictures were drawn before this process was forked, and OpenGL does not survive that: "
            "start the workers with 'spawn' (AsyncVectorEnv(..., context='spawn')), whose ids name the "
            "module, 'aloha_marl:aloha_marl/...', or before the first picture is drawn or window opened"
        )


def _choose_backend() -> None:
    """Has MuJoCo use our choice of library, whatever it chose itself when it was imported."""
    name, why = backend(os.environ, ctypes.util.find_library)
    if name not in BACKENDS:
        raise ValueError(f"{why}; valid: {', '.join(BACKENDS)}")
    if name == "glfw" and "egl" in BACKENDS and any(viewer.is_open for viewer in WINDOWS):
        raise RuntimeError(f"{why}, and GLFW, which would draw, would hang beside its open window")
    from mujoco.rendering.classic import gl_context

    gl_context.GLContext = importlib.import_module(f"mujoco.{name}").GLContext
    USED.setdefault(name, os.getpid())
