"""Checks of all that a browser sends, before it comes near the simulation."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import Any

import mujoco
import numpy as np

from aloha_marl import checks

WORKSPACE = (-1.2, -1.2, -0.3), (1.2, 1.2, 1.2)
"""Corners of the box round both arms that holds every position [m]."""

LONGEST = 2**16
"""Most bytes of a message."""

_MESSAGES = (
    "CommandTriggerMessage",
    "FileTransferPartAck",
    "GuiButtonHoldMessage",
    "GuiFormDirtyMessage",
    "GuiFormSubmitMessage",
    "GuiUpdateMessage",
    "SceneNodeClickMessage",
    "SceneNodeDragMessage",
    "ScenePointerMessage",
    "TransformControlsDragEndMessage",
    "TransformControlsDragStartMessage",
    "TransformControlsUpdateMessage",
    "ViewerCameraMessage",
)
"""The messages of viser's page that are let in. Left out are those that open a public tunnel, upload
files or answer questions that we never ask."""


def position(value: Any) -> np.ndarray:
    """(3,) position in the workspace [m].

    Raises:
        ValueError: it is none.
    """
    point = _numbers("position", value, 3)
    low, high = WORKSPACE
    if np.any(point < low) or np.any(point > high):
        raise ValueError(f"position={value!r} is outside the workspace, {low} to {high}")
    return point


def rotation(wxyz: Any) -> np.ndarray:
    """(3, 3) rotation matrix of a unit quaternion (w, x, y, z).

    Raises:
        ValueError: it is none.
    """
    quaternion = _numbers("rotation", wxyz, 4)
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1) < 1e-3:
        raise ValueError(f"rotation={wxyz!r} is no unit quaternion: its length is {length:g}")
    matrix = np.empty(9)
    mujoco.mju_quat2Mat(matrix, quaternion / length)
    return matrix.reshape(3, 3)


def fraction(value: Any) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError: it is none.
    """
    return checks.fraction("value", value)


def check_message(raw: str | bytes) -> None:
    """Checks a message of a page, whose types viser itself does not.

    Raises:
        ValueError: it can't be read, is not let in, or has a field of another type or a number that is
            not finite.
    """
    import msgspec

    if isinstance(raw, str):
        raise ValueError("a message of text")
    try:
        content = msgspec.msgpack.decode(raw, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"a message that can't be read: {error}") from error
    kind = content.pop("type", None)
    if kind not in _MESSAGES:
        raise ValueError(f"a message of type {str(kind)[:40]!r}")
    try:
        message = msgspec.convert(content, _message_type(kind))
    except msgspec.MsgspecError as error:
        raise ValueError(f"a {kind} that does not fit: {error}") from error
    if kind == "GuiUpdateMessage" and message.updates.keys() != {"value"}:
        raise ValueError(f"a {kind} of {', '.join(map(repr, message.updates))}")
    if not all(map(math.isfinite, _floats(content.values()))):
        raise ValueError(f"a {kind} with a number that is not finite")


@functools.cache
def _message_type(kind: str) -> Any:
    """The dataclass of viser of that name."""
    from viser import _messages

    return getattr(_messages, kind)


def _floats(values: Iterable[Any]) -> Iterable[float]:
    """All floats in nested containers."""
    for value in values:
        if isinstance(value, float):
            yield value
        elif isinstance(value, list | tuple):
            yield from _floats(value)
        elif isinstance(value, dict):
            yield from _floats(value.values())


def _numbers(name: str, value: Any, size: int) -> np.ndarray:
    """(size,) finite numbers."""
    try:
        numbers = np.array(value, float)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape != (size,) or not np.isfinite(numbers).all():
        raise ValueError(f"{name}={value!r} must be {size} finite numbers")
    return numbers
