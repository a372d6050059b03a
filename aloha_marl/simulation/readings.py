"""What the sensors say, by name, as arrays with a leading ``num_envs``.

Stages, rewards and observations are computed from these readings alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from aloha_marl.arms import FINGERS, GRIPPER_CLOSED, GRIPPER_SPAN, JOINTS, PADS_MEET, SIDES
from aloha_marl.scene.scene import OBJECT_SENSORS, TCP_SENSORS, SceneSpec

_TCP = 3 * len(TCP_SENSORS)
_OBJECT = 3 * (len(OBJECT_SENSORS) + 1)  # the last: the object's position in the tool frame


class Readings:
    """Views of the sensors, refreshed by :meth:`update`.

    With n simulations, two sides, k objects (sides and objects in their fixed order):

    Attributes:
        joint_pos, joint_vel: (n, 2, 6) [rad, rad/s].
        own_motion: (n, 2, 21) joint_pos, joint_vel and tcp.
        command_gap: (n, 2, 6) commanded minus measured joint positions [rad].
        gripper: (n, 2, 1) measured opening, mean of the two fingers (0 closed .. 1 open).
        gripper_vel: (n, 2, 1) its rate [1/s].
        opening: (n, 2, 2) both.
        tcp, partner_tcp: (n, 2, 9) position [m], x axis and z axis in the arm's base frame.
        objects: (n, 2, 18 k) per object position [m], x axis, z axis, linear velocity [m/s] and
            angular velocity [rad/s] in the arm's base frame, position in its tool frame [m].
        finger_pos, finger_vel: (n, 2, 2) [m, m/s].
        touching: whether any finger of any simulation touches anything.
        finger_touch: (n, 2, k, 2) bool, which finger touches which object.
        touched, gripped: (n, 2, k) bool, which arm has a finger at, or both around, which object.
        half_extents: (n, k, 3) half sizes [m] of a box around each object.
    """

    def __init__(
        self, model: mujoco.MjModel, scene: SceneSpec, sensordata: np.ndarray, ctrl: np.ndarray
    ):
        """Binds the readings to live arrays.

        Args:
            model: compiled from ``scene``.
            scene: names what is sensed.
            sensordata: (n, nsensordata), written in place by the simulation.
            ctrl: (n, nu) commanded targets, written in place.
        """
        self.names = tuple(name for name, _ in scene.objects)
        n, k = len(sensordata), len(self.names)
        sizes = scene.contact_sizes()
        widths = (len(JOINTS), len(JOINTS), _TCP, k * _OBJECT, _TCP, 2 * len(FINGERS))
        arms = len(SIDES) * sum(widths)
        if arms + sum(sizes) != model.nsensordata:
            raise ValueError(
                f"{scene.xml.name} has sensors of its own, which is not supported: "
                f"{model.nsensordata} sensor values instead of {arms + sum(sizes)}"
            )
        # Views all: slices and reshapes of columns that follow one another.
        per_arm = sensordata[:, :arms].reshape(n, len(SIDES), -1)
        ends = np.cumsum(widths)
        self.joint_pos, self.joint_vel, self.tcp, self.objects, self.partner_tcp, fingers = (
            np.split(per_arm, ends[:-1], axis=2)
        )
        self.own_motion = per_arm[:, :, : ends[2]]
        fingers = fingers.reshape(n, len(SIDES), 2, len(FINGERS))
        self.finger_pos, self.finger_vel = fingers[:, :, 0], fingers[:, :, 1]
        self._left_finger, self._right_finger = fingers[..., 0], fingers[..., 1]
        self._closed = np.zeros_like(self._left_finger)
        self._closed[:, :, 0] = GRIPPER_CLOSED / GRIPPER_SPAN
        self._poses = self.objects.reshape(n, len(SIDES), k, _OBJECT)
        self._in_tool = self._poses[..., -3:]
        targets = ctrl.reshape(n, len(SIDES), -1)
        self._targets, self._finger_targets = np.split(targets, [len(JOINTS)], axis=2)

        # Columns of contacts: fingers with objects first, then the other pairs. A pair of objects may
        # be several columns, one for each two of their geoms: a product with zeros and ones adds them.
        columns = np.repeat(np.eye(len(sizes)), sizes, axis=0)
        pairs, first = len(SIDES) * k * len(FINGERS), sum(sizes[: len(SIDES) * k * len(FINGERS)])
        counts = sensordata[:, arms:]
        self._finger_counts, self._other_counts = counts[:, :first], counts[:, first:]
        self._finger_sums, self._other_sums = columns[:first, :pairs], columns[first:, pairs:]
        # The last pairs are those of the arms, if they are watched.
        watched = sum(sizes[-len(scene.groups) - 1 :]) if scene.groups else 0
        self._arm_counts = counts[:, counts.shape[1] - watched :]
        self._other_pairs = {frozenset(pair): i for i, pair in enumerate(scene.other_pairs())}
        self._no_touch = np.zeros((n, len(SIDES), k, len(FINGERS)), bool)
        # An object is held between the pads, not balanced on closed finger tips: the pads are at
        # least half as far apart as what they touch is wide.
        graspable = [[model.geom(geom).id for geom in geoms] for _, geoms in scene.objects]
        self._widths = np.array([2 * _half_extents(model, geoms).min() for geoms in graspable])
        self._boxes = np.stack(
            [_half_extents(model, _geoms_of(model, name)) for name in self.names]
        )
        self._half = np.empty((3, n, k))
        self.half_extents = np.moveaxis(self._half, 0, 2)
        self._least_opening = np.empty((n, 1, k))
        self.rescale(np.arange(n), np.ones((n, k)))
        self._contacts: np.ndarray | None = None
        self._clearances: np.ndarray | None = None
        self.update()

    def update(self) -> None:
        """Computes what the sensors do not say themselves, from their current values."""
        self.command_gap = self._targets - self.joint_pos
        apart = self._left_finger - self._right_finger
        apart *= 0.5 / GRIPPER_SPAN
        apart -= self._closed
        self.opening = apart
        self.gripper, self.gripper_vel = apart[:, :, :1], apart[:, :, 1:]
        self._contacts = self._clearances = None
        self.touching = bool(np.count_nonzero(self._finger_counts))
        self.finger_touch = self._no_touch
        self.touched = self.gripped = self._no_touch[..., 0]
        if self.touching:
            touch = (self._finger_counts @ self._finger_sums > 0).reshape(self._no_touch.shape)
            self.finger_touch = touch
            one, other = touch[..., 0], touch[..., 1]
            self.touched = one | other
            self.gripped = one & other & (self.gripper > self._least_opening)

    def rescale(self, rows: np.ndarray, scale: np.ndarray) -> None:
        """Takes objects of those rows to be (m, k) times as large as the model's."""
        self.half_extents[rows] = scale[:, :, None] * self._boxes
        apart = PADS_MEET + scale * self._widths / 4
        self._least_opening[rows, 0] = (apart - GRIPPER_CLOSED) / GRIPPER_SPAN

    def grip(self, side: str, name: str) -> np.ndarray:
        """(n,) bool: both fingers touch the object and it is between them."""
        return self.gripped[:, SIDES.index(side), self.names.index(name)]

    def finger_gap(self) -> np.ndarray:
        """(n, 2, 2) commanded minus measured finger positions [m]."""
        return self._finger_targets - self.finger_pos

    def arms_touch(self) -> bool:
        """Whether in any simulation an arm touches the other one or the table, if that is sensed."""
        return bool(np.count_nonzero(self._arm_counts))

    def touch(self, side: str, name: str) -> np.ndarray:
        """(n,) bool: a finger of that arm touches the object."""
        return self.touched[:, SIDES.index(side), self.names.index(name)]

    def contact(self, first: str, second: str) -> np.ndarray:
        """(n,) bool: two geoms or objects touch; the table or a pair of ``Task.contacts``."""
        if self._contacts is None:
            self._contacts = self._other_counts @ self._other_sums > 0
        return self._contacts[:, self._other_pairs[frozenset((first, second))]]

    def distances(self) -> np.ndarray:
        """(n, 2, k) from each arm's tool centre point to each object's middle [m]."""
        square = self._in_tool * self._in_tool
        return np.sqrt(square[..., 0] + square[..., 1] + square[..., 2])

    def poses(self, name: str) -> np.ndarray:
        """(6, n) position [m] and x axis of the object in the left arm's base frame."""
        return self._poses[:, 0, self.names.index(name), :6].T

    def clearance(self, name: str) -> np.ndarray:
        """(n,) height of the object's lowest corner above the table top [m]."""
        return self.clearances()[:, self.names.index(name)]

    def clearances(self) -> np.ndarray:
        """(n, k) the same of all objects."""
        if self._clearances is None:
            poses = self._poses[:, 0]  # the base frames share the world's z
            x_axis, z_axis = np.abs(poses[:, :, 5]), np.abs(poses[:, :, 8])
            y_axis = 1 - x_axis * x_axis
            y_axis -= z_axis * z_axis
            np.sqrt(np.maximum(y_axis, 0, out=y_axis), out=y_axis)
            lowest = poses[:, :, 2].copy()
            for axis, half in zip((x_axis, y_axis, z_axis), self._half, strict=True):
                lowest -= np.multiply(axis, half, out=axis)
            self._clearances = lowest
        return self._clearances


def _geoms_of(model: mujoco.MjModel, body: str) -> range:
    first = model.body(body).geomadr[0]
    return range(first, first + model.body(body).geomnum[0])


def _half_extents(model: mujoco.MjModel, geoms: Iterable[int]) -> np.ndarray:
    """(3,) half sizes [m] of a box around geoms of a body, centred on the body."""
    bounds = []
    for geom in geoms:
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        rotation = rotation.reshape(3, 3)
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        bounds.append(np.abs(model.geom_pos[geom] + rotation @ centre) + np.abs(rotation) @ half)
    return np.max(bounds, axis=0)
