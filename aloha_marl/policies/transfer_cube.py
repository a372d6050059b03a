"""The experts of TransferCube: one brings the cube to a meeting point, the other takes it there."""

from __future__ import annotations

import numpy as np

from aloha_marl.policies.motion import (
    CLOSED,
    IN_HAND,
    OPEN,
    Motion,
    View,
    grasp_azimuth,
    held,
    inside,
    motion,
    pick_and_carry,
    stay,
    tool_rotation,
)

# Between the bases, in either arm's frame. While the cube waits there it rises slowly from LOW to
# HIGH: its height is the clock by which the giver lets go, seen or not that the taker has gripped.
_MEET_X, _MEET_Y = 0.469, 0.0
_LOW, _HIGH = 0.25, 0.265
_RISE = 0.0006
"""Per step [m]."""

_GIVE = tool_rotation(0.0, np.radians(60))
_TAKE = tool_rotation(0.0, 0.0, np.pi / 2)
_CUBE_WIDTH = 0.68
"""Gripper opening below which the gripper has closed on the cube; it reads 0.60 when held square."""


def give(view: View) -> Motion:
    """The right arm: picks the cube up, brings it to the meeting point, lets go, draws back."""
    cube = view.cube_pos
    rotation = tool_rotation(grasp_azimuth(view, "cube", np.pi / 2), np.radians(60))
    # Where the tool must be for the cube to be at the meeting point.
    offset = np.einsum("ij,nj->ni", _GIVE, view.cube_in_tool)
    low = np.array((_MEET_X, _MEET_Y, _LOW)) - offset
    high = low + (0, 0, _HIGH - _LOW + 0.01)
    there = _at_meeting_point(cube) & (cube[:, 2] > _LOW - 0.006)
    near = np.linalg.norm(cube - (_MEET_X, _MEET_Y, _LOW), axis=1) < 0.04
    speed = np.where(near, 0.01, 0.0)
    carry = motion(view, low, _GIVE, speed, phase="brings the cube to the meeting point")
    wait = motion(view, high, _GIVE, _RISE, phase="holds the cube out")
    meet = wait.where(there, carry)
    plan = pick_and_carry(view, "cube", rotation, _CUBE_WIDTH, 0.004, meet)

    done = _at_meeting_point(cube) & ((cube[:, 2] > _HIGH) | _partner_has_it(view))
    clear = view.gripper[:, 0] > 0.72
    behind = view.command_pos - 0.05 * view.command_rot[:, :, 0]
    back = motion(view, behind, view.command_rot, 0.015, OPEN, "draws back")
    release = back.where(clear, stay(view, OPEN, "lets go of the cube"))
    in_hand = inside(view, "cube", IN_HAND)
    plan = release.where(done & in_hand, plan)
    # In the air and not in this hand: the partner's. Keep out of the way.
    retreat = np.array((_MEET_X - 0.12, 0, _HIGH + 0.12))
    away = motion(view, retreat, _GIVE, 0.015, OPEN, "keeps out of the way")
    return away.where((cube[:, 2] > 0.1) & ~in_hand, plan)


def take(view: View) -> Motion:
    """The left arm: waits before the meeting point, grips the cube there, holds it."""
    cube = view.cube_pos
    stage = np.array((_MEET_X - 0.11, _MEET_Y, _LOW + 0.005))
    plan = motion(view, stage, _TAKE, 0.0, OPEN, "waits for the cube")

    slow = np.linalg.norm(view.cube_linvel, axis=1) < 0.06
    offered = _at_meeting_point(cube) & (cube[:, 2] > _LOW - 0.01) & (cube[:, 2] < _HIGH + 0.1)
    aside = np.abs(view.cube_in_tool)[:, 1:].max(axis=1)
    at_cube = inside(view, "cube", (0.012, 0.012, 0.02))
    # Forward only while the cube is straight ahead; the fingers have 14 mm to spare on each side.
    goal = cube.copy()
    goal[:, 0] = np.where(aside < 0.01, cube[:, 0], np.minimum(cube[:, 0], view.command_pos[:, 0]))
    gripper = np.where(at_cube, CLOSED, OPEN)
    approach = motion(view, goal, _TAKE, 0.012, gripper, "closes in on the cube")
    plan = approach.where(offered & (slow | at_cube) & (aside < 0.03), plan)

    grip = held(view, "cube", _CUBE_WIDTH) & (cube[:, 2] > 0.1)
    rise = np.where(cube[:, 2] < _HIGH + 0.003, _RISE, 0.0)
    follow = motion(
        view,
        view.command_pos + np.stack((0 * rise, 0 * rise, rise), axis=1),
        view.command_rot,
        0.001,
        phase="holds the cube",
    )
    return follow.where(grip, plan)


def _at_meeting_point(cube: np.ndarray) -> np.ndarray:
    return (np.abs(cube[:, :2] - (_MEET_X, _MEET_Y)) < 0.03).all(axis=1) & (cube[:, 2] > 0.15)


def _partner_has_it(view: View) -> np.ndarray:
    """(N,) bool: the partner has closed on the cube; never, where partners are not observed."""
    if not view.sees_partner:
        return np.zeros(len(view.commanded), bool)
    near = np.linalg.norm(view.partner_tcp_pos - view.cube_pos, axis=1) < 0.02
    return near & (view.partner_gripper[:, 0] < 0.63)
