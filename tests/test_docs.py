"""The documentation is true: its code runs, its links lead somewhere, its pages equal the results."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import baselines
import crossplay
import imitation
import pytest

from aloha_marl.cli.tables import as_markdown, tables
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.options import Options
from aloha_marl.evaluation import wilson
from aloha_marl.policies import STYLES
from aloha_marl.policies.one_arm import ATTEMPTS
from aloha_marl.tasks import TASKS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("benchmarks/*.md")]


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_readme_runs(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Each Python block runs, and prints what its comment says."""
    exec(compile(BLOCKS[number], f"README block {number}", "exec"), {})
    said = re.findall(r"print\(.*\)  # (.*)", BLOCKS[number])
    assert capsys.readouterr().out.splitlines() == said


def test_readme_has_a_quick_start() -> None:
    """Short enough to read at once."""
    assert len(BLOCKS[0].splitlines()) <= 12
    assert len(README.splitlines()) <= 150


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page: Path) -> None:
    """Files that are linked to are there."""
    text = re.sub(r"```.*?```|`[^`]*`", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (page.parent / target).is_file(), target


def test_commands() -> None:
    """Scripts that the pages tell to run are there."""
    named = {name for page in PAGES for name in re.findall(r"python (\S+\.py)", page.read_text())}
    assert len(named) >= 5
    for name in named:
        assert (ROOT / name).is_file(), name


def test_observations_page() -> None:
    """The page equals the output of `make docs` now."""
    made = as_markdown({name: list(tables(name, "full")) for name in TASKS})
    assert (ROOT / "docs" / "observations.md").read_text() == made, "run `make docs`"


def test_crossplay_page() -> None:
    """The page equals the results, which have every style, and seeds enough."""
    assert (ROOT / "docs" / "crossplay.md").read_text() == crossplay.page(), "run `make docs`"
    results = crossplay.results()
    assert list(results) == list(TASKS)
    for result in results.values():
        assert result.names == tuple(STYLES)
        assert len(result.seeds) >= 50
    for result in crossplay.results("crossplay_learned").values():
        assert result.names == crossplay.LEARNERS == ("scripted", "imitation", "ippo")
        assert len(result.seeds) >= 50


def test_readme_names_what_exists() -> None:
    """Options and tasks in the tables are the package's own."""
    table = README.split("## Options")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
    names = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert names
    assert names <= Options.__dataclass_fields__.keys()
    for name in TASKS:
        assert f"| `{name}` |" in README


def test_imitation_page() -> None:
    """The page equals the results; each task was learned well with three seeds."""
    assert (ROOT / "docs" / "imitation.md").read_text() == imitation.page(), "run `make docs`"
    for task in TASKS:
        runs = [run for run in imitation.runs() if run["arguments"]["task"] == task]
        assert len({run["arguments"]["seed"] for run in runs}) >= 3
        for run in runs:
            summary = run["evaluation"]["summary"]
            assert summary["episodes"] >= 300
            assert summary["success_rate_wilson_95"][0] >= 0.94


def test_baselines_page() -> None:
    """The page equals the results: all methods on the same strict starts, 300 of them."""
    assert (ROOT / "docs" / "baselines.md").read_text() == baselines.page(), "run `make docs`"
    played = set()
    for run in baselines.runs():
        evaluation = run["evaluation"]
        summary, options = evaluation["summary"], evaluation["options"]
        assert summary["episodes"] == 300
        assert summary["success_rate_wilson_95"] == pytest.approx(wilson(summary["successes"], 300))
        if run["method"] == baselines.ALONE:
            attempt, start = run["arguments"]["attempt"], "gym_aloha"
            played.add((attempt, options["rules"]))
            assert options["rules"] == "gym_aloha" or summary["successes"] == 0
        else:
            start = "random"
            played.add((run["method"], evaluation["task"], options["control"]))
            assert options["rules"] == "strict"
        assert (options["start"], evaluation["first_seed"]) == (start, 100_000)
    methods, rules = ("scripted", "imitation"), ("strict", "gym_aloha")
    assert played >= {*itertools.product(methods, TASKS, CONTROLS)}
    assert played >= {("random", task, "joint_delta") for task in TASKS}
    assert played >= {*itertools.product(ATTEMPTS, rules)}
