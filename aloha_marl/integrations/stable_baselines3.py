"""Stable-Baselines3's ``VecEnv``: one policy for both arms, or the two arms as one agent."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from aloha_marl.copies import Rebuilt
from aloha_marl.envs.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.integrations.requirements import library

with library("sb3"):
    from stable_baselines3.common.vec_env import VecEnv


class _AgentVecEnv(Rebuilt, VecEnv):
    """N environments whose agents are the rows, those of the first environment first.

    SB3 asks every row for attributes and methods; here they are those of the one environment that all
    rows live in, so they can be set and called only for all rows together. A copy, by ``copy.deepcopy``
    or ``pickle``, is a new one round a copy of the environments; it has no episodes.
    """

    def __init__(self, env: Any, agents: int, observation: spaces.Space[Any], action: Any):
        mode = env.metadata["autoreset_mode"].value
        if mode != "SameStep":
            raise ValueError(f"autoreset_mode={mode!r} does not fit SB3; valid: 'SameStep'")
        self.env = env
        self._agents = agents
        if isinstance(observation, spaces.Dict):
            observation = spaces.Dict(_flat(observation))
        super().__init__(env.num_envs * agents, observation, action)  # pyright: ignore[reportCallIssue]

    @abc.abstractmethod
    def _by_agent(self, result: Any) -> list[Any]:
        """Splits what the environment returns: one entry per agent, with a leading N."""

    @abc.abstractmethod
    def _joint(self, actions: np.ndarray) -> Any:
        """(N, agents, size) actions as the environment takes them."""

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Gives environment i the seed ``seed + i`` at the next reset; all its rows share it."""
        first = int(super().seed(seed)[0])
        self._seeds = [first + row // self._agents for row in range(self.num_envs)]
        return list(self._seeds)

    def reset(self) -> Any:
        """Starts all episodes; with the seeds given by :meth:`seed`, if any."""
        results = self.env.reset(seed=self._seeds[:: self._agents])
        observations, infos = map(self._by_agent, results)
        self._reset_seeds()
        self._reset_options()
        self.reset_infos = _row_infos(infos)
        return _to_rows(observations)

    def step_async(self, actions: np.ndarray) -> None:
        """Keeps the (rows, size) actions for :meth:`step_wait`."""
        actions = np.asarray(actions)
        shape = (self.num_envs, *self.action_space.shape)
        if actions.shape != shape:
            raise ValueError(f"actions must have shape {shape}, got {actions.shape}")
        self._actions = actions

    def step_wait(self) -> tuple[Any, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Advances all rows; infos of an ended episode are its last, with its last observation."""
        actions = self._actions.reshape(self.env.num_envs, self._agents, -1)
        observations, rewards, *ends, by_agent = map(
            self._by_agent, self.env.step(self._joint(actions))
        )
        terminated, truncated = map(_to_rows, ends)
        infos, done = _row_infos(by_agent), terminated | truncated
        if done.any():
            ended = _row_infos([agent_infos["final_info"] for agent_infos in by_agent])
            for row in np.flatnonzero(done).tolist():
                i, agent = divmod(row, self._agents)
                self.reset_infos[row] = infos[row]
                last = _flat(by_agent[agent]["final_obs"][i])
                infos[row] = ended[row] | {"terminal_observation": last}
        for info, cut in zip(infos, truncated & ~terminated, strict=True):
            info["TimeLimit.truncated"] = bool(cut)
        return _to_rows(observations), _to_rows(rewards), done, infos

    def get_images(self) -> Sequence[np.ndarray]:
        """A picture of each environment, for ``render()`` and SB3's video recorder."""
        return self.env.render() or ()

    def close(self) -> None:
        self.env.close()

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The environment's attribute, once per row asked for."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute of the environment; ValueError unless all rows are asked for."""
        self._check_all(indices)
        setattr(self.env, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method of the environment once, for all rows; the result once per row."""
        self._check_all(indices)
        return [getattr(self.env, method_name)(*method_args, **method_kwargs)] * self.num_envs

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """False: Gymnasium's wrappers of single environments have no place here."""
        return [False for _ in self._get_indices(indices)]

    def _check_all(self, indices: Any) -> None:
        asked = sorted(self._get_indices(indices))
        if asked != list(range(self.num_envs)):
            raise ValueError(f"rows {asked} share their environment with others: leave indices out")


class ArmsVecEnv(_AgentVecEnv):
    """A row per arm and environment, for one policy that both arms share.

    Row ``2 i`` is the left arm of environment i, row ``2 i + 1`` its right arm. Both start and end
    together. Row by row observations and rewards are those of the :class:`AlohaVectorEnv`, bit for
    bit. Observations with pictures and numbers, which are nested there, have one level here.

    Args:
        env: the environments, wrapped or not, with ``autoreset_mode="SameStep"``.
    """

    def __init__(self, env: AlohaVectorEnv):
        self._names = env.possible_agents
        first = self._names[0]
        observation, action = env.single_observation_space(first), env.single_action_space(first)
        super().__init__(env, len(self._names), observation, action)

    def _by_agent(self, result: Any) -> list[Any]:
        return [result[name] for name in self._names]

    def _joint(self, actions: np.ndarray) -> Any:
        return {name: actions[:, agent] for agent, name in enumerate(self._names)}


class MergedVecEnv(_AgentVecEnv):
    """A row per environment: both arms as one agent, or one arm with a policy in the other one.

    Args:
        env: the environments, an ``AlohaSingleAgentVector`` or what :func:`aloha_marl.with_partner`
            makes of a batch, with ``autoreset_mode="SameStep"``.
    """

    def __init__(self, env: AlohaSingleAgentVector):
        super().__init__(env, 1, env.single_observation_space, env.single_action_space)

    def _by_agent(self, result: Any) -> list[Any]:
        return [result]

    def _joint(self, actions: np.ndarray) -> Any:
        return actions[:, 0]


def _to_rows(parts: list[Any]) -> Any:
    """Each agent's (N, ...) arrays as (N x agents, ...); nested dicts of them as flat ones."""
    if isinstance(parts[0], dict):
        flat = [_flat(part) for part in parts]
        return {key: _to_rows([part[key] for part in flat]) for key in flat[0]}
    return np.stack(parts, axis=1).reshape(-1, *parts[0].shape[1:])


def _row_infos(parts: list[Any]) -> list[dict[str, Any]]:
    """Infos as a dict per row, without masks and without the final ones of episodes."""
    by_agent = []
    for infos in parts:
        names = [name for name in infos if f"_{name}" in infos and not name.startswith("final_")]
        values = (infos[name].tolist() for name in names)
        by_agent.append([dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)])
    return [info for environment in zip(*by_agent, strict=True) for info in environment]


def _flat(observation: Any) -> Any:
    """Flattens a nested dict to one level: SB3 knows no others. Names of cameras are unique."""
    if not isinstance(observation, Mapping):
        return observation
    flat: dict[str, Any] = {}
    for key, value in observation.items():
        flat |= _flat(value) if isinstance(value, Mapping) else {key: value}
    return flat
