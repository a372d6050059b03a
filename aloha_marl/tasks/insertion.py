"""Insertion: the left arm takes the socket, the right arm the peg; they join them in mid-air."""

from __future__ import annotations

import numpy as np

from aloha_marl.simulation.readings import Readings
from aloha_marl.tasks.base import CLEARANCE, PUT_DOWN, GymAlohaTask, ShapedTask, asset
from aloha_marl.tasks.stages import closeness, highest_stage, memory_of

_WALLS = ("socket_bottom", "socket_top", "socket_left", "socket_right")


class Insertion(GymAlohaTask, ShapedTask):
    """A 12 cm peg enters a square tube, 8 mm wider on each side, until it touches the pin inside.

    Strict rules: stages 3 and 4 need both objects to have been lifted together, and neither put down
    since; in stage 4 the peg has touched the pin, both held, for ``HOLD_STEPS``.

    Dense terms, with the same weights for both arms:

    | term | weight | 0..1 |
    |---|---|---|
    | reach | 0.1 | closeness of the tool to its own object, within ``REACH``; 1 once gripped |
    | grip | 0.1 | 1 if the arm grips its own object |
    | lift | 0.1 | closeness of its lowest corner to ``LIFT`` above the table, while gripped |
    | align | 0.3 | while both are held off the table: the product of three closenesses, of the peg's \
      tip to the mouth of the socket, within ``REACH``, of its middle to the socket's axis, within \
      ``ASIDE``, and of the sine between both axes to 0, within ``TILT`` |
    | insert | 0.2 | while both are held and the peg's middle is within ``INSIDE`` of the socket's axis: \
      the share of the way from the mouth to the pin |
    | hold | 0.2 | share of ``HOLD_STEPS`` for which the peg has touched the pin |
    """

    HOLD_STEPS = 5

    name = "insertion"
    summary = "the right arm inserts the peg into the socket held by the left arm"
    xml = asset("insertion.xml")
    objects = {"peg": ("peg",), "socket": _WALLS}
    placement = {"peg": ((0.1, 0.2), (0.4, 0.6)), "socket": ((-0.2, -0.1), (0.4, 0.6))}
    contacts = (("peg", "socket"), ("peg", "pin"))
    memory_size = 2
    REACH, LIFT, ASIDE, TILT = 0.3, 0.05, 0.1, 0.5  # [m], and a sine
    INSIDE = 0.012
    """Largest distance [m] of the peg's middle from the socket's axis with its tip inside."""
    MOUTH, PIN = 0.12, 0.1005
    """Distances [m] of the two middles when the peg enters the socket and when it touches the pin."""
    terms = {
        "reach": (0.1, 0.1),
        "grip": (0.1, 0.1),
        "lift": (0.1, 0.1),
        "align": (0.3, 0.3),
        "insert": (0.2, 0.2),
        "hold": (0.2, 0.2),
    }
    stages = (
        "both arms touch their object",
        "both grip it and lift it off the table",
        "peg and socket touch while both are held in the air",
        "the peg, so held, touches the pin inside the socket",
    )

    def stage(self, readings: Readings, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory: whether both objects have been lifted, steps the peg has touched the pin."""
        touched = readings.touches("right", "peg") & readings.touches("left", "socket")
        lowest = np.minimum(readings.clearance("peg"), readings.clearance("socket"))
        put_down = (
            (lowest < PUT_DOWN)
            | readings.contact("table", "peg")
            | readings.contact("table", "socket")
        )
        held = readings.grips("right", "peg") & readings.grips("left", "socket")
        held &= lowest > CLEARANCE

        lifted = ((memory[:, 0] > 0) | held) & ~put_down
        joined = held & lifted
        inserted = joined & readings.contact("peg", "pin")
        steps = (memory[:, 1] + 1) * inserted

        meet = joined & (readings.contact("peg", "socket") | inserted)
        stage = highest_stage(touched, held, meet, steps >= self.HOLD_STEPS)
        return stage, memory_of(lifted, steps)

    def progress(self, readings: Readings, stage: np.ndarray, memory: np.ndarray) -> np.ndarray:
        n = len(stage)
        distance = _own_object(readings.distances()) / self.REACH
        if not readings.any_touch:  # nothing else can be above 0
            progress = np.zeros((n, 2, len(self.terms)))
            progress[:, :, 0] = closeness(distance)
            return progress
        gripped = _own_object(readings.grip)
        clearance = readings.clearances()[:, ::-1]
        lifted = gripped & (clearance > CLEARANCE)
        held = lifted[:, 0] & lifted[:, 1]
        along, aside, tilt = _axis_distances(readings)
        far = np.empty((n, 7))
        far[:, :2] = distance
        np.maximum(1 - clearance / self.LIFT, 0, out=far[:, 2:4])
        far[:, 4] = np.maximum(along - self.MOUTH, 0) / self.REACH
        far[:, 5] = aside / self.ASIDE
        far[:, 6] = tilt / self.TILT
        near = closeness(far)

        progress = np.empty((n, 2, len(self.terms)))
        reach, grip, lift, align, insert, hold = progress.transpose(2, 0, 1)
        np.maximum(near[:, :2], gripped, out=reach)
        grip[:] = gripped
        np.multiply(near[:, 2:4], gripped, out=lift)
        align[:] = (near[:, 4] * near[:, 5] * near[:, 6] * held)[:, None]
        depth = (self.MOUTH - along) / (self.MOUTH - self.PIN)
        depth *= held & (aside < self.INSIDE)
        insert[:] = np.minimum(np.maximum(depth, 0), 1)[:, None]
        hold[:] = np.minimum(memory[:, 1] / self.HOLD_STEPS, 1)[:, None]
        return progress

    def gym_aloha_stage(self, readings: Readings) -> np.ndarray:
        """gym-aloha's reward: one finger of each hand counts, and the pin alone decides stage 4."""
        touched = readings.finger_touches("right", "peg", "right_finger")
        touched = touched & readings.finger_touches("left", "socket", "left_finger")
        airborne = ~(readings.contact("table", "peg") | readings.contact("table", "socket"))
        meet = readings.contact("peg", "socket") & airborne
        return highest_stage(touched, touched & airborne, meet, readings.contact("peg", "pin"))


def _own_object(values: np.ndarray) -> np.ndarray:
    """(n, 2) of (n, 2, 2) values by side and object: the left arm's socket, the right arm's peg."""
    return values[:, :, ::-1].diagonal(axis1=1, axis2=2)


def _axis_distances(readings: Readings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(n,) distances of the middles along the socket's axis and across it [m], sine between the axes."""
    socket_axis = readings.axis("socket", "x")
    between = readings.position("peg") - readings.position("socket")
    along, aside = _components(between, socket_axis)
    _, sine = _components(readings.axis("peg", "x"), socket_axis)
    return along, aside, sine


def _components(vectors: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n,) lengths of (n, 3) vectors along a unit axis and across it."""
    along = np.abs(_sum(vectors * axis))
    return along, np.sqrt(np.maximum(_sum(vectors * vectors) - along * along, 0))


def _sum(vectors: np.ndarray) -> np.ndarray:
    return vectors[:, 0] + vectors[:, 1] + vectors[:, 2]
