"""Doctor: what draws pictures on this machine, how fast, and what fixes it where OpenGL fails."""

from __future__ import annotations

import contextlib
import ctypes.util
import dataclasses
import importlib.util
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.files import write_text
from aloha_marl.rendering.opengl import BACKENDS, backend, driver, has_nvidia, is_software
from aloha_marl.rendering.renderer import Renderer
from aloha_marl.rendering.viewer import check_screen

SIZES = ((84, 84), (640, 480))
VARIABLES = ["MUJOCO_GL", "MUJOCO_EGL_DEVICE_ID", "PYOPENGL_PLATFORM"]
VARIABLES += ["DISPLAY", "LIBGL_ALWAYS_SOFTWARE"]
ICD_FOLDERS = ("etc/glvnd/egl_vendor.d", "usr/share/glvnd/egl_vendor.d")
ICD_NAME = "10_nvidia.json"  # read before 50_mesa.json, so that NVIDIA's device comes first
ICD_CONTENT = '{"file_format_version":"1.0.0","ICD":{"library_path":"libEGL_nvidia.so.0"}}'
TRITON = "--xla_gpu_triton_gemm_any=true"


@dataclasses.dataclass(frozen=True)
class Machine:
    """The computer to examine: this one, unless a test makes one up.

    Attributes:
        root: folder of the devices and system files.
        environ: environment variables.
        find_library: name, such as "EGL" -> something true if the loader finds that library.
        find_module: name -> something true if Python finds that module.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    find_library: Callable[[str], object] = ctypes.util.find_library
    find_module: Callable[[str], object] = importlib.util.find_spec

    def has_library(self, name: str) -> bool:
        """True if the loader would find lib``name``, also through LD_LIBRARY_PATH."""
        folders = filter(None, self.environ.get("LD_LIBRARY_PATH", "").split(":"))
        files = (file for folder in folders for file in Path(folder).glob(f"lib{name}.so*"))
        return bool(self.find_library(name)) or any(files)

    def icd_folders(self) -> list[Path]:
        """Folders of the files that name the libraries of EGL's vendors."""
        named = self.environ.get("__EGL_VENDOR_LIBRARY_DIRS")
        return [*map(Path, named.split(":"))] if named else [self.root / f for f in ICD_FOLDERS]

    def has_icd(self) -> bool:
        """True if one of these files names NVIDIA's library."""
        named = self.environ.get("__EGL_VENDOR_LIBRARY_FILENAMES")
        usual = (file for folder in self.icd_folders() for file in folder.glob("*.json"))
        files = map(Path, named.split(":")) if named else usual
        return any(b"libEGL_nvidia" in file.read_bytes() for file in files if file.is_file())


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Result of an attempt to draw.

    Attributes:
        error: reason why there are no pictures; empty if there are.
        driver: GL_RENDERER, GL_VENDOR and GL_VERSION, if a context was made.
        speed: "width x height" -> pictures per second.
        window: reason why no window can be opened; empty if one can.
    """

    error: str = ""
    driver: Mapping[str, str] = dataclasses.field(default_factory=dict)
    speed: Mapping[str, float] = dataclasses.field(default_factory=dict)
    window: str = ""

    @property
    def renderer(self) -> str:
        """GL_RENDERER, empty if unknown."""
        return self.driver.get("GL_RENDERER", "")

    @property
    def software(self) -> bool:
        """True if the CPU draws."""
        return is_software(self.renderer)


@dataclasses.dataclass(frozen=True)
class Finding:
    """A problem, and the command or file that fixes it."""

    wrong: str
    mend: str


@dataclasses.dataclass(frozen=True)
class Report:
    """The doctor's report.

    Attributes:
        backend: library that makes MuJoCo's OpenGL context.
        reason: reason for that choice, in words.
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
        """Names and values of the report, without its findings."""
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
    """Draws transfer_cube in each size for some seconds; an error is part of the result."""
    about: dict[str, str] = {}
    speed: dict[str, float] = {}
    broken = ""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # GLFW warns first and fails then; once is enough
            env = AlohaParallelEnv("transfer_cube")
            env.reset(seed=0)
            for width, height in SIZES:
                with contextlib.closing(Renderer(env.model, width, height, "fast")) as renderer:
                    renderer.draw(env.model, env.data, "top")  # the first uploads meshes too
                    with renderer.current(), contextlib.suppress(Exception):  # names are welcome
                        about = about or driver()
                    start, count = time.perf_counter(), 0
                    while (spent := time.perf_counter() - start) < seconds or not count:
                        renderer.draw(env.model, env.data, "top")
                        count += 1
                    speed[f"{width} x {height}"] = count / spent
    except Exception as error:  # of any kind: a graphics driver's failure belongs in the report
        broken = str(error.__cause__ or error) or type(error).__name__
    no_window = ""
    try:
        check_screen()
    except RuntimeError as error:
        no_window = str(error)
    return Drawing(broken, about, speed, no_window)


def diagnose(machine: Machine | None = None, attempt: Callable[[], Drawing] = draw) -> Report:
    """Examines the machine and draws some pictures; if that fails, the report says how.

    Args:
        machine: computer to examine; None is this one.
        attempt: function that draws.
    """
    machine = machine or Machine()
    name, reason = backend(machine.environ, machine.find_library)
    drawing = attempt()
    names = VARIABLES + ["XLA_FLAGS"] * (machine.find_module("jax") is not None)
    variables = {variable: machine.environ.get(variable) for variable in names}
    found = _findings(machine, name, drawing)
    nvidia = has_nvidia(machine.root)
    return Report(name, reason, drawing, drawing.software, nvidia, variables, found)


