"""What the training examples share: arguments, progress, and the evaluation at the end."""

from __future__ import annotations

import argparse
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
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from aloha_marl import AGENTS, TASKS
from aloha_marl.arms import SIDES
from aloha_marl.cli.app import progress, report
from aloha_marl.evaluation.evaluator import evaluate
from aloha_marl.policies.learned import LearnedPolicy, Network

OPTIONS: dict[str, Any] = {"control": "joint_delta", "reward": "dense"}
"""Of the environments that are trained in: small steps, and each arm's own progress."""

FIRST_SEED = 10_000
"""Of the evaluation: as in `aloha-marl eval`, far from those of the training."""

HELD_OUT = 100_000
"""The same of those whose policies are kept: no training starts from these seeds."""


def parser(description: str | None, steps: int, num_envs: int) -> argparse.ArgumentParser:
    """The arguments of every training example, with these defaults."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    made.add_argument("--task", choices=TASKS, default="transfer_cube", help="what is learned")
    made.add_argument("--steps", type=int, default=steps, help="control steps of all environments")
    made.add_argument("--num-envs", type=int, default=num_envs, help="environments side by side")
    made.add_argument("--seed", type=int, default=0, help="of networks, actions and starts")
    made.add_argument("--episodes", type=int, default=100, help="episodes of the evaluation")
    made.add_argument("--out", type=Path, default=Path("out"), help="folder for PNG and JSON")
    return made


def ppo_parser(description: str | None) -> argparse.ArgumentParser:
    """:func:`parser`, and what every PPO asks for; the description's first line is shown."""
    made = parser((description or "").partition("\n")[0], steps=2_000_000, num_envs=64)
    made.add_argument("--rollout", type=int, default=64, help="steps per environment and update")
    made.add_argument("--batch-size", type=int, default=512, help="of a gradient step")
    made.add_argument("--epochs", type=int, default=5, help="passes over each rollout")
    made.add_argument("--learning-rate", type=float, default=3e-4, help="of Adam")
    made.add_argument("--gamma", type=float, default=0.99, help="discount per step")
    return made


@dataclasses.dataclass
class Actor:
    """One arm's policy, as :func:`aloha_marl.evaluation.evaluator.evaluate` takes it.

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
        networks: of the left and the right arm, from features to the outputs of a
            :class:`~aloha_marl.policies.learned.Network`.
        arguments: with task, scope and seed.
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


def conclude(
    method: str,
    arguments: argparse.Namespace,
    usual: argparse.Namespace,
    learned: Mapping[str, LearnedPolicy],
    curve: Sequence[Mapping[str, float]],
) -> Path:
    """Evaluates what was learned, prints the table of `aloha-marl eval`, writes weights and a JSON.

    Args:
        method: how it was learned.
        arguments: of this training.
        usual: the same without any given on the command line.
        learned: agent -> policy.
        curve: the learning curve.

    Returns:
        The JSON file, with all about the training and the evaluation.
    """
    console = Console()
    seeds = range(HELD_OUT, HELD_OUT + arguments.episodes)
    with progress(console, arguments.task, arguments.episodes) as done:
        result = evaluate(arguments.task, learned, seeds, policy_name=method, on_episode=done)
    console.print(report(result))
    arguments.out.mkdir(parents=True, exist_ok=True)
    files = []
    for side, policy in zip(SIDES, learned.values(), strict=True):
        files.append(arguments.out / f"{method}_{arguments.task}_{side}.npz")
        policy.network.save(files[-1])
    own = {name: value for name, value in vars(arguments).items() if name != "out"}
    default = vars(usual) | {"task": None, "seed": None}  # those two are always said
    words = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in own.items()
        if value != default[name]
    ]
    content = {
        "method": method,
        "command": " ".join((f"python examples/{Path(sys.argv[0]).name}", *words)),
        "arguments": own,
        "torch": metadata.version("torch"),
        "cpus": os.cpu_count(),
        "curve": curve,
        "evaluation": _shortened(json.loads(result.to_json())),
    }
    path = arguments.out / f"{method}_{arguments.task}_{arguments.seed}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    for file in (*files, path, path.with_suffix(".png")):
        console.print(file, highlight=False, soft_wrap=True)
    return path


def _shortened(evaluation: dict[str, Any]) -> dict[str, Any]:
    """An evaluation without what is told of each episode, but for those that failed."""
    episodes, seeds = evaluation.pop("episodes"), evaluation.pop("seeds")
    failures = {
        episode["seed"]: episode["reason"] for episode in episodes if not episode["success"]
    }
    return {**evaluation, "first_seed": seeds[0], "failures": failures}


class Run:
    """Shows how far a training is and collects its learning curve.

    Args:
        name: of the files.
        arguments: of :func:`parser`.

    Attributes:
        curve: a dict per point, with "steps" and the figures given then.
    """

    def __init__(self, name: str, arguments: argparse.Namespace):
        self.name = name
        self.arguments = arguments
        self.curve: list[dict[str, float]] = []
        self._console = Console()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self._bar = Progress(
            *(*columns, TimeRemainingColumn()),
            console=self._console,
            disable=not self._console.is_terminal,
        )
        self._row = self._bar.add_task("", total=arguments.steps)
        self._start = time.perf_counter()

    def __enter__(self) -> Run:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def point(self, steps: int, episode_return: float, **figures: float) -> None:
        """Adds a point to the curve.

        Args:
            steps: made so far, of all environments together.
            episode_return: what an arm has earned per episode, the mean of late episodes.
            **figures: others, such as a loss.
        """
        named = {"steps": steps, "episode_return": episode_return, **figures}
        self.curve.append({name: float(value) for name, value in named.items()})
        self.show(steps, episode_return)

    def show(self, steps: int, episode_return: float) -> None:
        """Moves the progress bar; arguments as of :meth:`point`."""
        text = f"{self.name}: return {episode_return:.3f}"
        self._bar.update(self._row, completed=steps, description=text)

    def finish(self, act: Mapping[str, Callable[[np.ndarray], np.ndarray]]) -> None:
        """Evaluates what was learned, prints the table of `aloha-marl eval` and writes the files.

        Args:
            act: agent -> (D,) observation to (7,) action.
        """
        seconds = time.perf_counter() - self._start
        arguments = self.arguments
        result = evaluate(
            arguments.task,
            {agent: Actor(act[agent]) for agent in AGENTS},
            range(FIRST_SEED, FIRST_SEED + arguments.episodes),
            policy_name=self.name,
            reward=OPTIONS["reward"],
        )
        self._console.print(report(result))
        content = {
            "arguments": {name: str(value) for name, value in vars(arguments).items()},
            "training_seconds": seconds,
            "curve": self.curve,
            "evaluation": json.loads(result.to_json()),
        }
        arguments.out.mkdir(parents=True, exist_ok=True)
        path = arguments.out / f"train_{self.name}.json"
        path.write_text(json.dumps(content, indent=1) + "\n")
        picture = path.with_suffix(".png")
        self._plot(picture)
        self._console.print(f"{path}, {picture}: everything", highlight=False, soft_wrap=True)

    def _plot(self, path: Path) -> None:
        """Return over steps."""
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(*([point[key] for point in self.curve] for key in ("steps", "episode_return")))
        axes.set_xlabel("control steps")
        axes.set_ylabel("return of an episode, per arm")
        axes.set_title(f"{self.name} on {self.arguments.task}")
        axes.grid(alpha=0.3)
        figure.savefig(path, dpi=150)
