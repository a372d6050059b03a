"""MAPPO with TorchRL: an actor per arm, a central critic on the state. Needs the extra ``torchrl``."""

from __future__ import annotations

import argparse
import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import torch
import training
from tensordict import TensorDict
from tensordict.nn import NormalParamExtractor, TensorDictModule, set_composite_lp_aggregate
from torch import nn
from torchrl.envs import RewardSum, TransformedEnv
from torchrl.envs.utils import ExplorationType, set_exploration_type, step_mdp
from torchrl.modules import MLP, MultiAgentMLP, ProbabilisticActor, TanhNormal
from torchrl.objectives import ClipPPOLoss, ValueEstimators

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.integrations.torchrl import AlohaEnv


@dataclasses.dataclass
class Mappo:
    """Environments, networks and their optimizer.

    Attributes:
        env: environments that also add up each episode's rewards.
        policy: policy of both arms; an arm's action depends on its own observation alone.
        loss: loss of PPO, with the critic.
        optimizer: optimizer of policy and critic.
    """

    env: TransformedEnv
    policy: ProbabilisticActor
    loss: ClipPPOLoss
    optimizer: torch.optim.Optimizer


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__)
    parser.add_argument("--gae-lambda", type=float, default=0.95, help="of the advantages")
    parser.add_argument("--entropy", type=float, default=0.0, help="weight of the entropy bonus")
    return training.parse(parser, argv)


def build(arguments: argparse.Namespace) -> Mappo:
    """The algorithm with new networks, and its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    torch.manual_seed(arguments.seed)
    set_composite_lp_aggregate(False).set()
    rows = AlohaVectorEnv(
        arguments.task, arguments.num_envs, autoreset_mode="NextStep", **training.OPTIONS
    )
    env = TransformedEnv(
        AlohaEnv(rows),
        RewardSum(in_keys=[("arms", "reward")], out_keys=[("arms", "episode_reward")]),
    )
    env.set_seed(arguments.seed)

    action = env.full_action_spec_unbatched["arms", "action"]
    layers = {"depth": 2, "num_cells": 128, "activation_class": nn.Tanh}
    actor = MultiAgentMLP(
        env.observation_spec["arms", "observation"].shape[-1],
        2 * action.shape[-1],
        n_agents=len(AGENTS),
        centralized=False,
        share_params=False,
        **layers,
    )
    policy = ProbabilisticActor(
        TensorDictModule(
            nn.Sequential(actor, NormalParamExtractor("biased_softplus_0.4")),
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
    value = nn.Sequential(
        MLP(env.observation_spec["state"].shape[-1], len(AGENTS), **layers),
        nn.Unflatten(-1, (len(AGENTS), 1)),
    )
    critic = TensorDictModule(value, in_keys=["state"], out_keys=[("arms", "state_value")])
    loss = ClipPPOLoss(
        policy,
        critic,
        entropy_coeff=arguments.entropy,
        normalize_advantage=True,
        normalize_advantage_exclude_dims=(-2,),  # normalized per arm
    )
    loss.set_keys(
        reward=("arms", "reward"),
        action=("arms", "action"),
        value=("arms", "state_value"),
        done=("arms", "done"),
        terminated=("arms", "terminated"),
        sample_log_prob=("arms", "action_log_prob"),
    )
    loss.make_value_estimator(
        ValueEstimators.GAE, gamma=arguments.gamma, lmbda=arguments.gae_lambda
    )
    optimizer = torch.optim.Adam(loss.parameters(), arguments.learning_rate)
    return Mappo(env, policy, loss, optimizer)


def train(mappo: Mappo, run: training.Run) -> None:
    """Trains for the given number of steps."""
    env, arguments = mappo.env, run.arguments
    now = env.reset()
    episode_return = None
    for update in range(1, arguments.steps // (arguments.rollout * arguments.num_envs) + 1):
        with torch.no_grad():
            data = env.rollout(
                arguments.rollout,
                mappo.policy,
                break_when_any_done=False,
                auto_reset=False,
                tensordict=now,
            )
            now = env.maybe_reset(step_mdp(data[:, -1]))
            done = data["next", "done"].squeeze(-1)
            if done.any():
                episode_return = data["next", "arms", "episode_reward"][done].mean().item()
            rewards = data["next", "arms", "reward"]
            for end in ("done", "terminated"):  # both arms' episodes end together
                both = data["next", end][:, :, None].expand(rewards.shape)
                data["next", "arms", end] = both
            mappo.loss.value_estimator(data)
        loss = learn(mappo, data.reshape(-1), arguments)
        if episode_return is not None:
            run.point(update * data.numel(), episode_return, loss=loss)


def learn(mappo: Mappo, data: TensorDict, arguments: argparse.Namespace) -> float:
    """Some passes over a rollout; returns the mean loss."""
    losses = []
    for _ in range(arguments.epochs):
        for batch in torch.randperm(len(data)).split(arguments.batch_size):
            parts = mappo.loss(data[batch])
            terms = [value for name, value in parts.items() if name.startswith("loss_")]
            loss = torch.stack(terms).sum()
            mappo.optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(mappo.loss.parameters(), 0.5)
            mappo.optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


def act(policy: ProbabilisticActor, arm: int, observation: np.ndarray) -> np.ndarray:
    """The likeliest action of one arm; the other one's observation does not matter."""
    seen = torch.zeros(len(AGENTS), observation.size)
    seen[arm] = torch.from_numpy(observation)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        acted = policy(TensorDict({"arms": TensorDict({"observation": seen}, len(AGENTS))}))
    return acted["arms", "action"][arm].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    mappo = build(arguments)
    with training.Run("torchrl", arguments) as run:
        train(mappo, run)
        acts = [functools.partial(act, mappo.policy, arm) for arm in range(len(AGENTS))]
        run.finish(dict(zip(AGENTS, map(training.Actor, acts), strict=True)))
    mappo.env.close()


if __name__ == "__main__":
    main()
