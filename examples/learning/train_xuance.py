"""IPPO with XuanCe, a policy and a critic per arm. Needs the extra ``xuance``.

Run with XuanCe 1.4.2: ``pip install torch -e '.[xuance]'``. What it needs:

* Environments in its own form; it has none for PettingZoo.
* ``use_value_norm=False``: with it, as XuanCe has it, NumPy 2.4 stops the training at "setting an array
  element with a sequence". NumPy below 2.4 mends that, too.
* ``activation_action="tanh"``: its configuration for continuous actions, made for MPE, has "sigmoid", whose
  actions are from 0 to 1.
* ``log_infos`` does nothing: XuanCe's opens two files and starts two threads per environment.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import learners
import numpy as np
import torch
import training
from rows import Rows
from xuance.common import get_arguments
from xuance.environment.vector_envs.vector_env import VecEnv
from xuance.torch.agents import IPPO_Agents
from xuance.torch.agents.core import on_policy_marl

from aloha_marl import AGENTS
from aloha_marl.policies.network import Network

Dicts = list[dict[str, Any]]
"""Per environment, agent -> value."""


class Arms(VecEnv):
    """A batch of environments in XuanCe's form: lists of dicts.

    Args:
        batch: environments with ``autoreset_mode="SameStep"``.
        seed: seed of the first reset, the only one that XuanCe makes.
    """

    def __init__(self, batch: Rows, seed: int):
        observation = {agent: batch.single_observation_space(agent) for agent in AGENTS}
        action = {agent: batch.single_action_space(agent) for agent in AGENTS}
        super().__init__(batch.num_envs, observation, action)
        self.agents = list(AGENTS)
        self.num_agents = len(AGENTS)
        self.state_space = batch.single_state_space
        self.max_episode_steps = batch.options.max_cycles
        self.buf_obs: Dicts = []
        self._batch = batch
        self._seed = seed

    def reset(self) -> tuple[Dicts, Dicts]:
        """Starts all episodes."""
        observations, _ = self._batch.reset(seed=self._seed)
        self.buf_obs = _dicts(observations)
        return self.buf_obs.copy(), [{} for _ in self.buf_obs]

    def step_async(self, actions: Dicts) -> None:
        """Keeps the actions."""
        self._actions = {agent: np.stack([row[agent] for row in actions]) for agent in AGENTS}

    def step_wait(self) -> tuple[Dicts, Dicts, Dicts, list[bool], Dicts]:
        """Steps all; rows that ended get their last observations, and the next ones in the infos."""
        observations, rewards, terminated, truncated, infos = self._batch.step(self._actions)
        self.buf_obs = _dicts(observations)
        row_infos: Dicts = [
            {
                "agent_mask": dict.fromkeys(AGENTS, True),
                "episode_step": 0,  # only for XuanCe's log, as the score
                "episode_score": dict.fromkeys(AGENTS, 0.0),
            }
            for _ in self.buf_obs
        ]
        for row in np.flatnonzero(infos[AGENTS[0]].get("_final_obs", False)):
            row_infos[row]["reset_obs"] = self.buf_obs[row]
            self.buf_obs[row] = {agent: infos[agent]["final_obs"][row] for agent in AGENTS}
        ended = truncated[AGENTS[0]].tolist()
        return self.buf_obs.copy(), _dicts(rewards), _dicts(terminated), ended, row_infos

    def close_extras(self) -> None:
        """Closes the environments."""
        self._batch.close()


def _dicts(arrays: dict[str, np.ndarray]) -> Dicts:
    """Arrays by agent as a dict per environment."""
    return [dict(zip(AGENTS, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    return training.parse(training.ppo_parser(__doc__), argv)


class Learner:
    """IPPO with new networks, and its environments.

    Attributes:
        rows: the environments.
        ippo: the algorithm.
    """

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(1)  # such small networks are slower on more
        self.rows = Rows(arguments.task, arguments.num_envs, **training.OPTIONS)
        transitions = arguments.rollout * arguments.num_envs
        out = arguments.out.resolve() / "xuance"
        config = get_arguments("ippo", "mpe", "simple_spread_v3")
        del config.normalize  # a layer norm, which the format of policies has not
        vars(config).update(
            env_name="aloha_marl",
            env_id=arguments.task,
            seed=arguments.seed,
            parallels=arguments.num_envs,
            running_steps=arguments.steps,
            use_parameter_sharing=False,
            use_value_norm=False,
            activation_action="tanh",
            representation_hidden_size=[128],
            actor_hidden_size=[128],
            critic_hidden_size=[128],
            buffer_size=transitions,
            n_minibatch=max(1, transitions // arguments.batch_size),
            n_epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            gamma=arguments.gamma,
            ent_coef=0.0,
            log_dir=str(out / "logs"),
            model_dir=str(out / "models"),
        )
        self._arms = Arms(self.rows, arguments.seed)
        self.ippo = IPPO_Agents(config, self._arms)
        self.ippo.log_infos = lambda *_: None

    def networks(self) -> list[Network]:
        """The networks of the mean actions."""
        policy = self.ippo.policy
        return [
            learners.network(policy.actor_representation[agent], policy.actor[agent].mu)
            for agent in AGENTS
        ]

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizer and environments; the buffer is empty between rollouts."""
        ippo = self.ippo
        return {
            "policy": ippo.policy.state_dict(),
            "optimizer": ippo.learner.optimizer.state_dict(),
            "rows": self.rows.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        ippo = self.ippo
        ippo.policy.load_state_dict(saved["policy"])
        ippo.learner.optimizer.load_state_dict(saved["optimizer"])
        self.rows.load_state_dict(saved["rows"])
        self._arms.buf_obs = _dicts(self.rows.observations())


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    arguments = run.arguments
    on_policy_marl.tqdm = iter  # no progress bar of its own
    size = arguments.rollout * arguments.num_envs
    for update in range(run.steps // size + 1, arguments.steps // size + 1):
        info = learner.ippo.train(arguments.rollout)
        run.point(update * size, learner.rows.figures(), loss=info["loss"])


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("xuance", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.ippo.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
