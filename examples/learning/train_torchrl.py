"""MAPPO with TorchRL: an actor per arm, a central critic on the state. Needs the extra ``torchrl``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import learners
import torch
import training
from rows import Rows
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, set_composite_lp_aggregate
from torch import nn
from torchrl.envs.utils import ExplorationType, step_mdp
from torchrl.modules import MLP, MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss, ValueEstimators

from aloha_marl import AGENTS
from aloha_marl.integrations.torchrl import AlohaEnv
from aloha_marl.policies.network import Network

LAYERS = {"depth": 2, "num_cells": 128, "activation_class": nn.Tanh}
"""Layers of the networks."""


class Learner:
    """MAPPO with new networks, and its environments.

    Attributes:
        rows: the environments.
        env: the environments as TorchRL sees them.
        now: what the arms observe, and whether their episodes have ended.
        policy: policy of both arms; an arm's action depends on its own observation alone.
        loss: loss of PPO, with the critic.
        optimizer: optimizer of policy and critic.
    """

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(1)  # such small networks are slower on more
        torch.manual_seed(arguments.seed)
        set_composite_lp_aggregate(False).set()
        self.rows = Rows(
            arguments.task, arguments.num_envs, autoreset_mode="NextStep", **training.OPTIONS
        )
        self.env = AlohaEnv(self.rows)
        self.env.set_seed(arguments.seed)
        self.now = self.env.reset()
        self.policy = policy(self.env)
        self.loss = ClipPPOLoss(
            self.policy,
            critic(self.env),
            entropy_coeff=arguments.entropy,
            normalize_advantage=True,
            normalize_advantage_exclude_dims=(-2,),  # normalized per arm
        )
        self.loss.set_keys(
            reward=("arms", "reward"),
            action=("arms", "action"),
            value=("arms", "state_value"),
            done=("arms", "done"),
            terminated=("arms", "terminated"),
            sample_log_prob=("arms", "action_log_prob"),
        )
        self.loss.make_value_estimator(
            ValueEstimators.GAE, gamma=arguments.gamma, lmbda=arguments.gae_lambda
        )
        self.optimizer = torch.optim.Adam(self.loss.parameters(), arguments.learning_rate)

    def networks(self) -> list[Network]:
        """Each arm's network of the mean action."""
        return learners.stacked_networks(self.policy)

    def state_dict(self) -> dict[str, Any]:
        """Networks and optimizer, environments, and what the arms observe."""
        return {
            "loss": self.loss.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rows": self.rows.state_dict(),
            "now": self.now.clone().to_dict(),  # else the whole rollout would be saved
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        self.loss.load_state_dict(saved["loss"])
        self.optimizer.load_state_dict(saved["optimizer"])
        self.rows.load_state_dict(saved["rows"])
        self.now.update(saved["now"])


def policy(env: AlohaEnv) -> ProbabilisticActor:
    """A new network per arm, with a normal distribution squashed to the bounds of the actions."""
    action = env.full_action_spec_unbatched["arms", "action"]
    network = MultiAgentMLP(
        env.observation_spec["arms", "observation"].shape[-1],
        2 * action.shape[-1],
        n_agents=len(AGENTS),
        centralized=False,
        share_params=False,
        **LAYERS,
    )
    return ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(network, NormalParamExtractor("biased_softplus_0.4")),
            in_keys=[("arms", "observation")],
            out_keys=[("arms", "loc"), ("arms", "scale")],
        ),
        spec=env.full_action_spec_unbatched,
        in_keys=[("arms", "loc"), ("arms", "scale")],
        out_keys=[("arms", "action")],
        distribution_class=TanhNormal,
        distribution_kwargs={"low": action.space.low, "high": action.space.high},
        return_log_prob=True,
        log_prob_key=("arms", "action_log_prob"),
        default_interaction_type=ExplorationType.RANDOM,
    )


def critic(env: AlohaEnv) -> TensorDictModule:
    """A new network from the state to a value per arm."""
    value = nn.Sequential(
        MLP(env.observation_spec["state"].shape[-1], len(AGENTS), **LAYERS),
        nn.Unflatten(-1, (len(AGENTS), 1)),
    )
    return TensorDictModule(value, in_keys=["state"], out_keys=[("arms", "state_value")])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__)
    parser.add_argument(
        "--gae-lambda", type=float, default=0.95, help="decay of the advantage estimates"
    )
    parser.add_argument("--entropy", type=float, default=0.0, help="weight of the entropy bonus")
    return training.parse(parser, argv)


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    arguments = run.arguments
    per_update = arguments.rollout * arguments.num_envs
    for steps in range(run.steps + per_update, arguments.steps + 1, per_update):
        loss = learn(learner, collect(learner, arguments.rollout), arguments)
        run.point(steps, learner.rows.figures(), loss=loss)


@torch.no_grad()
def collect(learner: Learner, rollout: int) -> TensorDict:
    """Plays so many steps in all environments; returns them with their advantages."""
    env = learner.env
    data = env.rollout(
        rollout,
        learner.policy,
        break_when_any_done=False,
        auto_reset=False,
        tensordict=learner.now,
    )
    learner.now = env.maybe_reset(step_mdp(data[:, -1]))
    rewards = data["next", "arms", "reward"]
    for end in ("done", "terminated"):  # both arms' episodes end together
        data["next", "arms", end] = data["next", end][:, :, None].expand(rewards.shape)
    learner.loss.value_estimator(data)
    return data.reshape(-1)


def learn(learner: Learner, data: TensorDict, arguments: argparse.Namespace) -> float:
    """Some passes over a rollout; returns the mean loss."""
    losses = []
    for _ in range(arguments.epochs):
        for batch in torch.randperm(len(data)).split(arguments.batch_size):
            parts = learner.loss(data[batch])
            terms = [value for name, value in parts.items() if name.startswith("loss_")]
            loss = torch.stack(terms).sum()
            learner.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(learner.loss.parameters(), 0.5)
            learner.optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("torchrl", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
