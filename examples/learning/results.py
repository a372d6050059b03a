"""The results of a training: the JSON file and the picture of its learning curve."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from aloha_marl.evaluation import Evaluation
from aloha_marl.files import atomic, write_text

HELD_OUT = 100_000
"""First seed of the evaluation: no training starts from it or from those above."""

Draw = Callable[[Axes, Sequence[Mapping[str, float]]], None]
"""Draws a learning curve."""


def draw_return(axes: Axes, curve: Sequence[Mapping[str, float]]) -> None:
    """Draws the return of an episode over the steps of the training."""
    axes.plot(*([point[key] for point in curve] for key in ("steps", "episode_return")))
    axes.set(xlabel="control steps", ylabel="return of an episode, per arm")


def summary(episodes: Mapping[str, float]) -> str:
    """Figures of episodes in a short line, the shares of the stages in per cent."""
    stages = [f"{100 * share:.0f}" for name, share in episodes.items() if "stage" in name]
    parts = [f"{n.replace('_', ' ')} {v:.3g}" for n, v in episodes.items() if "stage" not in n]
    return ", ".join(parts + ([f"stages {' / '.join(stages)} %"] if stages else []))


def write_json(path: Path, content: Mapping[str, Any], result: Evaluation | None = None) -> None:
    """Writes what is known of a training, and its evaluation."""
    versions = {"torch": metadata.version("torch"), "cpus": os.cpu_count()}
    evaluation = {"evaluation": _shortened(result)} if result else {}
    write_text(path, json.dumps({**content, **versions, **evaluation}, indent=1) + "\n")


def plot(path: Path, title: str, curve: Sequence[Mapping[str, float]], draw: Draw) -> None:
    """Writes the picture of a learning curve."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    draw(axes, curve)
    axes.set_title(title)
    axes.grid(alpha=0.3)
    with atomic(path) as aside:
        figure.savefig(aside, dpi=120)


def _shortened(result: Evaluation) -> dict[str, Any]:
    """An evaluation as JSON, with the reasons of failed episodes in place of all episodes."""
    content = json.loads(result.to_json())
    del content["episodes"], content["seeds"]
    failures = {episode.seed: episode.reason for episode in result.episodes if not episode.success}
    return {**content, "first_seed": HELD_OUT, "failures": failures}
