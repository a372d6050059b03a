"""A ``dm_env`` view of the merged environment, for dm_control's viewer and Acme-style agents."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from aloha_marl.copies import Rebuilt
from aloha_marl.envs.single_agent import AlohaSingleAgent

try:
    import dm_env
    from dm_env import specs
except ImportError as error:
    raise ImportError(f"this adapter needs dm_env ({error}): pip install dm_env") from error


class AlohaDmEnv(Rebuilt, dm_env.Environment):
    """Steps an :class:`AlohaSingleAgent` with dm_env's interface.

    Observations are ``{"observation": ...}`` unless they are dicts already. The discount is 0 on
    success, 1 otherwise, also when the time is up. A copy, by ``copy.deepcopy`` or ``pickle``, is a new one
    round a copy of the environment; it has no episode.

    Args:
        env: the environment to wrap.
        seed: of the first reset; later ones go on in the same stream.
    """

    def __init__(self, env: AlohaSingleAgent, seed: int | None = None):
        self._env = env
        self._seed = seed
        self._running = False

    @property
    def physics(self) -> Any:
        """The ``dm_control.mujoco.Physics`` the viewer draws."""
        return self._env.base.physics

    def reset(self, options: dict[str, Any] | None = None) -> dm_env.TimeStep:
        """Starts an episode; the options are those of :meth:`AlohaParallelEnv.reset`."""
        observation, _ = self._env.reset(seed=self._seed, options=options)
        self._seed = None
        self._running = True
        return dm_env.restart(_as_dict(observation))

    def step(self, action: np.ndarray) -> dm_env.TimeStep:
        if not self._running:
            return self.reset()
        observation, reward, terminated, truncated, _ = self._env.step(action)
        observation = _as_dict(observation)
        self._running = not (terminated or truncated)
        if terminated:
            return dm_env.termination(reward, observation)
        if truncated:
            return dm_env.truncation(reward, observation)
        return dm_env.transition(reward, observation)

    def action_spec(self) -> specs.BoundedArray:
        return _spec(self._env.action_space, "action")

    def observation_spec(self) -> dict[str, Any]:
        return _as_dict(_spec(self._env.observation_space, "observation"))

    def close(self) -> None:
        self._env.close()


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {"observation": value}


def _spec(space: spaces.Space[Any], name: str) -> Any:
    if isinstance(space, spaces.Dict):
        return {key: _spec(part, key) for key, part in space.spaces.items()}
    assert isinstance(space, spaces.Box)
    return specs.BoundedArray(space.shape, space.dtype, space.low, space.high, name)
