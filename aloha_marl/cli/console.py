"""Options, errors, progress bars and tables that the subcommands share."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aloha_marl import policies
from aloha_marl.arms import SIDES
from aloha_marl.checks import seed_number
from aloha_marl.cli.tables import success_matrix
from aloha_marl.core.metrics import BOTH, OWN
from aloha_marl.evaluation.pairs import Crossplay
from aloha_marl.evaluation.results import Episode, Evaluation
from aloha_marl.tasks import TASKS

TASK_NAMES = ", ".join(TASKS)
TasksOption = Annotated[
    list[str] | None, typer.Option(help=f"Task, may be repeated: {TASK_NAMES}.", show_default="all")
]
PolicyOption = Annotated[str, typer.Option(help=f"One of {', '.join(policies.NAMES)}.")]
COUNT: dict[str, Any] = {"min": 1, "max": 1_000_000}
"""Bounds of a number of episodes."""
WIDE = 1000
"""Characters of a line in which nothing is broken."""


def terminal(*, highlight: bool = False) -> Console:
    """The console; where it is no terminal, lines are as long as what is written."""
    console = Console(highlight=highlight)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = WIDE
    return console


def print_table(console: Console, table: Table) -> None:
    """Prints a table; where the terminal is too narrow, as lines of column and cell."""
    wide = console.options.update_width(WIDE)
    if console.measure(table, options=wide).minimum <= console.width:
        for column in table.columns:
            column.overflow = "fold"
        console.print(table)
        return
    if table.title:
        console.print(table.title)
    names = [f"[dim]{column.header}[/] " if column.header else "" for column in table.columns]
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        console.print(*(name + str(cell) for name, cell in zip(names, cells, strict=True) if cell))


def seeds_from(first: int, number: int) -> range:
    """Seeds from the first one on.

    Raises:
        ValueError: the last one is too large.
    """
    return range(first, seed_number(first + number - 1) + 1)


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turns an error of a value or of a file into a line and exit code 2."""
    try:
        yield
    except ConnectionError:  # an OSError, but nobody's mistake
        raise
    except (OSError, ValueError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename} {error.strerror}"
        typer.echo(f"Error: {text}", err=True)  # one line: Typer's own box would break paths
        raise typer.Exit(2) from error


@contextlib.contextmanager
def exit_on(console: Console, *errors: type[Exception]) -> Iterator[None]:
    """Turns errors of these types into their message and exit code 1."""
    try:
        yield
    except typer.Exit:  # a RuntimeError too
        raise
    except errors as error:
        console.print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


def progress_bar(console: Console, *, transient: bool = False) -> Progress:
    """A bar with label, count and time left; a transient one is removed at the end."""
    label = TextColumn("{task.description}")
    parts = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Into a file or a pipe it would write an empty line.
    return Progress(*parts, console=console, transient=transient, disable=not console.is_terminal)


@contextlib.contextmanager
def progress(console: Console, label: str, total: int) -> Iterator[Callable[[Episode], None]]:
    """A transient bar; yields a function that advances it by one episode."""
    with progress_bar(console, transient=True) as bar:
        row = bar.add_task(label, total=total)
        yield lambda _: bar.advance(row)


def mark(episode: Episode) -> str:
    """The success of an episode in one coloured word: yes, no or diverged."""
    if episode.success:
        return "[green]yes[/]"
    return "[red]diverged[/]" if episode.diverged else "[red]no[/]"


def report(result: Evaluation) -> Table:
    """The figures of an evaluation, and the reasons of its first ten failures."""
    low, high = result.interval
    steps = result.success_steps
    pace = f"mean {sum(steps) / len(steps):.1f}, worst {max(steps)}" if steps else "-"
    failed = [episode for episode in result.episodes if not episode.success]
    rows = {
        "success": f"{result.successes} of {len(result.episodes)} = {result.success_rate:.1%} "
        f"(95 % interval {low:.1%} .. {high:.1%})",
        "steps of successes": pace,
        "highest stage": ", ".join(f"{i}: {n}" for i, n in result.stage_counts.items()),
        "diverged": str(sum(episode.diverged for episode in result.episodes)),
        **({"not played": f"{len(result.unplayed)}, interrupted"} if result.unplayed else {}),
        "failed seeds": ", ".join(str(e.seed) for e in failed) or "-",
    }
    for name, meaning in (BOTH | OWN).items():
        keys = (f"{side}_{name}" for side in SIDES) if name in OWN else (name,)
        values = [f"{result.metrics[key]:.2f}" for key in keys if key in result.metrics]
        if values:
            unit = re.findall(r"\[(.*)\]", meaning)
            rows[name.replace("_", " ")] = " ".join([" / ".join(values), *unit])
    rows |= {f"why {episode.seed}": episode.reason for episode in failed[:10]}
    if failed[10:]:
        rows["why others"] = "see the file that --json writes"
    table = Table(box=box.SIMPLE, show_header=False, title=f"{result.policy} on {result.task}")
    for name, text in rows.items():
        table.add_row(name, escape(text))
    return table


def matrix(result: Crossplay) -> Table:
    """Success rates of all pairs, each above its interval; the diagonal is bold."""
    interval = "\n[dim]{interval}[/]"
    content = success_matrix(result, "{rate}" + interval, "[bold]{rate}[/]" + interval)
    table = Table(title=content.title, box=box.SIMPLE_HEAD, show_edge=False, padding=0)
    for title in content.columns:
        table.add_column(escape(title.replace(" \\ ", " \\\n")), justify="right")
    for row in content.rows:
        table.add_row(*row)
    return table
