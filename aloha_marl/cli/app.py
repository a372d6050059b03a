"""The app ``aloha-marl``: its subcommands, in the order of its help."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import typer

from aloha_marl.cli.describe import doctor, show
from aloha_marl.cli.play import crossplay, demo, evaluation, record_video, view

app = typer.Typer(
    help="ALOHA's two arms as agents: demonstrations, evaluation and tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _ending(command: Callable[..., None]) -> Callable[..., None]:
    """The command with a line instead of a traceback for Ctrl-C, a full disk and the like."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
        except KeyboardInterrupt:
            typer.echo("Interrupted.", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise  # Typer ends silently
        except OSError as error:
            typer.echo(error, err=True)
            raise typer.Exit(1) from error

    return run


for function in (demo, record_video, evaluation, view, crossplay, show, doctor):
    app.command("eval" if function is evaluation else None)(_ending(function))
