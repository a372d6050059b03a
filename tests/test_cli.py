"""Each subcommand runs, and a bad name ends in exit code 2 with the valid ones."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from helpers import TASK_NAMES

pytest.importorskip("typer")
pytest.importorskip("rich")

from rich.console import Console
from typer.main import get_group
from typer.testing import CliRunner

from aloha_marl import cli, policies
from aloha_marl.cli import app as commands
from aloha_marl.cli import console, play
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.observations import SCOPES, Layout
from aloha_marl.evaluation import Crossplay, Episode, Evaluation
from aloha_marl.recording import video as recording
from aloha_marl.tasks import TASKS


def run(*arguments: str, code: int = 0) -> str:
    """What a command prints, in one line each; checks its exit code."""
    result = CliRunner(env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}).invoke(
        commands.app, arguments
    )
    assert result.exit_code == code, result.output
    return result.output


def test_help() -> None:
    """Every subcommand is listed and has a help text."""
    text = run("--help")
    names = list(get_group(commands.app).commands)
    assert names == ["demo", "record-video", "eval", "view", "crossplay", "show", "doctor"]
    for name in names:
        assert name in text
        assert "--help" in run(name, "--help")


def test_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row per task and seed, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    text = run("demo", "--episodes", "2", "--first-seed", "10000", "--no-video")
    rows = [line.split() for line in text.splitlines() if line.split()[:1] in [[n] for n in TASKS]]
    assert [row[:2] for row in rows] == [[n, s] for n in TASKS for s in ("10000", "10001")]
    assert all(row[-1] == "yes" for row in rows)
    assert not list(tmp_path.iterdir())


def test_demo_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first seed of each task is filmed into the folder asked for."""
    made = []
    monkeypatch.setattr(play, "record", lambda *arguments: made.append(arguments))
    out = tmp_path / "films"
    run("demo", "--episodes", "1", "--first-seed", "7", "--task", "insertion", "--out", str(out))
    ((name, _, seed, path),) = made
    assert (name, seed, path) == ("insertion", 7, out / "insertion.mp4")


