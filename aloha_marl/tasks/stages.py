"""Building blocks of a task's judgement: the highest stage, the memory, closeness."""

from __future__ import annotations

import numpy as np


def highest_stage(
    first: np.ndarray, second: np.ndarray, third: np.ndarray, fourth: np.ndarray
) -> np.ndarray:
    """(n,) int: the highest stage 1..4 whose (n,) bool condition holds, else 0."""
    stage = np.zeros(len(first), int)
    # 39 us faster than np.select, in a step of some 400 us.
    for reached, condition in enumerate((first, second, third, fourth), start=1):
        np.putmask(stage, condition, reached)
    return stage


def memory_of(*columns: np.ndarray) -> np.ndarray:
    """(n, m) int memory from m arrays (n,)."""
    memory = np.empty((len(columns[0]), len(columns)), int)
    for i, column in enumerate(columns):
        memory[:, i] = column
    return memory


def closeness(distance: np.ndarray) -> np.ndarray:
    """1 at distance 0, 0.1 at 1, and falling ever more slowly: dm_control's ``long_tail``."""
    return 1 / ((3.0 * distance) ** 2 + 1)
