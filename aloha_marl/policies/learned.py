"""Policies that have learned: a small network per arm, run with NumPy alone.

The examples in ``METHODS`` train and write them; docs/baselines.md says how well they do.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.arms import JOINTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import GRIPPER, JointDelta
from aloha_marl.core.observations import Layout
from aloha_marl.policies.adapters import ADAPTERS
from aloha_marl.policies.motion import CLOSED, OPEN, View, view_of
from aloha_marl.policies.scripted import SCOPES
from aloha_marl.tasks import TASKS

WEIGHTS = Path(__file__).parent / "weights"

METHODS = {"imitation": "examples/imitate.py", "ippo": "examples/train_cleanrl.py"}
"""Name of the policies -> the example that makes them."""

OUTPUTS = len(JOINTS) + 1
"""Of a network: a step per joint, as in ``joint_delta``, and open (positive) or close the gripper."""

_FINE = 20.0
"""Per metre: distances of millimetres decide, and shall not be small numbers."""

_FOLDS = {"cube": 4}
"""Number of yaws at which an object looks the same, if not 2."""


def features(view: View, task: str) -> dict[str, np.ndarray]:
    """What a network reads of N observations: parts of (N, k), by name.

    Neither time nor what the gripper did: a network that sees those learns to go on with what it did,
    not to look at the object. The factors make numbers near 1.
    """
    objects = tuple(TASKS[task].objects)
    parts = {
        "joint_pos": view.joint_pos,
        "joint_vel": view.joint_vel,
        "command_gap": _FINE * view.command_gap,
        "tcp_pos": 4 * view.tcp_pos,
        "tcp_x_axis": view.tcp_x_axis,
        "tcp_z_axis": view.tcp_z_axis,
        "gripper": 2 * view.gripper,
    }
    for name in objects:
        parts[f"{name}_pos"] = _FINE * view[f"{name}_pos"]
        parts[f"{name}_in_tool"] = _FINE * view[f"{name}_in_tool"]
        parts[f"{name}_linvel"] = 4 * view[f"{name}_linvel"]
        parts[f"{name}_touch"] = view[f"{name}_touch"]
        parts |= _orientation(view, name)
    if len(objects) == 2:
        parts["apart"] = _FINE * (view[f"{objects[1]}_pos"] - view[f"{objects[0]}_pos"])
    if view.sees_partner:
        parts["partner_tcp_pos"] = 4 * view.partner_tcp_pos
        parts["partner_gripper"] = 2 * view.partner_gripper
        for name in objects:
            parts[f"partner_from_{name}"] = _FINE * (view.partner_tcp_pos - view[f"{name}_pos"])
    return parts


def network_inputs(view: View, task: str) -> np.ndarray:
    """(N, k) float32: those parts side by side."""
    return np.column_stack([*features(view, task).values()]).astype(np.float32)


def _orientation(view: View, name: str) -> dict[str, np.ndarray]:
    """The same for all equivalent yaws: cosine and sine of that multiple of the yaw, and the tilt."""
    x, y, z = view[f"{name}_x_axis"].T
    level = np.maximum(x * x + y * y, 1e-9)
    cos, sin = (x * x - y * y) / level, 2 * x * y / level
    if _FOLDS.get(name) == 4:
        return {f"{name}_yaw": np.stack((cos * cos - sin * sin, 2 * cos * sin), axis=1)}
    # Of an axis whose sign means nothing, products are what is left; in the hand it may be pitched.
    a, b, c = (view.rotation("tcp") * view[f"{name}_x_axis"][:, :, None]).sum(axis=1).T
    return {
        f"{name}_yaw": np.stack((cos, sin), axis=1),
        f"{name}_tilt": 4 * np.stack((x * z, y * z), axis=1),
        f"{name}_axis_in_tool": np.stack((a * a, a * b, a * c, b * c, c * c), axis=1),
    }


@dataclasses.dataclass(frozen=True)
class Network:
    """A multilayer perceptron with rectified linear units, and whom it is for.

    Attributes:
        task: its name.
        side: "left" or "right".
        scope: of the observations.
        seed: of the training.
        layers: (inputs, outputs) weights and (outputs,) biases, float32, of each layer.
    """

    task: str
    side: str
    scope: str
    seed: int
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """(N, inputs) to (N, outputs) float32.

        Each row is multiplied by itself: as one product of matrices it would be faster, but the last
        bits of a row would depend on how many others there are.
        """
        rows = inputs.astype(np.float32)[:, None, :]
        *hidden, (weights, bias) = self.layers
        for inner, shift in hidden:
            rows = np.maximum(rows @ inner + shift, 0)
        return (rows @ weights + bias)[:, 0]

    def save(self, path: Path) -> None:
        """Writes an .npz file, without pickle: a header and the layers."""
        header = {**_expected(self.task, self.side, self.scope), "seed": self.seed}
        arrays: dict[str, Any] = {
            f"{name}{i}": array
            for i, layer in enumerate(self.layers)
            for name, array in zip(("weights", "bias"), layer, strict=True)
        }
        np.savez_compressed(path, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(
        cls,
        path: Path,
        task: str,
        side: str,
        scope: str | None = None,
        method: str = "imitation",
    ) -> Network:
        """What :meth:`save` wrote.

        Args:
            path: of the file.
            task: that it must be for.
            side: of the arm that it must be for.
            scope: that it must be for; without it any.
            method: whose example makes another one, for the message.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no such file, or it is for something else; the message says what to do.
        """
        options = f"--task {task} --scope {scope or 'partner'}"
        remedy = f"`python {METHODS[method]} {options}` makes one"
        try:
            # Opened here: NumPy leaves a file open that is no archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                header: dict[str, Any] = json.loads(str(content["header"]))
                layers = tuple(
                    (content[f"weights{i}"], content[f"bias{i}"])
                    for i in range((len(content.files) - 1) // 2)
                )
            found = cls(task, side, header["scope"], header["seed"], layers)
            expected = _expected(task, side, scope or found.scope)
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no file of a learned policy; {remedy}") from error
        for name, value in expected.items():
            if header.get(name) != value:
                raise ValueError(
                    f"{path} is a policy with {name}={header.get(name)!r}, needed is {value!r}; {remedy}"
                )
        sizes = [sum(header["features"].values()), *(len(bias) for _, bias in layers)]
        shapes = [weights.shape for weights, _ in layers]
        if shapes != list(itertools.pairwise(sizes)) or sizes[-1] != OUTPUTS:
            raise ValueError(
                f"{path} has layers of the shapes {shapes}, from {sizes[0]} features to {OUTPUTS} "
                f"outputs they don't fit; {remedy}"
            )
        return found


def _expected(task: str, side: str, scope: str) -> dict[str, Any]:
    """What the file of such a policy says of itself."""
    layout = Layout(tuple(TASKS[task].objects), scope)
    parts = features(View(np.zeros((1, layout.size)), layout), task)
    return {
        "task": task,
        "side": side,
        "scope": scope,
        "observation_size": layout.size,
        "features": {name: part.shape[1] for name, part in parts.items()},
    }


class LearnedPolicy:
    """Plays one arm with a network.

    Memoryless and vectorised like the scripted ones, and like them it acts in every control mode: the
    network says how far the commanded joints turn.

    Args:
        network: of that arm.
        control: mode its actions are for.

    Attributes:
        network: that one.
    """

    def __init__(self, network: Network, control: str = "joint_position"):
        self.scope, self.control = network.scope, choose("control", control, ADAPTERS)
        self.network = network
        self._adapt = ADAPTERS[control]
        self._layout = Layout(tuple(TASKS[network.task].objects), network.scope)

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """(D,) or (N, D) observations to (7,) or (N, 7) actions.

        Raises:
            ValueError: the observations are not of the network's task and scope.
        """
        view = view_of(observation, self._layout)
        wanted = self.network(network_inputs(view, self.network.task))
        steps = JointDelta.JOINT_STEP * np.clip(wanted[:, :GRIPPER], -1, 1).astype(float)
        gripper = np.where(wanted[:, GRIPPER:] > 0, OPEN, CLOSED)
        actions = self._adapt(view, np.column_stack((view.commanded + steps, gripper)))
        return actions.astype(np.float32).reshape(*observation.shape[:-1], actions.shape[-1])

    def reset(self) -> None:
        """Starts an episode: nothing to forget."""


def load_file(
    path: str | Path,
    task: str,
    side: str,
    scope: str | None = None,
    control: str = "joint_position",
) -> LearnedPolicy:
    """The policy in a file that one of the examples in ``METHODS`` wrote.

    Args:
        path: of the file.
        task: "transfer_cube" or "insertion".
        side: "left" or "right".
        scope: of the observations it will be given; without it what it learned with.
        control: mode its actions are for.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: an unknown name, or a file that is for something else; the message tells which
            command makes the right one.
    """
    choose("task", task, TASKS)
    choose("side", side, SIDES)
    choose("scope", scope, (*SCOPES, None))
    return LearnedPolicy(Network.load(Path(path), task, side, scope), control)


def load_learned(
    method: str, task: str, side: str, scope: str | None, control: str
) -> LearnedPolicy:
    """The one that comes with the package.

    Args:
        method: one of ``METHODS``.
        task: "transfer_cube" or "insertion".
        side: "left" or "right".
        scope: of the observations it will be given; without it what it learned with.
        control: mode its actions are for.

    Raises:
        ValueError: it has not learned to act on that scope; the message tells what makes one that has.
    """
    path = WEIGHTS / f"{method}_{task}_{side}.npz"
    return LearnedPolicy(Network.load(path, task, side, scope, method), control)
