"""Records of n episodes: their progress, their whole state, and the infos of a step."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Self

import numpy as np

from aloha_marl.arms import SIDES


def starts_at_zero(dtype: type, *sizes: str) -> Any:
    r"""A field that is zero when an episode begins: an array of (n, \*sizes)."""
    return dataclasses.field(metadata={"dtype": dtype, "sizes": sizes})


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

    memory: np.ndarray = starts_at_zero(int, "memory")
    stage: np.ndarray = starts_at_zero(int)
    elapsed: np.ndarray = starts_at_zero(int)
    diverged: np.ndarray = starts_at_zero(bool)
    drawn: np.ndarray = starts_at_zero(float, "drawn")
    earned: np.ndarray = starts_at_zero(float, "sides", "terms")

    @classmethod
    def begun(cls, num_envs: int, **sizes: int) -> Self:
        """The progress of episodes that begin, given the sizes that the fields name."""
        arrays = {}
        for field in dataclasses.fields(cls):
            shape = (num_envs, *(sizes[size] for size in field.metadata["sizes"]))
            arrays[field.name] = np.zeros(shape, field.metadata["dtype"])
        return cls(**arrays)

    def __len__(self) -> int:
        return len(self.stage)

    def but(self, **changes: np.ndarray) -> Self:
        """A copy with other values of those fields."""
        copied = object.__new__(type(self))  # a third of what the constructor takes, in every step
        vars(copied).update(vars(self), **changes)
        return copied

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
        scene: (n,) hash of the scene and of all names of what the state holds.
    """

    physics: np.ndarray = starts_at_zero(float, "physics")
    metrics: np.ndarray = starts_at_zero(float, "metrics")

    scene: np.ndarray = starts_at_zero(np.uint64)

    def check_fits(self, other: State) -> None:
        """Raises ValueError if another state is no such state, of other options, or not finite."""
        for name, mine in vars(self).items():
            values = np.asarray(vars(other).get(name))
            shape = (len(other), *mine.shape[1:])
            if values.dtype.kind != mine.dtype.kind or values.shape != shape:
                raise ValueError(
                    f"the state is of another scene or other options: its {name} is {values.dtype} of "
                    f"shape {values.shape}, here it is {mine.dtype} of shape {shape}"
                )
            if name == "scene" and np.any(values != mine[0]):
                raise ValueError(
                    "the state is of another scene or other options: what it holds has other names"
                )
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise ValueError(f"the state's {name} has numbers that are not finite")


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
