"""Sets for ACT and act-plus-plus: an HDF5 file per episode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.checks import at_least
from aloha_marl.datasets.encoders import Lossless
from aloha_marl.datasets.episode import Episode
from aloha_marl.datasets.export.exporter import Exporter
from aloha_marl.datasets.export.recordings import Recordings
from aloha_marl.datasets.layout import ARRAYS, IMAGES, hdf5, opened, whole
from aloha_marl.files import atomic


class ActPlusPlus(Exporter):
    """act-plus-plus's set: ``episode_<i>.hdf5``, each of its own length; recorded JPEGs are copied."""

    def __init__(self, recordings: Recordings, target: Path, length: int | None):
        super().__init__(recordings, target, length)
        self._longest = max(recordings.lengths)
        config = {
            "dataset_dir": str(self._target),
            "num_episodes": len(recordings.lengths),
            "episode_len": self._longest if length is None else length,
            "camera_names": list(recordings.cameras),
        }
        name = "sim_" + recordings.task.rsplit(":")[-1]
        self.usage = f"SIM_TASK_CONFIGS[{name!r}] = {config}"

    def _write(self, folder: Path) -> Iterator[int]:
        for number, episode in enumerate(self._recordings.episodes):
            path = folder / f"episode_{number}.hdf5"
            if not path.exists():
                # In memory: on a full disk HDF5 could not even close a file.
                with hdf5().File(path, "w", driver="core", backing_store=False) as file:
                    self._fill(file, episode, self._steps(episode))
                    file.flush()
                    data = file.id.get_file_image()
                with atomic(path) as aside:
                    aside.write_bytes(data)
            yield number

    def _steps(self, episode: Episode) -> int:
        """Number of steps of an episode in the set."""
        return len(episode)

    def _fill(self, file: Any, episode: Episode, steps: int) -> None:
        """Writes an episode; beyond its end the arms stand still."""
        file.attrs["sim"] = True
        file.attrs["steps"] = len(episode)
        file.attrs["seed"] = episode.metadata.seed
        rows = np.arange(steps)
        observed = np.minimum(rows, len(episode))
        arrays = {
            "qpos": episode["agent_pos"][observed],
            "qvel": episode["agent_vel"][observed],
            "action": episode["action"][np.minimum(rows, len(episode) - 1)],
        }
        for name, values in arrays.items():
            file.create_dataset(ARRAYS[name].place, data=values.astype(np.float32))
        self._add_pictures(file, episode, steps)

    def _add_pictures(self, file: Any, episode: Episode, steps: int) -> None:
        if episode.metadata.quality != "jpeg":
            self._add_lossless(file, episode, steps)
            return
        cameras = self._recordings.cameras
        rows = {f"{IMAGES}/{camera}": len(episode) for camera in cameras}
        with opened(episode.path) as source:
            for place, count in {**rows, "compress_len": len(cameras)}.items():
                values = whole(source, place)
                if values.ndim != 2 or len(values) != count:
                    raise ValueError(f"{episode.path}: {place!r} has the shape {values.shape}")
                file.create_dataset(place, data=values, chunks=(1, values.shape[1]))
        file.attrs["compress"] = True

    def _add_lossless(self, file: Any, episode: Episode, steps: int) -> None:
        """Writes the pictures of all cameras; beyond the episode's end the last one stays."""
        for camera in self._recordings.cameras:
            encoder = Lossless(file, camera, self._recordings.size)
            for picture in self._recordings.pictures(episode, camera):
                encoder.append(picture)
            for _ in range(steps - len(episode)):
                encoder.append(episode.last_picture(camera))


class Act(ActPlusPlus):
    """ACT's set: all episodes have one length, and pictures are plain arrays."""

    _takes_length = True

    def __init__(self, recordings: Recordings, target: Path, length: int | None):
        if length is not None:
            at_least(1, "length", length)
        super().__init__(recordings, target, length)
        if length is not None and length < self._longest:
            number = recordings.lengths.index(self._longest)
            raise ValueError(
                f"length={length} is too short: {recordings.episodes.paths[number]} has "
                f"{self._longest} steps"
            )

    def _steps(self, episode: Episode) -> int:
        return self._longest if self._length is None else self._length

    def _add_pictures(self, file: Any, episode: Episode, steps: int) -> None:
        self._add_lossless(file, episode, steps)
