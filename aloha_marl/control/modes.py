"""Control modes: meanings of the seven numbers of an arm's action.

A control mode turns actions into targets of the actuators: six joint angles [rad] and the two finger
positions [m]. :class:`~aloha_marl.control.limits.Limits` then writes them to the actuators.
"""

from __future__ import annotations

import abc

import numpy as np

from aloha_marl.arms import (
    ACTION_SIZE,
    GRIPPER_CLOSED,
    GRIPPER_OPEN,
    GRIPPER_SPAN,
    JOINT_LIMITS,
    JOINTS,
)
from aloha_marl.control.kinematics import forward, inverse, jacobian, rotation_matrix

GRIPPER = len(JOINTS)
"""Index of the gripper in an action."""

_DRIVEN_BY = np.array([*range(GRIPPER), GRIPPER, GRIPPER])
"""The action's number behind each of an arm's eight actuators: the gripper drives both fingers."""

_ROUNDING = 1e-9  # [rad]


class Control(abc.ABC):
    """A control mode.

    Attributes:
        low, high: (7,) bounds of an action, outside of which it is clipped.
        names, units: (7,) name and unit of each number, for the tables.
    """

    low, high = -np.ones(ACTION_SIZE), np.ones(ACTION_SIZE)
    names: tuple[str, ...] = (*JOINTS, "gripper")
    units: tuple[str, ...]

    @abc.abstractmethod
    def __init__(self, low: np.ndarray, high: np.ndarray, most_step: np.ndarray):
        """Prepares for n simulations.

        Args:
            low: (n, 2, 8) lower limits of the arms' actuators [rad, m].
            high: (n, 2, 8) upper ones.
            most_step: (n, 2, 8) most that the caller lets a target move in a step, or infinite.
        """

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

    def __init__(self, low: np.ndarray, high: np.ndarray, most_step: np.ndarray):
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

    low, high = np.transpose([*JOINT_LIMITS, (0.0, 1.0)])
    units = ("rad",) * GRIPPER + ("0 closed .. 1 open",)

    def __init__(self, low: np.ndarray, high: np.ndarray, most_step: np.ndarray):
        super().__init__(low, high, most_step)
        # Written out, not computed, so that a joint's target is the action bit for bit.
        self._scale[:, :, :GRIPPER], self._offset[:, :, :GRIPPER] = 1, 0


class JointPositionNormalized(_Absolute):
    """The same targets, mapped affinely from [-1, 1]."""

    units = ("-1 lower .. 1 upper limit",) * GRIPPER + ("-1 closed .. 1 open",)


class _Delta(Control):
    """[-1, 1] times a step, added to what is commanded; zero holds it."""

    GRIPPER_STEP = 0.2  # of the opening

    def __init__(self, low: np.ndarray, high: np.ndarray, most_step: np.ndarray):
        shape = (*low.shape[:2], ACTION_SIZE)
        self._lowest, self._highest = (
            np.broadcast_to(bound, shape).copy() for bound in (self.low, self.high)
        )
        self._step = np.zeros_like(low)
        finger = self.GRIPPER_STEP * GRIPPER_SPAN
        self._step[:, :, GRIPPER:] = finger, -finger

    def _clipped(self, actions: np.ndarray) -> np.ndarray:
        return np.minimum(np.maximum(actions, self._lowest), self._highest)


