"""Random actions: what an episode looks like before anything is learned."""

from __future__ import annotations

import numpy as np

from aloha_marl.arms import JOINT_LIMITS


class UniformPolicy:
    """Draws every action uniformly between the bounds of ``control="joint_position"``.

    Args:
        seed: of the draws. They go on through all episodes; none depends on an observation.
        scope: of the observations it will be given.
    """

    control = "joint_position"

    def __init__(self, seed: int | list[int], scope: str):
        self.scope = scope
        self._rng = np.random.default_rng(seed)
        self._low, self._high = np.transpose([*JOINT_LIMITS, (0.0, 1.0)])

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """(D,) or (N, D) observations to (7,) or (N, 7) actions."""
        shape = (*observation.shape[:-1], len(self._low))
        return self._rng.uniform(self._low, self._high, shape).astype(np.float32)

    def reset(self) -> None:
        """Starts an episode: the stream of draws goes on."""
