"""What recordings are replayed from: those of this package, and those of ACT and gym-aloha."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from aloha_marl.arms import GRIPPER_CLOSED, SIDES
from aloha_marl.core.options import UNLIMITED, Options
from aloha_marl.datasets.episode import Episode
from aloha_marl.datasets.layout import ARRAYS, Metadata
from aloha_marl.envs.merged import per_arm
from aloha_marl.envs.registration import AS_GYM_ALOHA
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation import versions
from aloha_marl.evaluation.perturbations import UNPERTURBED
from aloha_marl.tasks import Task, TaskLike, make_task, task_names

TOLERANCE = 1e-6
"""Largest difference [m, rad] of positions where the processor or a version is another."""

FOREIGN_TOLERANCE = 0.02
"""Largest difference [rad] of the joints from recordings of other programs: contacts are nearly alike."""

POSITIONS = ("agent_pos", "environment_state", "qpos")
"""Arrays of positions."""

_CLOSE = ("agent_pos", "environment_state", "stage")
"""Arrays that are compared where the last bits may differ."""


class Source:
    """Start and arrays of a recording of this package.

    Args:
        episode: the recording.
        task: its task, or None for the one it names.

    Attributes:
        path: the recording's file.
        task: the task.
        metadata: what it was played with.
        start: what a replay starts from, "state", "seed" or "poses".
        tolerance: largest difference that counts as equal; 0 compares all bits.
        recorded: name -> the array that a replay is compared with.
        drivers: (T, 2) who drove each arm.

    Raises:
        ValueError: it is damaged, or names a task whose code would have to be imported.
    """

    def __init__(self, episode: Episode, task: TaskLike | None):
        self._episode, self.path = episode, episode.path
        self.metadata = metadata = episode.metadata
        if task is None and metadata.task not in task_names():
            raise ValueError(
                f"{episode.path} names task={metadata.task!r}, whose code is imported only if you give "
                "that task yourself"
            )
        self.task: Task = make_task(metadata.task if task is None else task)
        wrapped = dataclasses.replace(metadata.perturbations, randomization={})
        self.start = "seed" if wrapped else "state"
        self.tolerance = 0.0 if metadata.versions == versions() else TOLERANCE
        names = _CLOSE if self.tolerance else ARRAYS
        self.recorded = {name: episode[name] for name in names}
        self.drivers = episode["driver"]

    def begin(self, base: AlohaVectorEnv, env: Any) -> Any:
        """Starts the replay; returns the observations.

        Args:
            base: the environment.
            env: the environment with its wrappers.

        Raises:
            ValueError: the start does not fit the environment.
        """
        observations, _ = env.reset(seed=self.metadata.seed)
        if self.start == "seed":
            return observations
        base.set_state(self._episode.start())
        return base.observations()


class ForeignSource(Source):
    """The same of a recording of ACT or gym-aloha, which has joints but no poses of objects."""

    def __init__(self, episode: Episode, task: TaskLike | None, poses: Mapping[str, Any] | None):
        if task is None:
            raise ValueError(f"{episode.path} does not say which task it shows: give the task")
        self.task = make_task(task)
        lacking = [name for name in self.task.placement if name not in (poses or {})]
        if lacking:
            raise ValueError(f"{episode.path} has no poses: give those of {', '.join(lacking)}")
        options = Options.of({**AS_GYM_ALOHA, "max_cycles": UNLIMITED}, self.task)
        self._poses, self.path = poses, episode.path
        self.start, self.tolerance = "poses", FOREIGN_TOLERANCE
        self.recorded = {"qpos": episode["qpos"]}
        self.metadata = Metadata(
            task=self.task.name,
            seed=0,
            options=dataclasses.asdict(options),
            perturbations=UNPERTURBED,
            goes_on=True,  # as they do after success
            drivers=("recording",),
            quality="none",
            cameras=(),
            versions=versions(),
        )
        self.drivers = np.zeros((len(episode), len(SIDES)), np.int8)

    def begin(self, base: AlohaVectorEnv, env: Any) -> Any:
        start, given = self.recorded["qpos"][0], {"poses": self._poses}
        home = per_arm(base.core.model.key("home").qpos[None], GRIPPER_CLOSED)[0]
        # Recorded joints are rounded to float32, those of the usual start are known exactly.
        if np.abs(start - home).max() > TOLERANCE:
            given["joints"] = dict(zip(SIDES, np.split(start, len(SIDES)), strict=True))
        return base.reset(seed=0, options=given)[0]
