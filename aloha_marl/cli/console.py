"""Arguments, errors, progress bars and tables that the subcommands share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aloha_marl import policies
from aloha_marl.checks import seed_number
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.observations import SCOPES
from aloha_marl.tasks import TASKS, Task, make_task

TASK_HELP = f"{', '.join(TASKS)}, another that `list` shows, or module:Class."
POLICY_HELP = f"{', '.join(policies.NAMES)}, another that `list` shows, "
POLICY_HELP += "a file (.npz, .onnx, .pt), or module:attribute."

TaskArgument = Annotated[str, typer.Argument(help=TASK_HELP)]
TasksArgument = Annotated[
    list[str] | None, typer.Argument(help=f"One or more of {TASK_HELP}", show_default="all")
]
PolicyOption = Annotated[str, typer.Option(help=f"Policy of both arms: {POLICY_HELP}")]
ArmOption = Annotated[
    str | None, typer.Option(help="Policy of this arm, instead of --policy.", show_default=False)
]
ScopeOption = Annotated[
    str | None,
    typer.Option(
        help=f"What an arm observes: {', '.join(SCOPES)}.", show_default="the policy's own"
    ),
]
ControlOption = Annotated[
    str | None,
    typer.Option(
        help=f"Meaning of the actions: {', '.join(CONTROLS)}.", show_default="the policy's own"
    ),
]
COUNT: dict[str, Any] = {"min": 1, "max": 1_000_000}
"""Bounds of a number of episodes."""
EpisodesOption = Annotated[int, typer.Option(**COUNT, help="Number of episodes, a seed each.")]
SeedOption = Annotated[
    int, typer.Option(min=0, help="Seed of the first episode; the next ones count up.")
]
WIDE = 1000
"""Characters of a line in which nothing is broken."""
_LONGEST = 80
"""Characters of a policy's name in the name of a file."""


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


def tasks_of(names: list[str] | None) -> list[Task]:
    """The tasks of these names, or all if there are none.

    Raises:
        ValueError: there is no such task.
    """
    return [make_task(name) for name in dict.fromkeys(names or TASKS)]


def both_arms(policy: str, left: str | None, right: str | None) -> str:
    """Name of the policies of both arms: one name, or two if they differ."""
    return " + ".join(dict.fromkeys((left or policy, right or policy)))


def file_name(name: str) -> str:
    """A part of a file's name for the name of a policy or a task; different for different names."""
    plain = re.sub(r"[^\w.+-]", "_", name)
    if name in policies.NAMES or (plain == name and len(name) <= _LONGEST):
        return plain
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{plain[-_LONGEST:]}_{digest[:6]}"


def print_error(text: object) -> None:
    """Prints an error in one line; Typer's own box would break paths."""
    typer.echo(f"Error: {' '.join(str(text).splitlines())}", err=True)


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Turns an error of a value, of a file or of a missing library into a line and exit code 2."""
    try:
        yield
    except ConnectionError:  # an OSError, but nobody's mistake
        raise
    except (ImportError, OSError, ValueError) as error:
        text = str(error)
        if isinstance(error, OSError) and error.filename:
            text = f"{error.filename}: {error.strerror}"
        print_error(text)
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
    label = TextColumn("{task.description}", markup=False)
    parts = (label, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    # Into a file or a pipe it would write an empty line.
    return Progress(*parts, console=console, transient=transient, disable=not console.is_terminal)


@contextlib.contextmanager
def progress(console: Console, label: str, total: int) -> Iterator[Callable[[object], None]]:
    """A transient bar; yields a function that advances it by one episode."""
    with progress_bar(console, transient=True) as bar:
        row = bar.add_task(label, total=total)
        yield lambda _: bar.advance(row)
