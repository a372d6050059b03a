"""Random actions, as before any training."""

from __future__ import annotations

import numpy as np

from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.noise import Noise
from aloha_marl.policies.view import task_layout


class UniformPolicy:
    """Draws every action uniformly between the bounds of the control mode.

    The draws are a function of the observation, so that it is as memoryless as the experts.

    Args:
        task: a name in ``TASKS``.
        scope: scope of the observations to read.
        control: control mode of the actions.
        seed: seed of the draws.
    """

    def __init__(self, task: str, scope: str, control: str, seed: int | list[int]):
        self.scope, self.control = scope, control
        self._low, self._high = CONTROLS[control].low, CONTROLS[control].high
        self._noise = Noise(seed, task_layout(task, scope).size, len(self._low))

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Maps (D,) or (N, D) observations to (7,) or (N, 7) actions."""
        shares = self._noise.shares(np.atleast_2d(observation))
        actions = (1 - shares) * self._low + shares * self._high
        return actions.reshape(*observation.shape[:-1], -1).astype(np.float32)

    def reset(self) -> None:
        """Starts an episode: nothing to forget."""
