"""Limits of the targets: the actuators' ranges, and how fast commanded joints may move."""

from __future__ import annotations

import mujoco
import numpy as np

from aloha_marl.arms import CONTROL_TIMESTEP, FINGERS, JOINTS, SIDES


class Limits:
    """Keeps the targets of n simulations within their limits.

    The arrays have the shape of the targets: broadcasting a row costs 0.7 us per operation.

    Args:
        model: knows the actuators' ranges.
        num_envs: n.
        max_joint_speed: slew limit of the commanded joints [rad/s], or None.

    Attributes:
        low, high: (n, 2, 8) limits of the arms' actuators [rad, m].
        most_step: (n, 2, 8) most that a target moves in a control step; infinite without a limit.
    """

    def __init__(self, model: mujoco.MjModel, num_envs: int, max_joint_speed: float | None):
        joints, fingers = len(JOINTS), len(FINGERS)
        speed = np.inf if max_joint_speed is None else max_joint_speed
        most = np.array([speed * CONTROL_TIMESTEP] * joints + [np.inf] * fingers)
        shape = (num_envs, len(SIDES), joints + fingers)
        limits = model.actuator_ctrlrange.reshape(len(SIDES), joints + fingers, 2)
        self.low, self.high, self.most_step = (
            np.broadcast_to(values, shape).copy() for values in (*np.moveaxis(limits, 2, 0), most)
        )

    def write(self, targets: np.ndarray, ctrl: np.ndarray) -> None:
        """Writes (n, 2, 8) targets into ctrl, which holds those in force.

        They end within the actuators' limits and not further than ``most_step`` from those in force.
        """
        low, high = ctrl - self.most_step, ctrl + self.most_step
        np.maximum(low, self.low, out=low)
        np.minimum(high, self.high, out=high)
        np.maximum(targets, low, out=targets)
        np.minimum(targets, high, out=ctrl)
