"""Writes a set into a folder of another name, which gets its own when the set is whole."""

from __future__ import annotations

import abc
import errno
import json
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

from aloha_marl.datasets.export.recordings import Recordings
from aloha_marl.files import write_text

_PLAN = "export.json"
"""The file that says what a folder was begun with."""


class Exporter(abc.ABC):
    """An export of recordings to a folder.

    Args:
        recordings: what is exported.
        target: the new folder.
        length: steps of every episode, for formats that need one.

    Attributes:
        episodes: number of episodes.
        steps: number of steps of all recordings.
        usage: how the set is loaded.

    Raises:
        OSError: the target exists.
        ValueError: the format can't hold the recordings, or the target was begun with others.
    """

    usage: str
    _takes_length = False

    def __init__(self, recordings: Recordings, target: Path, length: int | None):
        if length is not None and not self._takes_length:
            raise ValueError(f"length={length!r} is for the format 'act' only")
        self.episodes, self.steps = len(recordings.lengths), sum(recordings.lengths)
        self._recordings, self._target = recordings, Path(os.path.abspath(target))
        self._folder = self._target.with_name(f".{self._target.name}.part")
        if os.path.lexists(self._target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
        plan = self._folder / _PLAN
        if plan.exists() and plan.read_text(encoding="utf-8") != self._plan(length):
            raise ValueError(
                f"{self._folder} was begun with other recordings or options: remove it first"
            )
        self._length = length

    def write(self) -> Generator[int, None, None]:
        """Writes the set; yields the number of each episode when it is written, or was there.

        Raises:
            OSError: a file can't be written or read.
            ValueError: a recording is damaged.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for stale in self._folder.rglob(".*"):  # of an export that was killed
            stale.unlink()
        write_text(self._folder / _PLAN, self._plan(self._length))
        yield from self._write(self._folder)
        self._folder.rename(self._target)
        (self._target / _PLAN).unlink()

    @abc.abstractmethod
    def _write(self, folder: Path) -> Iterator[int]:
        """Writes the set into a folder; leaves what is there already."""

    def _plan(self, length: int | None) -> str:
        """What decides the contents of the set."""
        sources = [
            [os.path.abspath(path), path.stat().st_size, path.stat().st_mtime_ns]
            for path in self._recordings.episodes.paths
        ]
        plan: dict[str, Any] = {"format": type(self).__name__, "length": length}
        return json.dumps(plan | {"recordings": sources})
