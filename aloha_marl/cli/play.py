"""The subcommands that play: ``demo``, ``record-video``, ``eval``, ``view``, ``crossplay``."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from aloha_marl import policies
from aloha_marl.checks import choose
from aloha_marl.cli import console as ui
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.options import STARTS
from aloha_marl.core.rewards import REWARDS
from aloha_marl.evaluation import (
    Crossplay,
    Episode,
    Evaluation,
    Interrupted,
    environment,
    evaluate,
    pairs,
    play_all,
)
from aloha_marl.files import check_writable, part_of, write_text
from aloha_marl.policies import STYLES
from aloha_marl.policies.view import POLICY_SCOPES
from aloha_marl.recording.playback import KEYS, Playback
from aloha_marl.recording.plots import draw_heat_map, plot_episode
from aloha_marl.recording.video import FORMATS, record
from aloha_marl.tasks import TASKS

_FORMATS = [suffix.removeprefix(".") for suffix in FORMATS]
_TaskOption = Annotated[str, Option(help=f"One of {ui.TASK_NAMES}.")]
_ScopeOption = Annotated[
    str | None,
    Option(
        help=f"What an arm may know: {', '.join(POLICY_SCOPES)}.", show_default="the policy's own"
    ),
]


def demo(
    task: ui.TasksOption = None,
    episodes: Annotated[int, Option(**ui.COUNT, help="Episodes per task.")] = 5,
    first_seed: Annotated[int, Option(min=0, help="Seed of the first episode.")] = 0,
    out: Annotated[Path, Option(help="Folder for the videos.")] = Path("out"),
    video: Annotated[bool, Option(help="Film the first episode of each task.")] = True,
) -> None:
    """Lets the scripted experts play and films them."""
    names = task or list(TASKS)
    films = {name: out / f"{name}.mp4" for name in names if video}
    with ui.usage_errors():
        arms = {name: policies.load("scripted", name) for name in names}
        seeds = ui.seeds_from(first_seed, episodes)
        check_writable(*films.values())
    console = ui.terminal(highlight=True)
    columns = ("task", "seed", *(f"stage {i}" for i in range(1, 5)), "steps", "success")
    title = "Step in which each stage was first reached (50 steps per second)"
    table = Table(*columns, title=title, box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"

    def add(result: Evaluation) -> None:
        for episode in result.episodes:
            first = ("-" if step is None else str(step) for step in episode.first_steps)
            cells = (result.task, str(episode.seed), *first, str(episode.steps), ui.mark(episode))
            table.add_row(*cells, end_section=episode is result.episodes[-1])

    try:
        for name in names:
            with ui.progress(console, name, episodes) as done:
                add(evaluate(name, arms[name], seeds, on_episode=done))
    except Interrupted as stop:
        add(stop.result)
        raise
    finally:
        ui.print_table(console, table)
    for name, path in films.items():
        try:
            record(name, arms[name], first_seed, path)
        except RuntimeError as error:
            console.print(f"No video: {escape(str(error))}", highlight=False)
            return
        console.print(escape(f"{path}: seed {first_seed}"), highlight=False, soft_wrap=True)


def record_video(
    task: ui.TasksOption = None,
    policy: ui.PolicyOption = policies.NAMES[0],
    seed: Annotated[int, Option(min=0, help="Seed of the first episode.")] = 0,
    episodes: Annotated[int, Option(**ui.COUNT, help="Episodes per task, a video each.")] = 1,
    camera: Annotated[
        list[str] | None,
        Option(
            help="Camera, may be repeated: side by side; `show` lists all.", show_default="angle"
        ),
    ] = None,
    form: Annotated[str, Option("--format", help=f"One of {', '.join(_FORMATS)}.")] = "mp4",
    reward: Annotated[str, Option(help=f"What is shown as reward: {', '.join(REWARDS)}.")] = next(
        iter(REWARDS)
    ),
    overlay: Annotated[bool, Option(help="Write stage and rewards onto the video.")] = True,
    strip: Annotated[bool, Option(help="Also plot each episode over time as PNG.")] = False,
    out: Annotated[Path, Option(help="Folder for the files.")] = Path("out"),
) -> None:
    """Films episodes."""
    names, cameras = task or list(TASKS), tuple(camera or ("angle",))
    options: dict[str, Any] = {"reward": reward, "credit": "individual"}
    with ui.usage_errors():
        choose("format", form, _FORMATS)
        for name in names:
            env = environment(name, policies.load(policy, name), **options)
            env.pictures.check_cameras(cameras)
        seeds = ui.seeds_from(seed, episodes)
        film = functools.partial(record, cameras=cameras, overlay=overlay)
        writers = {form: film} | ({"png": plot_episode} if strip else {})
        stem = policy.replace(":", "_")
        files = {
            (name, number): [out / f"{name}_{stem}_{number}.{suffix}" for suffix in writers]
            for name in names
            for number in seeds
        }
        check_writable(*itertools.chain(*files.values()))
    console = ui.terminal()

    with ui.exit_on(console, RuntimeError):
        for name in names:
            with ui.progress(console, name, episodes) as done:
                for number in seeds:
                    for write, path in zip(writers.values(), files[name, number], strict=True):
                        # New policies for each file: both see the same random draws.
                        arms = policies.load(policy, name, seed=number)
                        episode = write(name, arms, number, path, **options)
                        text = f"{path}: seed {number}, {episode.steps} steps, success "
                        why = episode.reason and escape(f": {episode.reason}")
                        console.print(escape(text) + ui.mark(episode) + why, soft_wrap=True)
                    done(episode)


def evaluation(
    task: _TaskOption = "transfer_cube",
    policy: ui.PolicyOption = policies.NAMES[0],
    episodes: Annotated[int, Option(**ui.COUNT, help="How many.")] = 300,
    first_seed: Annotated[int, Option(min=0, help="Seeds go on from here.")] = 10_000,
    scope: _ScopeOption = None,
    control: Annotated[
        str, Option(help=f"What actions mean: {', '.join(CONTROLS)}.")
    ] = "joint_position",
    rules: Annotated[str, Option(help="How stages are judged: strict, gym_aloha.")] = "strict",
    start: Annotated[str, Option(help=f"What is drawn: {', '.join(STARTS)}.")] = STARTS[0],
    max_cycles: Annotated[int, Option(help="Steps until an episode is cut off.")] = 300,
    max_joint_speed: Annotated[
        str, Option(help="Limit of the commanded joints in rad/s, or 'none'.")
    ] = "3.14",
    ray: Annotated[
        str | None,
        Option(
            metavar="ADDRESS",
            help="Play on the Ray cluster there, HOST:PORT or 'auto'; the result is the same.",
            show_default="play here",
        ),
    ] = None,
    json: Annotated[Path | None, Option(help="Write all results to this file.")] = None,
) -> None:
    """Plays many seeded episodes and counts the successes."""
    options = {"rules": rules, "start": start, "max_cycles": max_cycles}
    with ui.usage_errors():
        options["max_joint_speed"] = speed(max_joint_speed)
        arms = policies.load(policy, task, scope, control)
        environment(task, arms, **options).close()
        seeds = ui.seeds_from(first_seed, episodes)
        check_writable(*filter(None, [json]))
    console = ui.terminal(highlight=True)

    def keep(result: Evaluation, path: Path | None) -> None:
        try:
            if path is not None:
                write_text(path, result.to_json())
        finally:
            ui.print_table(console, ui.report(result))
        if path is not None:
            played = len(result.episodes)
            count = f"{played} of {episodes} episodes" if result.unplayed else "every episode"
            console.print(escape(f"{path}: {count}"), highlight=False, soft_wrap=True)

    try:
        with players(console, ray) as play, ui.progress(console, task, episodes) as done:
            result = evaluate(
                task, arms, seeds, policy_name=policy, on_episode=done, play_all=play, **options
            )
    except Interrupted as stop:
        if stop.result.episodes:
            keep(stop.result, json and part_of(json))
        raise
    keep(result, json)


@contextlib.contextmanager
def players(console: Console, address: str | None) -> Iterator[Callable[..., Iterable[Episode]]]:
    """The function that plays episodes: in this process, or on the Ray cluster at an address."""
    if address is None:
        yield play_all
        return
    with ui.exit_on(console, ImportError, ConnectionError, RuntimeError):
        from aloha_marl.integrations import ray_cluster

        with ui.usage_errors():
            cluster = ray_cluster.connect(address)
        with cluster:
            yield ray_cluster.play_all


def speed(text: str) -> float | None:
    """A speed [rad/s], or None for the word "none"."""
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"max_joint_speed={text!r} must be a positive number [rad/s] or 'none'"
        ) from None


def view(
    task: _TaskOption = "transfer_cube",
    policy: ui.PolicyOption = policies.NAMES[0],
    seed: Annotated[int, Option(min=0, help="Seed of the first episode.")] = 0,
    scope: _ScopeOption = None,
) -> None:
    """Plays episodes in a window, in real time, until it is closed; the mouse moves the objects."""
    with ui.usage_errors():
        ui.seeds_from(seed, 1)
        env = environment(task, policies.load(policy, task, scope), render_mode="human")
    console = ui.terminal()
    keys = Table.grid(padding=(0, 2, 0, 0))
    for row in KEYS.items():
        keys.add_row(*row)
    playback = Playback(env, lambda number: policies.load(policy, task, scope, seed=number))
    with ui.exit_on(console, RuntimeError), contextlib.closing(env):
        ui.print_table(console, keys)
        for episode in playback.episodes(seed):
            console.print(f"seed {episode.seed}, {episode.steps} steps, success {ui.mark(episode)}")


def crossplay(
    policy: Annotated[
        list[str] | None,
        Argument(
            help=f"Two or more of {', '.join(policies.NAMES)}.", show_default="all scripted ones"
        ),
    ] = None,
    task: ui.TasksOption = None,
    episodes: Annotated[int, Option(**ui.COUNT, help="Episodes per pair.")] = 50,
    first_seed: Annotated[int, Option(min=0, help="Seeds go on from here.")] = 10_000,
    out: Annotated[Path, Option(help="Folder for the files.")] = Path("out"),
) -> None:
    """Pairs every policy as left arm with every one as right arm: do strangers work together?"""
    names = list(dict.fromkeys(policy or STYLES))
    console = ui.terminal()
    with ui.usage_errors():
        zoo = {
            name: {style: policies.load(style, name) for style in names} for name in task or TASKS
        }
        seeds = ui.seeds_from(first_seed, episodes)
        files = {name: out / f"crossplay_{name}.json" for name in zoo}
        check_writable(*files.values(), *(path.with_suffix(".png") for path in files.values()))

    def keep(result: Crossplay, path: Path) -> None:
        write_text(path, result.to_json())
        try:
            draw_heat_map(result, path.with_suffix(".png"))
            written = f"{path} and .png: "
        except RuntimeError as error:
            written = f"{error}\n{path}: "
        ui.print_table(console, ui.matrix(result))
        console.print(result.summary())
        written += "the pairs that were played" if result.unplayed else "all pairs"
        console.print(escape(written), soft_wrap=True)

    for name, arms in zoo.items():
        try:
            with ui.progress(console, name, len(names) ** 2 * episodes) as done:
                result = pairs.crossplay(name, arms, seeds, on_episode=done)
        except Interrupted as stop:
            keep(stop.result, part_of(files[name]))
            raise
        keep(result, files[name])
