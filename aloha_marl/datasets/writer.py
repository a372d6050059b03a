"""Writes the file of an episode: in memory, and to the disk when the episode is whole."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from aloha_marl.core.state import State
from aloha_marl.datasets.encoders import QUALITIES
from aloha_marl.datasets.layout import (
    ARRAYS,
    GROUP,
    LAST_IMAGES,
    START,
    SUFFIX,
    Metadata,
    hdf5,
)


def episode_path(folder: Path, seed: int) -> Path:
    """The file of a seed's episode."""
    return folder / f"seed_{seed:06}{SUFFIX}"


def remove_parts(folder: Path) -> None:
    """Removes half-written files that killed recordings left in a folder, and no others."""
    for part in folder.glob(f".seed_*.part{SUFFIX}"):
        with contextlib.suppress(OSError), open(part, "rb") as file:
            _lock(file)
            part.unlink()


def write_whole(path: Path, data: bytes) -> None:
    """Writes a file under another name, which it loses when all of it is on the disk.

    Raises:
        OSError: it can't be written; nothing is left.
    """
    part = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.part{SUFFIX}")
    try:
        with open(part, "xb") as file:
            _lock(file)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _lock(file: IO[bytes]) -> None:
    """Locks a file while it is open; raises OSError if another process has locked it."""
    try:
        import fcntl
    except ImportError:  # Windows removes no file that is open
        return
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class EpisodeWriter:
    """The file of an episode that is being played.

    It is held in memory: on a full disk HDF5 could not even close it.

    Args:
        path: its name.
        cameras: whose pictures it keeps.
        quality: how it keeps them, one of ``QUALITIES``.
        size: their height and width [pixels].
    """

    def __init__(self, path: Path, cameras: tuple[str, ...], quality: str, size: tuple[int, int]):
        self._path = path
        # Of this version HDF5 adds checksums to all that is not in a dataset.
        version = ("v110", "v110")
        self._file = hdf5().File(path, "w", driver="core", backing_store=False, libver=version)
        encoder = QUALITIES[quality]
        self._encoders = {
            camera: encoder(self._file, camera, size) for camera in sorted(cameras) if encoder
        }

    def append(self, pictures: Mapping[str, np.ndarray]) -> None:
        """Adds the pictures of a step, by camera."""
        for camera, encoder in self._encoders.items():
            encoder.append(pictures[camera])

    def keep(
        self,
        metadata: Metadata,
        arrays: Mapping[str, np.ndarray],
        start: State,
        pictures: Mapping[str, np.ndarray],
    ) -> Path:
        """Adds the rest, writes the file, and returns its path.

        Args:
            metadata: what the episode was played with.
            arrays: by the names of ``ARRAYS``.
            start: state of one row after the reset.
            pictures: the last ones, by camera.

        Raises:
            OSError: it can't be written.
        """
        for encoder in self._encoders.values():
            encoder.finish()
        self._file.attrs["sim"] = True
        for name, line in ARRAYS.items():
            self._write(line.place, arrays[name])
        # Of fixed length it stands in the header, which has a checksum; ASCII, as JSON is.
        self._file[GROUP].attrs["metadata"] = np.bytes_(metadata.to_json())
        for name, values in vars(start).items():
            self._write(f"{START}/{name}", values)
        for camera, picture in pictures.items():
            self._write(f"{LAST_IMAGES}/{camera}", picture)
        self._file.flush()
        data = self._file.id.get_file_image()
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, data)
        return self._path

    def close(self) -> None:
        """Frees the memory."""
        self._file.close()

    def _write(self, place: str, values: np.ndarray) -> None:
        filters: dict[str, Any] = {}
        if values.size:  # compressed data has a checksum
            filters = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
            filters["chunks"] = values.shape
        self._file.create_dataset(place, data=values, **filters)
