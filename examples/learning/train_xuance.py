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
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import training
from xuance.common import MultiAgentBaseCallback, get_arguments
from xuance.environment.vector_envs.vector_env import VecEnv
from xuance.torch.agents import IPPO_Agents

from aloha_marl import AGENTS, AlohaVectorEnv

Rows = list[dict[str, Any]]
"""Per environment, agent -> value."""


class Arms(VecEnv):
    """A batch of environments in XuanCe's form: lists of dicts.

    Args:
        batch: environments with ``autoreset_mode="SameStep"``.
        seed: seed of the first reset, the only one that XuanCe makes.
    """

    def __init__(self, batch: AlohaVectorEnv, seed: int):
        observation = {agent: batch.single_observation_space(agent) for agent in AGENTS}
        action = {agent: batch.single_action_space(agent) for agent in AGENTS}
        super().__init__(batch.num_envs, observation, action)
        self.agents = list(AGENTS)
        self.num_agents = len(AGENTS)
        self.state_space = batch.single_state_space
        self.max_episode_steps = batch.options.max_cycles
        self.buf_obs: Rows = []
        self._batch = batch
        self._seed = seed
        self._earned = np.zeros((batch.num_envs, len(AGENTS)))
        self._steps = np.zeros(batch.num_envs, int)

    def reset(self) -> tuple[Rows, Rows]:
        """Starts all episodes."""
        observations, _ = self._batch.reset(seed=self._seed)
        self.buf_obs = _rows(observations)
        return self.buf_obs.copy(), [{} for _ in self.buf_obs]

    def step_async(self, actions: Rows) -> None:
        """Keeps the actions."""
        self._actions = {agent: np.stack([row[agent] for row in actions]) for agent in AGENTS}

    def step_wait(self) -> tuple[Rows, Rows, Rows, list[bool], Rows]:
        """Steps all; rows that ended get their last observations, and the next ones in the infos."""
        observations, rewards, terminated, truncated, infos = self._batch.step(self._actions)
        self._earned += np.stack([rewards[agent] for agent in AGENTS], axis=1)
        self._steps += 1
        self.buf_obs = _rows(observations)
        row_infos = [
            {
                "agent_mask": dict.fromkeys(AGENTS, True),
                "episode_step": self._steps[row],
                "episode_score": dict(zip(AGENTS, self._earned[row].tolist(), strict=True)),
            }
            for row in range(self.num_envs)
        ]
        for row in np.flatnonzero(infos[AGENTS[0]].get("_final_obs", False)):
            row_infos[row]["reset_obs"] = self.buf_obs[row]
            self.buf_obs[row] = {agent: infos[agent]["final_obs"][row] for agent in AGENTS}
            self._earned[row] = self._steps[row] = 0
        ended = truncated[AGENTS[0]].tolist()
        return self.buf_obs.copy(), _rows(rewards), _rows(terminated), ended, row_infos

    def close_extras(self) -> None:
        """Closes the environments."""
        self._batch.close()


def _rows(arrays: dict[str, np.ndarray]) -> Rows:
    """Arrays by agent as a dict per environment."""
    return [dict(zip(AGENTS, row, strict=True)) for row in zip(*arrays.values(), strict=True)]


class Points(MultiAgentBaseCallback):
    """Adds a point to the learning curve after every update.

    Attributes:
        run: the training, set before it starts.
    """

    run: training.Run

    def __init__(self) -> None:
        super().__init__()
        self._returns: list[float] = []
        self._steps = 0

    def on_train_episode_info(self, *, infos: Rows, env_id: int, **_: Any) -> None:
        """After every episode."""
        self._returns.append(float(np.mean(list(infos[env_id]["episode_score"].values()))))

    def on_train_epochs_end(self, current_step: int, **update: Any) -> None:
        """After every update."""
        self._steps += update["buffer_size"]
        if self._returns:  # an episode has ended
            late, loss = self._returns[-100:], update["update_info"]["loss"]
            self.run.point(self._steps, float(np.mean(late)), loss=loss)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    return training.parse(training.ppo_parser(__doc__), argv)


def build(arguments: argparse.Namespace) -> IPPO_Agents:
    """The algorithm with new networks, and its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    batch = AlohaVectorEnv(arguments.task, arguments.num_envs, **training.OPTIONS)
    transitions = arguments.rollout * arguments.num_envs
    out = arguments.out.resolve() / "xuance"
    config = get_arguments("ippo", "mpe", "simple_spread_v3")
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
    ippo = IPPO_Agents(config, Arms(batch, arguments.seed), callback=Points())
    ippo.log_infos = lambda *_: None
    return ippo


def train(ippo: IPPO_Agents, run: training.Run) -> None:
    """Trains for the given number of steps; XuanCe shows how far it is."""
    ippo.callback.run = run
    ippo.train(run.arguments.steps // run.arguments.num_envs)


def act(ippo: IPPO_Agents, agent: str, observation: np.ndarray) -> np.ndarray:
    """The likeliest action."""
    with torch.no_grad():
        _, distributions = ippo.policy({agent: observation[None]}, agent_key=agent)
    return distributions[agent].deterministic_sample()[0].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    ippo = build(arguments)
    with training.Run("xuance", arguments, bar=False) as run:
        train(ippo, run)
        run.finish({a: training.Actor(functools.partial(act, ippo, a)) for a in AGENTS})
    ippo.finish()
    ippo.train_envs.close()


if __name__ == "__main__":
    main()
