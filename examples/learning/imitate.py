"""From nothing to policies for both arms: imitation of the scripted experts. Needs the extra ``torch``.

First the experts play and two networks, one per arm, learn their actions (behaviour cloning). Then the
networks play, the experts label each observation with their own action, and the networks learn from all
samples so far; and so on (DAgger). Each network sees its own arm's observation and nothing else.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import learners
import numpy as np
import torch
import training
from matplotlib.axes import Axes
from rows import Rows
from torch import nn
from training import natural, positive

from aloha_marl import AGENTS, datasets
from aloha_marl.arms import ACTION_SIZE
from aloha_marl.control.modes import GRIPPER
from aloha_marl.policies import Policy, load
from aloha_marl.policies.learned import network_inputs
from aloha_marl.policies.network import Network
from aloha_marl.policies.view import View, task_layout

CONTROL = training.OPTIONS["control"]


def parse(
    argv: Sequence[str] | None = None, description: str | None = __doc__, **defaults: Any
) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.parser(description, num_envs=128)
    parser.set_defaults(episodes=300)
    add = parser.add_argument
    add(
        "--scope", choices=("partner", "local"), default="partner", help="scope of the observations"
    )
    add("--width", type=positive, default=256, help="units per hidden layer")
    add("--demos", metavar="PATH", help="file or folder of recorded episodes to learn from, too")
    add("--expert-steps", type=positive, default=240, help="steps per environment of the experts")
    add("--rounds", type=natural, default=12, help="rounds of play and correction")
    add("--round-steps", type=positive, default=80, help="steps per environment and round")
    add("--updates", type=positive, default=600, help="gradient steps per round")
    add("--last-updates", type=natural, default=3000, help="gradient steps after the last round")
    add("--batch-size", type=positive, default=1024, help="samples per gradient step")
    add(
        "--learning-rate",
        type=float,
        default=1e-3,
        help="step size of Adam; falls to 0 after the last round",
    )
    parser.set_defaults(**defaults)
    return training.parse(parser, argv)


class Experience:
    """Features of both arms' observations, labelled with the experts' actions.

    Args:
        task: name of the task.
        scope: scope of the observations.
    """

    def __init__(self, task: str, scope: str):
        self._own = {"task": task, "scope": scope, "control": CONTROL}
        self._layout = task_layout(task, scope)
        self._experts = load("scripted", task, scope, CONTROL)
        self._inputs: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds the observations of all rows; returns the experts' actions."""
        actions = {agent: self._experts[agent](seen) for agent, seen in observations.items()}
        self._add(list(observations.values()), list(actions.values()))
        return actions

    def begin(self, number: int) -> None:
        """Called when a round begins."""

    def replace(
        self, observations: Mapping[str, np.ndarray], actions: dict[str, np.ndarray]
    ) -> None:
        """Changes the actions of rows in which an arm is somebody else's; here of none."""

    def add_demos(self, path: str) -> None:
        """Adds recorded episodes, with the actions in them.

        Raises:
            ValueError: an episode is of another task, scope or control mode.
        """
        for episode in datasets.open(path):
            kept = {"task": episode.metadata.task, **episode.metadata.options}
            for name, own in self._own.items():
                if kept.get(name) != own:
                    raise ValueError(f"{episode.path} has {name}={kept.get(name)!r}, not {own!r}")
            arms = episode.per_arm().values()
            self._add([arm["observations"][:-1] for arm in arms], [arm["actions"] for arm in arms])

    def _add(self, observations: Sequence[np.ndarray], actions: Sequence[np.ndarray]) -> None:
        """Adds (n, D) observations and (n, 7) actions of each arm."""
        inputs = [network_inputs(View(seen, self._layout)) for seen in observations]
        labels = np.stack(actions).astype(np.float32)
        # The label is whether to open or to close, not how far.
        labels[..., GRIPPER] = np.where(labels[..., GRIPPER] > 0, 1, -1)
        self._inputs.append(np.stack(inputs))
        self._labels.append(labels)

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All (2, n, features) inputs and (2, n, 7) labels so far, the left arm's first."""
        inputs, labels = (np.concatenate(kept, axis=1) for kept in (self._inputs, self._labels))
        self._inputs, self._labels = [inputs], [labels]
        return torch.from_numpy(inputs), torch.from_numpy(labels)

    def load(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Replaces all samples by those."""
        self._inputs, self._labels = [inputs.numpy()], [labels.numpy()]


class Students:
    """A network per arm.

    Args:
        seed: seed of initial weights and batches.
        learning_rate: step size of Adam.
        batch_size: samples per gradient step.
        width: units per hidden layer.
        inputs: (2, n, features) samples, on whose mean the first layer is centred.

    Attributes:
        networks: network of each arm.
        optimizer: optimizer of both.
    """

    def __init__(
        self, seed: int, learning_rate: float, batch_size: int, width: int, inputs: torch.Tensor
    ):
        self._rate, self._batch_size = learning_rate, batch_size
        torch.manual_seed(seed)
        self.networks = [_network(arm, width) for arm in inputs]
        parameters = [weight for network in self.networks for weight in network.parameters()]
        self.optimizer = torch.optim.Adam(parameters, learning_rate)

    def learn(
        self, data: tuple[torch.Tensor, torch.Tensor], updates: int, last: bool = False
    ) -> Iterator[float]:
        """Makes gradient steps on random batches; yields the loss of each.

        Args:
            data: inputs and labels.
            updates: number of gradient steps.
            last: True to let the learning rate fall to 0.
        """
        inputs, labels = data
        for update in range(updates):
            for group in self.optimizer.param_groups:
                group["lr"] = self._rate * (1 - update / updates if last else 1)
            chosen = torch.randint(inputs.shape[1], (self._batch_size,))
            losses = [
                nn.functional.mse_loss(network(inputs[arm, chosen]), labels[arm, chosen])
                for arm, network in enumerate(self.networks)
            ]
            loss = torch.stack(losses).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            yield loss.item()


def _network(inputs: torch.Tensor, width: int) -> nn.Sequential:
    """A perceptron whose inputs are centred on the mean of (n, features) samples."""
    sizes = (inputs.shape[1], width, width, ACTION_SIZE)
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
    first = layers[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.bias -= first.weight @ inputs.mean(dim=0)
    return nn.Sequential(*layers[:-1])


class Learner:
    """Environments whose episodes go on from round to round, samples of them, and networks.

    Attributes:
        rows: the environments.
        experience: samples.
        students: networks, as soon as there are samples.
    """

    def __init__(self, arguments: argparse.Namespace):
        self._arguments = arguments
        options = {"scope": arguments.scope, "control": CONTROL}
        self.rows = Rows(arguments.task, arguments.num_envs, **options)
        # Rows start from seeds of their own in each training, all of them below training.HELD_OUT.
        self.rows.reset(seed=arguments.num_envs * arguments.seed)
        self.experience = self._experience()
        self.students: Students | None = None
        if arguments.demos is not None:
            self.experience.add_demos(arguments.demos)

    def _experience(self) -> Experience:
        """What the samples are kept in."""
        return Experience(self._arguments.task, self._arguments.scope)

    def play(
        self, number: int, policies: Mapping[str, Policy] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Plays and keeps all observations.

        Args:
            number: number of steps.
            policies: agent -> policy that acts, by default the experts.

        Yields:
            After each step: number of episodes that ended, and of successes.
        """
        for _ in range(number):
            seen = self.rows.observations()
            actions = self.experience.add(seen)
            if policies is not None:
                actions = {agent: policy(seen[agent]) for agent, policy in policies.items()}
            self.experience.replace(seen, actions)
            _, _, ended, cut, _ = self.rows.step(actions)
            won, over = ended[AGENTS[0]], ended[AGENTS[0]] | cut[AGENTS[0]]
            yield int(over.sum()), int(won.sum())

    def fit(self, updates: int, last_updates: int) -> Iterator[float]:
        """Makes gradient steps on all samples, the last ones with a falling rate; yields the losses."""
        data = self.experience.tensors()
        students = self._students(data[0])
        yield from students.learn(data, updates)
        yield from students.learn(data, last_updates, last=True)

    def _students(self, inputs: torch.Tensor) -> Students:
        arguments = self._arguments
        if self.students is None:
            how = arguments.learning_rate, arguments.batch_size, arguments.width
            self.students = Students(arguments.seed, *how, inputs)
        return self.students

    def networks(self) -> list[Network]:
        """The networks of the left and the right arm."""
        assert self.students is not None
        return [learners.network(own) for own in self.students.networks]

    def state_dict(self) -> dict[str, Any]:
        """Environments, samples, networks and optimizer."""
        assert self.students is not None
        return {
            "rows": self.rows.state_dict(),
            "samples": self.experience.tensors(),
            "networks": [own.state_dict() for own in self.students.networks],
            "optimizer": self.students.optimizer.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        self.rows.load_state_dict(saved["rows"])
        self.experience.load(*saved["samples"])
        students = self._students(saved["samples"][0])
        for own, weights in zip(students.networks, saved["networks"], strict=True):
            own.load_state_dict(weights)
        students.optimizer.load_state_dict(saved["optimizer"])


def train(learner: Learner, run: training.Run) -> None:
    """Trains, with a point of the learning curve per round."""
    arguments, steps = run.arguments, run.steps
    for number in range(len(run.curve), arguments.rounds + 1):
        last = number == arguments.rounds
        ends, losses = [], []
        learner.experience.begin(number)
        play = learner.play(arguments.expert_steps)
        if number:
            play = learner.play(arguments.round_steps, run.policies())
        fit = learner.fit(arguments.updates, arguments.last_updates if last else 0)
        for kept, part in ((ends, play), (losses, fit)):
            for result in part:
                kept.append(result)
                steps += 1
                run.show(steps, f"round {number}")
        episodes, successes = np.sum(ends, axis=0).tolist()
        run.point(
            steps,
            {"round": number, "episodes": episodes, "successes": successes},
            samples_per_arm=learner.experience.tensors()[0].shape[1],
            loss=sum(losses[-100:]) / len(losses[-100:]),
        )


def total(arguments: argparse.Namespace) -> int:
    """Number of steps and updates of a training."""
    first = arguments.expert_steps + arguments.updates
    per_round = arguments.round_steps + arguments.updates
    return first + arguments.rounds * per_round + arguments.last_updates


def draw(axes: Axes, curve: Sequence[Mapping[str, Any]]) -> None:
    """Draws the success of the episodes that ended in each round, and the loss."""
    played = [point for point in curve if point["episodes"]]
    rates = [100 * point["successes"] / point["episodes"] for point in played]
    axes.plot([point["round"] for point in played], rates, "o-")
    axes.set_xlabel("round (0: the experts play)")
    axes.set_ylabel("success of the episodes that ended in it [%]")
    axes.set_ylim(0, 102)
    other = axes.twinx()
    other.plot([point["round"] for point in curve], [point["loss"] for point in curve], "k:")
    other.set_yscale("log")
    other.set_ylabel("loss (dotted)")


def run_all(method: str, learner: Learner, arguments: argparse.Namespace) -> None:
    """Trains, evaluates and writes all of it."""
    with training.Run(method, arguments, learner, total(arguments), features=True) as run:
        train(learner, run)
        run.say(f"trained in {run.curve[-1]['wall_seconds']:.0f} s")
        run.finish(draw)
    learner.rows.close()


def main() -> None:
    """Imitates the experts."""
    arguments = parse()
    run_all("imitation", Learner(arguments), arguments)


if __name__ == "__main__":
    main()
