"""Rewards, on arrays with a leading ``num_envs``.

``staged`` and ``sparse`` pay both arms for the stage. ``dense`` pays each arm for its own progress: a task
names terms, such as ``reach`` and ``grip``, that rise from 0 to 1 and weigh 1 together. An arm earns
the rise of a term above its highest value of the episode so far. So nothing is lost or earned twice, and
no episode earns more than 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from aloha_marl.arms import SIDES
from aloha_marl.simulation.readings import Readings
from aloha_marl.tasks import SUCCESS, ShapedTask, Task

CREDITS = ("team", "individual")


def staged(stage: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """The stage itself, 0..4, at every step."""
    return _both(stage)


def sparse(stage: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """1 in the step that succeeds, else 0."""
    return _both(stage == SUCCESS)


def dense(stage: np.ndarray, gained: np.ndarray) -> np.ndarray:
    """Gains of the arm's terms; over an episode at most 1."""
    return gained.sum(axis=2)


REWARDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "staged": staged,
    "sparse": sparse,
    "dense": dense,
}
"""Name -> function of the (n,) stage and of the (n, 2, T) gains of the terms in a step, to the (n, 2)
shares of the left and the right arm."""


class Reward:
    """The reward of a task: weighted terms, shares of the arms, credit.

    Args:
        task: names the terms.
        name: one of ``REWARDS``.
        credit: one of ``CREDITS``.
        num_envs: n.

    Attributes:
        terms: names of the T terms; none but for a dense reward.
    """

    def __init__(self, task: Task, name: str, credit: str, num_envs: int):
        self.shares = REWARDS[name]
        self._task = cast(ShapedTask, task)
        weights = self._task.terms if name == "dense" else {}
        self.terms = tuple(weights)
        self._weights = np.empty((num_envs, len(SIDES), len(weights)))
        self._weights[:] = np.reshape(list(weights.values()), (len(weights), len(SIDES))).T
        self._pools = credit == "team" and bool(weights)

    def level(self, readings: Readings, stage: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """(n, 2, T) weighted values of the terms.

        Args:
            readings: of n simulations.
            stage: (n,) by the strict rules.
            memory: (n, m) of the task, after that stage.
        """
        return self._task.progress(readings, stage, memory) * self._weights

    def credited(self, shares: np.ndarray) -> np.ndarray:
        """(n, 2) rewards of the arms from their (n, 2) shares."""
        return _both((shares[:, 0] + shares[:, 1]) * 0.5) if self._pools else shares


def _both(values: np.ndarray) -> np.ndarray:
    rewards = np.empty((len(values), len(SIDES)))
    rewards.T[:] = values
    return rewards
