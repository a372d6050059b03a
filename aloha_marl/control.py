"""What the seven numbers of an arm's action mean.

A control mode turns actions into targets of the actuators: six joint angles [rad] and the two finger
positions [m]. The core then keeps them within the limits and writes them to the actuators.
"""

from __future__ import annotations

import abc

import numpy as np

from aloha_marl.arms import ACTION_SIZE, GRIPPER_CLOSED, GRIPPER_OPEN, GRIPPER_SPAN, JOINTS

GRIPPER = len(JOINTS)
"""Index of the gripper in an action."""

_DRIVEN_BY = np.array([*range(GRIPPER), GRIPPER, GRIPPER])
"""The action's number behind each of an arm's eight actuators: the gripper drives both fingers."""


class Control(abc.ABC):
    """A control mode.

    Attributes:
        low, high: (7,) bounds of an action, outside of which it is clipped.
        unit: (of the joints, of the gripper) for the tables.
    """

    low: np.ndarray
    high: np.ndarray
    unit: tuple[str, str]

    @abc.abstractmethod
    def __init__(self, low: np.ndarray, high: np.ndarray):
        """Takes the (n, 2, 8) limits of the arms' actuators [rad, m]."""

    @abc.abstractmethod
    def targets(self, actions: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        """Targets for actions.

        Args:
            actions: (n, 2, 7) finite, not yet clipped.
            ctrl: (n, 2, 8) the targets now in force [rad, m].

        Returns:
            (n, 2, 8) new targets [rad, m]; the caller keeps them within the limits.
        """


class _Absolute(Control):
    """Targets that are affine in the action, so that clipping either is the same."""

    def __init__(self, low: np.ndarray, high: np.ndarray):
        # Straight lines through (lower bound, lower limit) and (upper bound, upper limit). The left
        # finger opens towards +y, the right one towards -y.
        start, end = low.copy(), high.copy()
        start[:, :, GRIPPER:] = GRIPPER_CLOSED, -GRIPPER_CLOSED
        end[:, :, GRIPPER:] = GRIPPER_OPEN, -GRIPPER_OPEN
        action_low, action_high = self.low[_DRIVEN_BY], self.high[_DRIVEN_BY]
        self._scale = (end - start) / (action_high - action_low)
        self._offset = start - self._scale * action_low

    def targets(self, actions: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        targets = actions.take(_DRIVEN_BY, axis=2)
        targets *= self._scale
        targets += self._offset
        return targets


class JointPosition(_Absolute):
    """Absolute targets: joints in rad within their limits, gripper 0 closed .. 1 open."""

    unit = ("rad", "0 closed .. 1 open")

    def __init__(self, low: np.ndarray, high: np.ndarray):
        self.low = np.append(low[0, 0, :GRIPPER], 0.0)
        self.high = np.append(high[0, 0, :GRIPPER], 1.0)
        super().__init__(low, high)
        # Written out, not computed, so that a joint's target is the action bit for bit.
        self._scale[:, :, :GRIPPER], self._offset[:, :, :GRIPPER] = 1, 0


class JointPositionNormalized(_Absolute):
    """The same targets, mapped affinely from [-1, 1]."""

    low, high = -np.ones(ACTION_SIZE), np.ones(ACTION_SIZE)
    unit = ("-1 lower .. 1 upper limit", "-1 closed .. 1 open")


class JointDelta(Control):
    """[-1, 1] times a step, added to the targets in force; zero holds them."""

    JOINT_STEP = 0.05  # [rad]
    GRIPPER_STEP = 0.2  # of the opening

    low, high = -np.ones(ACTION_SIZE), np.ones(ACTION_SIZE)
    unit = (f"x {JOINT_STEP} rad", f"x {GRIPPER_STEP} of the opening")

    def __init__(self, low: np.ndarray, high: np.ndarray):
        finger = self.GRIPPER_STEP * GRIPPER_SPAN
        self._step = np.array([self.JOINT_STEP] * GRIPPER + [finger, -finger])

    def targets(self, actions: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        clipped = np.minimum(np.maximum(actions, self.low), self.high)
        return ctrl + clipped.take(_DRIVEN_BY, axis=2) * self._step


CONTROLS: dict[str, type[Control]] = {
    "joint_position": JointPosition,
    "joint_position_normalized": JointPositionNormalized,
    "joint_delta": JointDelta,
}
