"""Closed-form kinematics of one arm, vectorised: joints <-> pose of the tool centre point.

Poses are in the arm's base frame. The last three joints' axes meet in the wrist's middle, so position
and orientation can be solved one after the other.
"""

from __future__ import annotations

import numpy as np

SHOULDER_HEIGHT = 0.12705
"""Height of the shoulder's axis above the base [m]."""

_ELBOW_X, _ELBOW_Z = 0.05955, 0.3
UPPER_ARM = float(np.hypot(_ELBOW_X, _ELBOW_Z))
"""Distance from the shoulder's to the elbow's axis [m]."""

FOREARM = 0.3
"""Distance from the elbow's axis to the wrist's middle [m]."""

TOOL = 0.069744 + 0.14
"""Distance from the wrist's middle to the tool centre point [m]."""

_BEND = float(np.arctan2(_ELBOW_X, _ELBOW_Z))  # the elbow stands forward of the upper arm's axis


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the tool centre point.

    Args:
        joints: (..., 6) [rad].

    Returns:
        (..., 3) position [m] and (..., 3, 3) rotation in the base frame.
    """
    waist, shoulder, elbow, roll, angle, rotate = np.moveaxis(np.asarray(joints, float), -1, 0)
    pitch = shoulder + elbow
    lean = shoulder + _BEND
    reach = UPPER_ARM * np.sin(lean) + FOREARM * np.cos(pitch)
    height = SHOULDER_HEIGHT + UPPER_ARM * np.cos(lean) - FOREARM * np.sin(pitch)
    wrist = np.stack((reach * np.cos(waist), reach * np.sin(waist), height), axis=-1)
    rotation = _forearm(waist, pitch) @ _about_x(roll) @ _about_y(angle) @ _about_x(rotate)
    return wrist + TOOL * rotation[..., :, 0], rotation


def inverse(
    position: np.ndarray, rotation: np.ndarray, near: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Joints for a pose, with the elbow up. Joint limits are not considered.

    Args:
        position: (..., 3) of the tool centre point in the base frame [m].
        rotation: (..., 3, 3) of the tool in the base frame.
        near: (..., 6) joints [rad]. Of the two ways to bend the wrist the one that turns the forearm
            less away from them is taken; without it, the one that turns the forearm less.

    Returns:
        (..., 6) joints [rad] and (...) bool, whether the pose is within reach. Out of reach the arm
        points at it as far as it can.
    """
    position, rotation = np.asarray(position, float), np.asarray(rotation, float)
    x, y, z = np.moveaxis(position - TOOL * rotation[..., :, 0], -1, 0)
    z = z - SHOULDER_HEIGHT
    reach = np.hypot(x, y)
    cosine = (reach**2 + z**2 - UPPER_ARM**2 - FOREARM**2) / (2 * UPPER_ARM * FOREARM)
    bend = np.arccos(np.clip(cosine, -1, 1))  # between the upper arm and the forearm
    waist = np.arctan2(y, x)
    lean = np.arctan2(reach, z) - np.arctan2(
        FOREARM * np.sin(bend), UPPER_ARM + FOREARM * np.cos(bend)
    )
    shoulder = lean - _BEND
    elbow = bend - np.pi / 2 + _BEND

    wrist = np.swapaxes(_forearm(waist, shoulder + elbow), -1, -2) @ rotation
    angle = np.arctan2(np.hypot(wrist[..., 1, 0], wrist[..., 2, 0]), wrist[..., 0, 0])
    roll = np.arctan2(wrist[..., 1, 0], -wrist[..., 2, 0])
    rotate = np.arctan2(wrist[..., 0, 1], wrist[..., 0, 2])
    before = 0.0 if near is None else np.asarray(near, float)[..., 3]
    other = wrap(roll + np.pi)
    flip = np.abs(other - before) < np.abs(roll - before)
    joints = np.stack(
        (
            waist,
            shoulder,
            elbow,
            np.where(flip, other, roll),
            np.where(flip, -angle, angle),
            np.where(flip, wrap(rotate + np.pi), rotate),
        ),
        axis=-1,
    )
    return joints, np.abs(cosine) <= 1


def wrap(angle: np.ndarray) -> np.ndarray:
    """Angles [rad] brought into [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi


def rotation_vector(rotation: np.ndarray) -> np.ndarray:
    """(..., 3) axis times angle [rad] of (..., 3, 3) rotations by less than half a turn."""
    skew = rotation - np.swapaxes(rotation, -1, -2)
    axis = np.stack((skew[..., 2, 1], skew[..., 0, 2], skew[..., 1, 0]), axis=-1) / 2
    sine = np.linalg.norm(axis, axis=-1)
    cosine = (np.trace(rotation, axis1=-2, axis2=-1) - 1) / 2
    angle = np.arctan2(sine, cosine)
    return axis * (angle / np.maximum(sine, 1e-12))[..., None]


def rotation_matrix(vector: np.ndarray) -> np.ndarray:
    """(..., 3, 3) rotations from (..., 3) rotation vectors [rad], by Rodrigues' formula."""
    angle = np.linalg.norm(vector, axis=-1)[..., None, None]
    x, y, z = np.moveaxis(vector, -1, 0)
    zero = np.zeros_like(x)
    skew = np.stack((zero, -z, y, z, zero, -x, -y, x, zero), axis=-1)
    skew = skew.reshape(*x.shape, 3, 3) / np.maximum(angle, 1e-12)
    return np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * (skew @ skew)


def _forearm(waist: np.ndarray, pitch: np.ndarray) -> np.ndarray:
    return _about_z(waist) @ _about_y(pitch)


def _about(angle: np.ndarray, axis: int) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    rotation = np.zeros((*np.shape(angle), 3, 3))
    first, second = (axis + 1) % 3, (axis + 2) % 3
    rotation[..., axis, axis] = 1
    rotation[..., first, first] = rotation[..., second, second] = cos
    rotation[..., first, second], rotation[..., second, first] = -sin, sin
    return rotation


def _about_x(angle: np.ndarray) -> np.ndarray:
    return _about(angle, 0)


def _about_y(angle: np.ndarray) -> np.ndarray:
    return _about(angle, 1)


def _about_z(angle: np.ndarray) -> np.ndarray:
    return _about(angle, 2)
