"""The task: a scene, starts of its object, and the judgement of the stages."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aloha_marl import Task
from aloha_marl.arms import SIDES
from aloha_marl.simulation.readings import Readings
from aloha_marl.tasks.base import CLEARANCE, START_HEIGHT
from aloha_marl.tasks.stages import highest_stage, memory_of

HEIGHT = 0.1  # of the tray's lowest corner [m]
LEVEL = np.cos(np.radians(10))  # of the angle between the tray's z axis and the vertical
HOLD_STEPS = 10


class LiftTray(Task):
    """The tray counts as lifted once it was held, level, ``HEIGHT`` high for ``HOLD_STEPS``.

    It starts anywhere in ``placement`` but keeps its yaw, since each arm must reach its own end.
    """

    name = "lift_tray"
    summary = "both arms grip a handle of the tray and lift it level"
    xml = Path(__file__).with_name("lift_tray.xml")
    objects = {"tray": ("handle_0", "handle_1")}
    placement = {"tray": ((-0.03, 0.03), (0.45, 0.55))}
    memory_size = 1
    stages = (
        "both arms touch a handle",
        "both arms grip a handle",
        "both so hold the tray off the table",
        "both so hold it level, 10 cm high",
    )

    def place(self, rng: np.random.Generator) -> np.ndarray:
        """(1, 7) pose of the tray."""
        xy = [rng.uniform(low, high) for low, high in self.placement["tray"]]
        return np.array([[*xy, START_HEIGHT, 1, 0, 0, 0]])

    def stage(self, readings: Readings, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory: steps for which the tray has been held level and high."""
        touched = np.all([readings.touches(side, "tray") for side in SIDES], axis=0)
        gripped = np.all([readings.grips(side, "tray") for side in SIDES], axis=0)
        clearance = readings.clearance("tray")
        level = readings.axis("tray", "z")[:, 2] > LEVEL
        steps = (memory[:, 0] + 1) * (gripped & level & (clearance > HEIGHT))
        lifted = gripped & (clearance > CLEARANCE)
        return highest_stage(touched, gripped, lifted, steps >= HOLD_STEPS), memory_of(steps)
