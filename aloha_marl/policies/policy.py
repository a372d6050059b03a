"""The protocol that policies follow, and the base of those in the package."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.view import View, task_layout
from aloha_marl.tasks import TaskLike


class Policy(Protocol):
    """Acts for one arm from that arm's observation alone.

    It may also have a method ``phase`` that says in words what it is doing in a (D,) observation;
    evaluations then tell where an episode that failed got stuck.

    Attributes:
        scope: ``scope`` of the observations it reads.
        control: ``control`` mode of its actions.
    """

    scope: str
    control: str

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Maps (D,) or (N, D) observations to (7,) or (N, 7) actions."""
        ...

    def reset(self) -> None:
        """Starts an episode."""
        ...


class MergedPolicy(Protocol):
    """Acts for both arms at once, from what the single-agent environment observes.

    Attributes:
        obs_type: ``obs_type`` of :class:`~aloha_marl.envs.single_agent.AlohaSingleAgent`.
        cameras: cameras of its pictures.
        control: ``control`` mode of its actions.
    """

    obs_type: str
    cameras: tuple[str, ...]
    control: str

    def __call__(self, observation: Any) -> np.ndarray:
        """Maps an observation to a (14,) action, the left arm's seven numbers first."""
        ...

    def reset(self) -> None:
        """Starts an episode."""
        ...


Policies = Mapping[str, Policy] | MergedPolicy
"""Who plays: agent -> policy, or one policy of both arms."""


class ArmPolicy(Policy):
    """A pure function of the observation, single or in a batch: it acts in any state and needs no reset.

    Args:
        task: the task or its name.
        scope: scope of the observations to read.
        control: control mode of the actions.
    """

    def __init__(self, task: TaskLike, scope: str, control: str):
        self.scope, self.control = scope, choose("control", control, CONTROLS)
        self.layout = task_layout(task, scope)

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """Maps (D,) or (N, D) observations to (7,) or (N, 7) actions.

        Raises:
            ValueError: the observations are not of this task and scope.
        """
        actions = self.actions(View(observation, self.layout)).astype(np.float32)
        return actions.reshape(*observation.shape[:-1], actions.shape[-1])

    @abc.abstractmethod
    def actions(self, view: View) -> np.ndarray:
        """(N, 7) actions for N observations."""

    def reset(self) -> None:
        """Starts an episode: nothing to forget."""
