"""Insertion: the left arm takes the socket, the right arm the peg; they join them in mid-air."""

from __future__ import annotations

import numpy as np

from aloha_marl.readings import Readings
from aloha_marl.tasks.base import CLEARANCE, PUT_DOWN, SUCCESS, GymAlohaTask, asset

_WALLS = ("socket_bottom", "socket_top", "socket_left", "socket_right")
_HOLDERS = (("right", "peg"), ("left", "socket"))


class Insertion(GymAlohaTask):
    """A 12 cm peg enters a square tube, 8 mm wider on each side, until it touches the pin inside.

    Strict rules: stages 3 and 4 need both objects to have been lifted together, and neither put down
    since; in stage 4 the peg has touched the pin, both held, for ``HOLD_STEPS``.
    """

    HOLD_STEPS = 5

    name = "insertion"
    summary = "the right arm inserts the peg into the socket held by the left arm"
    xml = asset("insertion.xml")
    objects = {"peg": ("peg",), "socket": _WALLS}
    placement = {"peg": ((0.1, 0.2), (0.4, 0.6)), "socket": ((-0.2, -0.1), (0.4, 0.6))}
    contacts = (("peg", "socket"), ("peg", "pin"))
    memory_size = 2
    stages = (
        "both arms touch their object",
        "both grip it and lift it off the table",
        "peg and socket touch while both are held in the air",
        "the peg, so held, touches the pin inside the socket",
    )

    def stage(self, readings: Readings, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory: whether both objects have been lifted, steps the peg has touched the pin."""
        touched = np.ones(len(memory), bool)
        held = touched.copy()
        put_down = ~touched
        for side, name in _HOLDERS:
            clearance = readings.clearance(name)
            touched &= readings.touch(side, name)
            held &= readings.grip(side, name) & (clearance > CLEARANCE)
            put_down |= (clearance < PUT_DOWN) | readings.contact("table", name)

        lifted = np.where(put_down, 0, memory[:, 0] | held)
        joined = held & (lifted > 0)
        inserted = joined & readings.contact("peg", "pin")
        steps = np.where(inserted, memory[:, 1] + 1, 0)

        meet = joined & (readings.contact("peg", "socket") | inserted)
        stage = np.select((steps >= self.HOLD_STEPS, meet, held, touched), (SUCCESS, 3, 2, 1), 0)
        return stage, np.stack((lifted, steps), axis=1)

    def gym_aloha_stage(self, readings: Readings) -> np.ndarray:
        """gym-aloha's reward: one finger of each hand counts, the pin decides whatever else."""
        touched = readings.finger_touch[:, 1, 0, 1] & readings.finger_touch[:, 0, 1, 0]
        airborne = ~(readings.contact("table", "peg") | readings.contact("table", "socket"))
        meet = readings.contact("peg", "socket") & airborne
        return np.select(
            (readings.contact("peg", "pin"), meet, touched & airborne, touched),
            (SUCCESS, 3, 2, 1),
            0,
        )
