"""Networks of the learned policies: the forward pass, with NumPy alone, and the file format."""

from __future__ import annotations

import dataclasses
import itertools
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.arms import ACTION_SIZE
from aloha_marl.files import atomic
from aloha_marl.policies.features import features
from aloha_marl.policies.view import View, task_layout

METHODS = {
    "imitation": "examples/learning/imitate.py",
    "ippo": "examples/learning/train_cleanrl.py",
}
"""Name of the policies -> the example that makes them."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A multilayer perceptron with rectified linear units, for one arm of a task.

    Attributes:
        task: name of the task.
        side: "left" or "right".
        scope: scope of the observations.
        seed: seed of the training.
        layers: (inputs, outputs) weights and (outputs,) biases, float32, of each layer. The last one
            gives a step per joint, as in ``joint_delta``, and opens (positive) or closes the gripper.
    """

    task: str
    side: str
    scope: str
    seed: int
    layers: tuple[tuple[np.ndarray, np.ndarray], ...]

    def __call__(self, inputs: np.ndarray) -> np.ndarray:
        """Maps (N, inputs) to (N, outputs) float32.

        Each row is multiplied by itself: one product of matrices would be faster, but the last bits
        of a row would depend on the number of rows.
        """
        rows = inputs.astype(np.float32)[:, None, :]
        *hidden, (weights, bias) = self.layers
        for inner, shift in hidden:
            rows = np.maximum(rows @ inner + shift, 0)
        return (rows @ weights + bias)[:, 0]

    def save(self, path: Path) -> None:
        """Writes an .npz file, without pickle: a header and the layers."""
        header = {**_header(self.task, self.side, self.scope), "seed": self.seed}
        arrays: dict[str, Any] = {
            f"{name}{i}": array
            for i, layer in enumerate(self.layers)
            for name, array in zip(("weights", "bias"), layer, strict=True)
        }
        with atomic(path) as aside, aside.open("wb") as file:
            np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)

    @classmethod
    def load(
        cls,
        path: Path,
        task: str,
        side: str,
        scope: str | None = None,
        method: str = "imitation",
    ) -> Network:
        """Reads a file that :meth:`save` wrote for this task, side and scope (by default any).

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: no file of a network, or one for something else; the message names the example
                of ``method`` that makes the right one.
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
            network = cls(task, side, header["scope"], header["seed"], layers)
            needed = _header(task, side, scope or network.scope)
        except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ValueError(f"{path} is no file of a learned policy; {remedy}") from error
        for name, value in needed.items():
            if header.get(name) != value:
                raise ValueError(
                    f"{path} is a policy with {name}={header.get(name)!r}, needed is {value!r}; {remedy}"
                )
        sizes = [sum(header["features"].values()), *(len(bias) for _, bias in layers)]
        shapes = [weights.shape for weights, _ in layers]
        if shapes != list(itertools.pairwise(sizes)) or sizes[-1] != ACTION_SIZE:
            raise ValueError(
                f"{path} has layers of the shapes {shapes}, from {sizes[0]} features to {ACTION_SIZE} "
                f"outputs they don't fit; {remedy}"
            )
        return network


def _header(task: str, side: str, scope: str) -> dict[str, Any]:
    """The header of a file, but for the seed."""
    layout = task_layout(task, scope)
    parts = features(View(np.zeros((1, layout.size)), layout), task)
    return {
        "task": task,
        "side": side,
        "scope": scope,
        "observation_size": layout.size,
        "features": {name: part.shape[1] for name, part in parts.items()},
    }
