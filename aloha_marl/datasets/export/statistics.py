"""Statistics of the columns of a set, as LeRobot normalises by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}

_EVERY = 4
"""Of a picture, every fourth row and column is counted."""


def statistics(values: np.ndarray) -> dict[str, Any]:
    """Statistics of a column with T rows, a number or a list of one for each of its numbers."""
    rows = values.reshape(len(values), -1).astype(float)
    found = {"min": rows.min(axis=0), "max": rows.max(axis=0)}
    found |= {"mean": rows.mean(axis=0), "std": rows.std(axis=0)}
    found |= {name: np.quantile(rows, part, axis=0) for name, part in QUANTILES.items()}
    return {name: value.tolist() for name, value in found.items()} | {"count": [len(values)]}


class Colours:
    """Statistics of the colours in a video, 0..1, of shape (3, 1, 1)."""

    def __init__(self) -> None:
        self._counts = np.zeros((3, 256), int)
        self._pictures = 0

    def add(self, picture: np.ndarray) -> None:
        """Counts a (height, width, 3) uint8 picture."""
        self._pictures += 1
        channels = picture[::_EVERY, ::_EVERY].reshape(-1, 3).T
        self._counts += [np.bincount(channel, minlength=256) for channel in channels]

    def statistics(self) -> dict[str, Any]:
        """The statistics of all pictures."""
        levels = np.arange(256) / 255
        shares = self._counts / self._counts.sum(axis=1, keepdims=True)
        below = shares.cumsum(axis=1)
        mean = shares @ levels
        found = {"mean": mean, "std": np.sqrt((shares * (levels - mean[:, None]) ** 2).sum(axis=1))}
        found["min"] = levels[(shares > 0).argmax(axis=1)]
        found["max"] = levels[255 - (shares[:, ::-1] > 0).argmax(axis=1)]
        found |= {name: levels[(below >= part).argmax(axis=1)] for name, part in QUANTILES.items()}
        shaped = {name: value.reshape(3, 1, 1).tolist() for name, value in found.items()}
        return shaped | {"count": [self._pictures]}


def merged(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Statistics of a column in all episodes; quantiles are means of those of the episodes."""
    arrays = {name: np.array([part[name] for part in parts]) for name in parts[0]}
    counts = arrays.pop("count")
    shape = (-1,) + (1,) * (arrays["mean"].ndim - 1)
    weights = (counts / counts.sum()).reshape(shape)
    found = {name: (weights * values).sum(axis=0) for name, values in arrays.items()}
    variance = arrays["std"] ** 2 + (arrays["mean"] - found["mean"]) ** 2
    found["std"] = np.sqrt((weights * variance).sum(axis=0))
    found["min"], found["max"] = arrays["min"].min(axis=0), arrays["max"].max(axis=0)
    return {name: value.tolist() for name, value in found.items()} | {"count": [int(counts.sum())]}