def _findings(machine: Machine, library: str, drawing: Drawing) -> tuple[Finding, ...]:
    """Problems of drawing with this library; at least one if there are no pictures."""
    found = list(_no_pictures(machine, library)) if drawing.error else []
    if drawing.error and not found:
        found = [(f"{library} fails.", f"MUJOCO_GL chooses another of: {', '.join(BACKENDS)}")]
    nvidia = has_nvidia(machine.root)
    if nvidia and (drawing.error or drawing.software):
        found += _nvidia_unused(machine, drawing)
    flags = machine.environ.get("XLA_FLAGS", "")
    if nvidia and machine.find_module("jax") and TRITON not in flags:
        wrong = "JAX runs without the flag for Triton that MJX's guide recommends."
        found.append((wrong, f"export XLA_FLAGS={TRITON}"))
    return tuple(Finding(*texts) for texts in found)


def write_icd(folder: Path) -> Path:
    """Writes the file by which EGL finds NVIDIA's library, and returns its path."""
    path = folder / ICD_NAME
    write_text(path, ICD_CONTENT + "\n")
    return path


def _no_pictures(machine: Machine, library: str) -> Iterator[tuple[str, str]]:
    """Reasons why nothing is drawn, each with the command that fixes it."""
    environ = machine.environ
    asked = environ.get("MUJOCO_GL")
    if library not in BACKENDS:
        mend = f"unset MUJOCO_GL, or set it to one of: {', '.join(BACKENDS)}"
        yield f"MUJOCO_GL={asked} draws nothing.", mend
        return
    if not sys.platform.startswith("linux"):
        return
    platform = environ.get("PYOPENGL_PLATFORM")
    if library != "glfw" and platform and platform.lower() != library:
        yield f"PYOPENGL_PLATFORM={platform} contradicts {library}.", "unset PYOPENGL_PLATFORM"
        return
    screen = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    if library == "glfw" and asked:
        problem = f"{screen} can't be drawn on" if screen else "there is none"
        yield f"MUJOCO_GL={asked} needs a screen, and {problem}.", "unset MUJOCO_GL"
    if library == "osmesa":
        if not machine.has_library("OSMesa"):
            yield "libOSMesa is not installed.", "apt-get install libosmesa6"
    elif not machine.has_library("EGL"):
        yield "libEGL is not installed.", "apt-get install libegl1 libgl1 libgl1-mesa-dri"
    elif library == "egl" and not any(map(machine.has_library, ("OpenGL", "GL", "GLESv2"))):
        yield "libEGL is installed, but not libGL.", "apt-get install libgl1 libgl1-mesa-dri"
    elif library == "egl" and (device := environ.get("MUJOCO_EGL_DEVICE_ID")):
        wrong = f"MUJOCO_EGL_DEVICE_ID={device} is no device that can draw."
        yield wrong, "unset MUJOCO_EGL_DEVICE_ID"
    elif library == "egl":
        yield "libEGL is installed, but no driver.", "apt-get install libgl1-mesa-dri"
        if not machine.has_library("OSMesa"):
            wrong = "libOSMesa, which can draw without EGL, is not installed."
            yield wrong, "apt-get install libosmesa6\nexport MUJOCO_GL=osmesa"


def _nvidia_unused(machine: Machine, drawing: Drawing) -> list[tuple[str, str]]:
    """Reasons why the NVIDIA device does not draw, each with what fixes it."""
    found = []
    docker = "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all ..."
    if not any((machine.root / "dev").glob("nvidia[0-9]*")):
        wrong = "NVIDIA's driver is loaded, but this container has no NVIDIA device."
        found.append((wrong, docker))
    if not machine.has_library("EGL_nvidia"):
        wrong = (
            "libEGL_nvidia is missing: the driver's libraries for graphics are not installed, or "
        )
        wrong += "this container has no access to them."
        found.append((wrong, f"{docker}  # or graphics"))
    variable = "__EGL_VENDOR_LIBRARY_FILENAMES"
    if not machine.has_icd() and machine.environ.get(variable):
        found.append((f"No file in {variable} names libEGL_nvidia.so.0.", f"unset {variable}"))
    elif not machine.has_icd():
        path = machine.icd_folders()[-1] / ICD_NAME
        wrong = f"EGL does not find NVIDIA's library: {path} is missing. "
        wrong += "`aloha-marl doctor --write-icd` writes it, with this content:"
        found.append((wrong, ICD_CONTENT))
    if not drawing.software:
        return found
    if machine.environ.get("MUJOCO_GL", "").lower().strip() == "osmesa":
        mend = "unset MUJOCO_GL"
    elif machine.environ.get("MUJOCO_EGL_DEVICE_ID"):
        mend = "unset MUJOCO_EGL_DEVICE_ID"
    elif found:
        mend = "Fix what follows."
    else:
        mend = "nvidia-smi         # does the driver work?\nls -l /dev/nvidia* # may this user open them?"
    wrong = f"An NVIDIA device is present, but {drawing.renderer} draws, on the CPU."
    return [(wrong, mend), *found]
