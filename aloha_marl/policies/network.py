"""Networks of the learned policies: the forward pass, with NumPy alone, and the file format."""

from __future__ import annotations

import dataclasses
import itertools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from aloha_marl.arms import ACTION_SIZE, SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.files import atomic
from aloha_marl.policies.features import features
from aloha_marl.policies.view import View, task_layout
from aloha_marl.tasks import Task

METHODS = {
    "imitation": "examples/learning/imitate.py",
    "adaptive": "examples/learning/imitate_strangers.py",
    "ippo": "examples/learning/train_cleanrl.py",
}
"""Name of the policies -> the example that makes them."""

ACTIVATIONS = {"relu": lambda rows: np.maximum(rows, 0), "tanh": np.tanh}
"""Functions between the layers of a network."""

_VERSION = 1  # of the file format


@dataclasses.dataclass(frozen=True)
class Network:
    """A multilayer perceptron.

    Attributes:
        layers: (inputs, outputs) weights and (outputs,) biases, float32, of each layer.
        activation: name in ``ACTIVATIONS`` of the function after each layer but the last.
        scaling: (2, inputs) mean and standard deviation by which inputs are normalised; None: they are
            not.
        clip: limit of normalised inputs.
        squash: True if a tanh follows the last layer; actions are then mapped from [-1, 1] to their
            bounds, not clipped.
    """

    layers: tuple[tuple[np.ndarray, np.ndarray], ...]
    activation: str = "relu"
    scaling: np.ndarray | None = None
    clip: float = 10.0
    squash: bool = False

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Maps (N, inputs) to (N, outputs) float32.

        Each row is multiplied by itself: one product of matrices would be faster, but the last bits
        of a row would depend on the number of rows.
        """
        if self.scaling is not None:
            mean, std = self.scaling
            inputs = np.clip((inputs - mean) / std, -self.clip, self.clip)
        rows = inputs.astype(np.float32)[:, None, :]
        *hidden, (weights, bias) = self.layers
        for inner, shift in hidden:
            rows = ACTIVATIONS[self.activation](rows @ inner + shift)
        outputs = (rows @ weights + bias)[:, 0]
        return np.tanh(outputs) if self.squash else outputs

    def check(self, inputs: int) -> None:
        """Raises ValueError unless it makes an action of that many inputs."""
        choose("activation", self.activation, ACTIVATIONS)
        sizes = [inputs, *(len(bias) for _, bias in self.layers)]
        shapes = [weights.shape for weights, _ in self.layers]
        if shapes != list(itertools.pairwise(sizes)) or sizes[-1] != ACTION_SIZE:
            raise ValueError(
                f"layers of the shapes {shapes}, which don't lead from {inputs} inputs to "
                f"{ACTION_SIZE} outputs"
            )
        if self.scaling is not None and self.scaling.shape != (2, inputs):
            raise ValueError(f"a scaling of shape {self.scaling.shape}, needed is {(2, inputs)}")
        if not all(np.isfinite(array).all() for array in self._arrays("").values()):
            raise ValueError("weights that are not finite")

    def _arrays(self, name: str) -> dict[str, np.ndarray]:
        """The arrays of a file for the network of that name."""
        scaling = {} if self.scaling is None else {f"{name}_scaling": self.scaling}
        return scaling | {
            f"{name}_{kind}{i}": array
            for i, layer in enumerate(self.layers)
            for kind, array in zip(("weights", "bias"), layer, strict=True)
        }

    @classmethod
    def _read(cls, name: str, content: Mapping[str, np.ndarray], header: dict[str, Any]) -> Self:
        """The network of that name from the arrays of a file and its part of the header."""
        layers = tuple(
            (content[f"{name}_weights{i}"], content[f"{name}_bias{i}"])
            for i in range(header.pop("layers"))
        )
        return cls(layers, scaling=content.get(f"{name}_scaling"), **header)


@dataclasses.dataclass(frozen=True)
class NetworkPair:
    """The networks of both arms, and what they were trained for.

    Attributes:
        task: the task.
        scope: scope of the observations.
        networks: side -> network; one and the same if the arms share it.
        features: True if the networks read
            :func:`~aloha_marl.policies.features.features`, False if they read the observation itself.
        control: control mode of the actions that the networks give. None: they give a step per joint, as
            in ``joint_delta``, and open (positive) or close the gripper, which is turned into the
            actions of every mode.
        method: name of the method.
        seed: seed of the training.
    """

    task: Task
    scope: str
    networks: Mapping[str, Network]
    features: bool = True
    control: str | None = None
    method: str = ""
    seed: int = 0

    def save(self, path: Path) -> None:
        """Writes an .npz file, without pickle: a header and the arrays."""
        left, right = (self.networks[side] for side in SIDES)
        named = {"both": left} if left is right else dict(self.networks)
        header = vars(self) | {
            "version": _VERSION,
            "task": self.task.name,
            "inputs": self._inputs(),
            "networks": {
                name: {
                    "layers": len(network.layers),
                    "activation": network.activation,
                    "clip": network.clip,
                    "squash": network.squash,
                }
                for name, network in named.items()
            },
        }
        arrays: dict[str, Any] = {}
        for name, network in named.items():
            arrays |= network._arrays(name)
        with atomic(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(
        cls, path: Path, task: Task, scope: str | None = None, control: str | None = None
    ) -> NetworkPair:
        """Reads a file that :meth:`save` wrote for this task, scope and control mode (by default any).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no file of a learned policy, or one for something else.
        """
        try:
            # Opened here: NumPy leaves a file open that is no archive.
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                header: dict[str, Any] = json.loads(str(content["header"]))
                version, name, inputs = map(header.pop, ("version", "task", "inputs"))
                networks = {
                    key: Network._read(key, content, part)
                    for key, part in header.pop("networks").items()
                }
            shared = networks.get("both")
            networks = {side: shared or networks[side] for side in SIDES}
            pair = cls(task, networks=networks, **header)
            needed = pair._inputs()
            choose("control", pair.control, (*CONTROLS, None))
        except OSError:
            raise
        except Exception as error:  # NumPy's depend on what is wrong
            raise ValueError(f"{path} is no file of a learned policy") from error
        remedy = ""
        if pair.method in METHODS:
            options = f"--task {task.name} --scope {scope or pair.scope}"
            remedy = f"; `python {METHODS[pair.method]} {options}` makes one"
        for key, value, want in (
            ("version", version, _VERSION),
            ("task", name, task.name),
            ("scope", pair.scope, scope or pair.scope),
            ("control", pair.control, pair.control and (control or pair.control)),
            ("inputs", inputs, needed),
        ):
            if value != want:
                raise ValueError(
                    f"{path} is a policy with {key}={value!r}, needed is {want!r}{remedy}"
                )
        try:
            for network in networks.values():
                network.check(sum(needed.values()))
        except ValueError as error:
            raise ValueError(f"{path} has {error}{remedy}") from error
        return pair

    def _inputs(self) -> dict[str, int]:
        """Name -> size of the parts of what the networks read."""
        layout = task_layout(self.task, self.scope)
        if not self.features:
            return {quantity.name: len(quantity.parts) for quantity in layout}
        parts = features(View(np.zeros((1, layout.size)), layout))
        return {name: part.shape[1] for name, part in parts.items()}
