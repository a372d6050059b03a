"""Copies, by ``copy``, ``pickle`` and all that builds on them: made anew by the constructor, or refused."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NoReturn, Self


class Rebuilt:
    """Base of classes whose copies are made by the constructor, with the arguments it had then.

    A copy equals a new object, so it has no episode; environments among the arguments are copied
    alike. Unlike Gymnasium's ``EzPickle`` it makes one object only, so none is left to close what
    the copy uses, and it keeps the ``spec`` that ``gymnasium.make`` gave.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        vars(self)["_arguments"] = (
            tuple(map(_kept, args)),
            {name: _kept(value) for name, value in kwargs.items()},
        )
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        mine = vars(self)
        changed = {"spec": mine["spec"]} if "spec" in mine else {}
        return _made, (type(self), *mine["_arguments"]), changed

    def __setstate__(self, changed: Mapping[str, Any]) -> None:
        for name, value in changed.items():
            setattr(self, name, value)


class Uncopied:
    """Base of classes that hold a running simulation, OpenGL or a window, and refuse to be copied."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} can't be copied or pickled; copy the environment, and its "
            "episode by get_state() and set_state()"
        )


def _kept(argument: Any) -> Any:
    """The argument, safe from a caller who changes it later."""
    return copy.deepcopy(argument) if isinstance(argument, Mapping | list) else argument


def _made(cls: type, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return cls(*args, **kwargs)
