"""Objects that a forked child inherits but can't free: that would wait for threads of the parent's."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable
from typing import Any

_HEIRLOOMS: weakref.WeakKeyDictionary[Any, Callable[[Any], object]] = weakref.WeakKeyDictionary()


def in_children(heirloom: Any, act: Callable[[Any], object]) -> None:
    """Has ``act(heirloom)`` called in every process forked while that object lives, the latest first."""
    _HEIRLOOMS[heirloom] = act


def never_free(thing: Any) -> None:
    """Keeps an object for good, at the interpreter's end too."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


def _inherit() -> None:
    for heirloom, act in reversed(list(_HEIRLOOMS.items())):
        act(heirloom)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_inherit)
