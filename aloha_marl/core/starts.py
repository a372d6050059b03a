"""Starts of episodes: poses of the objects, joints of the arms, domain randomisation."""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np

from aloha_marl.arms import JOINTS, SIDES
from aloha_marl.scene.randomization import Randomization
from aloha_marl.tasks import Task

STARTS = ("random", "gym_aloha")

_NOISE = 0.1
"""Half range [rad] of the joints' offsets from ``home`` with ``start="random"``."""


class Starts:
    """Draws starts round the keyframe ``home``.

    Args:
        task: places the objects.
        start: one of ``STARTS``.
        model: holds the keyframe.
        randomization: draws further numbers.
    """

    def __init__(self, task: Task, start: str, model: mujoco.MjModel, randomization: Randomization):
        self._task = task
        self._start = start
        self._randomization = randomization
        home = model.key("home")
        self._qpos, self._ctrl = home.qpos, home.ctrl

    def draw(
        self, rngs: Sequence[np.random.Generator], seeds: Sequence[int | None]
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Draws m starts, each from its generator.

        Args:
            rngs: m generators.
            seeds: m gym-aloha's seeds for ``start="gym_aloha"``; drawn from the generator if None.

        Returns:
            (m, nq) qpos, (m, nu) ctrl and the (m, P) numbers of the randomisation.
        """
        m = len(rngs)
        qpos, ctrl = (np.tile(values, (m, 1)) for values in (self._qpos, self._ctrl))
        drawn = np.empty((m, len(self._randomization.names)))
        for i, (rng, seed) in enumerate(zip(rngs, seeds, strict=True)):
            self._draw(rng, seed, qpos[i], ctrl[i])
            if drawn.size:
                drawn[i] = self._randomization.draw(rng)
        return qpos, ctrl, drawn

    def _draw(
        self, rng: np.random.Generator, seed: int | None, qpos: np.ndarray, ctrl: np.ndarray
    ) -> None:
        """Writes a start into (nq,) and (nu,), which hold ``home``."""
        if self._start == "gym_aloha":
            poses = self._task.place_as_gym_aloha(
                int(rng.integers(2**32)) if seed is None else seed
            )
        else:
            poses = self._task.place(rng)
            offsets = rng.uniform(-_NOISE, _NOISE, (len(SIDES), len(JOINTS)))
            for values in (qpos[: ctrl.size], ctrl):
                values.reshape(len(SIDES), -1)[:, : len(JOINTS)] += offsets
        qpos[ctrl.size :] = poses.ravel()
