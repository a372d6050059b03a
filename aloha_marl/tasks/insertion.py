"""Insertion: the left arm takes the socket, the right arm the peg; they join them in mid-air."""

from __future__ import annotations

import numpy as np

from aloha_marl.readings import Readings
from aloha_marl.tasks.base import CLEARANCE, PUT_DOWN, GymAlohaTask, asset, columns, first_of

_WALLS = ("socket_bottom", "socket_top", "socket_left", "socket_right")


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
        touched = readings.touch("right", "peg") & readings.touch("left", "socket")
        lowest = np.minimum(readings.clearance("peg"), readings.clearance("socket"))
        put_down = (
            (lowest < PUT_DOWN)
            | readings.contact("table", "peg")
            | readings.contact("table", "socket")
        )
        held = readings.grip("right", "peg") & readings.grip("left", "socket")
        held &= lowest > CLEARANCE

        lifted = ((memory[:, 0] > 0) | held) & ~put_down
        joined = held & lifted
        inserted = joined & readings.contact("peg", "pin")
        steps = (memory[:, 1] + 1) * inserted

        meet = joined & (readings.contact("peg", "socket") | inserted)
        return first_of(steps >= self.HOLD_STEPS, meet, held, touched), columns(lifted, steps)

    def gym_aloha_stage(self, readings: Readings) -> np.ndarray:
        """gym-aloha's reward: one finger of each hand counts, the pin decides whatever else."""
        touched = readings.finger_touch[:, 1, 0, 1] & readings.finger_touch[:, 0, 1, 0]
        airborne = ~(readings.contact("table", "peg") | readings.contact("table", "socket"))
        meet = readings.contact("peg", "socket") & airborne
        return first_of(readings.contact("peg", "pin"), meet, touched & airborne, touched)
