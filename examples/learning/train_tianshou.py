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
import logging
import types
from collections.abc import Sequence
from typing import Any

import gymnasium
import learners
import numpy as np
import torch
import training
from rows import Rows
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

from aloha_marl import AGENTS
from aloha_marl.policies.network import Network


class Arms(DummyVectorEnv):
    """A row per environment and arm; the left arms' come first.

    Args:
        batch: environments with ``autoreset_mode="Disabled"``: Tianshou resets them.
    """

    def __init__(self, batch: Rows):
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

    def now(self) -> tuple[np.ndarray, np.ndarray]:
        """Observations and infos as they are."""
        return self._see(self._batch.observations()), self._infos()

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


class Learner:
    """IPPO with new networks, and the collector that plays it in its environments.

    Attributes:
        rows: the environments.
        algorithm: the algorithm.
        collector: plays the algorithm.
    """

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(1)  # such small networks are slower on more
        torch.manual_seed(arguments.seed)
        np.random.seed(arguments.seed)  # Tianshou draws batches with it
        logging.getLogger("tianshou.data.stats").setLevel(logging.ERROR)
        self.rows = Rows(
            arguments.task, arguments.num_envs, autoreset_mode="Disabled", **training.OPTIONS
        )
        first = AGENTS[0]
        spaces = self.rows.single_observation_space(first), self.rows.single_action_space(first)
        self.algorithm = MultiAgentOnPolicyAlgorithm(
            algorithms=[ppo(*spaces, arguments) for _ in AGENTS],
            env=types.SimpleNamespace(
                agents=list(AGENTS), agent_idx={agent: i for i, agent in enumerate(AGENTS)}
            ),
        )
        self.algorithm.policy.register_forward_pre_hook(
            lambda _, given: setattr(given[0], "obs_next", given[0].obs)
        )
        self._own = [self.algorithm.get_algorithm(agent) for agent in AGENTS]
        self._arms = Arms(self.rows)
        buffer = VectorReplayBuffer(arguments.rollout * len(self._arms), len(self._arms))
        self.collector = Collector(self.algorithm, self._arms, buffer)
        self.collector.reset(gym_reset_kwargs={"seed": arguments.seed})

    def networks(self) -> list[Network]:
        """The networks of the mean actions."""
        actors = [own.policy.actor for own in self._own]
        return [learners.network(actor.preprocess, actor.mu) for actor in actors]

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizers and environments; the buffer is empty between rollouts."""
        return {"own": [own.state_dict() for own in self._own], "rows": self.rows.state_dict()}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        for own, state in zip(self._own, saved["own"], strict=True):
            own.load_state_dict(state)
        self.rows.load_state_dict(saved["rows"])
        collector = self.collector
        collector._pre_collect_obs_RO, collector._pre_collect_info_R = self._arms.now()


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    arguments, algorithm, collector = run.arguments, learner.algorithm, learner.collector
    size = arguments.rollout * arguments.num_envs
    for update in range(run.steps // size + 1, arguments.steps // size + 1):
        with policy_within_training_step(algorithm.policy):
            collector.collect(n_step=arguments.rollout * len(collector.env))
            learned = algorithm.update(
                collector.buffer, batch_size=arguments.batch_size, repeat=arguments.epochs
            )
        collector.reset_buffer()
        losses = learned.get_loss_stats_dict()
        loss = sum(losses[f"{agent}/loss"] for agent in AGENTS)
        run.point(update * size, learner.rows.figures(), loss=loss)


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("tianshou", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
