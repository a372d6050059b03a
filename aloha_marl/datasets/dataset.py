"""Recorded episodes, one or a folder of them, for training."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from aloha_marl.arms import SIDES
from aloha_marl.checks import at_least, choose
from aloha_marl.datasets.episode import Episode
from aloha_marl.datasets.layout import ARRAYS, SUFFIX


def open(path: str | Path) -> Dataset:
    """Opens a recorded episode, or all in a folder and below, in the order of their names.

    Raises:
        OSError: there is no such file or folder.
        ValueError: there is no episode in the folder.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    if not path.is_dir():
        return Dataset([path])
    found = sorted(file for file in path.rglob(f"*{SUFFIX}") if not file.name.startswith("."))
    if not found:
        raise ValueError(f"{path} has no episodes: no file *{SUFFIX}")
    return Dataset(found)


class Dataset(Sequence[Episode]):
    """Episodes; each file is opened when its episode is taken, and closed again.

    Args:
        paths: of the files.
    """

    def __init__(self, paths: Iterable[Path]):
        self.paths = tuple(paths)

    def __repr__(self) -> str:
        return f"<Dataset of {len(self)} episodes>"

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> Episode: ...

    @overload
    def __getitem__(self, index: slice) -> Dataset: ...

    def __getitem__(self, index: int | slice) -> Episode | Dataset:
        if isinstance(index, slice):
            return Dataset(self.paths[index])
        return Episode(self.paths[index])

    def stacked(self) -> dict[str, np.ndarray]:
        """All steps of all episodes one after another, as offline multi-agent learners read them.

        Returns:
            ``observations`` (steps, 2, D), ``actions`` (steps, 2, 7), ``rewards``, ``terminals`` and
            ``truncations`` (steps, 2), and ``infos/state`` (steps, S). Observations and states are those
            before each step; the ones after the last are left out.

        Raises:
            ValueError: the episodes are not alike.
        """
        columns: dict[str, list[np.ndarray]] = {}
        for episode in self:
            arrays = {
                "observations": episode["observations"][:-1],
                "actions": episode["actions"],
                "rewards": episode["rewards"],
                "terminals": np.tile(episode["terminated"][:, None], len(SIDES)),
                "truncations": np.tile(episode["truncated"][:, None], len(SIDES)),
                "infos/state": episode["state"][:-1],
            }
            for name, values in arrays.items():
                columns.setdefault(name, []).append(values)
        return {name: _joined(name, parts, self.paths) for name, parts in columns.items()}

    def chunks(
        self, size: int, inputs: Sequence[str] = ("qpos",), cameras: Sequence[str] = ()
    ) -> Chunks:
        """Samples for policies that learn chunks of actions, see :class:`Chunks`."""
        return Chunks(self, size, inputs, cameras)


class Chunks(Sequence[dict[str, Any]]):
    """A sample per step: what was observed before it, and the actions from it on.

    It is a map-style dataset: a ``torch.utils.data.DataLoader`` makes batches of tensors of it, in worker
    processes as well. Numbers are held in memory, pictures are read from the files.

    Args:
        episodes: the episodes.
        size: number of actions in a chunk.
        inputs: names of arrays of ``ARRAYS`` that are observed.
        cameras: names of cameras whose pictures are observed.

    Raises:
        ValueError: an unknown name, or episodes that are not alike.
    """

    def __init__(
        self, episodes: Dataset, size: int, inputs: Sequence[str], cameras: Sequence[str] = ()
    ):
        self._episodes = list(episodes)
        self._size = at_least(1, "size", size)
        self._cameras = tuple(cameras)
        for episode in self._episodes:
            for camera in cameras:
                choose(f"camera of {episode.path}", camera, episode.cameras)
        lengths = [len(episode) for episode in self._episodes]
        self._starts = np.concatenate(([0], np.cumsum(lengths)))
        observed = [name for name, line in ARRAYS.items() if line.rows in ("before", "all")]
        self._arrays = {
            name: _joined(
                name,
                [episode[name][: len(episode)] for episode in self._episodes],
                episodes.paths,
            )
            for name in dict.fromkeys(
                ("action", *(choose("inputs", name, observed) for name in inputs))
            )
        }
        self._inputs = tuple(inputs)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, index: int) -> dict[str, Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The sample of a step.

        Returns:
            The ``inputs`` of the step; ``action`` (size, 14), where what lies beyond the episode repeats
            its last action; ``is_pad`` (size,) bool, True there; and ``images``, camera ->
            (height, width, 3) uint8, if there are cameras.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        index %= len(self)
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        first, after = self._starts[number : number + 2].tolist()
        steps = index + np.arange(self._size)
        sample: dict[str, Any] = {name: self._arrays[name][index] for name in self._inputs}
        sample["action"] = self._arrays["action"][np.minimum(steps, after - 1)]
        sample["is_pad"] = steps >= after
        step = index - first
        if self._cameras:
            episode = self._episodes[number]
            sample["images"] = {
                camera: next(iter(episode.pictures(camera, step, step + 1)))
                for camera in self._cameras
            }
        return sample


def _joined(name: str, parts: list[np.ndarray], paths: Sequence[Path]) -> np.ndarray:
    """Arrays of the episodes, one after another.

    Raises:
        ValueError: they differ in the shape of a row.
    """
    for part, path in zip(parts, paths, strict=True):
        if part.shape[1:] != parts[0].shape[1:]:
            raise ValueError(
                f"{name} has rows of shape {part.shape[1:]} in {path}, but {parts[0].shape[1:]} in "
                f"{paths[0]}: take episodes of one task and scope"
            )
    return np.concatenate(parts)
