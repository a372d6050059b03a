"""Situations that a task must judge, drawn at random: objects on the table, in the air, in either hand."""

from __future__ import annotations

import mujoco
import numpy as np

from aloha_marl.arms import JOINT_LIMITS, JOINTS, PADS_MEET, SIDES
from aloha_marl.control.kinematics import inverse
from aloha_marl.core.core import Core

_SPACE = (-0.2, 0.35, 0.03), (0.2, 0.65, 0.35)
"""Corners of the space between the arms where objects are put [m]."""

_WIDEST = 0.034
"""Half the size of what fits between the fingers [m]."""

_SQUEEZE = 0.0005
"""Depth to which each pad is pressed into what it grips [m]."""


class Situations:
    """Draws situations: where objects and arms may be, with real contacts, at rest.

    Args:
        core: runs the task; each draw puts it into another state.
        seed: seed of the draws.
    """

    def __init__(self, core: Core, seed: int = 0):
        self._core, self._rng = core, np.random.default_rng(seed)
        self._data = mujoco.MjData(core.model)

    def draw(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(count, nsensordata) sensor values and (count, nu) controls."""
        simulation = self._core.simulation
        sensed = np.empty((count, simulation.sensordata.shape[1]))
        ctrls = np.empty((count, simulation.ctrl.shape[1]))
        for sensordata, ctrl in zip(sensed, ctrls, strict=True):
            qpos = self._qpos()
            ctrl[:] = qpos[: ctrl.size]
            simulation.reset(np.arange(1), qpos[None], ctrl[None])
            sensordata[:] = simulation.sensordata[0]
        return sensed, ctrls

    def _qpos(self) -> np.ndarray:
        model, data, rng = self._core.model, self._data, self._rng
        data.qpos[:] = model.key("home").qpos
        arms = data.qpos[: model.nu].reshape(len(SIDES), -1)
        self._put_objects(data.qpos[model.nu :].reshape(-1, 7))
        mujoco.mj_kinematics(model, data)
        for side, arm in zip(SIDES, arms, strict=True):
            if rng.random() < 0.2:
                arm[: len(JOINTS)] = rng.uniform(*np.transpose(JOINT_LIMITS))
            else:
                self._grasp(side, arm)
        return data.qpos.copy()

    def _put_objects(self, poses: np.ndarray) -> None:
        """Puts objects on the table, anywhere or, one in line with the one before, near each other."""
        rng = self._rng
        poses[:] = self._core.task.place(rng)
        if rng.random() < 0.1:
            return
        for i, pose in enumerate(poses):
            pose[:3] = rng.uniform(*_SPACE)
            if rng.random() < 0.5:
                pose[3:] = rng.normal(size=4)
                pose[3:] /= np.linalg.norm(pose[3:])
            if i and rng.random() < 0.7:
                pose[:] = poses[i - 1]
                rotation = np.empty(9)
                mujoco.mju_quat2Mat(rotation, pose[3:])
                pose[:3] += rng.uniform(-0.2, 0.2) * rotation.reshape(3, 3)[:, rng.integers(3)]

    def _grasp(self, side: str, arm: np.ndarray) -> None:
        """Puts a hand round a part of an object, if one of the ways to do so is within reach."""
        model, data, rng = self._core.model, self._data, self._rng
        geoms = [geom for names in self._core.task.objects.values() for geom in names]
        geom = data.geom(geoms[rng.integers(len(geoms))])
        aabb, frame = model.geom_aabb[geom.id], geom.xmat.reshape(3, 3)
        base = data.body(f"{side}/base")
        to_base = base.xmat.reshape(3, 3).T
        position = to_base @ (geom.xpos + frame @ aabb[:3] - base.xpos)
        ways = [
            (half, to_base @ np.stack((along, across, np.cross(along, across)), axis=1))
            for half, across in zip(aabb[3:], frame.T, strict=True)
            for along in (*frame.T, *-frame.T)
            if half < _WIDEST and abs(along @ across) < 0.5
        ]
        joints, near = inverse(
            np.tile(position, (len(ways), 1)), np.array([way for _, way in ways]).reshape(-1, 3, 3)
        )
        low, high = np.transpose(JOINT_LIMITS)
        possible = np.flatnonzero(near & np.all((joints >= low) & (joints <= high), axis=1))
        if possible.size:
            chosen = rng.choice(possible)
            finger = PADS_MEET + ways[chosen][0] - _SQUEEZE
            arm[: len(JOINTS)], arm[len(JOINTS) :] = joints[chosen], (finger, -finger)
