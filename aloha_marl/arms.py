"""Names and figures of the two arms: the vocabulary every other module uses."""

from __future__ import annotations

SIDES = ("left", "right")
"""The arms, in the order of every array: actions, ctrl, qpos, observations."""

AGENTS = ("left_arm", "right_arm")
"""Default agent names, one per side."""

GROUP_MAP = {"arms": list(AGENTS)}
"""Both agents in one group, for TorchRL and BenchMARL, which else make two of them."""

JOINTS = (
    "waist",
    "shoulder",
    "elbow",
    "forearm_roll",
    "wrist_angle",
    "wrist_rotate",
)
JOINT_LIMITS = (
    (-3.14158, 3.14158),
    (-1.85005, 1.25664),
    (-1.76278, 1.6057),
    (-3.14158, 3.14158),
    (-1.8675, 2.23402),
    (-3.14158, 3.14158),
)
"""Lower and upper limit of each joint [rad], those of ``arm.xml``, for use without a model."""

FINGERS = ("left_finger", "right_finger")

ACTION_SIZE = len(JOINTS) + 1
"""An arm's action: six joints, then the gripper."""

GRIPPER_CLOSED = 0.01844
GRIPPER_OPEN = 0.058
"""Finger positions [m] that ALOHA calls gripper 0 and 1. The fingers meet at 0.0224 m (gripper
0.100) and the actuators' range ends at 0.021 and 0.057 m, so measurements stay in 0.10 .. 0.975."""

GRIPPER_SPAN = GRIPPER_OPEN - GRIPPER_CLOSED

PADS_MEET = 0.0224
"""Finger position [m] at which the pads touch: the gap between them is 2 (q - 0.0224)."""

BASE_DISTANCE = 0.938
"""Distance [m] between the bases of the two arms, which face each other."""

CONTROL_TIMESTEP = 0.02
"""Seconds between two actions: 50 Hz, ten physics steps of 2 ms."""
