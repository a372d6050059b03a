"""Learned policies: small networks, one per arm or one for both, with their weights in a file.

The examples in ``METHODS`` made those of the package; docs/baselines.md says how well they do.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from aloha_marl.arms import SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS, GRIPPER, JointDelta
from aloha_marl.core.observations import SCOPES
from aloha_marl.policies.adapters import ADAPTERS
from aloha_marl.policies.features import features
from aloha_marl.policies.network import NetworkPair
from aloha_marl.policies.policy import ArmPolicy
from aloha_marl.policies.view import CLOSED, OPEN, View
from aloha_marl.tasks import TaskLike, make_task

WEIGHTS = Path(__file__).parent / "weights"


def network_inputs(view: View) -> np.ndarray:
    """(N, k) float32: the features side by side."""
    return np.column_stack([*features(view).values()]).astype(np.float32)


class LearnedPolicy(ArmPolicy):
    """Plays one arm with its network of a pair.

    Args:
        pair: the networks of both arms.
        side: "left" or "right".
        control: control mode of the actions; by default the pair's own, else "joint_position".

    Attributes:
        pair: the networks of both arms.
        network: the one that plays.
    """

    def __init__(self, pair: NetworkPair, side: str, control: str | None = None):
        super().__init__(pair.task, pair.scope, control or pair.control or "joint_position")
        self.pair, self.network = pair, pair.networks[side]

    def actions(self, view: View) -> np.ndarray:
        pair = self.pair
        inputs = network_inputs(view) if pair.features else view.observation
        outputs = self.network(inputs)
        if pair.control:
            low, high = CONTROLS[pair.control].low, CONTROLS[pair.control].high
            if self.network.squash:  # to [-1, 1]
                outputs = (low + high + (high - low) * outputs) / 2
            return np.clip(outputs, low, high)
        steps = JointDelta.JOINT_STEP * np.clip(outputs[:, :GRIPPER], -1, 1).astype(float)
        gripper = np.where(outputs[:, GRIPPER:] > 0, OPEN, CLOSED)
        return ADAPTERS[self.control](view, np.column_stack((view.commanded + steps, gripper)))


def load_file(
    path: str | Path,
    task: TaskLike,
    side: str,
    scope: str | None = None,
    control: str | None = None,
) -> LearnedPolicy:
    """Loads the policy of one arm from a file that a training example wrote.

    Args:
        path: path of the file.
        task: the task, its class or its name.
        side: "left" or "right".
        scope: scope of the observations to read; by default the one it learned with.
        control: control mode of the actions; by default the one it learned with if its network gives
            actions, else "joint_position".

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown name, or a file that is for something else; the message names both.
    """
    choose("side", side, SIDES)
    choose("scope", scope, (*SCOPES, None))
    choose("control", control, (*CONTROLS, None))
    pair = NetworkPair.load(Path(path), make_task(task), scope, control)
    return LearnedPolicy(pair, side, control)
