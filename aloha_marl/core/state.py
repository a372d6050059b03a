"""Records of n episodes: their progress, their whole state, and the infos of a step."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Self

import numpy as np

from aloha_marl.arms import SIDES


@dataclasses.dataclass(frozen=True)
class Progress:
    """All that episodes remember beside the physics. Arrays that were handed out never change.

    Attributes:
        memory: (n, m) integers of the task.
        stage: (n,) int, the stage 0..4.
        elapsed: (n,) control steps since the reset.
        diverged: (n,) bool, the physics blew up in this episode.
        drawn: (n, P) the numbers domain randomisation drew for the episode.
        earned: (n, 2, T) by side and term what a dense reward has paid and the episode began with.
    """

    memory: np.ndarray
    stage: np.ndarray
    elapsed: np.ndarray
    diverged: np.ndarray
    drawn: np.ndarray
    earned: np.ndarray

    def __len__(self) -> int:
        return len(self.stage)

    def but(self, **changes: np.ndarray) -> Self:
        """A copy with other values of those fields."""
        return type(self)(**(vars(self) | changes))

    def take(self, rows: np.ndarray) -> Self:
        """A copy of those rows; a row may be taken more than once."""
        return self.but(**{name: values[rows] for name, values in vars(self).items()})

    def put(self, rows: np.ndarray, other: Progress) -> Self:
        """A copy with those rows taken from another record, in its order."""
        new = vars(other)
        return self.but(
            **{name: replaced(values, rows, new[name]) for name, values in vars(self).items()}
        )


@dataclasses.dataclass(frozen=True)
class State(Progress):
    """All that decides how episodes go on, apart from the actions to come.

    Attributes:
        physics: (n, S) MuJoCo's integration state, the commanded targets among it.
        metrics: (n, M) sums of :class:`~aloha_marl.core.metrics.Metrics`; M is 0 without them.
    """

    physics: np.ndarray
    metrics: np.ndarray


class Infos(NamedTuple):
    """Infos of n episodes.

    Attributes:
        shared: name -> (n,) values that both arms get.
        per_arm: name -> (n, 2) values of the left and of the right arm.
    """

    shared: dict[str, np.ndarray]
    per_arm: dict[str, np.ndarray]

    def of(self, arm: int) -> dict[str, np.ndarray]:
        """Infos of one arm: name -> (n,)."""
        return self.shared | {name: values[:, arm] for name, values in self.per_arm.items()}

    def merged(self) -> dict[str, np.ndarray]:
        """Infos of the merged environment: per-arm values are named ``left_<name>``, ``right_<name>``."""
        return self.shared | {
            f"{side}_{name}": values[:, arm]
            for name, values in self.per_arm.items()
            for arm, side in enumerate(SIDES)
        }


def replaced(values: np.ndarray, rows: np.ndarray, new: np.ndarray | int) -> np.ndarray:
    """A copy with other values in those rows."""
    values = values.copy()
    values[rows] = new
    return values
