"""What users and other packages bring along: entry points by name, and ``module:attribute``."""

from __future__ import annotations

import functools
import importlib
import logging
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import Any

POLICIES, TASKS = "aloha_marl.policies", "aloha_marl.tasks"
"""Groups of entry points by which packages announce theirs."""

_log = logging.getLogger(__name__)


def announced(group: str) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
    """Name -> entry points of that name in a group; more than one if packages use the same name."""
    return _announced(group, tuple(sys.path))


@functools.cache  # a search takes 3 ms, twice as long as making an environment
def _announced(group: str, path: tuple[str, ...]) -> Mapping[str, tuple[metadata.EntryPoint, ...]]:
    found: dict[str, tuple[metadata.EntryPoint, ...]] = {}
    for point in metadata.entry_points(group=group):
        if point not in (same := found.get(point.name, ())):
            found[point.name] = (*same, point)
    return found


def origin(point: metadata.EntryPoint) -> str:
    """The package that announces an entry point, with its version, and what it stands for."""
    package = f"{point.dist.name} {point.dist.version}, " if point.dist else ""
    return f"{package}{point.value}"


def names_attribute(name: str) -> bool:
    """True if a name has the form ``module:attribute``."""
    module, colon, attribute = name.partition(":")
    parts = [*module.split("."), *attribute.split(".")]
    return bool(colon) and all(part.isidentifier() for part in parts)


def find(kind: str, name: str, group: str) -> Any:
    """Imports what an announced name or ``module:attribute`` stands for.

    Args:
        kind: "policy" or "task", for errors.
        name: a name in :func:`announced`, or ``module:attribute``.
        group: group of the entry points.

    Raises:
        ValueError: two packages announce the name, the module does not import, or it has no such
            attribute; the message names what was tried.
    """
    points = announced(group).get(name, ())
    if len(points) > 1:
        raise ValueError(
            f"{kind}={name!r} is announced by two packages: {'; '.join(map(origin, points))}"
        )
    path = points[0].value if points else name
    module, _, attribute = path.partition(":")
    label = f"{kind}={name!r}" + (f" ({origin(points[0])})" if points else "")
    if module not in sys.modules:
        _log.info("%s: importing module %s", label, module)
    try:
        found: Any = importlib.import_module(module)
    except Exception as error:  # anything may go wrong in a module
        raise ValueError(f"{label} can't be imported: {type(error).__name__}: {error}") from error
    for part in attribute.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            public = [each for each in dir(found) if not each.startswith("_")]
            raise ValueError(
                f"{label}: {module} has no {attribute!r}; it has {', '.join(public) or 'nothing'}"
            ) from None
    return found
