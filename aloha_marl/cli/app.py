"""The subcommands of ``aloha-marl``."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from aloha_marl import policies
from aloha_marl.arms import SIDES
from aloha_marl.checks import choose
from aloha_marl.cli.diagnosis import Machine, write_icd
from aloha_marl.cli.doctor import diagnose
from aloha_marl.cli.tables import as_markdown, tables
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.metrics import BOTH, OWN
from aloha_marl.core.observations import SCOPES
from aloha_marl.core.options import STARTS
from aloha_marl.core.rewards import REWARDS
from aloha_marl.evaluation.evaluator import Episode, Evaluation, environment, evaluate, play_all
from aloha_marl.evaluation.pairs import Crossplay
from aloha_marl.evaluation.pairs import crossplay as play_pairs
from aloha_marl.policies import STYLES, scripted
from aloha_marl.recording.heat_map import draw_heat_map
from aloha_marl.recording.playback import KEYS, Playback
from aloha_marl.recording.plots import plot_episode
from aloha_marl.recording.video import FORMATS, record
from aloha_marl.tasks import TASKS

app = typer.Typer(
    help="ALOHA's two arms as agents: demonstrations, evaluation and tables.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_TASKS = ", ".join(TASKS)
_TasksOption = Annotated[
    list[str] | None, typer.Option(help=f"Task, may be repeated: {_TASKS}.", show_default="all")
]
_PolicyOption = Annotated[str, typer.Option(help=f"One of {', '.join(policies.NAMES)}.")]
_REASONS = 10
"""Of failed episodes, how many are printed."""
_PlayScopeOption = Annotated[
    str | None,
    typer.Option(
        help=f"What an arm may know: {', '.join(scripted.SCOPES)}.",
        show_default="the policy's own",
    ),
]
_FORMATS = [suffix.removeprefix(".") for suffix in FORMATS]


@contextlib.contextmanager
def usage_errors() -> Iterator[None]:
    """Shows what the package says about a bad value as an error of usage: exit code 2."""
    try:
        yield
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def demo(
    task: _TasksOption = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per task.")] = 5,
    first_seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder for the videos.")] = Path("out"),
    video: Annotated[bool, typer.Option(help="Film the first episode of each task.")] = True,
) -> None:
    """Lets the scripted experts play and films them."""
    names = task or list(TASKS)
    with usage_errors():
        arms = {name: policies.load("scripted", name) for name in names}
    seeds = range(first_seed, first_seed + episodes)
    console = Console()
    table = Table(
        *("task", "seed", *(f"stage {i}" for i in range(1, 5)), "steps", "success"),
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        title="Step in which each stage was first reached (50 steps per second)",
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for name in names:
        with progress(console, name, episodes) as done:
            result = evaluate(name, arms[name], seeds, on_episode=done)
        for episode in result.episodes:
            first = ("-" if step is None else str(step) for step in episode.first_steps)
            cells = (name, str(episode.seed), *first, str(episode.steps), mark(episode))
            table.add_row(*cells, end_section=episode is result.episodes[-1])
    console.print(table)
    if not video:
        return
    for name in names:
        path = out / f"{name}.mp4"
        try:
            record(name, arms[name], first_seed, path)
        except RuntimeError as error:
            console.print(f"No video: {escape(str(error))}", highlight=False)
            return
        console.print(f"{path}: seed {first_seed}", highlight=False)


@app.command("record-video")
def record_video(
    task: _TasksOption = None,
    policy: _PolicyOption = policies.NAMES[0],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode.")] = 0,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per task, a video each.")] = 1,
    camera: Annotated[
        list[str] | None,
        typer.Option(
            help="Camera, may be repeated: side by side; `show` lists all.", show_default="angle"
        ),
    ] = None,
    form: Annotated[str, typer.Option("--format", help=f"One of {', '.join(_FORMATS)}.")] = "mp4",
    reward: Annotated[
        str, typer.Option(help=f"What is shown as reward: {', '.join(REWARDS)}.")
    ] = next(iter(REWARDS)),
    overlay: Annotated[bool, typer.Option(help="Write stage and rewards onto the video.")] = True,
    strip: Annotated[bool, typer.Option(help="Also plot each episode over time as PNG.")] = False,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("out"),
) -> None:
    """Films episodes."""
    names, cameras = task or list(TASKS), tuple(camera or ("angle",))
    options = {"reward": reward, "credit": "individual"}
    with usage_errors():
        choose("format", form, _FORMATS)
        for name in names:
            env = environment(name, policies.load(policy, name), **options)
            env.pictures.check_cameras(cameras)
    console = Console(highlight=False)

    def play(name: str, number: int) -> Iterator[tuple[Path, Episode]]:
        """A file after the other, each from policies of its own: both see the same random draws."""
        path = out / f"{name}_{policy.replace(':', '_')}_{number}.{form}"
        arms = policies.load(policy, name, seed=number)
        film = record(name, arms, number, path, cameras=cameras, overlay=overlay, **options)
        yield path, film
        if strip:
            arms, path = policies.load(policy, name, seed=number), path.with_suffix(".png")
            yield path, plot_episode(name, arms, number, path, **options)

    try:
        for name in names:
            with progress(console, name, episodes) as done:
                for number in range(seed, seed + episodes):
                    for path, episode in play(name, number):
                        text = f"{path}: seed {number}, {episode.steps} steps, success "
                        why = episode.reason and escape(f": {episode.reason}")
                        console.print(escape(text) + mark(episode) + why, soft_wrap=True)
                    done(episode)
    except RuntimeError as error:
        console.print(escape(str(error)), soft_wrap=True)
        raise typer.Exit(1) from error


@app.command("eval")
def evaluation(
    task: Annotated[str, typer.Option(help=f"One of {_TASKS}.")] = "transfer_cube",
    policy: _PolicyOption = policies.NAMES[0],
    episodes: Annotated[int, typer.Option(min=1, help="How many.")] = 300,
    first_seed: Annotated[int, typer.Option(min=0, help="Seeds go on from here.")] = 10_000,
    scope: _PlayScopeOption = None,
    control: Annotated[
        str, typer.Option(help=f"What actions mean: {', '.join(CONTROLS)}.")
    ] = "joint_position",
    rules: Annotated[
        str, typer.Option(help="How stages are judged: strict, gym_aloha.")
    ] = "strict",
    start: Annotated[str, typer.Option(help=f"What is drawn: {', '.join(STARTS)}.")] = STARTS[0],
    max_cycles: Annotated[int, typer.Option(help="Steps until an episode is cut off.")] = 300,
    max_joint_speed: Annotated[
        str, typer.Option(help="Limit of the commanded joints in rad/s, or 'none'.")
    ] = "3.14",
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Play on the Ray cluster there, HOST:PORT or 'auto'; the result is the same.",
            show_default="play here",
        ),
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write all results to this file.")] = None,
) -> None:
    """Plays many seeded episodes and counts the successes."""
    options = {"rules": rules, "start": start, "max_cycles": max_cycles}
    with usage_errors():
        options["max_joint_speed"] = speed(max_joint_speed)
        arms = policies.load(policy, task, scope, control)
        environment(task, arms, **options).close()
    console = Console()
    seeds = range(first_seed, first_seed + episodes)
    with players(console, ray) as play, progress(console, task, episodes) as done:
        result = evaluate(
            task, arms, seeds, policy_name=policy, on_episode=done, play_all=play, **options
        )
    console.print(report(result))
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(result.to_json())
        console.print(f"{json}: every episode", highlight=False)


@app.command()
def view(
    task: Annotated[str, typer.Option(help=f"One of {_TASKS}.")] = "transfer_cube",
    policy: _PolicyOption = policies.NAMES[0],
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first episode.")] = 0,
    scope: _PlayScopeOption = None,
) -> None:
    """Plays episodes in a window, in real time, until it is closed; the mouse moves the objects."""
    with usage_errors():
        env = environment(task, policies.load(policy, task, scope), render_mode="human")
    console = Console(highlight=False)
    keys = Table.grid(padding=(0, 2, 0, 0))
    for row in KEYS.items():
        keys.add_row(*row)
    playback = Playback(env, lambda number: policies.load(policy, task, scope, seed=number))
    try:
        console.print(keys)
        for episode in playback.episodes(seed):
            console.print(f"seed {episode.seed}, {episode.steps} steps, success {mark(episode)}")
    except RuntimeError as error:
        console.print(escape(str(error)), soft_wrap=True)
        raise typer.Exit(1) from error
    finally:
        env.close()


@app.command()
def crossplay(
    policy: Annotated[
        list[str] | None,
        typer.Argument(
            help=f"Two or more of {', '.join(policies.NAMES)}.", show_default="all scripted ones"
        ),
    ] = None,
    task: _TasksOption = None,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes per pair.")] = 50,
    first_seed: Annotated[int, typer.Option(min=0, help="Seeds go on from here.")] = 10_000,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("out"),
) -> None:
    """Pairs every policy as left arm with every one as right arm: do strangers work together?"""
    names = list(dict.fromkeys(policy or STYLES))
    seeds = range(first_seed, first_seed + episodes)
    console = Console(highlight=False)
    with usage_errors():
        zoo = {
            name: {style: policies.load(style, name) for style in names} for name in task or TASKS
        }
    for name, arms in zoo.items():
        with progress(console, name, len(names) ** 2 * episodes) as done:
            result = play_pairs(name, arms, seeds, on_episode=done)
        console.print(matrix(result))
        console.print(result.summary())
        path = out / f"crossplay_{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(result.to_json())
        try:
            draw_heat_map(result, path.with_suffix(".png"))
            console.print(f"{path} and .png: all pairs", soft_wrap=True)
        except RuntimeError as error:
            console.print(f"{path}: all pairs; {escape(str(error))}", soft_wrap=True)


@app.command()
def show(
    task: Annotated[list[str], typer.Argument(help=f"One or more of {_TASKS}.")],
    scope: Annotated[
        str, typer.Option(help=f"What an arm may know: {', '.join(SCOPES)}.")
    ] = SCOPES[0],
    markdown: Annotated[bool, typer.Option(help="As Markdown, with scope full.")] = False,
) -> None:
    """Lists every number of the observations and actions, the stages and the cameras."""
    with usage_errors():
        parts = {name: list(tables(name, "full" if markdown else scope)) for name in task}
    if markdown:
        typer.echo(as_markdown(parts), nl=False)
        return
    console = Console()
    for name, content in parts.items():
        console.print(f"\n[bold]{name}[/]: {TASKS[name].summary}\n")
        for part in content:
            table = Table(
                *part.columns, box=box.SIMPLE_HEAD, title=part.title, title_justify="left"
            )
            for row in part.rows:
                table.add_row(*map(escape, row))
            console.print(table)


@app.command()
def doctor(
    write: Annotated[
        bool, typer.Option("--write-icd", help="Write the file that shows EGL NVIDIA's library.")
    ] = False,
    json: Annotated[Path | None, typer.Option(help="Write the report to this file.")] = None,
) -> None:
    """Says what draws the pictures here, how fast, and what to mend; exit code 1 if nothing does."""
    console = Console(highlight=False)
    machine = Machine()
    if write:
        folder = machine.icd_folders()[-1]
        try:
            console.print(f"{write_icd(folder)}: written")
        except OSError as error:
            console.print(
                f"{error.filename} can't be written: {error.strerror}. Run this as root, or choose "
                "another folder by __EGL_VENDOR_LIBRARY_DIRS, then and whenever pictures are drawn."
            )
            raise typer.Exit(1) from None
    with console.status("Drawing"):
        result = diagnose(machine)
    table = Table(box=box.SIMPLE, show_header=False, title="OpenGL for pictures")
    for row in result.rows():
        table.add_row(*map(escape, row))
    console.print(table)
    for number, finding in enumerate(result.findings, 1):
        wrong = Table.grid(padding=(0, 1, 0, 0))  # a hanging indent
        wrong.add_row(f"{number}.", escape(finding.wrong))
        console.print(wrong)
        for line in finding.mend.splitlines():
            console.print(f"   [cyan]{escape(line)}[/]", soft_wrap=True)
    if not result.findings:
        console.print("Nothing to mend.")
    if json is not None:
        json.parent.mkdir(parents=True, exist_ok=True)
        json.write_text(result.to_json())
        console.print(f"{json}: this report")
    raise typer.Exit(1 if result.drawing.error else 0)


@contextlib.contextmanager
def players(console: Console, address: str | None) -> Iterator[Callable[..., Iterable[Episode]]]:
    """What plays episodes: this process, or the Ray cluster at an address; without it exit code 1."""
    if address is None:
        yield play_all
        return
    try:
        from aloha_marl.integrations import ray_cluster

        with usage_errors():
            cluster = ray_cluster.connect(address)
        with cluster:
            yield ray_cluster.play_all
    except (ImportError, ConnectionError, RuntimeError) as error:
        console.print(escape(str(error)), soft_wrap=True, highlight=False)
        raise typer.Exit(1) from error


def report(result: Evaluation) -> Table:
    """The figures of an evaluation."""
    low, high = result.interval
    steps = result.success_steps
    failed = [episode for episode in result.episodes if not episode.success]
    table = Table(box=box.SIMPLE, show_header=False, title=f"{result.policy} on {result.task}")
    rows = {
        "success": f"{result.successes} of {len(result.episodes)} = {result.success_rate:.1%} "
        f"(95 % interval {low:.1%} .. {high:.1%})",
        "steps of successes": f"mean {sum(steps) / len(steps):.1f}, worst {max(steps)}"
        if steps
        else "-",
        "highest stage": ", ".join(f"{i}: {n}" for i, n in result.stage_counts.items()),
        "diverged": str(sum(episode.diverged for episode in result.episodes)),
        "failed seeds": ", ".join(str(e.seed) for e in failed) or "-",
    }
    rows |= _together(result.metrics)
    rows |= {f"why {episode.seed}": episode.reason for episode in failed[:_REASONS]}
    if failed[_REASONS:]:
        rows["why others"] = "see the file that --json writes"
    for name, text in rows.items():
        table.add_row(name, escape(text))
    return table


def _together(metrics: Mapping[str, float]) -> dict[str, str]:
    """The mean figures of how the arms worked together, for people."""
    rows = {}
    for name, meaning in (BOTH | OWN).items():
        unit = re.findall(r"\[(.*)\]", meaning)
        names = (f"{side}_{name}" for side in SIDES) if name in OWN else (name,)
        told = [f"{metrics[own]:.2f}" for own in names if own in metrics]
        if told:
            rows[name.replace("_", " ")] = " ".join([" / ".join(told), *unit])
    return rows


def matrix(result: Crossplay) -> Table:
    """The success of every pair, above its interval; bold with itself."""

    def cell(rate: str, interval: str, alike: bool) -> str:
        return f"{f'[bold]{rate}[/]' if alike else rate}\n[dim]{interval}[/]"

    content = result.table(cell)
    style = {"box": box.SIMPLE_HEAD, "show_edge": False, "padding": 0}
    table = Table(title=content.title, **style)
    for title in content.columns:
        table.add_column(escape(title.replace(" \\ ", " \\\n")), justify="right")
    for row in content.rows:
        table.add_row(*row)
    return table


@contextlib.contextmanager
def progress(console: Console, label: str, total: int) -> Iterator[Callable[[Episode], None]]:
    """A bar that advances by one with every episode and is gone at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    columns += (TimeRemainingColumn(),)
    # Into a file or a pipe it would write an empty line.
    hidden = not console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=hidden) as bar:
        row = bar.add_task(label, total=total)
        yield lambda _: bar.advance(row)


def mark(episode: Episode) -> str:
    """Whether it succeeded, in colour."""
    if episode.success:
        return "[green]yes[/]"
    return "[red]diverged[/]" if episode.diverged else "[red]no[/]"


def speed(text: str) -> float | None:
    """A speed [rad/s], or None for the word none."""
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"max_joint_speed={text!r} must be a positive number [rad/s] or 'none'"
        ) from None
