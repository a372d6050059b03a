"""The protocol that policies follow."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Policy(Protocol):
    """Acts for one arm from that arm's observation alone.

    It may also have a method ``phase`` that says in words what it is doing in a (D,) observation;
    evaluations then tell where an episode that failed got stuck.

    Attributes:
        scope: ``scope`` of the observations it reads.
        control: ``control`` mode of its actions.
    """

    scope: str
    control: str

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Maps (D,) or (N, D) observations to (7,) or (N, 7) actions."""
        ...

    def reset(self) -> None:
        """Starts an episode."""
        ...
