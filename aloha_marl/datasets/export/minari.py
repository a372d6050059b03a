"""Sets for Minari: one HDF5 file of all episodes, observations and actions in dicts by agent."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from aloha_marl.checks import choose
from aloha_marl.datasets.episode import Episode
from aloha_marl.datasets.export.exporter import Exporter
from aloha_marl.datasets.export.recordings import Recordings
from aloha_marl.datasets.layout import hdf5
from aloha_marl.envs.registration import title_of
from aloha_marl.files import atomic, write_text
from aloha_marl.tasks import SUCCESS, task_names

_MINARI_VERSION = "0.5.4"
"""Version of Minari whose layout this is."""


class Minari(Exporter):
    """Minari's set, written without Minari. After an interrupt it is begun again: that takes seconds."""

    def __init__(self, recordings: Recordings, target: Path, length: int | None):
        super().__init__(recordings, target, length)
        self._id = self._target.name
        if not re.fullmatch(r"[-\w]+-v\d+", self._id, re.ASCII):
            raise ValueError(
                f"target={str(target)!r} must end with a name and a version, such as transfer_cube-v0"
            )
        choose("task", recordings.task, task_names())
        env_id = f"aloha_marl/{title_of(recordings.task)}Arms-v0"
        self._env: Any = gymnasium.make(env_id, **recordings.options)
        self.usage = f"minari.MinariDataset({str(self._target / 'data')!r})"

    def _write(self, folder: Path) -> Iterator[int]:
        data = folder / "data"
        with (
            atomic(data / "main_data.hdf5") as aside,
            hdf5().File(aside, "w", track_order=True) as file,
        ):
            for number, episode in enumerate(self._recordings.episodes):
                group = file.create_group(f"episode_{number}")
                group.attrs["id"] = number
                group.attrs["seed"] = episode.metadata.seed
                group.attrs["total_steps"] = len(episode)
                arrays = self._arrays(episode)
                _check_room(data, arrays)
                _fill(group, arrays)
                file.flush()  # so that the next check counts it
                yield number
        size = (data / "main_data.hdf5").stat().st_size / 1e6
        write_text(data / "metadata.json", json.dumps(self._metadata(round(size, 1))))

    def _arrays(self, episode: Episode) -> dict[str, Any]:
        """The arrays of an episode: observations and infos of T + 1 moments, the others of T steps."""
        arms = episode.per_arm()
        stage = np.concatenate((episode.start().stage, episode["stage"]))
        return {
            "observations": {agent: arm["observations"] for agent, arm in arms.items()},
            "actions": {agent: arm["actions"].astype(np.float32) for agent, arm in arms.items()},
            "rewards": episode.merged()["rewards"],
            "terminations": episode["terminated"],
            "truncations": episode["truncated"],
            "infos": {
                agent: {
                    "stage": stage,
                    "is_success": stage == SUCCESS,
                    "reward": np.concatenate(([0.0], arm["rewards"])),
                }
                for agent, arm in arms.items()
            },
        }

    def _metadata(self, size: float) -> dict[str, Any]:
        drivers = {
            name for episode in self._recordings.episodes for name in episode.metadata.drivers
        }
        return {
            "dataset_id": self._id,
            "minari_version": _MINARI_VERSION,
            "data_format": "hdf5",
            "jpeg_encoding": False,
            "total_episodes": len(self._recordings.lengths),
            "total_steps": sum(self._recordings.lengths),
            "dataset_size": size,
            "observation_space": json.dumps(_space(self._env.observation_space)),
            "action_space": json.dumps(_space(self._env.action_space)),
            "env_spec": self._env.spec.to_json(),
            "algorithm_name": " + ".join(sorted(drivers)),
            "description": self._recordings.description,
            "requirements": [
                f"{name}=={version}"
                for name, version in self._recordings.episodes[0].metadata.versions.items()
                if name in ("aloha_marl", "mujoco")
            ],
        }


def _check_room(folder: Path, arrays: dict[str, Any]) -> None:
    """Raises OSError if the disk may be too full for an episode: on a full one HDF5 crashes."""
    if shutil.disk_usage(folder).free < 2 * _size(arrays) + 2**20:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))


def _size(arrays: dict[str, Any]) -> int:
    """Number of bytes in nested dicts of arrays."""
    return sum(_size(part) if isinstance(part, dict) else part.nbytes for part in arrays.values())


def _fill(group: Any, arrays: dict[str, Any]) -> None:
    """Writes nested dicts of arrays as nested groups."""
    for name, values in arrays.items():
        if isinstance(values, dict):
            _fill(group.create_group(name), values)
        else:
            group.create_dataset(name, data=values, chunks=True, maxshape=(None, *values.shape[1:]))


def _space(space: spaces.Space[Any]) -> dict[str, Any]:
    """A dict of boxes as Minari writes it."""
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "subspaces": {k: _space(part) for k, part in space.items()}}
    assert isinstance(space, spaces.Box)
    bounds = {"low": space.low.tolist(), "high": space.high.tolist()}
    return {"type": "Box", "dtype": str(space.dtype), "shape": list(space.shape)} | bounds
