"""The experts of TransferCube: one brings the cube to a meeting point, the other takes it there."""

from __future__ import annotations

import numpy as np

from aloha_marl.arms import BASE_DISTANCE
from aloha_marl.policies.motion import (
    Motion,
    draw_back,
    held,
    inside,
    pick_and_carry,
    stay,
    tool_rotation,
)
from aloha_marl.policies.styles import Style
from aloha_marl.policies.view import CLOSED, OPEN, View

MEET = np.array((BASE_DISTANCE / 2, 0.0, 0.25))
"""Where the cube is offered, midway between the bases, in either arm's frame [m]."""

_CLOCK = 0.015
"""Rise of the cube while it waits there [m]. Its height is the clock by which the giver lets go,
whether it has seen the taker grip or not."""

_RISE = 0.0006
"""Speed of that rise [m/step]."""

_SEARCH = 0.08
"""How far a patient giver goes on raising it, so that it comes to the height of the taker [m]."""

_PITCH = np.radians(60)
"""Pitch of the giver's tool; the taker's is level, turned so that the fingers are above and below."""


def give(view: View, style: Style) -> Motion:
    """The right arm: picks the cube up, brings it to the meeting point, lets go, draws back."""
    cube, meet = view.cube_pos, MEET + (0, 0, style.height)
    pitch = _PITCH + style.pitch
    ahead = view.command_rot[:, :, 0]
    azimuth = (
        np.arctan2(ahead[:, 1], ahead[:, 0]) if style.still else np.full(len(ahead), style.yaw)
    )
    level = tool_rotation(azimuth, pitch)
    # Where the tool must be for the cube to be at the meeting point.
    low = meet - np.einsum("nij,nj->ni", level, view.cube_in_tool)
    high = low + (0, 0, 0 if style.still else _SEARCH if style.patient else _CLOCK + 0.01)
    there = _is_at(cube, meet) & (cube[:, 2] > meet[2] - 0.006)
    near = np.linalg.norm(cube - meet, axis=1) < 0.04
    speed = np.where(near, 0.01, 0.0)
    carry = Motion(low, level, speed, phase="brings the cube to the meeting point")
    wait = Motion(high, level, _RISE, phase="holds the cube out")
    plan = pick_and_carry(view, "cube", pitch, wait.where(there, carry))

    # The gripper is wider on a cube that is turned.
    taken = _partner_has_it(view, 0.66 if style.still or style.patient else 0.63)
    risen = (cube[:, 2] > meet[2] + _CLOCK) & (not style.patient)
    done = _is_at(cube, meet) & (risen | taken)
    clear = view.gripper[:, 0] > 0.72
    release = draw_back(view).where(clear, stay(view, OPEN, "lets go of the cube"))
    in_hand = inside(view, "cube")
    plan = release.where(done & in_hand, plan)
    # In the air and not in this hand: the partner's. Keep out of the way.
    retreat = meet + (-0.12, 0, _CLOCK + 0.12)
    away = Motion(retreat, level, 0.015, OPEN, "keeps out of the way")
    return away.where((cube[:, 2] > 0.1) & ~in_hand, plan)


def take(view: View, style: Style) -> Motion:
    """The left arm: waits before the meeting point, grips the cube there, holds it."""
    cube, meet = view.cube_pos, MEET + (0, 0, style.height)
    rotation = tool_rotation(0.0, style.pitch, np.pi / 2)
    forward = rotation[:, 0]
    ready = meet + (0, 0, 0.005) - 0.11 * forward
    plan = Motion(ready, rotation, 0.0, OPEN, "waits for the cube")

    slow = np.linalg.norm(view.cube_linvel, axis=1) < 0.06
    lowest, highest = meet[2] - 0.01, meet[2] + _CLOCK + 0.1
    offered = _is_at(cube, meet) & (cube[:, 2] > lowest) & (cube[:, 2] < highest)
    aside = np.abs(view.cube_in_tool)[:, 1:].max(axis=1)
    at_cube = inside(view, "cube", (0.012, 0.012, 0.02))
    # Forward only while the cube is straight ahead; the fingers have 14 mm to spare on each side.
    ahead = np.maximum(0, ((cube - view.command_pos) * forward).sum(axis=1))
    goal = cube - np.where(aside < 0.01, 0, ahead)[:, None] * forward
    gripper = np.where(at_cube, CLOSED, OPEN)
    approach = Motion(goal, rotation, 0.012, gripper, "closes in on the cube")
    plan = approach.where(offered & (slow | at_cube) & (aside < 0.03), plan)

    grip = held(view, "cube") & (cube[:, 2] > 0.1)
    rises = (cube[:, 2] < meet[2] + _CLOCK + 0.003) & (not style.still)
    rise = np.where(rises, _RISE, 0.0)
    above = view.command_pos + rise[:, None] * (0, 0, 1)
    follow = Motion(above, view.command_rot, 0.001, phase="holds the cube")
    return follow.where(grip, plan)


def _is_at(cube: np.ndarray, meet: np.ndarray) -> np.ndarray:
    """(N,) bool: the cube is in the air at the meeting point, at whatever height."""
    return (np.abs(cube - meet)[:, :2] < 0.03).all(axis=1) & (cube[:, 2] > 0.15)


def _partner_has_it(view: View, width: float) -> np.ndarray:
    """(N,) bool: the partner has closed on the cube, to less than a width; never, where it isn't seen."""
    if not view.sees_partner:
        return np.zeros(len(view.commanded), bool)
    near = np.linalg.norm(view.partner_tcp_pos - view.cube_pos, axis=1) < 0.02
    return near & (view.partner_gripper[:, 0] < width)
