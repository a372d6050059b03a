"""Checks of values that users give: the error names the bad value and what is valid."""

from __future__ import annotations

import numbers
from collections.abc import Collection
from typing import Any


def choose(option: str, value: Any, valid: Collection[Any]) -> Any:
    """Returns ``value`` if it is one of ``valid``.

    Raises:
        ValueError: it is not; the message lists the valid values.
    """
    if isinstance(value, str | None) and value in valid:
        return value
    raise ValueError(f"{option}={value!r} is unknown; valid: {', '.join(map(repr, valid))}")


def is_whole(value: Any) -> bool:
    """Whether it is a whole number, NumPy's included; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def at_least(least: int, option: str, value: Any) -> int:
    """Returns ``value`` as an int if it is a whole number of at least ``least``.

    Raises:
        ValueError: it is not.
    """
    if not is_whole(value) or value < least:
        raise ValueError(f"{option}={value!r} must be a whole number of at least {least}")
    return int(value)
