"""Styles of the scripted experts, so that partners differ."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class Style:
    """How a scripted expert plays.

    Attributes:
        speed: factor of all speeds.
        height: height of the meeting point, or of the way there, above the usual one [m].
        pitch: pitch of the tool at a grasp beyond the usual one, downwards [rad].
        yaw: how far the giver of a cube turns to the left when it holds it out [rad].
        scope: scope of the observations it reads, unless another is asked for.
        still: True if it waits for its partner as a person does: the giver of a cube holds it still until
            the taker has it, and then the taker holds it still. It changes nothing in other tasks.
        patient: True if the giver of a cube raises it slowly until it sees that the taker has it.
        noise: standard deviation of the error of each joint's target, at every step [rad].
    """

    speed: float = 1.0
    height: float = 0.0
    pitch: float = 0.0
    yaw: float = 0.0
    scope: str = "partner"
    still: bool = False
    patient: bool = False
    noise: float = 0.0


STYLES = {
    "scripted": Style(),
    "scripted:slow": Style(speed=0.5),
    "scripted:fast": Style(speed=1.25),
    "scripted:high": Style(height=0.05),
    "scripted:low": Style(height=-0.02),
    "scripted:steep": Style(pitch=math.radians(10)),
    "scripted:flat": Style(pitch=math.radians(-15)),
    "scripted:alone": Style(scope="local"),
    "scripted:still": Style(still=True),
    "scripted:novice": Style(noise=0.002),
}
"""Name of a policy -> how it plays."""
