"""From nothing to policies for both arms: imitation of the scripted experts. Needs the extra ``torch``.

First the experts play and two networks, one per arm, learn what they do (behaviour cloning). Then the
networks play, the experts say what they would have done instead, and the networks learn from all that
was seen so far; and so on (DAgger). Each network sees nothing but its own arm's observation.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import training
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from aloha_marl import AGENTS, TASKS, AlohaVectorEnv
from aloha_marl.control.modes import GRIPPER
from aloha_marl.core.observations import Layout
from aloha_marl.policies import Policy, load
from aloha_marl.policies.learned import OUTPUTS, LearnedPolicy, network_inputs
from aloha_marl.policies.motion import View

CONTROL = training.OPTIONS["control"]
WIDTHS = (256, 256)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--task", choices=TASKS, default="transfer_cube", help="what is learned")
    add("--scope", choices=("partner", "local"), default="partner", help="what an arm may know")
    add("--seed", type=int, default=0, help="of networks, batches and starts")
    add("--num-envs", type=int, default=128, help="environments side by side")
    add("--expert-steps", type=int, default=240, help="that the experts play, per environment")
    add("--rounds", type=int, default=12, help="of play and correction")
    add("--round-steps", type=int, default=80, help="per environment and round")
    add("--updates", type=int, default=600, help="gradient steps per round")
    add("--last-updates", type=int, default=3000, help="gradient steps after the last round")
    add("--batch-size", type=int, default=1024, help="of a gradient step")
    add(
        "--learning-rate", type=float, default=1e-3, help="of Adam; falls to 0 after the last round"
    )
    add("--episodes", type=int, default=300, help="of the evaluation")
    add("--out", type=Path, default=Path("out"), help="folder for the policies, PNG and JSON")
    return parser.parse_args(argv)


class Experience:
    """What both arms saw, and what the experts would have done.

    Args:
        task: that is played.
        scope: of the observations.
    """

    def __init__(self, task: str, scope: str):
        self._task = task
        self._layout = Layout(tuple(TASKS[task].objects), scope)
        self._experts = load("scripted", task, scope, CONTROL)
        self._inputs: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Keeps observations of all rows; returns the experts' actions."""
        inputs, labels, actions = [], [], {}
        for agent, seen in observations.items():
            actions[agent] = self._experts[agent](seen)
            inputs.append(network_inputs(View(seen, self._layout), self._task))
            # A gripper opens or closes; how far it has still to go is no matter.
            labels.append(actions[agent].copy())
            labels[-1][:, GRIPPER] = np.where(labels[-1][:, GRIPPER] > 0, 1, -1)
        self._inputs.append(np.stack(inputs))
        self._labels.append(np.stack(labels))
        return actions

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(2, n, features) inputs and (2, n, 7) labels of all so far, the left arm's first."""
        inputs, labels = (np.concatenate(kept, axis=1) for kept in (self._inputs, self._labels))
        self._inputs, self._labels = [inputs], [labels]
        return torch.from_numpy(inputs), torch.from_numpy(labels)


class Learner:
    """A network per arm.

    Args:
        task, scope, seed: whom the networks are for, and how they start.
        learning_rate: of Adam.
        batch_size: of a gradient step.
        inputs: (2, n, features) of which the networks' inputs will be like.
    """

    def __init__(
        self,
        task: str,
        scope: str,
        seed: int,
        learning_rate: float,
        batch_size: int,
        inputs: torch.Tensor,
    ):
        self._task, self._scope, self._seed = task, scope, seed
        self._rate, self._batch_size = learning_rate, batch_size
        torch.manual_seed(seed)
        self.networks = [_network(arm) for arm in inputs]
        parameters = [weight for network in self.networks for weight in network.parameters()]
        self._optimizer = torch.optim.Adam(parameters, learning_rate)

    def learn(
        self, data: tuple[torch.Tensor, torch.Tensor], updates: int, last: bool = False
    ) -> Iterator[float]:
        """Gradient steps on random batches; gives the loss of each.

        Args:
            data: inputs and labels.
            updates: how many.
            last: whether the learning rate falls to 0 meanwhile.
        """
        inputs, labels = data
        for update in range(updates):
            for group in self._optimizer.param_groups:
                group["lr"] = self._rate * (1 - update / updates if last else 1)
            chosen = torch.randint(inputs.shape[1], (self._batch_size,))
            losses = [
                nn.functional.mse_loss(network(inputs[arm, chosen]), labels[arm, chosen])
                for arm, network in enumerate(self.networks)
            ]
            loss = torch.stack(losses).mean()
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            yield loss.item()


