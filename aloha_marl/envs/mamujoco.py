"""MaMuJoCo's four maps between the agents' arrays and those of the whole scene."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from aloha_marl.arms import ACTION_SIZE, SIDES
from aloha_marl.core.core import Core
from aloha_marl.envs.per_arm import AgentID


class MaMuJoCoMaps:
    """The maps, for an environment with these attributes."""

    possible_agents: list[AgentID]
    core: Core

    def map_local_actions_to_global_action(
        self, actions: Mapping[AgentID, np.ndarray]
    ) -> np.ndarray:
        """Agent -> (7,) to (14,), the left arm first."""
        return np.concatenate([actions[agent] for agent in self.possible_agents])

    def map_global_action_to_local_actions(self, action: np.ndarray) -> dict[AgentID, np.ndarray]:
        """(14,) to agent -> (7,)."""
        halves = np.reshape(action, (len(SIDES), ACTION_SIZE))
        return dict(zip(self.possible_agents, halves, strict=True))

    def map_global_state_to_local_observations(
        self, state: np.ndarray
    ) -> dict[AgentID, np.ndarray]:
        """(S,) to agent -> (D,), the state observations of this environment's scope."""
        halves = np.reshape(state, (len(SIDES), -1))
        size = self.core.observer.layout.size
        return {
            agent: np.concatenate((halves[i], halves[1 - i]))[:size]
            for i, agent in enumerate(self.possible_agents)
        }

    def map_local_observations_to_global_state(
        self, observations: Mapping[AgentID, np.ndarray]
    ) -> np.ndarray:
        """Agent -> (D,) to (S,).

        Raises:
            ValueError: the scope leaves part of the state unobserved.
        """
        scope = self.core.options.scope
        if scope not in ("partner", "full"):
            raise ValueError(f"scope={scope!r} does not cover the state; valid: 'partner', 'full'")
        half = self.core.observer.state_layout.size // 2
        return np.concatenate([observations[agent][:half] for agent in self.possible_agents])
