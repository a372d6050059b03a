"""The doctor: every finding on a machine made up for it, the command, and the warning."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers import make

from aloha_marl.cli.doctor import (
    ICD_CONTENT,
    ICD_FOLDERS,
    ICD_NAME,
    SIZES,
    TRITON,
    Drawing,
    Finding,
    Machine,
    Report,
    diagnose,
    draw,
    write_icd,
)
from aloha_marl.rendering import opengl
from aloha_marl.rendering.opengl import BACKENDS, backend

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what is mended is Linux")

BROKEN = Drawing("it is broken")
MESA = Drawing(driver={"GL_RENDERER": "llvmpipe (LLVM 15.0.6, 256 bits)"})
NVIDIA = Drawing(driver={"GL_RENDERER": "NVIDIA H100 80GB HBM3/PCIe/SSE2"})
ALL = ("EGL", "EGL_nvidia", "GL", "OSMesa")

Examine = Callable[..., Report]


@pytest.fixture
def examine(tmp_path: Path) -> Examine:
    """Diagnoses a machine whose folders, variables, libraries and modules are made up."""
    numbers = itertools.count()

    def examine(
        drawing: Drawing = BROKEN,
        environ: dict[str, str] | None = None,
        libraries: tuple[str, ...] = ALL,
        files: dict[str, str] | None = None,
        modules: tuple[str, ...] = (),
    ) -> Report:
        root = tmp_path / str(next(numbers))
        for name, content in (files or {}).items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        machine = Machine(
            root,
            environ or {},
            lambda name: name if name in libraries else None,
            lambda name: name if name in modules else None,
        )
        return diagnose(machine, lambda: drawing)

    return examine


def gpu(icd: bool = True) -> dict[str, str]:
    """The files of a machine with an NVIDIA device, and the one that shows EGL its library."""
    icds = {f"{ICD_FOLDERS[0]}/nv.json": ICD_CONTENT} if icd else {}
    mesa = {f"{ICD_FOLDERS[1]}/50_mesa.json": '{"ICD": {"library_path": "libEGL_mesa.so.0"}}'}
    return {"dev/nvidia0": "", **icds, **mesa}


def said(report: Report) -> str:
    """All findings."""
    return "\n".join(f"{finding.wrong}\n{finding.mend}" for finding in report.findings)


@pytest.mark.parametrize(
    ("environ", "libraries", "name", "why"),
    [
        ({}, ALL, "egl", "libEGL"),
        ({}, ("OSMesa",), "osmesa", "libOSMesa"),
        ({}, (), "glfw", "no screen"),
        ({"DISPLAY": ":3"}, ALL, "egl", "libEGL"),
        ({"DISPLAY": ":3"}, ("OSMesa",), "glfw", "DISPLAY=:3"),
        ({"WAYLAND_DISPLAY": "w-0"}, (), "glfw", "WAYLAND_DISPLAY=w-0"),
        ({"DISPLAY": ":3", "MUJOCO_GL": " EGL"}, (), "egl", "MUJOCO_GL= EGL"),
        ({"MUJOCO_GL": "on"}, ALL, "glfw", "MUJOCO_GL=on"),
        ({"MUJOCO_GL": "osmesa"}, ALL, "osmesa", "MUJOCO_GL=osmesa"),
    ],
)
def test_backend(
    environ: dict[str, str], libraries: tuple[str, ...], name: str, why: str, examine: Examine
) -> None:
    """The variable counts most, then EGL, which needs no screen, then a screen."""
    chosen, reason = backend(environ, libraries.__contains__)
    assert chosen == name
    assert why in reason
    report = examine(environ=environ, libraries=libraries)
    assert (report.backend, report.reason) == (chosen, reason)


@pytest.mark.parametrize(
    ("environ", "libraries", "texts"),
    [
        ({}, (), ("libEGL is not installed", "apt-get install libegl1 libgl1 libgl1-mesa-dri")),
        ({"MUJOCO_GL": "egl"}, ("OSMesa",), ("apt-get install libegl1 libgl1 libgl1-mesa-dri",)),
        ({"MUJOCO_GL": "osmesa"}, ("EGL",), ("apt-get install libosmesa6",)),
        ({}, ("EGL",), ("not libGL", "apt-get install libgl1 libgl1-mesa-dri")),
        (
            {},
            ("EGL", "OpenGL"),
            ("apt-get install libgl1-mesa-dri", "libosmesa6", "MUJOCO_GL=osmesa"),
        ),
        ({"MUJOCO_GL": "vulkan"}, ALL, ("MUJOCO_GL=vulkan", "unset MUJOCO_GL", *BACKENDS)),
        ({"MUJOCO_GL": "off"}, ALL, ("MUJOCO_GL=off", "unset MUJOCO_GL", *BACKENDS)),
        ({"MUJOCO_GL": "glfw"}, ALL, ("needs a screen", "unset MUJOCO_GL")),
        ({"MUJOCO_GL": "glfw", "DISPLAY": ":3"}, ALL, (":3 can't", "unset MUJOCO_GL")),
        ({"DISPLAY": ":3"}, ("OSMesa",), ("libEGL is not installed",)),
        ({"DISPLAY": ":3"}, ALL, ("libgl1-mesa-dri",)),
        ({"PYOPENGL_PLATFORM": "glx"}, ALL, ("PYOPENGL_PLATFORM=glx", "unset PYOPENGL_PLATFORM")),
        ({"MUJOCO_EGL_DEVICE_ID": "7"}, ALL, ("unset MUJOCO_EGL_DEVICE_ID",)),
        ({"MUJOCO_GL": "osmesa"}, ALL, ("osmesa fails", *BACKENDS)),
    ],
)
def test_no_pictures(
    environ: dict[str, str], libraries: tuple[str, ...], texts: tuple[str, ...], examine: Examine
) -> None:
    """Each cause is named with what mends it, and is none when pictures are drawn."""
    broken = said(examine(environ=environ, libraries=libraries))
    for text in texts:
        assert text in broken
    assert not examine(MESA, environ, libraries).findings


def test_osmesa_is_no_advice_where_egl_draws_or_is_mended_first(examine: Examine) -> None:
    """The slower way is offered when it was asked for, or when EGL is there and fails."""
    assert "osmesa" not in said(examine(libraries=()))
    assert "osmesa" not in said(examine(environ={"MUJOCO_GL": "glfw"}, libraries=("EGL",)))
    assert "osmesa" not in said(examine(libraries=ALL))


@pytest.mark.parametrize("drawing", [BROKEN, MESA], ids=["broken", "software"])
def test_nvidia_unused(drawing: Drawing, examine: Examine) -> None:
    """Each thing that keeps the device from drawing is found, and only it."""
    whole = examine(drawing, files=gpu())
    assert whole.nvidia
    for text in ("libEGL_nvidia", "docker", ICD_NAME):
        assert text not in said(whole)

    no_icd = said(examine(drawing, files=gpu(icd=False)))
    assert f"{ICD_FOLDERS[-1]}/{ICD_NAME}" in no_icd
    assert ICD_CONTENT in no_icd
    assert "aloha-marl doctor --write-icd" in no_icd
    assert "docker" not in no_icd

    no_library = said(examine(drawing, libraries=("EGL", "OSMesa"), files=gpu()))
    assert "libEGL_nvidia is missing" in no_library
    assert "NVIDIA_DRIVER_CAPABILITIES=all" in no_library
    assert ICD_NAME not in no_library

    files = gpu()
    del files["dev/nvidia0"]
    assert not examine(drawing, files=files).nvidia
    driver = {**files, "proc/driver/nvidia/version": ""}
    not_let_in = examine(drawing, files=driver)
    assert not_let_in.nvidia
    assert "--gpus all" in said(not_let_in)


@pytest.mark.parametrize("name", ["llvmpipe (LLVM 15)", "softpipe", "SwiftShader", "swrast"])
def test_software_beside_nvidia(name: str, examine: Examine) -> None:
    """A renderer on the CPU is named, with what made it the one; a real one is left alone."""
    slow = Drawing(driver={"GL_RENDERER": name})
    assert examine(slow).software
    assert not examine(slow).findings
    first = examine(slow, files=gpu(icd=False)).findings[0]
    assert name in first.wrong
    assert "follows" in first.mend
    for variable, value in (("MUJOCO_GL", "osmesa"), ("MUJOCO_EGL_DEVICE_ID", "1")):
        report = examine(slow, {variable: value}, files=gpu())
        assert report.findings[0].mend == f"unset {variable}"
    assert "nvidia-smi" in said(examine(slow, files=gpu()))
    good = examine(NVIDIA, libraries=(), files=gpu(icd=False))
    assert not good.software
    assert not good.findings


def test_vendor_variables(tmp_path: Path, examine: Examine) -> None:
    """The two variables of EGL's loader say where the vendor file is, or isn't."""
    folder = tmp_path / "vendors"
    elsewhere = {"__EGL_VENDOR_LIBRARY_DIRS": f"{tmp_path}:{folder}"}
    assert f"{folder}/{ICD_NAME}" in said(examine(MESA, elsewhere, files=gpu()))
    path = write_icd(folder)
    assert ICD_NAME not in said(examine(MESA, elsewhere, files=gpu()))
    named = {"__EGL_VENDOR_LIBRARY_FILENAMES": f"/nowhere.json:{path}"}
    assert "VENDOR" not in said(examine(MESA, named, files=gpu(icd=False)))
    named = {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nowhere.json"}
    assert "unset __EGL_VENDOR_LIBRARY_FILENAMES" in said(examine(MESA, named, files=gpu()))


def test_library_path(tmp_path: Path, examine: Examine) -> None:
    """A library that the loader's cache doesn't know may be in LD_LIBRARY_PATH."""
    environ = {"LD_LIBRARY_PATH": f":{tmp_path}"}
    without = {"libraries": ("EGL",), "files": gpu()}
    assert "libEGL_nvidia" in said(examine(MESA, environ, **without))
    (tmp_path / "libEGL_nvidia.so.0").touch()
    assert "libEGL_nvidia" not in said(examine(MESA, environ, **without))


def test_jax(examine: Examine) -> None:
    """The flag is advice for JAX on an NVIDIA device that lacks it, and for nobody else."""
    advised = examine(NVIDIA, files=gpu(), modules=("jax",))
    assert [finding.mend for finding in advised.findings] == [f"export XLA_FLAGS={TRITON}"]
    assert advised.variables["XLA_FLAGS"] is None
    assert not examine(
        NVIDIA, {"XLA_FLAGS": f"-a {TRITON}"}, files=gpu(), modules=("jax",)
    ).findings
    assert not examine(NVIDIA, modules=("jax",)).findings
    neither = examine(NVIDIA, files=gpu())
    assert not neither.findings
    assert "XLA_FLAGS" not in neither.variables


def test_write_icd(tmp_path: Path) -> None:
    """EGL's loader reads a library's name from a JSON file that sorts before Mesa's."""
    path = write_icd(tmp_path / "not" / "there")
    assert path.parent == tmp_path / "not" / "there"
    assert path.name < "50_mesa.json"
    assert json.loads(path.read_text())["ICD"] == {"library_path": "libEGL_nvidia.so.0"}


