"""The subcommands that measure policies: ``eval``, ``compare``, ``crossplay``."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.markup import escape
from typer import Argument, Option

from aloha_marl import policies
from aloha_marl.cli import conditions, reports
from aloha_marl.cli import console as ui
from aloha_marl.core.options import STARTS
from aloha_marl.evaluation import (
    Crossplay,
    Episode,
    Evaluation,
    Interrupted,
    Perturbations,
    compare,
    environment,
    evaluate,
    pairs,
    play_all,
)
from aloha_marl.evaluation.evaluator import rollout
from aloha_marl.evaluation.perturbations import UNPERTURBED
from aloha_marl.files import check_writable, part_of, write_text
from aloha_marl.policies import STYLES, Policies
from aloha_marl.recording.plots import draw_heat_map
from aloha_marl.tasks import Task, make_task

_JsonOption = Annotated[Path | None, Option(help="File to write all results to, as JSON.")]


@dataclasses.dataclass(frozen=True)
class _Run:
    """An evaluation to play: name of the policies, seed -> policies, and perturbations."""

    policy: str
    load: Callable[..., Policies]
    perturbations: Perturbations = UNPERTURBED

    def arms(self) -> Policies:
        """New policies, with random draws of their own in every repeat."""
        return self.load(seed=self.perturbations.repeat)


def evaluation(
    task: ui.TaskArgument = "transfer_cube",
    policy: ui.PolicyOption = policies.NAMES[0],
    left: ui.ArmOption = None,
    right: ui.ArmOption = None,
    episodes: ui.EpisodesOption = 300,
    first_seed: ui.SeedOption = 10_000,
    scope: ui.ScopeOption = None,
    control: ui.ControlOption = None,
    rules: Annotated[
        str, Option(help="Rules that judge the stages: strict, gym_aloha.")
    ] = "strict",
    start: Annotated[str, Option(help=f"How episodes start: {', '.join(STARTS)}.")] = STARTS[0],
    max_cycles: Annotated[int, Option(help="Steps after which an episode is cut off.")] = 300,
    max_joint_speed: Annotated[
        str, Option(help="Speed limit of the commanded joints in rad/s, or 'none'.")
    ] = "3.14",
    delay: conditions.DelayOption = 0,
    observation_delay: conditions.ObservationDelayOption = 0,
    noise: conditions.NoiseOption = None,
    freeze: conditions.FreezeOption = None,
    randomize: conditions.RandomizeOption = None,
    repeats: Annotated[
        int, Option(min=1, max=1000, help="Draws of noise and freezes per seed; prints pass^k.")
    ] = 1,
    ray: Annotated[
        str | None,
        Option(
            metavar="ADDRESS",
            help="Play on the Ray cluster at HOST:PORT or 'auto'; the result is the same.",
            show_default="this machine",
        ),
    ] = None,
    json: _JsonOption = None,
) -> None:
    """Plays seeded episodes and counts the successes.

    With a perturbation (a delay, noise, an arm that freezes, a randomized scene) it plays the same seeds
    without it too, and compares.
    """
    options = {"rules": rules, "start": start, "max_cycles": max_cycles}
    with ui.usage_errors():
        options["max_joint_speed"] = conditions.speed(max_joint_speed)
        played = make_task(task)
        load = functools.partial(
            policies.load, policy, played, scope, control, left=left, right=right
        )
        run = _Run(ui.both_arms(policy, left, right), load)
        harder = conditions.perturbations(delay, observation_delay, noise, freeze, randomize)
        if repeats > 1 and not (harder.noise or harder.freeze):
            raise ValueError(f"--repeats {repeats} needs --noise or --freeze: they are drawn anew")
        draws = [dataclasses.replace(harder, repeat=i) for i in range(repeats) if harder]
        runs = [run, *(dataclasses.replace(run, perturbations=draw) for draw in draws)]
        seeds = ui.seeds_from(first_seed, episodes)
    _measure(played, runs, seeds, json, options, ray)


def comparison(
    a: Annotated[str, Argument(help=f"First policy: {ui.POLICY_HELP}")],
    b: Annotated[str, Argument(help="Second policy, named alike.")],
    task: ui.TaskArgument = "transfer_cube",
    episodes: ui.EpisodesOption = 300,
    first_seed: ui.SeedOption = 10_000,
    delay: conditions.DelayOption = 0,
    observation_delay: conditions.ObservationDelayOption = 0,
    noise: conditions.NoiseOption = None,
    freeze: conditions.FreezeOption = None,
    randomize: conditions.RandomizeOption = None,
    json: _JsonOption = None,
) -> None:
    """Compares two policies on the same seeds: success rates, pairs of episodes, McNemar's test."""
    with ui.usage_errors():
        played = make_task(task)
        harder = conditions.perturbations(delay, observation_delay, noise, freeze, randomize)
        loads = {name: functools.partial(policies.load, name, played) for name in (a, b)}
        runs = [_Run(name, loads[name], harder) for name in (a, b)]
        seeds = ui.seeds_from(first_seed, episodes)
    _measure(played, runs, seeds, json, {})


