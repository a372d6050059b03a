"""Random numbers computed from the observation, so that policies that use them are memoryless, too."""

from __future__ import annotations

import numpy as np

from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.policy import ArmPolicy
from aloha_marl.policies.view import View
from aloha_marl.tasks import TaskLike

_MIX = [
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
]
"""Shifts and factors of the generator SplitMix64: every bit of a number affects all of the result."""


class Noise:
    """Numbers that look random, with mean 0 and standard deviation 1, computed from observations.

    Observations that differ in any bit give independent numbers, equal ones the same, in a batch as
    by themselves: an episode depends on its seed alone, whichever others are played beside it.

    Args:
        seed: seed of the function.
        inputs: size of an observation.
        outputs: number of values to draw.
    """

    def __init__(self, seed: int | list[int], inputs: int, outputs: int):
        rng = np.random.default_rng(seed)
        self._weights = rng.integers(2**64, size=(inputs, outputs), dtype=np.uint64)

    def __call__(self, observations: np.ndarray) -> np.ndarray:
        """Maps (N, inputs) float32 observations to (N, outputs), uniform in +-sqrt(3)."""
        return np.sqrt(12) * (self.shares(observations) - 0.5)

    def shares(self, observations: np.ndarray) -> np.ndarray:
        """Maps (N, inputs) float32 observations to (N, outputs), uniform from 0 to below 1."""
        bits = np.ascontiguousarray(observations, np.float32).view(np.uint32).astype(np.uint64)
        mixed = bits @ self._weights  # modulo 2**64
        for shift, factor in _MIX:
            mixed = (mixed ^ mixed >> shift) * factor
        return (mixed >> np.uint64(11)) * 2.0**-53


class UniformPolicy(ArmPolicy):
    """Draws every action uniformly between the bounds of the control mode, as before any training."""

    def __init__(self, task: TaskLike, scope: str, control: str, seed: int | list[int]):
        super().__init__(task, scope, control)
        self._low, self._high = CONTROLS[control].low, CONTROLS[control].high
        self._noise = Noise(seed, self.layout.size, len(self._low))

    def actions(self, view: View) -> np.ndarray:
        shares = self._noise.shares(view.observation)
        return (1 - shares) * self._low + shares * self._high
