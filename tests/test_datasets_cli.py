"""The commands ``record``, ``replay`` and ``inspect``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_cli import run
from test_datasets import record
from test_datasets_replay import edit

from aloha_marl import datasets
from aloha_marl.datasets import Episode
from aloha_marl.envs.vector_env import AlohaVectorEnv

SMALL = ("--camera", "top", "--size", "24x32")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two short episodes."""
    folder = tmp_path_factory.mktemp("recorded")
    record(folder, "insertion", (3, 4), 2, options={"max_cycles": 6})
    return folder


def copy(folder: Path, to: Path) -> Path:
    """A copy of the recorded files that may be spoiled."""
    to.mkdir()
    for path in folder.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    return to


@pytest.mark.slow
def test_record_replay_inspect(tmp_path: Path) -> None:
    """All options arrive: a film of each arm, a policy per arm, imperfect arms, seeds and length."""
    words = ("record", "insertion", "--episodes", "3", "--first-seed", "8", "--workers", "2")
    words += ("--left", "random", "--control", "ee_delta", "--camera", "wrist", "--size", "24x32")
    words += ("--quality", "h264", "--length", "20", "--delay", "1", "--noise", "joint_pos=0.01")
    words += ("--freeze", "0.9:2-9", "--randomize", "friction=0.8..1.2", "--out", str(tmp_path))
    folder = tmp_path / "insertion"
    assert f"{folder}: 3 episodes recorded, 60 steps" in run(*words)
    again = run(*words)
    assert f"{folder}: 0 episodes recorded, 0 steps, 0.0 MB; 3 were there" in again
    assert [episode.metadata.seed for episode in datasets.open(folder)] == [8, 9, 10]
    kept = datasets.open(folder)[0].metadata
    assert (kept.drivers, kept.cameras) == (("random", "scripted"), ("left_wrist", "right_wrist"))
    assert kept.options["control"] == "ee_delta"
    assert str(kept.perturbations) == (
        "action delay 1, noise joint_pos=0.01, freeze 0.9 in steps 2..9, friction 0.8..1.2"
    )
    text = run("replay", str(folder))
    assert text.count("20 steps from its seed, stage 0: equal bit for bit") == 3
    assert text.endswith("3 equal bit for bit\n")
    out = tmp_path / "new"
    run("replay", str(folder), "--out", str(out), "--quality", "jpeg", *SMALL)
    assert [episode.cameras for episode in datasets.open(out)] == [("top",)] * 3
    text = run("replay", str(folder), "--out", str(out), "--quality", "jpeg", *SMALL)
    assert text == "3 there already\n"
    text = run("inspect", str(tmp_path), "--plot", str(tmp_path / "plot.png"))
    assert text.count("random + scripted") == 6
    assert text.endswith("6 episodes, 120 steps\n")
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_what_differs(recorded: Path, tmp_path: Path) -> None:
    """One that differs ends in exit code 1, one that is damaged in 2; the others are replayed."""
    folder = copy(recorded, tmp_path / "x")
    first, second = sorted(folder.iterdir())
    edit(second, {"options": {"reward": "sparse", "metrics": False, "scope": "local"}})
    text = run("replay", str(folder), code=2)
    assert "observations has rows of shape (2, 79), in the replay they are (2, 69)" in text
    edit(second, {"options": {"start": "gym_aloha", "max_cycles": 3}})
    text = run("replay", str(folder), code=1)
    assert f"{second}: 3 steps from its state, stage 0: truncated differs from step 3 on" in text
    assert text.endswith("1 equal bit for bit, 1 different\n")
    second.write_bytes(second.read_bytes()[:-9])
    text = run("replay", str(folder), code=2)
    assert f"Error: {second} is damaged" in text
    assert f"{first}: 6 steps" in text
    assert text.endswith("1 equal bit for bit, 1 not replayed\n")


BAD = {
    ("record", "lift"): "task='lift' is unknown",
    ("record", "--policy", "expert"): "policy='expert' is unknown",
    ("record", "--size", "640"): "--size '640' must be HEIGHTxWIDTH, such as 480x640",
    ("record", "--size", "0x9"): "size=0 must be a whole number from 1 to 8192",
    ("record", "--quality", "png"): "quality='png' is unknown; valid: 'lossless', 'jpeg'",
    ("record", "--camera", "left/wrist"): "camera 'left/wrist' does not exist; valid:",
    ("record", "--first-seed", str(2**32 - 1)): "seed=4294967344 must be",
    ("record", "--noise", "joint_pos"): "--noise 'joint_pos' must be NAME=DEVIATION",
    ("replay", "nowhere"): "nowhere: No such file or directory",
    ("replay", "{}", "--pose", "cube"): "--pose 'cube' must be OBJECT=X,Y,Z or OBJECT",
    ("replay", "{}", "--pose", "peg=0,0.5,0.1"): "has its own poses",
    ("replay", "{}", "--size", "1"): "--size '1' must be HEIGHTxWIDTH",
    ("replay", "{}", "--out", "x", "--camera", "y"): "camera 'y' does not exist; valid:",
    ("replay", "{}", "--out", "x", "--render-quality", "y"): "render_quality='y' is unknown",
    ("replay", "{}", "--task", "lift"): "task='lift' is unknown",
    ("inspect", "nowhere"): "nowhere: No such file or directory",
    ("inspect", "."): ". has no episodes: no file *.hdf5",
    ("inspect", "{}", "--plot", "x.y"): "picture format='y' is unknown",
}


@pytest.mark.parametrize("words", BAD, ids=" ".join)
def test_bad_input(words: Any, recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line, exit code 2, and nothing is written."""
    if words[0] == "record":
        monkeypatch.setattr(AlohaVectorEnv, "reset", None)
    path = recorded / "seed_000003.hdf5"
    lines = run(*(word.format(path) for word in words), code=2).splitlines()
    assert BAD[words] in lines[0]
    assert lines[0].startswith("Error: ")
    assert lines[1:] in ([], ["1 not replayed"])
    assert not list(Path().rglob("*.*"))


def test_only_whole_files_are_opened(recorded: Path, tmp_path: Path) -> None:
    """What a kill left is no episode."""
    folder = copy(recorded, tmp_path / "x")
    (folder / ".seed_000009.abcd.part.hdf5").write_bytes(b"half")
    assert run("inspect", str(folder)).endswith("2 episodes, 12 steps\n")
    assert all(isinstance(episode, Episode) for episode in datasets.open(folder))
