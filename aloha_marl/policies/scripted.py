"""Scripted experts: pure functions of one arm's own observation."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from aloha_marl.arms import JOINTS
from aloha_marl.policies import insertion, transfer_cube
from aloha_marl.policies.adapters import ADAPTERS
from aloha_marl.policies.motion import Motion, drive
from aloha_marl.policies.noise import Noise
from aloha_marl.policies.styles import Style
from aloha_marl.policies.view import View, task_layout

EXPERTS: dict[str, dict[str, Callable[[View, Style], Motion]]] = {
    "transfer_cube": {"left": transfer_cube.take, "right": transfer_cube.give},
    "insertion": {"left": insertion.hold_socket, "right": insertion.insert_peg},
}
"""task -> side -> next motion of the tool."""


class ScriptedPolicy:
    """Plays one arm of a task.

    Memoryless and vectorised: it acts on a single observation or on a batch of them, labels any state
    and needs no reset.

    Args:
        task: a name in ``EXPERTS``.
        side: "left" or "right".
        scope: scope of the observations to read.
        control: control mode of the actions.
        style: how it plays.
        seed: seed of its errors, if the style makes some.
    """

    def __init__(
        self,
        task: str,
        side: str,
        scope: str,
        control: str,
        style: Style,
        seed: int | list[int],
    ):
        self.scope, self.control = scope, control
        self._style = style
        self._expert = EXPERTS[task][side]
        self._adapt = ADAPTERS[control]
        self._layout = task_layout(task, scope)
        self._noise = Noise(seed, self._layout.size, len(JOINTS))

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Maps (D,) or (N, D) observations to (7,) or (N, 7) actions.

        Raises:
            ValueError: the observations are not of this task and scope.
        """
        view, style = View(observation, self._layout), self._style
        targets = drive(view, self._expert(view, style), style.speed)
        if style.noise:
            targets[:, : len(JOINTS)] += style.noise * self._noise(np.atleast_2d(observation))
        actions = self._adapt(view, targets).astype(np.float32)
        return actions.reshape(*observation.shape[:-1], actions.shape[-1])

    def phase(self, observation: np.ndarray) -> np.ndarray:
        """Says what it is doing: () or (N,) texts for (D,) or (N, D) observations.

        Raises:
            ValueError: the observations are not of this task and scope.
        """
        goal = self._expert(View(observation, self._layout), self._style)
        return goal.phase.reshape(observation.shape[:-1])

    def reset(self) -> None:
        """Starts an episode: nothing to forget."""
