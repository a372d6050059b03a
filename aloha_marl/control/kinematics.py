"""Closed-form kinematics of one arm, vectorised: joints <-> pose of the tool centre point.

Poses are in the arm's base frame. The last three joints' axes meet in the wrist's middle, so position
and orientation can be solved one after the other.

Inside, every quantity is an array (k,) of its own, k the product of the leading sizes: on small arrays
NumPy is fastest then, and a row's result does not depend on how many there are.
"""

from __future__ import annotations

import itertools

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

_LEAN = float(np.arctan2(_ELBOW_X, _ELBOW_Z))  # of the upper arm where the shoulder is at 0

_AXES = (2, 1, 1, 0, 1, 0)
"""Rotation axis of each joint in its own frame: 0 x, 1 y, 2 z."""

_ORIGINS = (
    (0, 0, 0),
    (0, 0, SHOULDER_HEIGHT),
    (_ELBOW_X, 0, _ELBOW_Z),
    (FOREARM, 0, 0),
    (0, 0, 0),
    (0, 0, 0),
)
"""Origin of each joint frame in the previous one [m]."""

_SQUARES = UPPER_ARM**2 + FOREARM**2
_TWICE_PRODUCT = 2 * UPPER_ARM * FOREARM
_BEND = np.pi / 2 - _LEAN  # between upper arm and forearm where the elbow is at 0
_TINY = 1e-12  # far above rounding, far below use

_NEXT, _LAST = (1, 2, 0), (2, 0, 1)  # of x, y, z, for cross products

_EYE = np.eye(3)
_SKEW = np.cross(_EYE[:, None], _EYE).swapaxes(1, 2).reshape(3, 9)
"""A vector times this is, row by row, the matrix that takes the cross product with it."""

# (6, 3, 16): a joint's cosine, sine and one times these are its 4 x 4 transform, row by row. Each
# number of it has one of the three in it, so that the product is exact.
_TRANSFORMS = np.zeros((len(_AXES), 3, 4, 4))
for _transform, _axis, _origin in zip(_TRANSFORMS, _AXES, _ORIGINS, strict=True):
    _transform[0, :3, :3] = np.diag(1 - _EYE[_axis])
    _transform[1, :3, :3] = _SKEW[_axis].reshape(3, 3)
    _transform[2, :3, :3] = np.diag(_EYE[_axis])
    _transform[2, :, 3] = (*_origin, 1)
_TRANSFORMS = _TRANSFORMS.reshape(-1, 3, 16)


