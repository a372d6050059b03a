"""Files are whole or absent, whoever writes them and whatever happens meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aloha_marl import policies
from aloha_marl.arms import SIDES
from aloha_marl.evaluation import Crossplay, wilson
from aloha_marl.files import atomic, check_writable, part_of, write_text
from aloha_marl.policies.network import Network, NetworkPair
from aloha_marl.recording.plots import draw_heat_map, plot_episode
from aloha_marl.recording.video import record
from aloha_marl.tasks import make_task

TASK = "transfer_cube"
SHORT = {"max_cycles": 10, "visualization_width": 64, "visualization_height": 48}
ARMS = policies.load("scripted", TASK)


def heat_map(path: Path) -> None:
    """Draws a result of one pair."""
    pair = {"success_rate": 1.0, "success_rate_wilson_95": wilson(1, 1)}
    draw_heat_map(Crossplay(TASK, ("a",), (0,), {}, {}, (pair,)), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "result.json": lambda path: write_text(path, "{}\n"),
    "film.mp4": lambda path: record(TASK, ARMS, 0, path, **SHORT),
    "film.gif": lambda path: record(TASK, ARMS, 0, path, **SHORT),
    "episode.png": lambda path: plot_episode(TASK, ARMS, 0, path, max_cycles=10),
    "heat_map.png": heat_map,
    "weights.npz": lambda path: NetworkPair(
        make_task(TASK), "partner", dict.fromkeys(SIDES, Network(()))
    ).save(path),
}
"""File name -> what writes such a file."""


@pytest.mark.parametrize("name", WRITERS)
def test_every_writer(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is taken by the last thing that happens; an interrupt before leaves all as it was."""
    path = tmp_path / "new" / name
    WRITERS[name](path)
    assert path.stat().st_size > 0
    path.write_text("older")
    seen = []

    def interrupted(aside: Path, whole: Path) -> None:
        seen.append((aside.suffix, aside.stat().st_size > 0, whole, path.read_text()))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        WRITERS[name](path)
    assert seen == [(path.suffix, True, path, "older")]
    assert path.read_text() == "older"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", [name for name in WRITERS if name.startswith("film")])
def test_interrupted_films(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film that is cut short is none."""
    calls = []

    def act(observation: np.ndarray) -> np.ndarray:
        calls.append(None)
        if len(calls) > 10:
            signal.raise_signal(signal.SIGINT)
        return np.zeros(7, np.float32)

    arms = policies.load("random", TASK)
    monkeypatch.setattr(type(arms["left_arm"]), "__call__", lambda _, observation: act(observation))
    with pytest.raises(KeyboardInterrupt):
        record(TASK, arms, 0, tmp_path / name, **SHORT)
    assert not list(tmp_path.iterdir())


def test_atomic(tmp_path: Path) -> None:
    """A link stays a link, a mode is the usual one, an error has the name of the file."""
    usual = tmp_path / "usual"
    usual.touch()
    path, link = tmp_path / "new" / "file.json", tmp_path / "link.json"
    link.symlink_to(path)
    write_text(link, "whole")
    assert link.is_symlink()
    assert path.read_text() == "whole"
    assert path.stat().st_mode == usual.stat().st_mode
    with pytest.raises(OSError, match=r"No space left on device: .*file\.json'"), atomic(path):
        raise OSError(28, os.strerror(28))
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]
    assert part_of(path) == tmp_path / "new" / "file.part.json"


def test_pipes_and_devices(tmp_path: Path) -> None:
    """They are written to, not replaced."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    check_writable(pipe, "/dev/null")
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        write_text(pipe, "whole")
        assert reader.communicate()[0] == "whole"
    write_text("/dev/null", "whole")
    assert pipe.is_fifo()
    assert Path("/dev/null").is_char_device()
    assert list(tmp_path.iterdir()) == [pipe]


def test_check_writable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It makes folders and nothing else; what can't be written is named."""
    file = tmp_path / "file"
    file.write_text("kept")
    check_writable(file, tmp_path / "a" / "b" / "new.json")
    assert file.read_text() == "kept"
    assert not list((tmp_path / "a" / "b").iterdir())
    for path, reason in {
        tmp_path: "Is a directory",
        file / "new.json": "File exists",
        file / "new" / "new.json": "Not a directory",
        tmp_path / ("long" * 99): "File name too long",
        Path("/proc/new.json"): "",
    }.items():
        with pytest.raises(OSError, match=f"can't be written: {reason}") as error:
            check_writable(path)
        assert error.value.filename == str(path)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anything
    with pytest.raises(PermissionError, match="can't be written: Permission denied"):
        check_writable(file)
    assert file.read_text() == "kept"


def opens(path: Path) -> None:
    """Fails if the file is not whole."""
    if path.suffix == ".json":
        json.loads(path.read_text())
    elif path.suffix == ".mp4":
        frames, _ = pytest.importorskip("imageio_ffmpeg").count_frames_and_secs(path)
        assert frames > 10
    elif path.suffix == ".npz":
        with np.load(path) as content:
            assert all(content[name].size for name in content.files)
    else:
        with pytest.importorskip("PIL.Image").open(path) as picture:
            for frame in range(getattr(picture, "n_frames", 1)):
                picture.seek(frame)
                picture.load()


WORK = {
    "json": "for n in range(999): write_text('out/result.json', json.dumps(['x' * 999] * 9999))",
    "mp4": "for n in range(999): record(task, arms, n, f'out/{n}.mp4', **short)",
    "gif": "for n in range(999): record(task, arms, n, f'out/{n}.gif', **short)",
    "plot": "for n in range(999): plot_episode(task, arms, n, f'out/{n % 2}.png', max_cycles=3)",
    "weights": "for n in range(999): network.save(Path(f'out/{n % 2}.npz'))",
}
"""Work that goes on writing files."""

BEFORE = f"""
import json, os
from pathlib import Path
import numpy as np
from aloha_marl import policies
from aloha_marl.arms import SIDES
from aloha_marl.files import write_text
from aloha_marl.policies.network import Network, NetworkPair
from aloha_marl.recording.plots import plot_episode
from aloha_marl.recording.video import record
from aloha_marl.tasks import make_task
task, short = "{TASK}", {SHORT | {"max_cycles": 30}}
arms = policies.load("scripted", task)
layers = ((np.zeros((900, 900), np.float32), np.zeros(900, np.float32)),)
network = NetworkPair(make_task(task), "partner", dict.fromkeys(SIDES, Network(layers)))
os.mkdir("out")
"""


@pytest.mark.slow
@pytest.mark.parametrize("work", WORK)
def test_kills(work: str, tmp_path: Path) -> None:
    """After a kill at any moment, what has its own name is whole."""
    out, rng = tmp_path / "out", random.Random(work)
    command = [sys.executable, "-c", BEFORE + WORK[work]]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        end = time.monotonic() + 60
        while not out.exists() or not any(not p.name.startswith(".") for p in out.iterdir()):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 1))
        process.kill()
    files = [path for path in out.iterdir() if not path.name.startswith(".")]
    assert files
    for path in files:
        opens(path)
