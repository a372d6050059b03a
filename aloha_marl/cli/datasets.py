"""The subcommands for recorded episodes: ``record``, ``replay``, ``inspect``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from typer import Argument, Option

from aloha_marl import datasets, policies
from aloha_marl.checks import choose
from aloha_marl.cli import conditions
from aloha_marl.cli import console as ui
from aloha_marl.core.options import RENDER_QUALITIES
from aloha_marl.datasets import Episode, Plan, Rendering, Result
from aloha_marl.datasets.encoders import QUALITIES
from aloha_marl.datasets.writer import episode_path
from aloha_marl.files import check_writable
from aloha_marl.recording.plots import plot_recording

_PathArgument = Annotated[
    Path, Argument(help="File of an episode, or a folder of them.", show_default=False)
]
_CameraOption = Annotated[
    list[str] | None,
    Option(help="Camera, may be repeated; `show` lists all.", show_default="top"),
]
_SizeOption = Annotated[str, Option(metavar="HEIGHTxWIDTH", help="Size of the pictures in pixels.")]
_QualityOption = Annotated[str, Option(help=f"How pictures are stored: {', '.join(QUALITIES)}.")]
_SIZE = "480x640"


def record(
    task: ui.TaskArgument = "transfer_cube",
    policy: ui.PolicyOption = policies.NAMES[0],
    left: ui.ArmOption = None,
    right: ui.ArmOption = None,
    episodes: ui.EpisodesOption = 50,
    first_seed: ui.SeedOption = 0,
    scope: ui.ScopeOption = None,
    control: ui.ControlOption = None,
    camera: _CameraOption = None,
    size: _SizeOption = _SIZE,
    quality: _QualityOption = "lossless",
    only_success: Annotated[
        bool, Option("--only-success", help="Keep only the episodes that succeed.")
    ] = False,
    length: Annotated[
        int | None,
        Option(
            min=1, help="Steps of every episode, which goes on after success.", show_default=False
        ),
    ] = None,
    workers: Annotated[int, Option(min=1, max=1000, help="Number of processes.")] = 1,
    delay: conditions.DelayOption = 0,
    observation_delay: conditions.ObservationDelayOption = 0,
    noise: conditions.NoiseOption = None,
    freeze: conditions.FreezeOption = None,
    randomize: conditions.RandomizeOption = None,
    out: Annotated[Path, Option(help="Folder for the task's folder of files.")] = Path("out"),
) -> None:
    """Records episodes, an HDF5 file each in ACT's layout.

    A seed whose file is in the folder is skipped: after an interrupt, the same command goes on.
    """
    with ui.usage_errors():
        plan = Plan(
            task,
            out / ui.file_name(task),
            policy,
            left,
            right,
            scope,
            control,
            perturbations=conditions.perturbations(
                delay, observation_delay, noise, freeze, randomize
            ),
            cameras=tuple(camera or ("top",)),
            size=_size(size),
            quality=quality,
            only_success=only_success,
            length=length,
        )
        seeds = ui.seeds_from(first_seed, episodes)
        check_writable(plan.folder / "seed.hdf5")
    files = [episode_path(plan.folder, seed) for seed in seeds]
    missing = [path for path in files if not path.exists()]
    console = ui.terminal()
    results: list[Result] = []
    try:
        with ui.progress(console, task, episodes) as done, ui.usage_errors():

            def keep(result: Result) -> None:
                results.append(result)
                done(result)

            with ui.exit_on(console, datasets.RecordingError):
                datasets.record(plan, seeds, workers, keep)
    finally:
        # A worker that was interrupted may have kept an episode and not said so.
        kept = [path for path in missing if path.exists()]
        if results or not missing:
            _print_results(console, plan.folder, results, kept, len(files) - len(missing))
    if any(result.error for result in results):
        raise typer.Exit(1)


def replay(
    path: _PathArgument,
    task: Annotated[
        str | None,
        Option(help=f"Task: {ui.TASK_HELP}", show_default="the one that the file names"),
    ] = None,
    pose: Annotated[
        list[str] | None,
        Option(
            metavar="OBJECT=X,Y,Z[,QW,QX,QY,QZ]",
            help="Where an object starts, for recordings of ACT and gym-aloha; may be repeated.",
        ),
    ] = None,
    out: Annotated[
        Path | None, Option(help="Folder for new files, with other pictures.", show_default=False)
    ] = None,
    camera: _CameraOption = None,
    size: _SizeOption = _SIZE,
    quality: _QualityOption = "lossless",
    render_quality: Annotated[
        str, Option(help=f"How pictures are drawn: {', '.join(RENDER_QUALITIES)}.")
    ] = "fast",
) -> None:
    """Simulates recorded episodes again, and compares every step.

    Exit code 1: an episode differs. With --out, files that are there are skipped.
    """
    console = ui.terminal()
    with ui.usage_errors():
        poses = dict(map(_pose, pose or ()))
        episodes = datasets.open(path)
        cameras, pixels = tuple(camera or ("top",)), _size(size)
        choose("render_quality", render_quality, RENDER_QUALITIES)
        root = path if path.is_dir() else path.parent
        made = {}
        if out is not None:
            for file in episodes.paths:
                target = out / file.relative_to(root)
                made[file] = Rendering(target, cameras, pixels, quality, render_quality)
            check_writable(out / "seed.hdf5")
    counts: Counter[str] = Counter()
    with ui.progress(console, "replay", len(episodes)) as done, ui.exit_on(console, RuntimeError):
        for file in episodes.paths:
            rendering = made.get(file)
            if rendering is not None and rendering.path.exists():
                counts["there already"] += 1
            else:
                counts[_replayed(console, file, task, poses, rendering)] += 1
            done(file)
    console.print(", ".join(f"{count} {name}" for name, count in counts.items()))
    if counts[_BAD]:
        raise typer.Exit(2)
    if counts[_DIFFERENT]:
        raise typer.Exit(1)


def inspect(
    path: _PathArgument,
    plot: Annotated[
        Path | None,
        Option(help="File for a plot of the first episode, such as x.png.", show_default=False),
    ] = None,
) -> None:
    """Prints a table of recorded episodes, and plots one of them."""
    console = ui.terminal()
    table = Table(
        "file", "task", "seed", "policy", "steps", "stage", "cameras", "quality", "MB",
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False,
    )  # fmt: skip
    with ui.usage_errors():
        episodes = datasets.open(path)
        for episode in episodes:
            table.add_row(*map(escape, _cells(episode)))
        if plot is not None:
            plot_recording(episodes[0], plot)
    ui.print_table(console, table)
    console.print(f"{len(episodes)} episodes, {sum(map(len, episodes))} steps")


_EQUAL, _CLOSE, _DIFFERENT, _BAD = "equal bit for bit", "equal", "different", "not replayed"


def _replayed(
    console: Console,
    file: Path,
    task: str | None,
    poses: Mapping[str, Sequence[float]],
    rendering: Rendering | None,
) -> str:
    """Replays an episode, prints a line, and returns in a word what came of it."""
    try:
        result = datasets.replay(Episode(file), task, poses, rendering)
    except (OSError, ValueError) as error:
        ui.print_error(error)
        return _BAD
    text = f"{file}: {len(result.stages) - 1} steps from its {result.start}, stage "
    text += f"{max(result.stages)}: "
    if not result.equal:
        text += f"{result.array} differs from step {result.step} on; "
    if result.equal and not result.tolerance:
        text += _EQUAL
    else:
        text += f"positions differ by up to {result.deviation:.2g} m or rad"
    if result.tolerance:
        text += f", {result.tolerance:g} is allowed"
    console.print(escape(text), soft_wrap=True, highlight=False)
    if not result.equal:
        return _DIFFERENT
    return _CLOSE if result.tolerance else _EQUAL


def _cells(episode: Episode) -> Iterable[str]:
    """The cells of an episode in the table of ``inspect``."""
    size = f"{episode.path.stat().st_size / 1e6:.2f}"
    cameras, steps = ", ".join(episode.cameras), str(len(episode))
    if episode.is_foreign:
        return episode.path.name, "", "", "", steps, "", cameras, "", size
    kept = episode.metadata
    seed, drivers = str(kept.seed), " + ".join(kept.drivers)
    stage = str(episode.stage)
    return episode.path.name, kept.task, seed, drivers, steps, stage, cameras, kept.quality, size


def _print_results(
    console: Console, folder: Path, results: Sequence[Result], kept: Sequence[Path], there: int
) -> None:
    """Says what was recorded, and which episodes are not kept."""
    for result in results:
        if result.error:
            text = f"seed {result.seed}, step {result.steps}: {result.error}"
            console.print(escape(text), soft_wrap=True, highlight=False)
    told = {result.path: result.steps for result in results}
    size = sum(path.stat().st_size for path in kept)
    steps = sum(told[path] if path in told else len(Episode(path)) for path in kept)
    text = f"{folder}: {len(kept)} episodes recorded, {steps} steps, {size / 1e6:.1f} MB"
    text += f"; {there} were there" if there else ""
    failed = sum(result.path is None and not result.error for result in results)
    if failed:
        text += f"; {failed} without success are not kept"
    console.print(escape(text), soft_wrap=True, highlight=False)


def _size(text: str) -> tuple[int, int]:
    """Height and width of HEIGHTxWIDTH.

    Raises:
        ValueError: it has another form.
    """
    found = re.fullmatch(r"(\d+)x(\d+)", text)
    if found is None:
        raise ValueError(f"--size {text!r} must be HEIGHTxWIDTH, such as {_SIZE}")
    return int(found[1]), int(found[2])


def _pose(text: str) -> tuple[str, tuple[float, ...]]:
    """Name and numbers of OBJECT=X,Y,Z or OBJECT=X,Y,Z,QW,QX,QY,QZ.

    Raises:
        ValueError: it has another form.
    """
    name, _, values = text.partition("=")
    try:
        numbers = tuple(map(float, values.split(",")))
    except ValueError:
        numbers = ()
    if len(numbers) not in (3, 7):
        raise ValueError(f"--pose {text!r} must be OBJECT=X,Y,Z or OBJECT=X,Y,Z,QW,QX,QY,QZ")
    return name, numbers
