"""The subcommand ``export``: sets for other programs from recorded episodes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich.markup import escape
from typer import Argument, Option

from aloha_marl import datasets
from aloha_marl.cli import console as ui
from aloha_marl.datasets.export import FORMATS, exporter
from aloha_marl.files import check_writable


def export(
    source: Annotated[Path, Argument(help="Folder of recorded episodes.", show_default=False)],
    target: Annotated[Path, Argument(help="New folder for the set.", show_default=False)],
    format: Annotated[
        str, Option(help=f"Format of the set: {', '.join(FORMATS)}.", show_default=False)
    ],
    length: Annotated[
        int | None,
        Option(help="Steps of every episode, for act.", show_default="those of the longest"),
    ] = None,
) -> None:
    """Exports recorded episodes for ACT, act-plus-plus, Minari or LeRobot.

    After an interrupt, the same command goes on. The target appears when it is whole.
    """
    console = ui.terminal()
    with ui.usage_errors():
        if source.resolve() in target.resolve().parents:
            raise ValueError(f"{target} lies in {source}: its files would be taken for recordings")
        writer = exporter(datasets.open(source), target, format, length)
        check_writable(target)
    with (
        ui.progress(console, "export", writer.episodes) as done,
        ui.usage_errors(),
        ui.exit_on(console, OSError),
    ):
        for number in writer.write():
            done(number)
    console.print(f"{target}: {writer.episodes} episodes, {writer.steps} steps. To load them:")
    console.print(escape(writer.usage), soft_wrap=True, highlight=False)
