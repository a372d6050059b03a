"""Supported versions of the learning libraries, and the error where one is missing."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from importlib import metadata

SUPPORTED = {
    "sb3": ("stable-baselines3", "2.9", "3"),
    "torchrl": ("torchrl", "0.11", "0.15"),
    "benchmarl": ("benchmarl", "1.5", "1.6"),
    "rllib": ("ray", "2.60", "3"),
}
"""Extra of this package -> the library it installs, the oldest version and the first that is too new."""


@contextlib.contextmanager
def library(extra: str) -> Iterator[None]:
    """Checks that the library of an extra is there; goes round its imports.

    Raises:
        ImportError: it is missing or not supported; the message has the command that installs it.
    """
    name, oldest, too_new = SUPPORTED[extra]
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        found = "which is not installed"
    else:
        found = f"but {version} is installed"
        if _numbers(oldest) <= _numbers(version) < _numbers(too_new):
            yield
            return
    raise ImportError(
        f"this needs {name}>={oldest},<{too_new}, {found}: pip install 'aloha_marl[{extra}]'",
        name=name,
    )


def _numbers(version: str) -> list[int]:
    """The numbers a version begins with: of 2.10.0rc1 that is 2, 10 and 0."""
    release = re.match(r"\d+(\.\d+)*", version)
    return [int(number) for number in release[0].split(".")] if release else []
