"""Random actions: what an episode looks like before anything is learned."""

from __future__ import annotations

import numpy as np

from aloha_marl.control import CONTROLS


class UniformPolicy:
    """Draws every action uniformly between the bounds of the control mode.

    Args:
        seed: of the draws. They go on through all episodes; none depends on an observation.
        scope: of the observations it will be given.
        control: mode its actions are for.
    """

    def __init__(self, seed: int | list[int], scope: str, control: str):
        self.scope, self.control = scope, control
        self._rng = np.random.default_rng(seed)
        self._low, self._high = CONTROLS[control].low, CONTROLS[control].high

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """(D,) or (N, D) observations to (7,) or (N, 7) actions."""
        shape = (*observation.shape[:-1], len(self._low))
        return self._rng.uniform(self._low, self._high, shape).astype(np.float32)

    def reset(self) -> None:
        """Starts an episode: the stream of draws goes on."""