def crossplay(
    task: ui.TasksArgument = None,
    policy: Annotated[
        list[str] | None,
        Option(
            help=f"Policy to pair, may be repeated: {ui.POLICY_HELP}",
            show_default="all scripted ones",
        ),
    ] = None,
    episodes: Annotated[int, Option(**ui.COUNT, help="Episodes per pair.")] = 50,
    first_seed: ui.SeedOption = 10_000,
    out: Annotated[Path, Option(help="Folder for the files.")] = Path("out"),
) -> None:
    """Pairs every policy as left arm with every one as right arm: do strangers work together?"""
    names = list(dict.fromkeys(policy or STYLES))
    console = ui.terminal()
    with ui.usage_errors():
        zoo = {
            each: {name: policies.load(name, each) for name in names} for each in ui.tasks_of(task)
        }
        for arms in zoo.values():
            pairs.pairings(arms)  # finds policies that don't fit
        seeds = ui.seeds_from(first_seed, episodes)
        files = {each: out / f"crossplay_{ui.file_name(each.name)}.json" for each in zoo}
        check_writable(*files.values(), *(path.with_suffix(".png") for path in files.values()))

    def keep(result: Crossplay, path: Path) -> None:
        write_text(path, result.to_json())
        try:
            draw_heat_map(result, path.with_suffix(".png"))
            written = f"{path} and .png: "
        except RuntimeError as error:
            written = f"{error}\n{path}: "
        ui.print_table(console, reports.matrix(result))
        console.print(result.summary())
        written += "the pairs that were played" if result.unplayed else "all pairs"
        console.print(escape(written), soft_wrap=True)

    for each, arms in zoo.items():
        try:
            with ui.progress(console, each.name, len(names) ** 2 * episodes) as done:
                result = pairs.crossplay(each, arms, seeds, on_episode=done)
        except Interrupted as stop:
            keep(stop.result, part_of(files[each]))
            raise
        keep(result, files[each])


def _measure(
    task: Task,
    runs: Sequence[_Run],
    seeds: Sequence[int],
    json: Path | None,
    options: dict[str, Any],
    ray: str | None = None,
) -> None:
    """Plays evaluations one after the other, prints them or their comparison, and writes the JSON."""
    with ui.usage_errors():
        check_writable(*filter(None, [json]))
        for run in reversed(runs[:2]):  # the others repeat the second
            arms = run.arms()
            fitted = environment(task, arms, **run.perturbations.options(options))
            with contextlib.closing(run.perturbations.wrap(fitted)) as env:
                next(rollout(env, arms, seeds[0]))  # finds policies that don't fit
    console = ui.terminal(highlight=True)
    results: list[Evaluation] = []
    try:
        with _players(console, ray) as play:
            for run in runs:
                label = f"{run.policy} {run.perturbations}"
                with ui.progress(console, label, len(seeds)) as done:
                    result = evaluate(
                        task,
                        run.arms(),
                        seeds,
                        policy_name=run.policy,
                        perturbations=run.perturbations,
                        on_episode=done,
                        play_all=play,
                        **options,
                    )
                results.append(result)
    except Interrupted as stop:
        if part := _with_part(results, stop.result):
            _keep(console, part, len(runs) * len(seeds), json and part_of(json))
        raise
    _keep(console, results, len(runs) * len(seeds), json)


def _keep(console: Console, results: list[Evaluation], wanted: int, path: Path | None) -> None:
    """Writes and prints an evaluation, or a comparison of two; prints it even if it can't be written."""
    result, *others = results
    both = compare(result, *others) if others else None
    try:
        if path is not None:
            write_text(path, (both or result).to_json())
    finally:
        for table in reports.comparison(both) if both else (reports.report(result),):
            ui.print_table(console, table)
    if path is not None:
        played = sum(len(each.episodes) for each in results)
        count = "every episode" if played == wanted else f"{played} of {wanted} episodes"
        console.print(escape(f"{path}: {count}"), highlight=False, soft_wrap=True)


def _with_part(results: list[Evaluation], part: Evaluation) -> list[Evaluation]:
    """What is reported of evaluations that were interrupted in the last one, a part.

    A comparison needs the same seeds in both. Repeats are dropped unless they are whole.
    """
    count = len(part.episodes)
    if not count or len(results) > 1:
        return results
    cut = {"unplayed": part.unplayed}
    return [
        *(dataclasses.replace(each, episodes=each.episodes[:count], **cut) for each in results),
        part,
    ]


@contextlib.contextmanager
def _players(console: Console, address: str | None) -> Iterator[Callable[..., Iterable[Episode]]]:
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
