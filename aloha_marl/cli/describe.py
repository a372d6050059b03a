"""The subcommands that describe a task or this machine: ``show`` and ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich import box
from rich.markup import escape
from rich.table import Table
from typer import Argument, Exit, Option, echo

from aloha_marl.cli.console import TASK_NAMES, print_table, terminal, usage_errors
from aloha_marl.cli.doctor import Machine, diagnose, write_icd
from aloha_marl.cli.tables import as_markdown, tables
from aloha_marl.core.observations import SCOPES
from aloha_marl.files import check_writable, write_text
from aloha_marl.tasks import TASKS


def show(
    task: Annotated[list[str], Argument(help=f"One or more of {TASK_NAMES}.")],
    scope: Annotated[str, Option(help=f"What an arm may know: {', '.join(SCOPES)}.")] = SCOPES[0],
    markdown: Annotated[bool, Option(help="As Markdown, with scope full.")] = False,
) -> None:
    """Lists every number of the observations and actions, the stages and the cameras."""
    with usage_errors():
        parts = {name: list(tables(name, "full" if markdown else scope)) for name in task}
    if markdown:
        echo(as_markdown(parts), nl=False)
        return
    console = terminal(highlight=True)
    for name, content in parts.items():
        console.print(f"\n[bold]{name}[/]: {TASKS[name].summary}\n")
        for part in content:
            table = Table(
                *part.columns, title=part.title, title_justify="left", box=box.SIMPLE_HEAD
            )
            for row in part.rows:
                table.add_row(*map(escape, row))
            print_table(console, table)


def doctor(
    write: Annotated[
        bool, Option("--write-icd", help="Write the file that shows EGL NVIDIA's library.")
    ] = False,
    json: Annotated[Path | None, Option(help="Write the report to this file.")] = None,
) -> None:
    """Says what draws the pictures here, how fast, and what to mend; exit code 1 if nothing does."""
    console = terminal()
    with usage_errors():
        check_writable(*filter(None, [json]))
    machine = Machine()
    if write:
        folder = machine.icd_folders()[-1]
        try:
            console.print(escape(f"{write_icd(folder)}: written"), soft_wrap=True)
        except OSError as error:
            console.print(
                f"{error.filename} can't be written: {error.strerror}. Run this as root, or choose "
                "another folder by __EGL_VENDOR_LIBRARY_DIRS, then and whenever pictures are drawn."
            )
            raise Exit(1) from None
    with console.status("Drawing", spinner="line"):
        result = diagnose(machine)
    if json is not None:
        write_text(json, result.to_json())
    table = Table(box=box.SIMPLE, show_header=False, title="OpenGL for pictures")
    for row in result.rows():
        table.add_row(*map(escape, row))
    print_table(console, table)
    for number, finding in enumerate(result.findings, 1):
        wrong = Table.grid(padding=(0, 1, 0, 0))  # a hanging indent
        wrong.add_row(f"{number}.", escape(finding.wrong))
        console.print(wrong)
        for line in finding.mend.splitlines():
            console.print(f"   [cyan]{escape(line)}[/]", soft_wrap=True)
    if not result.findings:
        console.print("Nothing to mend.")
    if json is not None:
        console.print(escape(f"{json}: this report"), soft_wrap=True)
    raise Exit(1 if result.drawing.error else 0)
