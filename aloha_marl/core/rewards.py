"""What the arms earn, on arrays with a leading ``num_envs``.

``staged`` and ``sparse`` pay both arms for the stage. ``dense`` pays each arm for its own progress: a task
names terms, such as ``reach`` and ``grip``, that rise from 0 to 1 and weigh 1 together. An arm earns
what a term has risen above its highest value of the episode so far. So nothing is lost or earned
twice, and no episode earns more than 1.
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
    """What the arm's terms have gained; over an episode at most 1."""
    return np.ascontiguousarray(np.add.reduce(gained, axis=2).T)


REWARDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "staged": staged,
    "sparse": sparse,
    "dense": dense,
}
"""Name -> function of the (n,) stage and of what each term has (n, 2, T) gained in a step, to the
(2, n) shares of the left and the right arm."""


def pooled(shares: np.ndarray) -> np.ndarray:
    """(2, n) the mean of both shares, for both arms."""
    return _both((shares[0] + shares[1]) * 0.5)


class Shaping:
    """The weighted terms of a task.

    Args:
        task: what is to be done.
        num_envs: n.
        dense: whether there are any; else T is 0.

    Attributes:
        terms: their T names.
    """

    def __init__(self, task: Task, num_envs: int, dense: bool):
        self._task = cast(ShapedTask, task)
        weights = self._task.terms if dense else {}
        self.terms = tuple(weights)
        self._weights = np.empty((num_envs, len(SIDES), len(weights)))
        self._weights[:] = np.reshape(list(weights.values()), (len(weights), len(SIDES))).T

    def level(self, readings: Readings, stage: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """(n, 2, T) how far each term is, weighted.

        Args:
            readings: of n simulations.
            stage: (n,) by the strict rules.
            memory: (n, m) of the task, after that stage.
        """
        return self._task.progress(readings, stage, memory) * self._weights


def _both(values: np.ndarray) -> np.ndarray:
    rewards = np.empty((len(SIDES), len(values)))
    rewards[:] = values
    return rewards