def test_window_row(examine: Examine) -> None:
    """Whether a window can be opened is said beside the pictures, and is no fault."""
    assert dict(examine(MESA).rows())["window"] == "can be opened"
    without = examine(dataclasses.replace(MESA, window="there is no screen"))
    assert dict(without.rows())["window"] == "none: there is no screen"
    assert not without.findings


def test_draws_here() -> None:
    """Here, where the other tests draw, the doctor draws every size too and says with what."""
    drawing = draw(seconds=0)
    assert drawing.error == ""
    assert drawing.renderer
    assert list(drawing.speed) == [f"{width} x {height}" for width, height in SIZES]
    assert min(drawing.speed.values()) > 0


# ---------------------------------------------------------------------- the command


def run(monkeypatch: pytest.MonkeyPatch, report: Report | None, *arguments: str) -> tuple[int, str]:
    """Exit code and output of the command at 80 columns, with a report made up or its own."""
    testing = pytest.importorskip("typer.testing")
    from aloha_marl.cli import app as commands
    from aloha_marl.cli import describe

    if report is not None:
        monkeypatch.setattr(describe, "diagnose", lambda _: report)
    environ = {"COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
    result = testing.CliRunner(env=environ).invoke(commands.app, ["doctor", *arguments])
    return result.exit_code, result.output


def test_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examine: Examine) -> None:
    """Code 1 without pictures; commands to copy are never broken; the JSON says it all."""
    file = tmp_path / "deep" / "report.json"
    bad = examine(Drawing("no [such] thing"), files=gpu(icd=False), libraries=())
    code, text = run(monkeypatch, bad, "--json", str(file))
    assert code == 1
    assert "no [such] thing" in text
    for finding in bad.findings:
        assert finding.wrong.split()[0] in text
        for line in finding.mend.splitlines():
            assert f"   {line}\n" in text
    assert max(map(len, text.replace(str(file), "").splitlines())) <= 80
    kept = json.loads(file.read_text())
    assert kept["drawing"]["error"] == "no [such] thing"
    assert [each["mend"] for each in kept["findings"]] == [each.mend for each in bad.findings]

    long = Finding("It is long.", "docker run " + "--and-so-on " * 10 + "end")
    code, text = run(monkeypatch, dataclasses.replace(bad, findings=(long,)))
    assert f"   {long.mend}\n" in text

    code, text = run(monkeypatch, examine(NVIDIA, libraries=()))
    assert code == 0
    assert NVIDIA.renderer in text
    assert "No problems found" in text


