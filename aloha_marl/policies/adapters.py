"""Adapters from joint targets to the actions of every control mode, so that one expert acts in all.

An arm's own observation is enough: it holds the commanded joints. A step larger than an action can ask
for is scaled down, so that its direction stays; the next actions ask for the rest.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aloha_marl.control.kinematics import forward, rotation_vector
from aloha_marl.control.modes import GRIPPER, EndEffectorDelta, JointDelta, JointPosition
from aloha_marl.policies.view import View


def joint_position(view: View, targets: np.ndarray) -> np.ndarray:
    """The targets themselves."""
    return targets


def joint_position_normalized(view: View, targets: np.ndarray) -> np.ndarray:
    """The targets, mapped to [-1, 1]."""
    low, high = JointPosition.low, JointPosition.high
    return (2 * targets - low - high) / (high - low)


def joint_delta(view: View, targets: np.ndarray) -> np.ndarray:
    """Steps from the commanded joints."""
    turn = targets[:, :GRIPPER] - view.commanded
    return _relative(view, turn / JointDelta.JOINT_STEP, targets)


def ee_delta(view: View, targets: np.ndarray) -> np.ndarray:
    """Steps from the commanded pose of the tcp."""
    position, rotation = forward(targets[:, :GRIPPER])
    turn = rotation_vector(rotation @ np.swapaxes(view.command_rot, 1, 2))
    shift = (position - view.command_pos) / EndEffectorDelta.POSITION_STEP
    moves = np.column_stack((shift, turn / EndEffectorDelta.ROTATION_STEP))
    return _relative(view, moves, targets)


def _relative(view: View, moves: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """(N, 7) actions from (N, 6) moves in units of the action.

    The gripper's command is not observed. Steps from the measured opening move it on to the end even
    while something between the fingers keeps them from following.
    """
    most = np.abs(moves).max(axis=1, keepdims=True)
    gripper = (targets[:, GRIPPER:] - view.gripper) / JointDelta.GRIPPER_STEP  # ee_delta's, too
    return np.column_stack((moves / np.maximum(most, 1.0), np.clip(gripper, -1, 1)))


ADAPTERS: dict[str, Callable[[View, np.ndarray], np.ndarray]] = {
    "joint_position": joint_position,
    "joint_position_normalized": joint_position_normalized,
    "joint_delta": joint_delta,
    "ee_delta": ee_delta,
}
"""Control mode -> function from (N, 7) joint targets [rad, 0 closed .. 1 open] to its actions."""