def test_demo_without_opengl(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing is said, and the demo is no failure."""

    def missing() -> None:
        raise RuntimeError("no videos without [this]")

    monkeypatch.setattr(recording, "_imageio", missing)
    assert "No video: no videos without [this]" in run("demo", "--episodes", "1")


def test_eval(tmp_path: Path) -> None:
    """Prints the rate; the JSON is the same on the second run."""
    files = [tmp_path / "a" / "first.json", tmp_path / "second.json"]
    for file in files:
        control = ("--control", "ee_delta")
        text = run("eval", "--episodes", "2", "--scope", "local", *control, "--json", str(file))
        assert "2 of 2 = 100.0%" in text
    assert files[0].read_text() == files[1].read_text()
    content = json.loads(files[0].read_text())
    assert content["seeds"] == [10_000, 10_001]
    assert content["options"]["scope"] == "local"
    assert content["options"]["control"] == "ee_delta"
    assert content["options"]["max_joint_speed"] == 3.14


def test_report() -> None:
    """The table of an evaluation: rates, paces of successes alone, the first ten reasons, means."""
    nothing, figures = (None,) * 4, {"left_idle_share": 0.25, "right_idle_share": 0.5, "drops": 2.0}
    episodes = [Episode(i, True, 100 + 50 * i, 4, False, (1, 2, 3, 4), "", figures) for i in (0, 1)]
    episodes += [
        Episode(i, False, 300, 1, i == 12, nothing, f"because of {i}", figures)
        for i in range(2, 14)
    ]
    lines = io.StringIO()
    table = console.report(Evaluation("insertion", "own", {}, tuple(episodes)))
    Console(file=lines, width=200).print(table)
    rows = dict(re.findall(r"^ +(.+?)  +(.+?) *$", lines.getvalue(), re.MULTILINE))
    assert rows.pop("success").startswith("2 of 14 = 14.3% (95 % interval 4.0% .. 39.9%)")
    assert rows.pop("steps of successes") == "mean 125.0, worst 150"
    assert rows.pop("highest stage") == "0: 0, 1: 12, 2: 0, 3: 0, 4: 2"
    assert rows.pop("diverged") == "1"
    assert rows.pop("failed seeds") == ", ".join(map(str, range(2, 14)))
    assert rows.pop("idle share") == "0.25 / 0.50"
    assert rows.pop("drops") == "2.00"
    assert "--json" in rows.pop("why others")
    assert {k: v for k, v in rows.items() if k.startswith("why")} == {
        f"why {i}": f"because of {i}" for i in range(2, 12)
    }
    marks = {re.sub(r"\[.*?\]", "", console.mark(episode)) for episode in episodes}
    assert marks == {"yes", "no", "diverged"}


def test_eval_options(tmp_path: Path) -> None:
    """Options reach the environment; an episode that fails is no error."""
    options = {"rules": "gym_aloha", "start": "gym_aloha", "max-cycles": "3"}
    arguments = [word for name, value in options.items() for word in (f"--{name}", value)]
    file = tmp_path / "result.json"
    speed = ("--max-joint-speed", "none")
    text = run(
        "eval", "--task", "insertion", "--episodes", "1", *arguments, *speed, "--json", str(file)
    )
    assert "0 of 1" in text
    assert "stage 1 was not reached: both arms touch their object; at the end left_arm goes" in text
    kept = json.loads(file.read_text())["options"]
    assert kept["max_joint_speed"] is None
    assert (kept["rules"], kept["start"], kept["max_cycles"]) == ("gym_aloha", "gym_aloha", 3)


def test_eval_without_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install is said."""

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", missing)
    text = run("eval", "--ray", "auto", code=1)
    assert "needs ray>=2.60,<3, which is not installed: pip install 'aloha_marl[rllib]'" in text


def test_eval_styles(tmp_path: Path) -> None:
    """A style reads its own scope unless another is asked for."""
    for scope, arguments in {"local": (), "partner": ("--scope", "partner")}.items():
        file = tmp_path / f"{scope}.json"
        policy = ("--policy", "scripted:alone", "--max-cycles", "2", *arguments)
        run("eval", "--episodes", "1", *policy, "--json", str(file))
        assert json.loads(file.read_text())["options"]["scope"] == scope


@pytest.mark.slow
def test_crossplay(task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prints the matrix and writes it twice: as JSON, and as a picture if matplotlib is there."""
    monkeypatch.chdir(tmp_path)
    names = ("scripted:fast", "scripted:high")
    arguments = ("crossplay", *names, names[0], "--task", task, "--episodes", "1")
    text = run(*arguments, "--first-seed", "20000")
    assert f"out/crossplay_{task}.json and .png" in text
    file = tmp_path / "out" / f"crossplay_{task}.json"
    content = json.loads(file.read_text())
    assert (content["names"], content["seeds"]) == (list(names), [20_000])
    result = Crossplay.from_json(file.read_text())
    assert set(result.rates.flat) <= {0, 1}
    assert result.summary() in text
    rows = [line.split() for line in text.splitlines()]
    for label, rates, intervals in zip(
        ("fast", "high"), result.rates, result.intervals, strict=True
    ):
        percent = [f"{100 * rate:.0f}" for rate in (*rates, rates.mean())]
        assert [label, *percent] in rows
        assert [f"{100 * low:.0f}-{100 * high:.0f}" for low, high in intervals] in rows
    assert file.with_suffix(".png").stat().st_size > 10_000

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    text = run("crossplay", names[0], "--task", task, "--episodes", "1", "--out", "plain")
    assert "pip install 'aloha_marl[cli]'" in text
    assert [path.name for path in (tmp_path / "plain").iterdir()] == [file.name]


@pytest.mark.parametrize("scope", SCOPES)
def test_show(task: str, scope: str) -> None:
    """Lists every number of the observation."""
    text = run("show", task, "--scope", scope)
    for row in Layout(tuple(TASKS[task].objects), scope).rows():
        assert f" {row[0]} " in text
        assert f" {row[1]} " in text
    for words in ("right_wrist", "forearm_roll", *CONTROLS, *TASKS[task].stages):
        assert words in text


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        (("show", "juggle"), TASK_NAMES),
        (("show", "insertion", "--scope", "all"), SCOPES),
        (("demo", "--task", "juggle"), TASK_NAMES),
        (("eval", "--task", "juggle"), TASK_NAMES),
        (("eval", "--policy", "genius"), ("scripted",)),
        (("eval", "--policy", "scripted:lazy"), tuple(policies.NAMES)),
        (("crossplay", "scripted", "genius"), tuple(policies.NAMES)),
        (("crossplay", "--task", "juggle"), TASK_NAMES),
        (("eval", "--scope", "all"), ("partner", "local")),
        (("eval", "--control", "torque"), ("joint_position", "ee_delta")),
        (("view", "--task", "juggle"), TASK_NAMES),
        (("view", "--policy", "genius"), ("scripted",)),
        (("view", "--scope", "all"), ("partner", "local")),
        (("eval", "--rules", "loose"), ("strict", "gym_aloha")),
        (("eval", "--start", "fixed"), ("random", "gym_aloha")),
        (("eval", "--max-joint-speed", "fast"), ("positive number", "'none'")),
        (("eval", "--max-cycles", "0"), ("max_cycles=0",)),
        (("perform",), ("perform",)),
    ],
)
def test_bad_names(arguments: tuple[str, ...], valid: tuple[str, ...]) -> None:
    """Exit code 2, and the message lists what is valid."""
    text = run(*arguments, code=2)
    for name in valid:
        assert name in text


def test_installed_command() -> None:
    """The module runs without a warning."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "aloha_marl.cli", "--help"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


@pytest.mark.parametrize("library", ["typer", "rich"])
def test_without_extra(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that says what to install."""
    for name in [*sys.modules]:
        if name.split(".")[0] == library or name.startswith("aloha_marl.cli."):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(SystemExit, match=rf"needs {library}: pip install 'aloha_marl\[cli\]'"):
        cli.main()
