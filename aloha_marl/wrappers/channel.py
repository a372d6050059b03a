"""A channel between the arms: each sends some numbers along with its action."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from aloha_marl.checks import at_least, choose, fraction, is_number
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.wrappers.base import ArmWrapper, Wrappable, numbers_of, with_numbers

_SPACES = ("observation_space", "action_space", "single_observation_space", "single_action_space")


class MessageChannel(ArmWrapper):
    """Each arm sends a message of some numbers with its action; its partner observes it after the step.

    Both spaces grow at their end. An action is the environment's own and then the message, which is
    clipped to -1 .. 1. An observation is the environment's own and then the message that the partner
    sent in the step before; at the start of an episode it is zero. With ``obs_type="pixels_agent_pos"``
    it stands at the end of ``agent_pos``. One channel may go round another.

    Args:
        env: the environment, wrapped or not, with ``obs_type`` "state" or "pixels_agent_pos".
        size: how many numbers a message has.
        noise: standard deviation of Gaussian noise on each of them; the sums stay in -1 .. 1.
        dropout: probability that a message is lost; then zeros are observed.

    Raises:
        ValueError: a bad size, standard deviation, probability or ``obs_type``.
    """

    def __init__(self, env: Wrappable, size: int, noise: float = 0.0, dropout: float = 0.0):
        super().__init__(env)
        choose("obs_type", self._base.options.obs_type, ("state", "pixels_agent_pos"))
        self._size = at_least(1, "size", size)
        if not is_number(noise) or not 0 <= noise < math.inf:
            raise ValueError(f"noise={noise!r} must be a finite number >= 0")
        self._noise, self._dropout = float(noise), fraction("dropout", dropout)
        shape = (self._rows.size, self._arms.size, self._size)
        self._sent, self._heard = np.zeros(shape), np.zeros(shape, np.float32)
        self._generators = [self._spawn(row) for row in self._rows.tolist()]
        for name in _SPACES:
            if hasattr(env, name):
                own = getattr(env, name)
                wider = {agent: self._widened(own(agent)) for agent in self.possible_agents}
                setattr(self, name, wider.__getitem__)
                setattr(self, f"{name}s", wider)  # PettingZoo's older names

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s, as the environment does, and passes on the messages."""
        self._sent = self.check_actions(actions)[:, :, -self._size :]
        return super().step(
            {agent: np.asarray(action)[..., : -self._size] for agent, action in actions.items()}
        )

    def check_actions(self, actions: Mapping[AgentID, Any], more: int = 0) -> np.ndarray:
        """As the environment's own, of actions with messages."""
        return cast(Any, self.env).check_actions(actions, more + self._size)

    def _begin(self, rows: np.ndarray, observations: dict[AgentID, Any]) -> None:
        self._heard[rows] = 0
        for row in rows.tolist():
            self._generators[row] = self._spawn(row)

    def _advance(self, observations: dict[AgentID, Any]) -> None:
        heard = np.clip(self._sent[:, ::-1], -1, 1)
        if self._noise or self._dropout:
            for row, generator in enumerate(self._generators):
                heard[row] += self._noise * generator.standard_normal(heard[row].shape)
                heard[row, generator.random(len(self._arms)) < self._dropout] = 0
        self._heard = np.clip(heard, -1, 1).astype(np.float32)

    def _observed(self, observations: dict[AgentID, Any]) -> dict[AgentID, Any]:
        observed = {}
        for arm, agent in enumerate(self.possible_agents):
            own = observations[agent]
            numbers = np.concatenate((numbers_of(own), self._heard[:, arm]), axis=1)
            observed[agent] = with_numbers(own, numbers)
        return observed

    def _widened(self, space: Any) -> spaces.Space[Any]:
        if isinstance(space, spaces.Dict):
            numbers = self._widened(space["agent_pos"])
            return spaces.Dict({**space.spaces, "agent_pos": numbers})
        one = np.ones((*space.shape[:-1], self._size), np.float32)
        low, high = np.append(space.low, -one, axis=-1), np.append(space.high, one, axis=-1)
        return spaces.Box(low, high, dtype=np.float32)
