"""Attempts of one arm to earn the reward alone, while the other stays frozen at its start.

Each is a policy for one side, on that side's observation of scope ``partner``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.policies.motion import Motion, drive, held, pick_and_carry, tool_rotation
from aloha_marl.policies.policy import ArmPolicy, Policy
from aloha_marl.policies.view import CLOSED, View

_FLAT, _STEEP = np.radians(60), np.radians(75)


def pick_cube_up(view: View) -> Motion:
    """Lifts the cube off the table and keeps it."""
    there = Motion(np.array((0.45, 0, 0.25)), tool_rotation(0.0, _FLAT))
    return pick_and_carry(view, "cube", _FLAT, there)


def press_finger(view: View) -> Motion:
    """Brings the cube to the tips of the partner's fingers and presses it against them."""
    rotation = tool_rotation(0.0, np.radians(15))
    tip = view.partner_tcp_pos + 0.02 * view.partner_tcp_x_axis
    before = Motion(tip - (0.10, 0, 0), rotation)
    press = Motion(tip, rotation, 0.004)
    ahead = np.all(np.abs(view.tcp_pos - tip)[:, 1:] < 0.03, axis=1)
    return pick_and_carry(view, "cube", _FLAT, press.where(ahead, before))


def push_peg_in(view: View) -> Motion:
    """Pushes the peg into the socket that lies on the table."""
    return _join_on_the_table(view, "peg", "socket", above=0.009, rise=-0.002)


def put_socket_over_peg(view: View) -> Motion:
    """Picks the socket up and pushes it over the peg that lies on the table."""
    return _join_on_the_table(view, "socket", "peg", above=0.006, rise=0.012)


def _join_on_the_table(view: View, name: str, other: str, above: float, rise: float) -> Motion:
    """Takes one object and pushes it along x against the other one, which lies on the table.

    The grasp is ``above`` [m] over its middle; when they join, that is ``rise`` [m] over the other's.
    """
    rotation = tool_rotation(0.0, _STEEP)
    offset = np.einsum("ij,nj->ni", rotation, view[f"{name}_in_tool"])
    place = view[f"{other}_pos"] - offset + (0, 0, rise)
    ready = Motion(place - (0.17, 0, -0.05), rotation)
    low = Motion(place - (0.16, 0, 0), rotation, 0.006)
    push = Motion(place - (0.09, 0, 0), rotation, 0.0015)  # slowly: the arm rises as it lags
    apart = view[f"{other}_pos"] - view[f"{name}_pos"] + (0, 0, rise)
    straight = (np.abs(apart[:, 1]) < 0.008) & (apart[:, 0] < 0.19)
    level = np.abs(apart[:, 2]) < np.where(apart[:, 0] > 0.135, 0.006, 0.02)
    carry = push.where(straight & level, low.where(straight, ready))
    picked = pick_and_carry(view, name, _STEEP, carry, above)
    return carry.where(held(view, name) & (straight | (view[f"{name}_pos"][:, 2] > 0.06)), picked)


ATTEMPTS: dict[str, tuple[str, str, Callable[[View], Motion]]] = {
    "the left arm picks the cube up": ("transfer_cube", "left", pick_cube_up),
    "the right arm brings the cube to the idle finger": ("transfer_cube", "right", press_finger),
    "the right arm pushes the peg in on the table": ("insertion", "right", push_peg_in),
    "the left arm puts the socket over the peg": ("insertion", "left", put_socket_over_peg),
}
"""Name -> task, side, and the motion from an observation."""


class OneArm(ArmPolicy):
    """Policy of the arm that acts in an attempt."""

    def __init__(self, attempt: str):
        self.task, self.side, self._plan = ATTEMPTS[attempt]
        super().__init__(self.task, "partner", "joint_position")

    def actions(self, view: View) -> np.ndarray:
        return drive(view, self._plan(view))


class Frozen(OneArm):
    """Policy of the other arm: it stays where it started, its gripper closed."""

    def actions(self, view: View) -> np.ndarray:
        return np.column_stack((view.commanded, np.full(len(view.commanded), CLOSED)))


def alone(attempt: str) -> dict[str, Policy]:
    """Agent -> policy: one arm acts by the attempt, the other is frozen."""
    acting = OneArm(attempt)
    return {
        agent: acting if side == acting.side else Frozen(attempt)
        for agent, side in zip(AGENTS, SIDES, strict=True)
    }
