"""What an arm earns: functions of the stage, on arrays with a leading ``num_envs``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aloha_marl.tasks import SUCCESS


def staged(stage: np.ndarray) -> np.ndarray:
    """(n,) the stage itself, 0..4, at every step."""
    return stage.astype(float)


def sparse(stage: np.ndarray) -> np.ndarray:
    """(n,) 1 in the step that succeeds, else 0."""
    return (stage == SUCCESS).astype(float)


REWARDS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"staged": staged, "sparse": sparse}
