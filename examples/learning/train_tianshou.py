"""IPPO with Tianshou, a policy and a critic per arm. Needs the extra ``tianshou``.

Run with Tianshou 2.0.1: ``pip install torch -e '.[tianshou]'``. What it needs:

* Rows of one arm each. Tianshou's ``PettingZooEnv`` lets the arms act in turns: the first one's rewards are
  zero in its own turns, the only ones it learns from, and its next observation is the other's.
* ``obs_next`` in the batches of ``MultiAgentPolicy``. Without it, continuous actions stop at "'dict' object
  has no attribute 'obs_next'".
* Its logger quiet: it warns at every rollout that there are two returns, an arm's each.
"""

from __future__ import annotations

import argparse
import functools
import logging
import types
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
import training
from tianshou.algorithm import PPO
from tianshou.algorithm.modelfree.reinforce import ProbabilisticActorPolicy
from tianshou.algorithm.multiagent.marl import MultiAgentOnPolicyAlgorithm
from tianshou.algorithm.optim import AdamOptimizerFactory
from tianshou.data import Collector, VectorReplayBuffer
from tianshou.env import DummyVectorEnv
from tianshou.utils.net.common import Net
from tianshou.utils.net.continuous import ContinuousActorProbabilistic, ContinuousCritic
from tianshou.utils.torch_utils import policy_within_training_step
from torch import nn
from torch.distributions import Independent, Normal

from aloha_marl import AGENTS, AlohaVectorEnv


class Arms(DummyVectorEnv):
    """A row per environment and arm; the left arms' come first.

    Args:
        batch: environments with ``autoreset_mode="Disabled"``: Tianshou resets them.
    """

    def __init__(self, batch: AlohaVectorEnv):
        space = gymnasium.Env()
        space.observation_space = batch.single_observation_space(AGENTS[0])
        space.action_space = batch.single_action_space(AGENTS[0])
        super().__init__([lambda: space] * batch.num_envs * len(AGENTS))
        self._batch = batch
        self._names = np.repeat(AGENTS, batch.num_envs)

    def reset(self, env_id: Any = None, **kwargs: Any) -> tuple[np.ndarray, np.ndarray]:
        """Starts episodes; both arms of one have always ended together."""
        rows = np.arange(len(self)) if env_id is None else np.asarray(env_id)
        mask = np.isin(np.arange(self._batch.num_envs), rows)
        observations, _ = self._batch.reset(options={"reset_mask": mask}, **kwargs)
        return self._see(observations)[rows], self._infos()[rows]

    def step(self, action: Any, id: Any = None) -> tuple[np.ndarray, ...]:
        """Steps all rows, as Tianshou does when it collects steps; each gets both arms' rewards."""
        observations, rewards, *ends, _ = self._batch.step(
            dict(zip(AGENTS, np.split(np.asarray(action), len(AGENTS)), strict=True))
        )
        both = np.tile(np.stack([rewards[agent] for agent in AGENTS], axis=1), (len(AGENTS), 1))
        terminated, truncated = (np.concatenate([end[agent] for agent in AGENTS]) for end in ends)
        return self._see(observations), both, terminated, truncated, self._infos()

    def _see(self, observations: dict[str, np.ndarray]) -> np.ndarray:
        seen = np.concatenate([observations[agent] for agent in AGENTS])
        return np.array(
            [{"agent_id": n, "obs": row} for n, row in zip(self._names, seen, strict=True)]
        )

    def _infos(self) -> np.ndarray:
        return np.array([{"env_id": row} for row in range(len(self))])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    return training.parse(training.ppo_parser(__doc__), argv)


def ppo(observation: Any, action: Any, arguments: argparse.Namespace) -> PPO:
    """PPO of one arm, with new networks."""
    actor, critic = (
        Net(state_shape=observation.shape, hidden_sizes=(128, 128), activation=nn.Tanh)
        for _ in range(2)
    )
    gaussian = ContinuousActorProbabilistic(
        preprocess_net=actor, action_shape=action.shape, unbounded=True
    )
    gaussian.sigma_param.data.fill_(-0.7)
    return PPO(
        policy=ProbabilisticActorPolicy(
            actor=gaussian,
            dist_fn=lambda parameters: Independent(Normal(*parameters), 1),
            action_space=action,
            action_scaling=False,
            action_bound_method=None,  # the environment clips
        ),
        critic=ContinuousCritic(preprocess_net=critic),
        optim=AdamOptimizerFactory(lr=arguments.learning_rate),
        gamma=arguments.gamma,
        ent_coef=0.0,
        max_grad_norm=0.5,
    )


def build(arguments: argparse.Namespace) -> tuple[MultiAgentOnPolicyAlgorithm, Collector]:
    """The algorithm with new networks, and the collector that plays it in its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)  # Tianshou draws batches with it
    logging.getLogger("tianshou.data.stats").setLevel(logging.ERROR)
    batch = AlohaVectorEnv(
        arguments.task, arguments.num_envs, autoreset_mode="Disabled", **training.OPTIONS
    )
    spaces = batch.single_observation_space(AGENTS[0]), batch.single_action_space(AGENTS[0])
    algorithm = MultiAgentOnPolicyAlgorithm(
        algorithms=[ppo(*spaces, arguments) for _ in AGENTS],
        env=types.SimpleNamespace(
            agents=list(AGENTS), agent_idx={agent: i for i, agent in enumerate(AGENTS)}
        ),
    )
    algorithm.policy.register_forward_pre_hook(
        lambda _, given: setattr(given[0], "obs_next", given[0].obs)
    )
    rows = Arms(batch)
    buffer = VectorReplayBuffer(arguments.rollout * len(rows), len(rows))
    collector = Collector(algorithm, rows, buffer)
    collector.reset(gym_reset_kwargs={"seed": arguments.seed})
    return algorithm, collector


def train(algorithm: MultiAgentOnPolicyAlgorithm, collector: Collector, run: training.Run) -> None:
    """Trains for the given number of steps."""
    arguments = run.arguments
    episode_return = None
    for update in range(1, arguments.steps // (arguments.rollout * arguments.num_envs) + 1):
        with policy_within_training_step(algorithm.policy):
            played = collector.collect(n_step=arguments.rollout * len(collector.env))
            learned = algorithm.update(
                collector.buffer, batch_size=arguments.batch_size, repeat=arguments.epochs
            )
        collector.reset_buffer(keep_statistics=True)
        if played.n_collected_episodes:
            episode_return = played.returns.mean()
        if episode_return is not None:
            losses = learned.get_loss_stats_dict()
            steps = update * arguments.rollout * arguments.num_envs
            run.point(steps, episode_return, loss=sum(losses[f"{agent}/loss"] for agent in AGENTS))


def act(algorithm: MultiAgentOnPolicyAlgorithm, agent: str, observation: np.ndarray) -> np.ndarray:
    """The likeliest action."""
    with torch.no_grad():
        (mean, _), _ = algorithm.get_algorithm(agent).policy.actor(observation[None])
    return mean[0].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    algorithm, collector = build(arguments)
    with training.Run("tianshou", arguments) as run:
        train(algorithm, collector, run)
        run.finish({a: training.Actor(functools.partial(act, algorithm, a)) for a in AGENTS})


if __name__ == "__main__":
    main()
