"""Draws cross-play as a heat map: a cell per pair, its success rate written in it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from aloha_marl.arms import SIDES
from aloha_marl.evaluation.pairs import Crossplay
from aloha_marl.recording.plots import figure_class

_CELL = 0.62
"""Size of a cell [inches]."""

_COLOURS = "cividis"
"""A sequential map that people with any kind of colour blindness can read."""

_GAP = 0.25
"""Between the matrix and its means [cells]."""


def draw_heat_map(result: Crossplay, path: str | Path) -> None:
    """Writes the matrix as a picture, with the means of its rows and columns.

    Args:
        result: of a task.
        path: of the picture, ending in ``.png`` or another format that matplotlib knows.

    Raises:
        ValueError: an unknown ending.
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    n = len(result.names)
    size = max(5.5, 3 + _CELL * n), 2.4 + _CELL * n
    figure = figure_class()(figsize=size, layout="constrained")
    axes = figure.subplots()
    edges = np.array([*range(n + 1), n + _GAP, n + 1 + _GAP])
    percent = np.full((n + 2, n + 2), np.nan)  # with the gap
    percent[:n, :n] = 100 * result.rates
    percent[:n, -1], percent[-1, :n] = percent[:n, :n].mean(axis=1), percent[:n, :n].mean(axis=0)
    percent[-1, -1] = percent[:n, :n].mean()
    mesh = axes.pcolormesh(edges, edges, percent, cmap=_COLOURS, vmin=0, vmax=100, lw=1, ec="white")
    middles = (edges[:-1] + edges[1:]) / 2
    for (i, j), value in np.ndenumerate(percent):
        if not math.isnan(value):
            ink = "white" if value < 50 else "black"
            weight = "bold" if i == j < n else "normal"
            place = {"ha": "center", "va": "center", "weight": weight}
            axes.text(middles[j], middles[i], f"{value:.0f}", color=ink, **place)

    shown = [*range(n), n + 1]
    labels = [*result.labels, "mean"]
    axes.set_xticks(middles[shown], labels, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(middles[shown], labels)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.set(xlabel=f"{SIDES[1]} arm", ylabel=f"{SIDES[0]} arm")
    axes.xaxis.set_label_position("top")
    bar = figure.colorbar(mesh, shrink=0.6, label=f"success [%] of {len(result.seeds)} episodes")
    bar.outline.set_visible(False)
    figure.suptitle(f"{result.task}\n{result.summary()}")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
