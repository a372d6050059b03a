"""Measurements as tables and as a picture."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table


@dataclasses.dataclass
class Measurement:
    """The speed of one contender.

    Attributes:
        name: name of the contender.
        num_envs: number of rows N.
        threads: size of its thread pool, if it has one.
        rows: row steps per timing; N in a step of the whole batch.
        seconds: a timing per repeat.
        per_second: median rows per second.
        ratios: reference -> speed as a multiple of the reference's, median over the repeats.
    """

    name: str
    num_envs: int
    threads: int | None
    rows: int
    seconds: list[float]
    per_second: float = dataclasses.field(init=False)
    ratios: dict[str, float] = dataclasses.field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self.per_second = self.rows / statistics.median(self.seconds)

    def compare(self, ratio: str, other: Measurement) -> None:
        """Adds a ratio of that name."""
        pairs = zip(self.seconds, other.seconds, strict=True)
        self.ratios[ratio] = statistics.median(
            self.rows / mine * theirs / other.rows for mine, theirs in pairs
        )


def new_table(title: str, *columns: str) -> Table:
    """A table of figures; its first column names them."""
    table = Table(title=title, box=SIMPLE_HEAD, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column(no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def print_tables(task: str, speeds: list[Measurement], details: list[Measurement]) -> None:
    """Prints the medians of one task."""
    ratios = max((speed.ratios for speed in speeds), key=len)
    table = new_table(f"{task}: steps/s, and times as fast as", "N", "threads", "steps/s", *ratios)
    for speed in speeds:
        table.add_row(
            speed.name,
            str(speed.num_envs),
            str(speed.threads or ""),
            f"{speed.per_second:.0f}",
            *(f"{speed.ratios[name]:.2f}" if name in speed.ratios else "" for name in ratios),
        )
    Console().print(table)
    table = new_table(f"{task}: time per row", "N", "us", "1/s")
    for detail in details:
        microseconds = f"{1e6 / detail.per_second:.3g}"
        table.add_row(detail.name, str(detail.num_envs), microseconds, f"{detail.per_second:.0f}")
    Console().print(table)


def plot(tasks: Mapping[str, list[Measurement]], path: Path) -> None:
    """Draws steps per second over N, a panel for each task."""
    figure = Figure(figsize=(4.5 * len(tasks), 4.5), layout="constrained")
    panels = figure.subplots(1, len(tasks), sharey=True, squeeze=False)[0]
    for panel, (task, speeds) in zip(panels, tasks.items(), strict=True):
        _draw(panel, speeds)
        panel.set_title(task)
    panels[0].set_ylabel("control steps per second")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(tasks), fontsize=8.5)
    figure.savefig(path, dpi=200)


def _draw(panel: Axes, speeds: list[Measurement]) -> None:
    pools = sorted({speed.threads for speed in speeds if speed.threads})
    shades = colormaps["viridis"](np.linspace(0.1, 0.75, len(pools))[::-1])
    styles: list[tuple[str, int | None, dict[str, Any]]] = [
        *(("AlohaVectorEnv", n, {"color": c}) for n, c in zip(pools, shades, strict=True)),
        *(("Batch", n, {"color": c, "ls": "--"}) for n, c in zip(pools, shades, strict=True)),
        ("SyncVectorEnv", None, {"color": "tab:orange"}),
        ("AsyncVectorEnv", None, {"color": "tab:red"}),
    ]
    for name, threads, style in styles:
        line = [speed for speed in speeds if (speed.name, speed.threads) == (name, threads)]
        label = name if threads is None else f"{name}, {threads} thread{'s' * (threads > 1)}"
        counts, values = (
            [getattr(speed, field) for speed in line] for field in ("num_envs", "per_second")
        )
        panel.plot(counts, values, marker="o", markersize=4, label=label, **style)
    (one,) = (speed for speed in speeds if speed.name == "AlohaParallelEnv")
    panel.axhline(one.per_second, color="grey", ls=":", label=f"{one.name}, one by one")
    ticks = sorted({speed.num_envs for speed in speeds if speed.threads})
    panel.set_xscale("log", base=2)
    panel.set_xticks(ticks, [str(n) for n in ticks])
    panel.set_xlabel("environments")
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.3)
