"""Policies of many episodes at once, which begin and end at different times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from aloha_marl.arms import ACTION_SIZE, SIDES
from aloha_marl.envs.merged import MergedView
from aloha_marl.envs.per_arm import checked_actions
from aloha_marl.envs.rows import row_of
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation import sight
from aloha_marl.policies import Policies
from aloha_marl.policies.policy import ArmPolicy


class Players:
    """Policies for every row of a batch.

    Those that are pure functions of the observation act for all rows in one call. Others may remember
    their episode, so every row has its own.

    Args:
        make: makes the policies of an episode.
        env: the batch.
    """

    def __init__(self, make: Callable[[], Policies], env: AlohaVectorEnv):
        first = make()
        self._agents = env.possible_agents
        self._merged = not isinstance(first, Mapping)
        self._pure = isinstance(first, Mapping) and all(
            isinstance(policy, ArmPolicy) for policy in first.values()
        )
        rows = 1 if self._pure else env.num_envs
        self._policies: list[Any] = [first, *(make() for _ in range(rows - 1))]
        self._sight = sight(env, first)
        if not isinstance(first, Mapping):
            self._view = MergedView(env.core, env.pictures, first.obs_type, first.cameras)

    def reset(self, row: int) -> None:
        """Starts an episode of a row."""
        if not self._pure:
            policies = self._policies[row]
            for policy in [policies] if self._merged else policies.values():
                policy.reset()

    def act(
        self, observations: Mapping[str, Any], rows: Iterable[int]
    ) -> tuple[dict[int, np.ndarray], dict[int, str]]:
        """Row -> its (2, 7) actions, and row -> why its policy gave none.

        Args:
            observations: agent -> arrays with a leading n.
            rows: whose episodes are running.
        """
        seen = self._sight(observations)
        if self._pure:
            acted = np.stack([self._policies[0][agent](seen[agent]) for agent in self._agents], 1)
            return {row: acted[row] for row in rows}, {}
        actions, errors = {}, {}
        for row in rows:
            try:
                actions[row] = self._asked(self._policies[row], row, seen)
            except Exception as error:  # anything may go wrong in a policy
                errors[row] = f"the policy failed: {type(error).__name__}: {error}"
        return actions, errors

    def _asked(self, policies: Any, row: int, seen: Mapping[str, Any]) -> np.ndarray:
        """(2, 7) actions of one row, of the policies' own type."""
        if self._merged:
            action = np.asarray(policies(row_of(self._view.observations(np.array([row])), 0)))
            checked_actions({"both arms": action}, (len(SIDES) * ACTION_SIZE,))
            return action.reshape(len(SIDES), ACTION_SIZE)
        given = {agent: policies[agent](seen[agent][row]) for agent in self._agents}
        checked_actions(given, (ACTION_SIZE,))
        return np.stack([np.asarray(action) for action in given.values()])
