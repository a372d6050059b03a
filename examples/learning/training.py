"""Arguments, learning curve and ending that all training examples share."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from aloha_marl import AGENTS, TASKS
from aloha_marl.arms import SIDES
from aloha_marl.checks import at_least
from aloha_marl.cli.console import print_table, progress, progress_bar, report, terminal
from aloha_marl.evaluation import Evaluation, Interrupted, evaluate
from aloha_marl.files import atomic, check_writable, part_of, write_text
from aloha_marl.policies import Policy
from aloha_marl.policies.learned import LearnedPolicy
from aloha_marl.policies.network import Network

OPTIONS: dict[str, Any] = {"control": "joint_delta", "reward": "dense"}
"""Options of the environments that are trained in: small steps, and each arm's own progress."""

HELD_OUT = 100_000
"""First seed of the evaluation: no training starts from it or from those above."""

Draw = Callable[[Axes, Sequence[Mapping[str, float]]], None]
"""Draws a learning curve."""


def natural(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    return at_least(0, "number", int(text))


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    return at_least(1, "number", int(text))


def parser(
    description: str | None, num_envs: int, steps: int | None = None
) -> argparse.ArgumentParser:
    """Arguments of every training example, with these defaults; without steps there are none."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = made.add_argument
    add("--task", choices=TASKS, default="transfer_cube", help="what is learned")
    if steps is not None:
        add("--steps", type=positive, default=steps, help="control steps of all environments")
    add("--num-envs", type=positive, default=num_envs, help="environments side by side")
    add("--seed", type=natural, default=0, help="of networks, actions and starts")
    add("--episodes", type=positive, default=100, help="episodes of the evaluation")
    add("--out", type=Path, default=Path("out"), help="folder for PNG and JSON")
    return made


def ppo_parser(
    description: str | None,
    num_envs: int = 64,
    steps: int = 2_000_000,
    rollout: int | None = 64,
) -> argparse.ArgumentParser:
    """:func:`parser` with the arguments of every PPO; the description's first line is shown."""
    made = parser((description or "").partition("\n")[0], num_envs, steps)
    if rollout is not None:
        text = "steps per environment and update"
        made.add_argument("--rollout", type=positive, default=rollout, help=text)
    made.add_argument("--batch-size", type=positive, default=512, help="of a gradient step")
    made.add_argument("--epochs", type=positive, default=5, help="passes over each rollout")
    made.add_argument("--learning-rate", type=float, default=3e-4, help="of Adam")
    made.add_argument("--gamma", type=float, default=0.99, help="discount per step")
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, by default of the command line; their ``command`` repeats the training."""
    arguments = made.parse_args(argv)
    try:
        check_writable(arguments.out / "curve.json")
    except OSError as error:
        made.error(f"{error.filename} {error.strerror}")
    words = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in _recorded(arguments).items()
        if name in ("task", "seed") or value != made.get_default(name)
    ]
    arguments.command = " ".join((f"python examples/learning/{made.prog}", *words))
    return arguments


def _recorded(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that a result depends on."""
    return {
        name: value for name, value in vars(arguments).items() if name not in ("out", "command")
    }


@dataclasses.dataclass
class Actor:
    """One arm's policy, as :func:`aloha_marl.evaluation.evaluate` takes it.

    Attributes:
        act: (D,) observation to (7,) action.
    """

    act: Callable[[np.ndarray], np.ndarray]
    scope: str = "partner"
    control: str = OPTIONS["control"]

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Acts."""
        return self.act(observation)

    def reset(self) -> None:
        """Starts an episode; there is no memory."""


def policies(
    networks: Sequence[nn.Sequential], arguments: argparse.Namespace
) -> dict[str, LearnedPolicy]:
    """Perceptrons with rectified linear units as policies that run without PyTorch.

    Args:
        networks: networks of the left and the right arm, from features to the outputs of a
            :class:`~aloha_marl.policies.network.Network`.
        arguments: arguments with task, scope and seed.
    """
    made = {}
    for agent, side, network in zip(AGENTS, SIDES, networks, strict=True):
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        arrays = tuple(
            (layer.weight.detach().numpy().T.copy(), layer.bias.detach().numpy().copy())
            for layer in layers
        )
        own = Network(arguments.task, side, arguments.scope, arguments.seed, arrays)
        made[agent] = LearnedPolicy(own, OPTIONS["control"])
    return made


def draw_return(axes: Axes, curve: Sequence[Mapping[str, float]]) -> None:
    """Draws the return of an episode over the steps of the training."""
    axes.plot(*([point[key] for point in curve] for key in ("steps", "episode_return")))
    axes.set(xlabel="control steps", ylabel="return of an episode, per arm")


class Run:
    """Progress bar, learning curve and ending of a training, in a ``with`` block.

    What there is of the results is in files named ``.part``, until :meth:`finish` writes the whole. So
    Ctrl-C, and a kill, lose nothing but the steps since the last point of the curve.

    Args:
        method: name of the method, and of the files.
        arguments: result of :func:`parse`.
        total: length of the progress bar; by default the steps of the arguments.
        bar: False for no bar, if the library has its own.

    Attributes:
        curve: a dict of figures per point, with the seconds since the start.
    """

    def __init__(
        self,
        method: str,
        arguments: argparse.Namespace,
        total: int | None = None,
        bar: bool = True,
    ):
        self.method = method
        self.arguments = arguments
        self.curve: list[dict[str, float]] = []
        self._console = terminal()
        self._bar = progress_bar(self._console)
        self._bar.disable |= not bar
        self._row = self._bar.add_task("", total=total or arguments.steps)
        name = f"{method}_{arguments.task}"
        self._file = arguments.out / f"{name}_{arguments.seed}.json"
        self._kept: dict[Path, None] = {}  # files with a part of the results, and weights
        self._weights = [arguments.out / f"{name}_{side}.npz" for side in SIDES]
        self._start = time.perf_counter(), time.process_time()

    def __enter__(self) -> Run:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._bar.stop()
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            self.say(f"Interrupted; kept: {', '.join(map(str, self._kept)) or 'nothing yet'}")
            sys.exit(130)

    def point(self, steps: int, episode_return: float, **figures: float) -> None:
        """Adds a point to the curve of reinforcement learning and moves the progress bar.

        Args:
            steps: control steps so far, of all environments together.
            episode_return: return of an episode, per arm, the mean of late episodes.
            **figures: others, such as a loss.
        """
        self.record(steps=steps, episode_return=episode_return, **figures)
        self.show(steps, f"return {episode_return:.3f}")

    def record(self, **figures: float) -> None:
        """Adds a point to the curve."""
        wall, cpu = self._start
        figures["wall_seconds"] = time.perf_counter() - wall
        figures["cpu_seconds"] = time.process_time() - cpu
        plain = {
            name: value if type(value) is int else float(value) for name, value in figures.items()
        }
        self.curve.append(plain)
        with contextlib.suppress(OSError):  # a full disk may have room again at the end
            self._write(part_of(self._file))

    def checkpoint(self, learned: Mapping[str, Policy]) -> None:
        """Writes the weights of policies in the middle of the training."""
        with contextlib.suppress(OSError):
            self._save(learned, [part_of(path) for path in self._weights])

    def show(self, done: int, text: str) -> None:
        """Moves the progress bar to that many steps."""
        self._bar.update(self._row, completed=done, description=f"{self.method}: {text}")

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def finish(self, learned: Mapping[str, Policy], draw: Draw = draw_return) -> None:
        """Evaluates, prints the table of `aloha-marl eval` and writes a JSON, its picture and weights.

        Args:
            learned: agent -> policy.
            draw: draws the learning curve.
        """
        self._bar.stop()
        task, episodes = self.arguments.task, self.arguments.episodes
        saved = self._save(learned, self._weights)
        try:
            with progress(self._console, task, episodes) as done:
                seeds = range(HELD_OUT, HELD_OUT + episodes)
                result = evaluate(task, learned, seeds, policy_name=self.method, on_episode=done)
        except Interrupted as stop:
            self._write(part_of(self._file), stop.result)
            raise
        self._write(self._file, result)
        picture = self._file.with_suffix(".png")
        self._plot(picture, draw)
        for path in (self._file, *self._weights):
            part_of(path).unlink(missing_ok=True)
        print_table(self._console, report(result))
        for file in (self._file, picture, *saved):
            self.say(str(file))

    def _write(self, path: Path, result: Evaluation | None = None) -> None:
        """Writes the curve so far, and an evaluation."""
        content = {
            "method": self.method,
            "command": self.arguments.command,
            "arguments": _recorded(self.arguments),
            "torch": metadata.version("torch"),
            "cpus": os.cpu_count(),
            "curve": self.curve,
            **({"evaluation": _shortened(result)} if result else {}),
        }
        write_text(path, json.dumps(content, indent=1) + "\n")
        self._kept[path] = None

    def _save(self, learned: Mapping[str, Policy], paths: Sequence[Path]) -> list[Path]:
        """Writes the weights of learned policies, if they have any; returns the files."""
        saved = []
        for policy, path in zip(learned.values(), paths, strict=True):
            if isinstance(policy, LearnedPolicy):
                policy.network.save(path)
                self._kept[path] = None
                saved.append(path)
        return saved

    def _plot(self, path: Path, draw: Draw) -> None:
        """Writes the picture of the learning curve."""
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, self.curve)
        axes.set_title(f"{self.method} on {self.arguments.task}, seed {self.arguments.seed}")
        axes.grid(alpha=0.3)
        with atomic(path) as aside:
            figure.savefig(aside, dpi=120)


def _shortened(result: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON, with the reasons of failed episodes in place of all episodes."""
    content = json.loads(result.to_json())
    del content["episodes"], content["seeds"]
    failures = {episode.seed: episode.reason for episode in result.episodes if not episode.success}
    return {**content, "first_seed": HELD_OUT, "failures": failures}
