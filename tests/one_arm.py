"""Policies by which one arm alone tries to get the reward, the other being frozen at its start.

Each acts for one side on that side's observation of scope ``partner``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.core.observations import Layout
from aloha_marl.policies import Policy
from aloha_marl.policies.motion import (
    CLOSED,
    Motion,
    View,
    drive,
    grasp_azimuth,
    held,
    motion,
    pick_and_carry,
    tool_rotation,
    view_of,
)
from aloha_marl.tasks import TASKS

_STEEP = tool_rotation(0.0, np.radians(75))


def _with_the_cube(view: View, carry: Motion) -> Motion:
    """Picks the cube up, then carries it."""
    rotation = tool_rotation(grasp_azimuth(view, "cube", np.pi / 2), np.radians(60))
    return pick_and_carry(view, "cube", rotation, 0.68, 0.004, carry)


def pick_the_cube_up(view: View) -> Motion:
    """Lifts the cube off the table and keeps it."""
    there = motion(view, (0.45, 0, 0.25), tool_rotation(0.0, np.radians(60)))
    return _with_the_cube(view, there)


def carry_to_the_idle_finger(view: View) -> Motion:
    """Brings the cube to the tips of the partner's fingers and presses it against them."""
    rotation = tool_rotation(0.0, np.radians(15))
    tip = view.partner_tcp_pos + 0.02 * view.partner_tcp_x_axis
    before = motion(view, tip - (0.10, 0, 0), rotation)
    press = motion(view, tip, rotation, 0.004)
    ahead = (np.abs(view.tcp_pos - tip)[:, 1:] < 0.03).all(axis=1)
    return _with_the_cube(view, press.where(ahead, before))


def push_the_peg_in_on_the_table(view: View) -> Motion:
    """Pushes the peg into the socket that lies on the table."""
    return _join_on_the_table(view, "peg", "socket", 0.45, above=0.009, rise=-0.002)


def put_the_socket_over_the_peg(view: View) -> Motion:
    """Picks the socket up and pushes it over the peg that lies on the table."""
    return _join_on_the_table(view, "socket", "peg", 0.75, above=0.006, rise=0.012)


def _join_on_the_table(
    view: View, name: str, other: str, width: float, above: float, rise: float
) -> Motion:
    """Takes one object and pushes it along x against the other one, which lies on the table.

    Args:
        view: the observation.
        name: of the object to take.
        other: of the one that lies there.
        width: gripper opening that tells that the object is held.
        above: how far above its middle it is gripped [m].
        rise: how far the held object's middle is above the other's when they join [m].
    """
    offset = np.einsum("ij,nj->ni", _STEEP, view[f"{name}_in_tool"])
    place = view[f"{other}_pos"] - offset + (0, 0, rise)
    ready = motion(view, place - (0.17, 0, -0.05), _STEEP)
    low = motion(view, place - (0.16, 0, 0), _STEEP, 0.006)
    push = motion(view, place - (0.09, 0, 0), _STEEP, 0.0015)  # slowly: the arm rises as it lags
    apart = view[f"{other}_pos"] - view[f"{name}_pos"] + (0, 0, rise)
    straight = (np.abs(apart[:, 1]) < 0.008) & (apart[:, 0] < 0.19)
    level = np.abs(apart[:, 2]) < np.where(apart[:, 0] > 0.135, 0.006, 0.02)
    carry = push.where(straight & level, low.where(straight, ready))
    in_hand = held(view, name, width)
    azimuth = grasp_azimuth(view, name, np.pi)
    picked = pick_and_carry(view, name, tool_rotation(azimuth, np.radians(75)), width, above, carry)
    return carry.where(in_hand & (straight | (view[f"{name}_pos"][:, 2] > 0.06)), picked)


ATTEMPTS: dict[str, tuple[str, str, Callable[[View], Motion]]] = {
    "the left arm picks the cube up": ("transfer_cube", "left", pick_the_cube_up),
    "the right arm brings the cube to the idle finger": (
        "transfer_cube",
        "right",
        carry_to_the_idle_finger,
    ),
    "the right arm pushes the peg in on the table": (
        "insertion",
        "right",
        push_the_peg_in_on_the_table,
    ),
    "the left arm puts the socket over the peg": (
        "insertion",
        "left",
        put_the_socket_over_the_peg,
    ),
}
"""What is tried -> task, side, where the tool shall go next."""


class OneArm:
    """Acts for one arm by one of the attempts; a policy as the package's own are."""

    scope, control = "partner", "joint_position"

    def __init__(self, attempt: str):
        self.task, self.side, self._plan = ATTEMPTS[attempt]
        self._layout = Layout(tuple(TASKS[self.task].objects), self.scope)

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """(D,) or (N, D) observations to (7,) or (N, 7) actions."""
        view = view_of(observation, self._layout)
        actions = drive(view, self._plan(view)).astype(np.float32)
        return actions.reshape(*observation.shape[:-1], actions.shape[-1])

    def reset(self) -> None:
        """Starts an episode: nothing to forget."""


class Frozen(OneArm):
    """The other arm: it stays where it started, its gripper closed."""

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """(D,) or (N, D) observations to (7,) or (N, 7) actions."""
        joints = view_of(observation, self._layout).commanded
        actions = np.column_stack((joints, np.full(len(joints), CLOSED))).astype(np.float32)
        return actions.reshape(*observation.shape[:-1], actions.shape[-1])


def alone(attempt: str) -> dict[str, Policy]:
    """Agent -> policy of an attempt: one arm acts, the other is frozen."""
    acting = OneArm(attempt)
    return {
        agent: acting if side == acting.side else Frozen(attempt)
        for agent, side in zip(AGENTS, SIDES, strict=True)
    }
