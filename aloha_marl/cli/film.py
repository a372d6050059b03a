"""The subcommand ``record-video``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.markup import escape
from typer import Option

from aloha_marl import policies
from aloha_marl.checks import choose
from aloha_marl.cli import console as ui
from aloha_marl.core.rewards import REWARDS
from aloha_marl.evaluation import environment
from aloha_marl.recording.plots import plot_episode
from aloha_marl.recording.video import FORMATS, record
from aloha_marl.tasks import TASKS

_FORMATS = [suffix.removeprefix(".") for suffix in FORMATS]


def record_video(
    task: ui.TasksOption = None,
    policy: ui.PolicyOption = policies.NAMES[0],
    seed: Annotated[int, Option(min=0, help="Seed of the first episode.")] = 0,
    episodes: Annotated[int, Option(min=1, help="Episodes per task, a video each.")] = 1,
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
    console = Console(highlight=False)

    film = functools.partial(record, cameras=cameras, overlay=overlay)
    writers = {form: film} | ({"png": plot_episode} if strip else {})
    with ui.exit_on(console, RuntimeError):
        for name in names:
            with ui.progress(console, name, episodes) as done:
                for number in range(seed, seed + episodes):
                    for suffix, write in writers.items():
                        path = out / f"{name}_{policy.replace(':', '_')}_{number}.{suffix}"
                        # New policies for each file: both see the same random draws.
                        arms = policies.load(policy, name, seed=number)
                        episode = write(name, arms, number, path, **options)
                        text = f"{path}: seed {number}, {episode.steps} steps, success "
                        why = episode.reason and escape(f": {episode.reason}")
                        console.print(escape(text) + ui.mark(episode) + why, soft_wrap=True)
                    done(episode)
