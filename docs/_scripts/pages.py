"""Folders, tables and figures that the scripts of this folder share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aloha_marl.cli.tables import Table
from aloha_marl.evaluation import wilson
from aloha_marl.policies.learned import WEIGHTS

PAGES = Path(__file__).parent.parent
RESULTS = PAGES / "results"
IMAGES = PAGES / "images"

NETWORKS = ("imitation", "adaptive", "chunks_both", "chunks_per_arm", "ippo")
"""Methods whose figures depend on the kind of processor."""

PROCESSORS = """\
\\* The processor decides how the sums in a network are rounded. On processors of one kind, and with
the same versions, these figures repeat exactly; on another kind a few episodes may end differently.
Of the 300 episodes of `ippo`, two did so between two machines."""


def learned(task: str) -> list[str]:
    """The methods whose networks for a task come with the package."""
    return [method for method in NETWORKS if (WEIGHTS / f"{method}_{task}.npz").exists()]


def player(task: str) -> str:
    """The policy that plays in a task's film."""
    return "imitation" if "imitation" in learned(task) else "scripted"


def marked(method: str) -> str:
    """A method with the mark that :data:`PROCESSORS` explains, if it has networks."""
    return method + ("\\*" if method in NETWORKS else "")


def plain(columns: Sequence[str], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown without a heading."""
    return Table("", tuple(columns), rows).markdown()


def bounds(won: int, episodes: int, decimals: int = 1) -> str:
    """The Wilson interval of a success rate."""
    low, high = (f"{100 * end:.{decimals}f}" for end in wilson(won, episodes))
    return f"{low} .. {high} %"


def interval(run: Mapping[str, Any]) -> tuple[str, str, str]:
    """Successes of an evaluation, their share and its Wilson interval."""
    summary = run["evaluation"]["summary"]
    won, episodes = summary["successes"], summary["episodes"]
    return f"{won} of {episodes}", f"{100 * won / episodes:.1f} %", bounds(won, episodes)


def times(run: Mapping[str, Any]) -> tuple[str, ...]:
    """Wall time and CPU time of a training."""
    end = run["curve"][-1]
    return tuple(f"{end[f'{name}_seconds'] / 60:.1f} min" for name in ("wall", "cpu"))