class JointDelta(_Delta):
    """Steps of the joints from the targets in force."""

    JOINT_STEP = 0.05  # [rad]

    units = (f"x {JOINT_STEP} rad",) * GRIPPER + (f"x {_Delta.GRIPPER_STEP} of the opening",)

    def __init__(self, low: np.ndarray, high: np.ndarray, most_step: np.ndarray):
        super().__init__(low, high, most_step)
        self._step[:, :, :GRIPPER] = self.JOINT_STEP

    def targets(self, actions: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        return ctrl + self._clipped(actions).take(_DRIVEN_BY, axis=2) * self._step


class EndEffectorDelta(_Delta):
    """Steps of the tool from its commanded pose, in the arm's base frame.

    The commanded pose is that of the targets in force, so what could not be reached is not asked for
    again. A step that the joints are too slow for is shortened, all of it alike: the tool keeps its
    direction. The joints come from the closed-form inverse kinematics; where that has no solution
    within their limits, from one damped least-squares step.
    """

    POSITION_STEP = 0.015  # [m]
    ROTATION_STEP = 0.1  # [rad]

    names = ("x", "y", "z", "rx", "ry", "rz", "gripper")
    units = (
        *(f"x {POSITION_STEP} m",) * 3,
        *(f"x {ROTATION_STEP} rad",) * 3,
        f"x {_Delta.GRIPPER_STEP} of the opening",
    )

    _STEP_FRACTIONS = 0.5 ** np.arange(5)[:, None, None]
    """Fractions of the step that are tried; solving five costs a single simulation as much as one."""

    _OVERSHOOT = 2.0
    """A fraction is taken if no joint exceeds its slew limit by more than this factor. The rest is cut off
    in joint space, where the tool's way is nearly straight on so short a piece."""

    _DAMPING = np.eye(GRIPPER)
    """Damping of the least-squares step, in action units squared: joints that move the tool by less than
    a unit per radian hardly turn for it."""

    def __init__(self, low: np.ndarray, high: np.ndarray, most_step: np.ndarray):
        super().__init__(low, high, most_step)
        k = low.shape[0] * low.shape[1]
        low, high = (limit[:, :, :GRIPPER].reshape(k, GRIPPER) for limit in (low, high))
        self._low, self._high = low - _ROUNDING, high + _ROUNDING
        self._most_turn = most_step[0, 0, 0, None]
        self._scale = np.array([self.POSITION_STEP] * 3 + [self.ROTATION_STEP] * 3)
        self._tries = self._STEP_FRACTIONS * np.broadcast_to(self._scale, (k, GRIPPER))
        self._rows = np.arange(k)

    def targets(self, actions: np.ndarray, ctrl: np.ndarray) -> np.ndarray:
        clipped = self._clipped(actions)
        joints = ctrl[:, :, :GRIPPER].reshape(-1, GRIPPER)
        step = self._joint_step(joints, clipped[:, :, :GRIPPER].reshape(-1, GRIPPER))
        targets = ctrl + clipped.take(_DRIVEN_BY, axis=2) * self._step
        targets[:, :, :GRIPPER] += step.reshape(-1, ctrl.shape[1], GRIPPER)
        return targets

    def _joint_step(self, joints: np.ndarray, moves: np.ndarray) -> np.ndarray:
        """(k, 6) how far joints turn [rad] for (k, 6) moves of the tool in units of the action."""
        position, rotation = forward(joints)
        tries = self._tries * moves
        turned = rotation_matrix(tries[:, :, 3:]) @ rotation
        solved, reached = inverse(position + tries[:, :, :3], turned, joints)
        # The largest fraction that the joints can nearly do in time, or else the smallest.
        steps = solved - joints
        turns = np.abs(steps).max(axis=2)
        far = turns > self._OVERSHOOT * self._most_turn
        far[-1] = False
        tried = far.argmin(axis=0), self._rows
        step, turn = steps[tried], turns[tried]
        solved = joints + step
        within = (solved >= self._low) & (solved <= self._high)
        possible = within.all(axis=1) & reached[tried]
        if np.count_nonzero(possible) < len(possible):
            missed = ~possible
            step[missed] = self._damped_step(joints, moves, missed)
            turn = np.abs(step).max(axis=1)
        share = np.minimum(self._most_turn / np.maximum(turn, _ROUNDING), 1.0)
        share *= moves.any(axis=1)
        return step * share[:, None]

    def _damped_step(self, joints: np.ndarray, moves: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The same for some rows by least squares, up to the joints' limits."""
        joints, low, high = joints[rows], self._low[rows], self._high[rows]
        gradient = jacobian(joints) / self._scale[:, None]
        back = gradient.swapaxes(1, 2)
        step = back @ np.linalg.solve(gradient @ back + self._DAMPING, moves[rows, :, None])
        return np.minimum(np.maximum(joints + step[:, :, 0], low), high) - joints


CONTROLS: dict[str, type[Control]] = {
    "joint_position": JointPosition,
    "joint_position_normalized": JointPositionNormalized,
    "joint_delta": JointDelta,
    "ee_delta": EndEffectorDelta,
}
