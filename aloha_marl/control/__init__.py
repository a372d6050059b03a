"""From actions to the targets of the actuators: control modes, limits, kinematics."""

from aloha_marl.control.modes import (
    CONTROLS,
    GRIPPER,
    Control,
    EndEffectorDelta,
    JointDelta,
    JointPosition,
    JointPositionNormalized,
)

__all__ = [
    "CONTROLS",
    "GRIPPER",
    "Control",
    "EndEffectorDelta",
    "JointDelta",
    "JointPosition",
    "JointPositionNormalized",
]
