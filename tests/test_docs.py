"""What the documentation says is so."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from aloha_marl.options import Options
from aloha_marl.policies import STYLES
from aloha_marl.tables import as_markdown, tables
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


def test_observations_page() -> None:
    """The page is what `make docs` writes now."""
    made = as_markdown({name: list(tables(name, "full")) for name in TASKS})
    assert (ROOT / "docs" / "observations.md").read_text() == made, "run `make docs`"


def test_crossplay_page() -> None:
    """The page says what the results beside it say; they have every style, and seeds enough."""
    made = runpy.run_path(str(ROOT / "docs" / "crossplay.py"))
    assert (ROOT / "docs" / "crossplay.md").read_text() == made["page"](), "run `make docs`"
    results = made["results"]()
    assert list(results) == list(TASKS)
    for result in results.values():
        assert result.names == tuple(STYLES)
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
    """The page says what the results beside it say; each task was trained with three seeds."""
    made = runpy.run_path(str(ROOT / "docs" / "imitation.py"))
    assert (ROOT / "docs" / "imitation.md").read_text() == made["page"](), "run `make docs`"
    for task in TASKS:
        runs = [run for run in made["runs"]() if run["arguments"]["task"] == task]
        assert len({run["arguments"]["seed"] for run in runs}) >= 3
        assert all(run["evaluation"]["summary"]["episodes"] >= 300 for run in runs)
