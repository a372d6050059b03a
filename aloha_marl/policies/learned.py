"""Learned policies: a small network per arm turns features of the observation into joint steps.

The examples in ``METHODS`` train and write them; docs/baselines.md says how well they do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aloha_marl.arms import SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import GRIPPER, JointDelta
from aloha_marl.policies.adapters import ADAPTERS
from aloha_marl.policies.features import features
from aloha_marl.policies.network import Network
from aloha_marl.policies.policy import ArmPolicy
from aloha_marl.policies.view import CLOSED, OPEN, POLICY_SCOPES, View
from aloha_marl.tasks import TASKS

WEIGHTS = Path(__file__).parent / "weights"


def network_inputs(view: View, task: str) -> np.ndarray:
    """(N, k) float32: the features side by side."""
    return np.column_stack([*features(view, task).values()]).astype(np.float32)


class LearnedPolicy(ArmPolicy):
    """Plays one arm with a network, which says how far the commanded joints turn.

    Args:
        network: network of that arm.
        control: control mode of the actions.
    """

    def __init__(self, network: Network, control: str = "joint_position"):
        super().__init__(network.task, network.scope, control)
        self.network = network

    def actions(self, view: View) -> np.ndarray:
        outputs = self.network(network_inputs(view, self.network.task))
        steps = JointDelta.JOINT_STEP * np.clip(outputs[:, :GRIPPER], -1, 1).astype(float)
        gripper = np.where(outputs[:, GRIPPER:] > 0, OPEN, CLOSED)
        return ADAPTERS[self.control](view, np.column_stack((view.commanded + steps, gripper)))


def load_file(
    path: str | Path,
    task: str,
    side: str,
    scope: str | None = None,
    control: str = "joint_position",
) -> LearnedPolicy:
    """Loads the policy from a file that one of the examples in ``METHODS`` wrote.

    Args:
        path: path of the file.
        task: "transfer_cube" or "insertion".
        side: "left" or "right".
        scope: scope of the observations to read; by default the one it learned with.
        control: control mode of the actions.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown name, or a file that is for something else; the message tells which
            command makes the right one.
    """
    choose("task", task, TASKS)
    choose("side", side, SIDES)
    choose("scope", scope, (*POLICY_SCOPES, None))
    return LearnedPolicy(Network.load(Path(path), task, side, scope), control)