def _network(inputs: torch.Tensor) -> nn.Sequential:
    """A perceptron that begins at the middle of (n, features) inputs."""
    sizes = (inputs.shape[1], *WIDTHS, OUTPUTS)
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
    first = layers[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.bias -= first.weight @ inputs.mean(dim=0)
    return nn.Sequential(*layers[:-1])


class Play:
    """Environments that go on from round to round; an episode that ends makes room for the next."""

    def __init__(self, arguments: argparse.Namespace):
        options = {"scope": arguments.scope, "control": CONTROL}
        self._env = AlohaVectorEnv(arguments.task, arguments.num_envs, **options)
        # Rows start from seeds of their own in each training, all of them below training.HELD_OUT.
        self._seen, _ = self._env.reset(seed=arguments.num_envs * arguments.seed)

    def steps(
        self, number: int, experience: Experience, policies: Mapping[str, Policy] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Plays; gives how many episodes ended in each step, and how many in success.

        Args:
            number: of steps.
            experience: is told all that is seen.
            policies: agent -> who acts; without them the experts.
        """
        for _ in range(number):
            actions = experience.add(self._seen)
            if policies is not None:
                actions = {agent: policies[agent](seen) for agent, seen in self._seen.items()}
            self._seen, _, ended, cut, _ = self._env.step(actions)
            won, over = ended[AGENTS[0]], ended[AGENTS[0]] | cut[AGENTS[0]]
            yield int(over.sum()), int(won.sum())

    def close(self) -> None:
        """Frees the simulations."""
        self._env.close()


def train(
    arguments: argparse.Namespace, bar: Progress
) -> tuple[dict[str, LearnedPolicy], list[dict[str, Any]]]:
    """Trains; returns agent -> policy and the learning curve, a point per round."""
    start, cpu = time.perf_counter(), time.process_time()
    per_round = arguments.round_steps + arguments.updates
    total = arguments.expert_steps + (arguments.rounds + 1) * per_round + arguments.last_updates
    row = bar.add_task("the experts play", total=total - arguments.round_steps)
    play, experience = Play(arguments), Experience(arguments.task, arguments.scope)
    curve: list[dict[str, Any]] = []
    learner, policies = None, None
    for number in range(arguments.rounds + 1):
        ends = []
        length = arguments.round_steps if number else arguments.expert_steps
        for end in play.steps(length, experience, policies):
            ends.append(end)
            bar.advance(row)
        episodes, successes = np.sum(ends, axis=0).tolist()
        data = experience.tensors()
        if learner is None:
            how = arguments.learning_rate, arguments.batch_size
            learner = Learner(arguments.task, arguments.scope, arguments.seed, *how, data[0])
        last = number == arguments.rounds
        losses = []
        for updates, falling in ((arguments.updates, False), (arguments.last_updates * last, True)):
            for loss in learner.learn(data, updates, falling):
                losses.append(loss)
                bar.advance(row)
        policies = training.policies(learner.networks, arguments)
        late = losses[-100:]
        point = {
            "round": number,
            "samples_per_arm": data[0].shape[1],
            "wall_seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "loss": sum(late) / len(late),
            "episodes": episodes,
            "successes": successes,
        }
        curve.append(point)
        text = f"round {number}: {successes} of {episodes} episodes won"
        bar.update(row, description=text)
        bar.console.print(f"{text}, loss {point['loss']:.4f}", highlight=False)
    play.close()
    assert policies is not None
    return policies, curve


def plot(curve: Sequence[Mapping[str, Any]], task: str, path: Path) -> None:
    """Draws the success of the episodes that ended in each round, and the loss."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    played = [point for point in curve if point["episodes"]]
    rates = [100 * point["successes"] / point["episodes"] for point in played]
    axes.plot([point["round"] for point in played], rates, "o-")
    axes.set_xlabel("round (0: the experts play)")
    axes.set_ylabel("success of the episodes that ended in it [%]")
    axes.set_title(task)
    axes.set_ylim(0, 102)
    axes.grid(alpha=0.3)
    other = axes.twinx()
    other.plot([point["round"] for point in curve], [point["loss"] for point in curve], "k:")
    other.set_yscale("log")
    other.set_ylabel("loss (dotted)")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Trains, evaluates and writes all of it."""
    arguments = parse()
    console = Console()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(
        *(*columns, TimeRemainingColumn()), console=console, disable=not console.is_terminal
    ) as bar:
        policies, curve = train(arguments, bar)
    console.print(f"trained in {curve[-1]['wall_seconds']:.0f} s", highlight=False)
    path = training.conclude("imitation", arguments, parse([]), policies, curve)
    plot(curve, arguments.task, path.with_suffix(".png"))


if __name__ == "__main__":
    main()
