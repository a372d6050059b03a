"""The app ``aloha-marl``: its subcommands, in the order of its help."""

from __future__ import annotations

import typer

from aloha_marl.cli.describe import doctor, show
from aloha_marl.cli.play import crossplay, demo, evaluation, record_video, view

app = typer.Typer(
    help="ALOHA's two arms as agents: demonstrations, evaluation and tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(demo)
app.command()(record_video)
app.command("eval")(evaluation)
for command in (view, crossplay, show, doctor):
    app.command()(command)
