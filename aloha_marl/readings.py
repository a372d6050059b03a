"""What the sensors say, by name, as arrays with a leading ``num_envs``.

Stages, rewards and observations are computed from these readings alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from aloha_marl.arms import FINGERS, GRIPPER_CLOSED, GRIPPER_SPAN, JOINTS, PADS_MEET, SIDES
from aloha_marl.scene import OBJECT_SENSORS, TCP_SENSORS, SceneSpec

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
        self._targets = ctrl.reshape(n, len(SIDES), -1)[:, :, : len(JOINTS)]

        # Columns of contacts: fingers with objects first, then the other pairs.
        starts = arms + np.cumsum([0, *sizes])
        finger_pairs = len(SIDES) * k * len(FINGERS)
        self._finger_counts = sensordata[:, arms : starts[finger_pairs]]
        self._finger_starts = starts[:finger_pairs] - arms
        self._no_touch = np.zeros((n, len(SIDES), k, len(FINGERS)), bool)
        self._contacts = {
            frozenset(pair): sensordata[:, starts[i] : starts[i + 1]]
            for i, pair in enumerate(scene.other_pairs(), start=finger_pairs)
        }
        # An object is held between the pads, not balanced on closed finger tips: the pads are at
        # least half as far apart as what they touch is wide.
        graspable = [[model.geom(geom).id for geom in geoms] for _, geoms in scene.objects]
        self._widths = np.array([2 * _half_extents(model, geoms).min() for geoms in graspable])
        self._boxes = np.stack(
            [_half_extents(model, _geoms_of(model, name)) for name in self.names]
        )
        self.half_extents = np.empty((n, k, 3))
        self._least_opening = np.empty((n, k))
        self.rescale(np.arange(n), np.ones((n, k)))
        self.update()

    def update(self) -> None:
        """Computes what the sensors do not say themselves, from their current values."""
        self.command_gap = self._targets - self.joint_pos
        apart = self._left_finger - self._right_finger
        apart *= 0.5 / GRIPPER_SPAN
        apart -= self._closed
        self.opening = apart
        self.gripper, self.gripper_vel = apart[:, :, :1], apart[:, :, 1:]
        self.touching = bool(np.count_nonzero(self._finger_counts))
        self.finger_touch = self._no_touch
        if self.touching:
            contacts = np.add.reduceat(self._finger_counts, self._finger_starts, axis=1)
            self.finger_touch = (contacts > 0).reshape(self._no_touch.shape)

    def rescale(self, rows: np.ndarray, scale: np.ndarray) -> None:
        """Takes objects of those rows to be (m, k) times as large as the model's."""
        self.half_extents[rows] = scale[:, :, None] * self._boxes
        apart = PADS_MEET + scale * self._widths / 4
        self._least_opening[rows] = (apart - GRIPPER_CLOSED) / GRIPPER_SPAN

    def grip(self, side: str, name: str) -> np.ndarray:
        """(n,) bool: both fingers touch the object and it is between them."""
        s, k = SIDES.index(side), self.names.index(name)
        touch = self.finger_touch[:, s, k]
        return touch[:, 0] & touch[:, 1] & (self.gripper[:, s, 0] > self._least_opening[:, k])

    def touch(self, side: str, name: str) -> np.ndarray:
        """(n,) bool: a finger of that arm touches the object."""
        return np.any(self.finger_touch[:, SIDES.index(side), self.names.index(name)], axis=1)

    def contact(self, first: str, second: str) -> np.ndarray:
        """(n,) bool: two geoms or objects touch; the table or a pair of ``Task.contacts``."""
        return np.any(self._contacts[frozenset((first, second))], axis=1)

    def clearance(self, name: str) -> np.ndarray:
        """(n,) height of the object's lowest corner above the table top [m]."""
        k = self.names.index(name)
        pose = self._poses[:, 0, k]  # the base frames share the world's z
        x_axis, z_axis = pose[:, 5], pose[:, 8]
        y_axis = np.sqrt(np.maximum(1 - x_axis**2 - z_axis**2, 0))
        x, y, z = self.half_extents[:, k].T
        return pose[:, 2] - x * np.abs(x_axis) - y * y_axis - z * np.abs(z_axis)


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
