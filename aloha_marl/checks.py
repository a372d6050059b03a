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
    """True for whole numbers, NumPy's included; True and False are none."""
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    """True for real numbers, NumPy's included; True and False are none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def at_least(least: int, option: str, value: Any, most: int = 2**31 - 1) -> int:
    """Returns ``value`` as an int if it is a whole number from ``least`` to ``most``.

    Raises:
        ValueError: it is not.
    """
    if not is_whole(value) or not least <= value <= most:
        raise ValueError(f"{option}={value!r} must be a whole number from {least} to {most}")
    return int(value)


def fraction(option: str, value: Any) -> float:
    """Returns ``value`` as a float if it is a number from 0 to 1.

    Raises:
        ValueError: it is not.
    """
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{option}={value!r} must be a number from 0 to 1")
    return float(value)


def seed_number(value: Any) -> int:
    """Returns the seed of one environment as an int; gym-aloha's starts take 32 bits.

    Raises:
        ValueError: it is no such seed.
    """
    return at_least(0, "seed", value, 2**32 - 1)


def checked_seed(value: Any) -> int | None:
    """As :func:`seed_number`, or None for None."""
    return None if value is None else seed_number(value)


def names_of(option: str, value: Any) -> tuple[str, ...]:
    """Returns ``value``, a name or a non-empty list or tuple of names, as a tuple.

    Raises:
        ValueError: it is neither.
    """
    names = [value] if isinstance(value, str) else value
    listed = isinstance(names, list | tuple) and len(names) > 0
    if not listed or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{option}={value!r} must be a name or a non-empty list of names")
    return tuple(names)
