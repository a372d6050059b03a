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

import numpy as np
import torch
import training
from matplotlib.axes import Axes
from torch import nn
from training import natural, positive

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE
from aloha_marl.control.modes import GRIPPER
from aloha_marl.policies import Policy, load
from aloha_marl.policies.learned import LearnedPolicy, network_inputs
from aloha_marl.policies.view import View, task_layout

CONTROL = training.OPTIONS["control"]
WIDTHS = (256, 256)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.parser(__doc__, num_envs=128)
    parser.set_defaults(episodes=300)
    add = parser.add_argument
    add("--scope", choices=("partner", "local"), default="partner", help="what an arm may know")
    add("--expert-steps", type=positive, default=240, help="that the experts play, per environment")
    add("--rounds", type=natural, default=12, help="of play and correction")
    add("--round-steps", type=positive, default=80, help="per environment and round")
    add("--updates", type=positive, default=600, help="gradient steps per round")
    add("--last-updates", type=natural, default=3000, help="gradient steps after the last round")
    add("--batch-size", type=positive, default=1024, help="of a gradient step")
    add(
        "--learning-rate", type=float, default=1e-3, help="of Adam; falls to 0 after the last round"
    )
    return training.parse(parser, argv)


class Experience:
    """Features of both arms' observations, labelled with the experts' actions.

    Args:
        task: name of the task.
        scope: scope of the observations.
    """

    def __init__(self, task: str, scope: str):
        self._task = task
        self._layout = task_layout(task, scope)
        self._experts = load("scripted", task, scope, CONTROL)
        self._inputs: list[np.ndarray] = []
        self._labels: list[np.ndarray] = []

    def add(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Adds the observations of all rows; returns the experts' actions."""
        inputs, labels, actions = [], [], {}
        for agent, seen in observations.items():
            actions[agent] = self._experts[agent](seen)
            inputs.append(network_inputs(View(seen, self._layout), self._task))
            # The label is whether to open or to close, not how far.
            labels.append(actions[agent].copy())
            labels[-1][:, GRIPPER] = np.where(labels[-1][:, GRIPPER] > 0, 1, -1)
        self._inputs.append(np.stack(inputs))
        self._labels.append(np.stack(labels))
        return actions

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All (2, n, features) inputs and (2, n, 7) labels so far, the left arm's first."""
        inputs, labels = (np.concatenate(kept, axis=1) for kept in (self._inputs, self._labels))
        self._inputs, self._labels = [inputs], [labels]
        return torch.from_numpy(inputs), torch.from_numpy(labels)


class Learner:
    """A network per arm.

    Args:
        seed: seed of initial weights and batches.
        learning_rate: step size of Adam.
        batch_size: samples per gradient step.
        inputs: (2, n, features) samples, on whose mean the first layer is centred.
    """

    def __init__(self, seed: int, learning_rate: float, batch_size: int, inputs: torch.Tensor):
        self._rate, self._batch_size = learning_rate, batch_size
        torch.manual_seed(seed)
        self.networks = [_network(arm) for arm in inputs]
        parameters = [weight for network in self.networks for weight in network.parameters()]
        self._optimizer = torch.optim.Adam(parameters, learning_rate)

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
    """A perceptron whose inputs are centred on the mean of (n, features) samples."""
    sizes = (inputs.shape[1], *WIDTHS, ACTION_SIZE)
    layers: list[nn.Module] = []
    for size, following in itertools.pairwise(sizes):
        layers += [nn.Linear(size, following), nn.ReLU()]
    first = layers[0]
    assert isinstance(first, nn.Linear)
    with torch.no_grad():
        first.bias -= first.weight @ inputs.mean(dim=0)
    return nn.Sequential(*layers[:-1])


class Play:
    """Environments whose episodes go on from round to round."""

    def __init__(self, arguments: argparse.Namespace):
        options = {"scope": arguments.scope, "control": CONTROL}
        self._env = AlohaVectorEnv(arguments.task, arguments.num_envs, **options)
        # Rows start from seeds of their own in each training, all of them below training.HELD_OUT.
        self._seen, _ = self._env.reset(seed=arguments.num_envs * arguments.seed)

    def steps(
        self, number: int, experience: Experience, policies: Mapping[str, Policy] | None = None
    ) -> Iterator[tuple[int, int]]:
        """Plays; yields for each step the number of episodes that ended, and of successes.

        Args:
            number: number of steps.
            experience: samples, to which all observations are added.
            policies: agent -> policy that acts, by default the experts.
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


def train(run: training.Run) -> dict[str, LearnedPolicy]:
    """Trains, with a point of the learning curve per round; returns agent -> policy."""
    arguments, done = run.arguments, itertools.count(1)
    play, experience = Play(arguments), Experience(arguments.task, arguments.scope)
    learner, policies, text = None, None, "the experts play"
    for number in range(arguments.rounds + 1):
        ends = []
        length = arguments.round_steps if number else arguments.expert_steps
        for end in play.steps(length, experience, policies):
            ends.append(end)
            run.show(next(done), text)
        episodes, successes = np.sum(ends, axis=0).tolist()
        data = experience.tensors()
        if learner is None:
            how = arguments.learning_rate, arguments.batch_size
            learner = Learner(arguments.seed, *how, data[0])
        last = number == arguments.rounds
        losses = []
        for updates, falling in ((arguments.updates, False), (arguments.last_updates * last, True)):
            for loss in learner.learn(data, updates, falling):
                losses.append(loss)
                run.show(next(done), text)
        policies = training.policies(learner.networks, arguments)
        loss = sum(losses[-100:]) / len(losses[-100:])
        run.checkpoint(policies)
        run.record(
            round=number,
            samples_per_arm=data[0].shape[1],
            loss=loss,
            episodes=episodes,
            successes=successes,
        )
        text = f"round {number}: {successes} of {episodes} episodes won"
        run.say(f"{text}, loss {loss:.4f}")
    play.close()
    assert policies is not None
    return policies


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


def main() -> None:
    """Trains, evaluates and writes all of it."""
    arguments = parse()
    with training.Run("imitation", arguments, total(arguments)) as run:
        policies = train(run)
        run.say(f"trained in {run.curve[-1]['wall_seconds']:.0f} s")
        run.finish(policies, draw)


if __name__ == "__main__":
    main()
