"""The experts of Insertion: one holds the socket still, the other pushes the peg in."""

from __future__ import annotations

import numpy as np

from aloha_marl.policies.motion import (
    Motion,
    View,
    grasp_azimuth,
    held,
    motion,
    pick,
    stay,
    tool_rotation,
)

_PITCH = np.radians(75)
_LEVEL = tool_rotation(0.0, _PITCH)

_SOCKET = np.array((0.439, 0.0, 0.20))
"""Where the left arm holds the socket's middle, in its base frame [m]."""

_BETWEEN_BASES = 0.938
_AXIS = np.array((_BETWEEN_BASES - _SOCKET[0], 0.0, _SOCKET[2]))
"""The socket's place in the right arm's frame, turned half round: the peg comes from its -x side."""

_READY, _TOUCHING, _STOP = 0.15, 0.1005, 0.0975
"""Distances of the two middles along the axis [m]: before the push, when peg and pin touch (0.04 +
0.06, and a little), and where the push stops at the latest; further would only squeeze."""

_PUSH = 0.003
"""Per step [m]."""

_WIDTH = {"peg": 0.45, "socket": 0.75}
"""Gripper opening below which the gripper has closed on it; they read 0.35 and 0.66 when held."""


_ABOVE = {"peg": 0.009, "socket": 0.003}
"""How far above the object's middle it is gripped [m]: lower, the finger tips rub on the table."""


def hold_socket(view: View) -> Motion:
    """The left arm: picks the socket up and holds it level at the meeting point."""
    offset = np.einsum("ij,nj->ni", _LEVEL, view.socket_in_tool)
    there = motion(view, _SOCKET - offset, _LEVEL)
    # Arrived, it holds its command: following the socket while it is pushed would give way.
    arrived = (np.abs(view.command_pos - there.position) < 0.012).all(axis=1)
    return _pick_and_lift(view, "socket", stay(view, 0.0).where(arrived, there))


def insert_peg(view: View) -> Motion:
    """The right arm: picks the peg up, lines it up with the socket, pushes until they touch."""
    peg, socket = view.peg_pos, view.socket_pos
    offset = np.einsum("ij,nj->ni", _LEVEL, view.peg_in_tool)
    presented = (np.abs(socket - _AXIS) < (0.03, 0.02, 0.02)).all(axis=1)
    still = np.linalg.norm(view.socket_linvel, axis=1) < 0.03
    target = np.where(presented[:, None], socket, _AXIS)

    gap = socket[:, 0] - peg[:, 0]
    ready = motion(view, target - offset - (_READY, 0, 0), _LEVEL)
    aside = np.abs(socket - peg)[:, 1:].max(axis=1)
    tilt = np.abs(view.peg_x_axis[:, 1:]).max(axis=1)
    entered = gap < 0.12
    lined_up = presented & (aside < 0.007) & (tilt < 0.12) & (still | entered) & (gap < 0.17)
    push = motion(view, target - offset - (_STOP, 0, 0), _LEVEL, _PUSH)
    carry = push.where(lined_up, ready)
    touching = presented & (gap < _TOUCHING) & (aside < 0.012)
    return _pick_and_lift(view, "peg", stay(view, 0.0).where(touching, carry))


def _pick_and_lift(view: View, name: str, carry: Motion) -> Motion:
    """Picks the object up, lifts it straight, and then does what is to be done with it."""
    rotation = tool_rotation(grasp_azimuth(view, name, np.pi), _PITCH)
    grip = held(view, name, _WIDTH[name])
    lift = motion(view, view.command_pos + (0, 0, 0.05), view.command_rot, 0.008)
    plan = lift.where(grip, pick(view, name, rotation, above=_ABOVE[name]))
    return carry.where(grip & (view[f"{name}_pos"][:, 2] > 0.08), plan)
