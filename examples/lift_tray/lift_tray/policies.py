"""Experts, one per arm, that see only their own arm's observation."""

from __future__ import annotations

import functools

import numpy as np

from aloha_marl.policies.adapters import ADAPTERS
from aloha_marl.policies.motion import Motion, drive, grasp, stay, tool_rotation
from aloha_marl.policies.policy import ArmPolicy
from aloha_marl.policies.view import CLOSED, View
from lift_tray.task import LiftTray

HANDLE = 0.19  # distance of the handles from the tray's middle [m]
HEIGHT = 0.2  # of the tray's middle, where it is held [m]
CLOSED_ON_HANDLE = 0.68  # gripper opening; 0.60 when a handle is between the fingers


class Expert(ArmPolicy):
    """Grips its handle, waits until the partner has gripped the other one, and lifts the tray.

    What to do follows from where everything is, not from counted steps. So both arms lift in step:
    neither raises its handle far above the tray's middle.

    Args:
        side: "left" or "right".
        control: control mode of the actions.
        pace: factor of all speeds.
    """

    def __init__(self, side: str, control: str = "joint_position", pace: float = 1.0):
        super().__init__(LiftTray, "partner", control)
        self._offset = {"left": -HANDLE, "right": HANDLE}[side]  # along the tray's x axis
        self._pace = pace

    def actions(self, view: View) -> np.ndarray:
        return ADAPTERS[self.control](view, drive(view, self._plan(view), self._pace))

    def phase(self, observation: np.ndarray) -> np.ndarray:
        """Says what it is doing: () or (N,) texts for (D,) or (N, D) observations."""
        plan = self._plan(View(observation, self.layout))
        return np.asarray(plan.phase).reshape(observation.shape[:-1])

    def _plan(self, view: View) -> Motion:
        own = view.tray_pos + self._offset * view.tray_x_axis
        other = view.tray_pos - self._offset * view.tray_x_axis
        forward = np.sign(view.tray_x_axis[:, :1]) * view.tray_x_axis
        rotation = tool_rotation(np.arctan2(forward[:, 1], forward[:, 0]), np.radians(80))
        held = view.tray_touch.all(axis=1) | _has(view.tcp_pos, view.gripper, own)
        partner_holds = _has(view.partner_tcp_pos, view.partner_gripper, other)

        level = own[:, 2] < view.tray_pos[:, 2] + 0.01
        rise = np.where(level & (view.tray_pos[:, 2] < HEIGHT), 0.05, 0.0)
        higher = view.command_pos + rise[:, None] * (0, 0, 1)
        lift = Motion(higher, view.command_rot, 0.004, CLOSED, "lifts the tray")
        wait = stay(view, CLOSED, "waits for the partner")
        return lift.where(partner_holds, wait).where(held, grasp(view, own, rotation, "handle"))


def _has(tool: np.ndarray, gripper: np.ndarray, handle: np.ndarray) -> np.ndarray:
    """(N,) bool: the gripper of that tool has closed on the handle."""
    near = np.linalg.norm(tool - handle, axis=1) < 0.035
    return near & (gripper[:, 0] < CLOSED_ON_HANDLE)


slow = functools.partial(Expert, pace=0.5)
"""The same at half the speed."""
