"""Report on OpenGL: the library and device that draw, their speed, and problems found."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
import warnings
from collections.abc import Callable, Iterator, Mapping

from aloha_marl.cli.diagnosis import Drawing, Finding, Machine, findings
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.rendering.opengl import backend, driver, has_nvidia
from aloha_marl.rendering.renderer import Renderer
from aloha_marl.rendering.viewer import check_screen

SIZES = ((84, 84), (640, 480))
VARIABLES = ("MUJOCO_GL", "MUJOCO_EGL_DEVICE_ID", "PYOPENGL_PLATFORM")
VARIABLES += ("DISPLAY", "LIBGL_ALWAYS_SOFTWARE")


@dataclasses.dataclass(frozen=True)
class Report:
    """The doctor's report.

    Attributes:
        backend, reason: the library MuJoCo makes its OpenGL context with, and why that one.
        drawing: result of drawing with it.
        software: True if the CPU draws.
        nvidia: True if an NVIDIA device is present.
        variables: environment variables that matter; None if not set.
        findings: problems; there is at least one if there are no pictures.
    """

    backend: str
    reason: str
    drawing: Drawing
    software: bool
    nvidia: bool
    variables: Mapping[str, str | None]
    findings: tuple[Finding, ...]

    def to_json(self) -> str:
        """The report as JSON."""
        return json.dumps(dataclasses.asdict(self), indent=2) + "\n"

    def rows(self) -> Iterator[tuple[str, str]]:
        """The report without its findings, as names and values for people."""
        yield "backend", f"{self.backend}: {self.reason}"
        yield "pictures", f"none: {self.drawing.error}" if self.drawing.error else "can be drawn"
        yield "window", f"none: {self.drawing.window}" if self.drawing.window else "can be opened"
        yield from self.drawing.driver.items()
        if self.drawing.driver:
            yield "drawn by", "the CPU, in software" if self.software else "a graphics device"
        for size, speed in self.drawing.speed.items():
            yield f"at {size}", f"{speed:,.0f} pictures/s"
        yield "NVIDIA device", "yes" if self.nvidia else "no"
        for name, value in self.variables.items():
            yield name, "-" if value is None else value


def draw(seconds: float = 1.0) -> Drawing:
    """Draws camera ``top`` of transfer_cube in each size for some seconds; keeps errors in the result."""
    about: dict[str, str] = {}
    speed: dict[str, float] = {}
    broken = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GLFW warns first and fails then; once is enough
            env = AlohaParallelEnv("transfer_cube")
            env.reset(seed=0)
            for width, height in SIZES:
                renderer = Renderer(env.model, width, height, "fast")
                try:
                    renderer.draw(env.model, env.data, "top")  # the first uploads meshes too
                    with contextlib.suppress(Exception):  # names are welcome, not needed
                        about = about or driver()
                    start, count = time.perf_counter(), 0
                    while (spent := time.perf_counter() - start) < seconds or not count:
                        renderer.draw(env.model, env.data, "top")
                        count += 1
                    speed[f"{width} x {height}"] = count / spent
                finally:
                    renderer.close()
    except Exception as error:  # whatever fails in a graphics driver is what is asked for here
        broken = str(error.__cause__ or error) or type(error).__name__
    return Drawing(broken, about, speed, _no_window())


def _no_window() -> str:
    try:
        check_screen()
    except RuntimeError as error:
        return str(error)
    return ""


def diagnose(machine: Machine | None = None, attempt: Callable[[], Drawing] = draw) -> Report:
    """Looks at the machine and draws some pictures; if that fails, the report says how.

    Args:
        machine: computer to look at; None is this one.
        attempt: function that draws.
    """
    machine = machine or Machine()
    name, reason = backend(machine.environ, machine.find_library)
    drawing = attempt()
    jax = machine.find_module("jax") is not None
    return Report(
        name,
        reason,
        drawing,
        drawing.software,
        has_nvidia(machine.root),
        {v: machine.environ.get(v) for v in (*VARIABLES, *(("XLA_FLAGS",) if jax else ()))},
        tuple(findings(machine, name, drawing)),
    )
