"""Finds why OpenGL fails or draws on the CPU, and the command that fixes it."""

from __future__ import annotations

import ctypes.util
import dataclasses
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from aloha_marl.rendering.opengl import BACKENDS, has_nvidia, is_software

ICD_FOLDERS = ("etc/glvnd/egl_vendor.d", "usr/share/glvnd/egl_vendor.d")
ICD_NAME = "10_nvidia.json"  # read before 50_mesa.json, so that NVIDIA's device comes first
ICD_CONTENT = '{"file_format_version":"1.0.0","ICD":{"library_path":"libEGL_nvidia.so.0"}}'
TRITON = "--xla_gpu_triton_gemm_any=true"


@dataclasses.dataclass(frozen=True)
class Machine:
    """The computer to look at: this one, unless a test makes one up.

    Attributes:
        root: folder of the devices and system files.
        environ: environment variables.
        find_library: name, such as "EGL" -> something true if the loader finds it.
        find_module: the same for a Python module.
    """

    root: Path = Path("/")
    environ: Mapping[str, str] = dataclasses.field(default_factory=lambda: dict(os.environ))
    find_library: Callable[[str], object] = ctypes.util.find_library
    find_module: Callable[[str], object] = importlib.util.find_spec

    def has_library(self, name: str) -> bool:
        """True if the loader would find lib``name``, also through LD_LIBRARY_PATH."""
        folders = filter(None, self.environ.get("LD_LIBRARY_PATH", "").split(":"))
        return bool(self.find_library(name)) or any(
            any(Path(folder).glob(f"lib{name}.so*")) for folder in folders
        )

    def icd_folders(self) -> list[Path]:
        """Folders in which EGL looks for the files that name its vendors' libraries."""
        named = self.environ.get("__EGL_VENDOR_LIBRARY_DIRS")
        return [*map(Path, named.split(":"))] if named else [self.root / f for f in ICD_FOLDERS]

    def has_icd(self) -> bool:
        """True if one of those files names NVIDIA's library."""
        named = self.environ.get("__EGL_VENDOR_LIBRARY_FILENAMES")
        if named:
            files = [*map(Path, named.split(":"))]
        else:
            files = [file for folder in self.icd_folders() for file in folder.glob("*.json")]
        return any(b"libEGL_nvidia" in file.read_bytes() for file in files if file.is_file())


@dataclasses.dataclass(frozen=True)
class Drawing:
    """Result of an attempt to draw.

    Attributes:
        error: why there are no pictures; empty if there are.
        driver: GL_RENDERER, GL_VENDOR and GL_VERSION, if a context was made.
        speed: "width x height" -> pictures per second.
        window: why no window can be opened; empty if one can.
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


def findings(machine: Machine, backend: str, drawing: Drawing) -> Iterator[Finding]:
    """All problems found; at least one if there are no pictures."""
    if drawing.error:
        reasons = list(_no_pictures(machine, backend))
        yield from reasons or [
            Finding(f"{backend} fails.", f"MUJOCO_GL chooses another of: {', '.join(BACKENDS)}")
        ]
    if not has_nvidia(machine.root):
        return
    if drawing.error or drawing.software:
        yield from _nvidia_unused(machine, drawing)
    if machine.find_module("jax") and TRITON not in machine.environ.get("XLA_FLAGS", ""):
        yield Finding(
            "JAX is installed without Triton for matrix products, which MJX's guide advises.",
            f"export XLA_FLAGS={TRITON}",
        )


def write_icd(folder: Path = Path("/") / ICD_FOLDERS[-1]) -> Path:
    """Writes the file by which EGL finds NVIDIA's library, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / ICD_NAME
    path.write_text(ICD_CONTENT + "\n")
    return path


def _no_pictures(machine: Machine, backend: str) -> Iterator[Finding]:
    environ = machine.environ
    asked = environ.get("MUJOCO_GL")
    if backend not in BACKENDS:
        yield Finding(
            f"MUJOCO_GL={asked} draws nothing.",
            f"unset MUJOCO_GL, or set it to one of: {', '.join(BACKENDS)}",
        )
        return
    if not sys.platform.startswith("linux"):
        return
    platform = environ.get("PYOPENGL_PLATFORM")
    if backend != "glfw" and platform and platform.lower() != backend:
        yield Finding(
            f"PYOPENGL_PLATFORM={platform} contradicts {backend}.", "unset PYOPENGL_PLATFORM"
        )
        return
    screen = environ.get("DISPLAY") or environ.get("WAYLAND_DISPLAY")
    if backend == "glfw" and asked:
        problem = f"{screen} can't be drawn on" if screen else "there is none"
        yield Finding(f"MUJOCO_GL={asked} needs a screen, and {problem}.", "unset MUJOCO_GL")
    if backend == "osmesa":
        if not machine.has_library("OSMesa"):
            yield Finding("libOSMesa is not installed.", "apt-get install libosmesa6")
    elif not machine.has_library("EGL"):
        yield Finding("libEGL is not installed.", "apt-get install libegl1 libgl1-mesa-dri")
    elif backend == "egl" and (device := environ.get("MUJOCO_EGL_DEVICE_ID")):
        yield Finding(
            f"MUJOCO_EGL_DEVICE_ID={device} is no device that can draw.",
            "unset MUJOCO_EGL_DEVICE_ID",
        )
    elif backend == "egl":
        yield Finding("libEGL is installed, but no driver.", "apt-get install libgl1-mesa-dri")
        if not machine.has_library("OSMesa"):
            yield Finding(
                "libOSMesa, which can draw without EGL, is not installed.",
                "apt-get install libosmesa6\nexport MUJOCO_GL=osmesa",
            )


def _nvidia_unused(machine: Machine, drawing: Drawing) -> Iterator[Finding]:
    blockers = list(_nvidia_blockers(machine))
    if drawing.software:
        wrong = f"An NVIDIA device is present, but {drawing.renderer} draws, on the CPU."
        if machine.environ.get("MUJOCO_GL", "").lower().strip() == "osmesa":
            yield Finding(wrong, "unset MUJOCO_GL")
        elif machine.environ.get("MUJOCO_EGL_DEVICE_ID"):
            yield Finding(wrong, "unset MUJOCO_EGL_DEVICE_ID")
        elif blockers:
            yield Finding(wrong, "See what follows.")
        else:
            yield Finding(
                wrong, "nvidia-smi        # does the driver work?\nls -l /dev/nvidia* # may you?"
            )
    yield from blockers


def _nvidia_blockers(machine: Machine) -> Iterator[Finding]:
    if not any((machine.root / "dev").glob("nvidia[0-9]*")):
        yield Finding(
            "NVIDIA's driver is loaded, but no device is let into this container.",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all ...",
        )
    if not machine.has_library("EGL_nvidia"):
        yield Finding(
            "libEGL_nvidia is missing: the driver's libraries for graphics are not let into this "
            "container. (Outside of one: not installed.)",
            "docker run --gpus all -e NVIDIA_DRIVER_CAPABILITIES=all ...  # or graphics",
        )
    if machine.has_icd():
        return
    path = machine.icd_folders()[-1] / ICD_NAME
    if machine.environ.get("__EGL_VENDOR_LIBRARY_FILENAMES"):
        yield Finding(
            "No file in __EGL_VENDOR_LIBRARY_FILENAMES names libEGL_nvidia.so.0.",
            "unset __EGL_VENDOR_LIBRARY_FILENAMES",
        )
    else:
        yield Finding(
            f"EGL does not know NVIDIA's library: {path} is missing. `aloha-marl doctor --write-icd` "
            "writes it, with this content:",
            ICD_CONTENT,
        )