def forward(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pose of the tool centre point.

    Args:
        joints: (..., 6) [rad].

    Returns:
        (..., 3) position [m] and (..., 3, 3) rotation in the base frame.
    """
    joints = np.asarray(joints, float)
    shape = joints.shape[:-1]
    steps = _steps(joints)
    pairs = steps[::2] @ steps[1::2]  # one call for three products
    tool = pairs[0] @ pairs[1] @ pairs[2]
    position = tool[:, :3, 3] + TOOL * tool[:, :3, 0]
    return position.reshape(*shape, 3), tool[:, :3, :3].reshape(*shape, 3, 3)


def inverse(
    position: np.ndarray, rotation: np.ndarray, near: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Joints for a pose. Joint limits are not considered.

    A pose has up to eight solutions: the waist may face it or turn its back on it, the elbow bend up
    or down, the wrist either way. Of each two the one nearer to given joints is taken, by at most a
    quarter turn of the waist and of the forearm, the elbow as it is. Where a joint does not matter,
    it stays.

    Args:
        position: (..., 3) of the tool centre point in the base frame [m].
        rotation: (..., 3, 3) of the tool in the base frame.
        near: (..., 6) joints [rad]; all at zero, the arm is bent forward and its wrist straight.

    Returns:
        (..., 6) joints [rad] and (...) bool, whether the pose is within reach. Out of reach the arm
        points at it as far as it can.
    """
    position, rotation = np.asarray(position, float), np.asarray(rotation, float)
    *shape, _ = position.shape
    start = np.empty((*shape, len(_AXES)))
    start[:] = near
    w0, _, e0, r0, _, t0 = _columns(start, 6)
    x_x, y_x, z_x, x_y, y_y, z_y, x_z, y_z, z_z = _columns(rotation, 9)
    x, y, z = _columns(position, 3)
    x -= TOOL * x_x  # of the wrist's middle from here on, above the shoulder
    y -= TOOL * x_y
    z -= TOOL * x_z
    z -= SHOULDER_HEIGHT

    cos, sin = np.cos(w0), np.sin(w0)
    waist = w0 + _least_turn(cos * x + sin * y, cos * y - sin * x)
    cos, sin = np.cos(waist), np.sin(waist)
    reach = cos * x + sin * y
    cosine = (reach * reach + z * z - _SQUARES) / _TWICE_PRODUCT
    cos_bend = np.minimum(np.maximum(cosine, -1.0), 1.0)
    bend = np.copysign(np.arccos(cos_bend), e0 + _BEND)
    inner = np.arctan2(FOREARM * np.sin(bend), UPPER_ARM + FOREARM * cos_bend)
    lean = np.arctan2(reach, z) - inner

    # The tool's x axis in the frame of the forearm, unrolled: along it, to its side, up.
    steep = lean + bend
    cos_pitch, sin_pitch = np.sin(steep), -np.cos(steep)
    ahead = cos * x_x + sin * x_y
    along, up = cos_pitch * ahead - sin_pitch * x_z, sin_pitch * ahead + cos_pitch * x_z
    side = cos * x_y - sin * x_x
    cos_roll, sin_roll = np.cos(r0), np.sin(r0)
    roll = r0 + _least_turn(sin_roll * side - cos_roll * up, cos_roll * side + sin_roll * up)
    cos_roll, sin_roll = np.cos(roll), np.sin(roll)
    angle = np.arctan2(sin_roll * side - cos_roll * up, along)
    # The axis of the wrist's angle, which is the tool's y axis before the last joint turns it.
    tilt = sin_roll * sin_pitch
    x, y, z = tilt * cos - cos_roll * sin, tilt * sin + cos_roll * cos, sin_roll * cos_pitch
    rotate = np.arctan2(-(x * z_x + y * z_y + z * z_z), x * y_x + y * y_y + z * y_z)
    turn = rotate - t0
    turn -= 2 * np.pi * np.rint(turn / (2 * np.pi))

    joints = np.array((waist, lean - _LEAN, bend - _BEND, roll, angle, t0 + turn))
    return joints.T.reshape(*shape, 6), (np.abs(cosine) <= 1.0).reshape(shape)


def jacobian(joints: np.ndarray) -> np.ndarray:
    """(..., 6, 6) how the tool moves as (..., 6) joints [rad] turn.

    Row by row the velocity of the tool centre point [m/rad] and the angular velocity of the tool
    [rad/rad], in the base frame; a column per joint.
    """
    joints = np.asarray(joints, float)
    frames = _steps(joints)
    for before, own in itertools.pairwise(frames):
        own[:] = before @ own
    columns = np.empty((len(_AXES), frames.shape[1], 6))
    axes = columns[:, :, 3:]
    axes[:] = frames[range(len(_AXES)), :, :3, _AXES]
    arms = frames[-1, :, :3, 3] + TOOL * frames[-1, :, :3, 0] - frames[:, :, :3, 3]
    columns[:, :, :3] = axes.take(_NEXT, 2) * arms.take(_LAST, 2)
    columns[:, :, :3] -= axes.take(_LAST, 2) * arms.take(_NEXT, 2)
    return columns.transpose(1, 2, 0).reshape(*joints.shape, 6)


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
    angle = np.sqrt((vector * vector).sum(axis=-1))
    skew = (vector @ _SKEW).reshape(*vector.shape, 3)
    skew /= np.maximum(angle, _TINY)[..., None, None]
    rotation = np.sin(angle)[..., None, None] * skew
    rotation += (1.0 - np.cos(angle))[..., None, None] * (skew @ skew)
    rotation += _EYE
    return rotation


def _steps(joints: np.ndarray) -> np.ndarray:
    """(6, k, 4, 4) from the frame of each joint of (..., 6) to that of the one before."""
    joints = joints.reshape(-1, len(_AXES)).T
    sines = np.ones((*joints.shape, 3))
    sines[:, :, 0], sines[:, :, 1] = np.cos(joints), np.sin(joints)
    return (sines @ _TRANSFORMS).reshape(*joints.shape, 4, 4)


def _least_turn(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """The turn, by a quarter at most, that brings a line along (along, across)."""
    return np.arctan(across / (along + _TINY))


def _columns(values: np.ndarray, size: int) -> np.ndarray:
    """(size, k) from (..., size), or from (..., 3, 3) row by row."""
    return values.reshape(-1, size).T.copy()