def test_command_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examine: Examine) -> None:
    """The vendor file is written when asked for, only then, and where EGL will look for it."""
    folder = tmp_path / "vendors"
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(folder))
    report = examine(NVIDIA)
    run(monkeypatch, report)
    assert not folder.exists()
    code, text = run(monkeypatch, report, "--write-icd")
    assert code == 0
    assert str(folder / ICD_NAME) in text.replace("\n", "")
    assert (folder / ICD_NAME).read_text().strip() == ICD_CONTENT

    (tmp_path / "file").touch()
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", str(tmp_path / "file" / "vendors"))
    code, text = run(monkeypatch, report, "--write-icd")
    assert code == 1
    assert "can't be written" in " ".join(text.split())


@pytest.mark.parametrize(
    ("environ", "text"),
    [
        ({"MUJOCO_GL": "glfw"}, "needs a screen"),
        ({"MUJOCO_GL": "vulkan"}, "vulkan draws nothing"),
        ({"PYOPENGL_PLATFORM": "osmesa", "MUJOCO_GL": "egl"}, "unset PYOPENGL_PLATFORM"),
    ],
)
def test_nothing_to_draw_with(environ: dict[str, str], text: str) -> None:
    """What can't work is reported, though MuJoCo refuses to be imported with some of it."""
    pytest.importorskip("typer")
    hidden = ("DISPLAY", "WAYLAND_DISPLAY", "MUJOCO_GL", "PYOPENGL_PLATFORM")
    clean = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "aloha_marl.cli", "doctor"],
        env={**clean, **environ, "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    assert text in done.stdout


# ---------------------------------------------------------------------- the warning


@pytest.fixture
def not_checked() -> None:
    """As in a process that has not drawn yet."""
    opengl.warn_of_software.cache_clear()


@pytest.mark.usefixtures("not_checked")
def test_warns_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first observed picture, and it only, warns of a CPU that draws beside a device."""
    asked = []
    monkeypatch.setattr(opengl, "has_nvidia", lambda: True)
    monkeypatch.setattr(opengl, "driver", lambda: asked.append(1) or MESA.driver)
    env = make("transfer_cube", obs_type="pixels", render_mode="rgb_array")
    with pytest.warns(RuntimeWarning, match="aloha-marl doctor") as caught:
        env.reset(seed=0)
    assert len(caught) == 1
    assert MESA.renderer in str(caught[0].message)
    env.reset(seed=1)
    env.close()
    again = make("insertion", obs_type="pixels")
    again.reset(seed=0)
    again.close()
    assert len(asked) == 1


@pytest.mark.usefixtures("not_checked")
@pytest.mark.parametrize(
    ("nvidia", "drawing"), [(True, NVIDIA), (False, MESA), (True, None)], ids=str
)
def test_no_warning(nvidia: bool, drawing: Drawing | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A device that draws, none at all, and an OpenGL that doesn't say are no reason to warn."""
    asked = []

    def driver() -> dict[str, str]:
        asked.append(1)
        if drawing is None:
            raise OSError("no platform")
        return dict(drawing.driver)

    monkeypatch.setattr(opengl, "has_nvidia", lambda: nvidia)
    monkeypatch.setattr(opengl, "driver", driver)
    env = make("transfer_cube", obs_type="pixels")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        env.reset(seed=0)
    env.close()
    assert not caught
    assert len(asked) == nvidia  # without a device there is nothing to compare with


@pytest.mark.usefixtures("not_checked")
def test_render_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    """``render()`` may be called in a loop, too."""
    monkeypatch.setattr(opengl, "has_nvidia", lambda: True)
    monkeypatch.setattr(opengl, "driver", lambda: MESA.driver)
    env = make("transfer_cube", render_mode="rgb_array")
    env.reset(seed=0)
    with pytest.warns(RuntimeWarning, match="aloha-marl doctor"):
        env.render()
    env.close()


def test_error_points_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who gets no picture is told of the doctor."""
    monkeypatch.setenv("MUJOCO_GL", "vulkan")
    env = make("transfer_cube", obs_type="pixels")
    with pytest.raises(RuntimeError, match="aloha-marl doctor") as error:
        env.reset(seed=0)
    assert "MUJOCO_GL=vulkan; valid: " in str(error.value)
