"""Files that are whole or absent: written under another name in their folder, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Yields the name to write to, with the same suffix; it becomes ``path`` at the end of the block.

    After an error or an interrupt, ``path`` is as it was. A pipe or a device is written to directly.
    """
    whole = Path(os.path.realpath(path))  # a link stays a link
    aside = _aside(whole)
    try:
        yield aside
        if aside != whole:
            os.replace(aside, whole)
    except OSError as error:
        if error.filename in (None, str(aside)):
            error.filename = str(path)
        raise
    finally:
        if aside != whole:
            aside.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file, see :func:`atomic`."""
    with atomic(path) as aside:
        aside.write_text(text, encoding="utf-8")


def check_writable(*paths: str | Path) -> None:
    """Makes the folders of files that are written later, and tries to write there.

    Raises:
        OSError: a file can't be written; the message names it.
    """
    for path in paths:
        whole = Path(os.path.realpath(path))
        try:
            aside = _aside(whole)
            if aside != whole:
                aside.touch()
                aside.unlink()
            if whole.exists() and not os.access(whole, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(whole))
        except OSError as error:
            reason = f"can't be written: {error.strerror}: {error.filename}"
            raise OSError(error.errno, reason, str(path)) from error


def part_of(path: Path) -> Path:
    """The name of a file with a part of what belongs into ``path``: x.json -> x.part.json."""
    return path.with_suffix(f".part{path.suffix}")


def _aside(whole: Path) -> Path:
    """Makes the folder; returns a new name in it, or the name itself of a pipe or a device."""
    whole.parent.mkdir(parents=True, exist_ok=True)
    if whole.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(whole))
    if whole.exists() and not whole.is_file():
        return whole
    return whole.with_name(f".{whole.stem}.{secrets.token_hex(4)}{whole.suffix}")
