"""Arguments, learning curve and ending that all training examples share."""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.console import Console
from torch import nn

from aloha_marl import AGENTS, TASKS
from aloha_marl.arms import SIDES
from aloha_marl.cli.console import progress, progress_bar, report
from aloha_marl.evaluation import Evaluation, evaluate
from aloha_marl.policies import Policy
from aloha_marl.policies.learned import LearnedPolicy
from aloha_marl.policies.network import Network

OPTIONS: dict[str, Any] = {"control": "joint_delta", "reward": "dense"}
"""Options of the environments that are trained in: small steps, and each arm's own progress."""

HELD_OUT = 100_000
"""First seed of the evaluation: no training starts from it or from those above."""

Draw = Callable[[Axes, Sequence[Mapping[str, float]]], None]
"""Draws a learning curve."""


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
        add("--steps", type=int, default=steps, help="control steps of all environments")
    add("--num-envs", type=int, default=num_envs, help="environments side by side")
    add("--seed", type=int, default=0, help="of networks, actions and starts")
    add("--episodes", type=int, default=100, help="episodes of the evaluation")
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
        made.add_argument("--rollout", type=int, default=rollout, help=text)
    made.add_argument("--batch-size", type=int, default=512, help="of a gradient step")
    made.add_argument("--epochs", type=int, default=5, help="passes over each rollout")
    made.add_argument("--learning-rate", type=float, default=3e-4, help="of Adam")
    made.add_argument("--gamma", type=float, default=0.99, help="discount per step")
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, by default of the command line; their ``command`` repeats the training."""
    arguments = made.parse_args(argv)
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
    """Progress bar, learning curve and ending of a training.

    Args:
        method: name of the method, and of the files.
        arguments: result of :func:`parse`.
        total: length of the progress bar; by default the steps of the arguments.

    Attributes:
        curve: a dict of figures per point, with the seconds since the start.
    """

    def __init__(self, method: str, arguments: argparse.Namespace, total: int | None = None):
        self.method = method
        self.arguments = arguments
        self.curve: list[dict[str, float]] = []
        self._console = Console(highlight=False)
        self._bar = progress_bar(self._console)
        self._row = self._bar.add_task("", total=total or arguments.steps)
        self._start = time.perf_counter(), time.process_time()

    def __enter__(self) -> Run:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

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

    def show(self, done: int, text: str) -> None:
        """Moves the progress bar to that many steps."""
        self._bar.update(self._row, completed=done, description=f"{self.method}: {text}")

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        self._console.print(text)

    def finish(self, learned: Mapping[str, Policy], draw: Draw = draw_return) -> None:
        """Evaluates, prints the table of `aloha-marl eval` and writes a JSON, its picture and weights.

        Args:
            learned: agent -> policy.
            draw: draws the learning curve.
        """
        task, episodes = self.arguments.task, self.arguments.episodes
        with progress(self._console, task, episodes) as done:
            seeds = range(HELD_OUT, HELD_OUT + episodes)
            result = evaluate(task, learned, seeds, policy_name=self.method, on_episode=done)
        self._console.print(report(result))
        content = {
            "method": self.method,
            "command": self.arguments.command,
            "arguments": _recorded(self.arguments),
            "torch": metadata.version("torch"),
            "cpus": os.cpu_count(),
            "curve": self.curve,
            "evaluation": _shortened(result),
        }
        out = self.arguments.out
        out.mkdir(parents=True, exist_ok=True)
        path = out / f"{self.method}_{task}_{self.arguments.seed}.json"
        path.write_text(json.dumps(content, indent=1) + "\n")
        files = [path, path.with_suffix(".png")]
        self._plot(files[1], draw)
        for side, policy in zip(SIDES, learned.values(), strict=True):
            if isinstance(policy, LearnedPolicy):
                files.append(out / f"{self.method}_{task}_{side}.npz")
                policy.network.save(files[-1])
        for file in files:
            self._console.print(file, soft_wrap=True)

    def _plot(self, path: Path, draw: Draw) -> None:
        """Writes the picture of the learning curve."""
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        draw(axes, self.curve)
        axes.set_title(f"{self.method} on {self.arguments.task}, seed {self.arguments.seed}")
        axes.grid(alpha=0.3)
        figure.savefig(path, dpi=120)


def _shortened(result: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON, with the reasons of failed episodes in place of all episodes."""
    content = json.loads(result.to_json())
    del content["episodes"], content["seeds"]
    failures = {episode.seed: episode.reason for episode in result.episodes if not episode.success}
    return {**content, "first_seed": result.episodes[0].seed, "failures": failures}
