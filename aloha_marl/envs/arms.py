"""Each arm's own observations and actions, in one Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from aloha_marl.envs.single_agent import AlohaSingleAgent


class AlohaArms(AlohaSingleAgent):
    """A parallel environment for programs that know Gymnasium only: dicts by agent in one environment.

    Observations and actions are ``{agent: array}``, as those of
    :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv`. The reward is the mean of the arms' rewards.
    Infos are ``{agent: {...}}``; they have the arm's own reward as well, 0 at the reset.

    ## Version history
    * v0: first version.

    Args:
        env: an ``AlohaParallelEnv``, wrapped or not.
    """

    def __init__(self, env: ParallelEnv[str, Any, Any]):
        super().__init__(env)
        agents = env.possible_agents
        self.observation_space: spaces.Dict = spaces.Dict(
            {agent: env.observation_space(agent) for agent in agents}
        )
        boxes = {agent: env.action_space(agent) for agent in agents}
        self.action_space = cast(Any, spaces.Dict(boxes))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts an episode; see :meth:`AlohaParallelEnv.reset`."""
        observations, infos = self.env.reset(seed=seed, options=options)
        return observations, {agent: {**info, "reward": 0.0} for agent, info in infos.items()}

    def step(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, action: Mapping[str, np.ndarray]
    ) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Advances both arms by 0.02 s.

        Args:
            action: agent -> (7,).

        Raises:
            ValueError: an agent is missing or unknown, or not seven finite numbers. Nothing has moved.
        """
        observations, rewards, terminations, truncations, infos = self.env.step({**action})
        return (
            observations,
            sum(rewards.values()) / len(rewards),
            all(terminations.values()),
            all(truncations.values()),
            {agent: {**info, "reward": rewards[agent]} for agent, info in infos.items()},
        )
