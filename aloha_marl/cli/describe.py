"""The subcommands that describe tasks, policies or this machine: ``list``, ``show``, ``doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rich import box
from rich.markup import escape
from rich.table import Table
from typer import Argument, Exit, Option, echo

from aloha_marl import plugins, policies
from aloha_marl.cli.console import TASK_HELP, print_table, terminal, usage_errors
from aloha_marl.cli.doctor import Machine, diagnose, write_icd
from aloha_marl.cli.tables import as_markdown, tables
from aloha_marl.core.observations import SCOPES
from aloha_marl.evaluation import versions
from aloha_marl.files import check_writable, write_text
from aloha_marl.tasks import TASKS, make_task


def listing() -> None:
    """Lists tasks and policies by name, and where each comes from; imports none of them."""
    console = terminal()
    package = f"aloha_marl {versions()['aloha_marl']}"
    tasks = {
        name: package
        if (module := task.__module__).startswith("aloha_marl.")
        else f"registered: {module}:{task.__qualname__}"
        for name, task in TASKS.items()
    }
    own = dict.fromkeys(policies.NAMES, package)
    for kind, origins, group, other in (
        ("task", tasks, plugins.TASKS, "module:Class"),
        ("policy", own, plugins.POLICIES, "a file (.npz, .onnx, .pt) or module:attribute"),
    ):
        table = Table(kind, "from", box=box.SIMPLE_HEAD)
        rows = [*origins.items()]
        for name, points in plugins.announced(group).items():
            rows += [(name, plugins.origin(point)) for point in points]
        for row in rows:
            table.add_row(*map(escape, row))
        print_table(console, table)
        console.print(f"  Also: {other}.\n", highlight=False)


def show(
    task: Annotated[list[str], Argument(help=f"One or more of {TASK_HELP}")],
    scope: Annotated[str, Option(help=f"What an arm observes: {', '.join(SCOPES)}.")] = SCOPES[0],
    markdown: Annotated[bool, Option(help="Print Markdown, with scope full.")] = False,
) -> None:
    """Lists every number of the observations and actions, the stages and the cameras."""
    with usage_errors():
        parts = {name: list(tables(name, "full" if markdown else scope)) for name in task}
    if markdown:
        echo(as_markdown(parts), nl=False)
        return
    console = terminal(highlight=True)
    for name, content in parts.items():
        console.print(f"\n[bold]{escape(name)}[/]: {escape(make_task(name).summary)}\n")
        for part in content:
            table = Table(
                *part.columns, title=part.title, title_justify="left", box=box.SIMPLE_HEAD
            )
            for row in part.rows:
                table.add_row(*map(escape, row))
            print_table(console, table)


def doctor(
    write: Annotated[
        bool, Option("--write-icd", help="Write the file by which EGL finds NVIDIA's library.")
    ] = False,
    json: Annotated[Path | None, Option(help="File to write the report to, as JSON.")] = None,
) -> None:
    """Reports what draws pictures here, how fast, and how to fix problems; exit code 1 if nothing does."""
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
                f"{error.filename} can't be written: {error.strerror}. Run this as root, or set "
                "__EGL_VENDOR_LIBRARY_DIRS to another folder, now and whenever pictures are drawn."
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
        console.print("No problems found.")
    if json is not None:
        console.print(escape(f"{json}: this report"), soft_wrap=True)
    raise Exit(1 if result.drawing.error else 0)
