"""Plots of an episode over time, played or recorded, and of cross-play as a heat map."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.arms import CONTROL_TIMESTEP, JOINTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.datasets import Episode as Recording
from aloha_marl.evaluation import Crossplay, Episode, environment, play
from aloha_marl.files import atomic, check_writable
from aloha_marl.policies import Policies
from aloha_marl.tasks import SUCCESS, TaskLike

_STYLES = ({"color": "tab:blue", "lw": 2.5}, {"color": "tab:orange", "lw": 1.5, "ls": "--"})
"""Line styles of the two arms, which stay distinguishable where the lines coincide."""

_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
"""Placement of a legend beside its panel."""


def plot_episode(
    task: TaskLike,
    policies: Policies,
    seed: int,
    path: str | Path,
    **options: Any,
) -> Episode:
    """Plays one episode and plots stage, rewards and grippers over time; a PNG is 900 pixels wide.

    Args:
        task: a task or its name.
        policies: agent -> policy, or one of both arms.
        seed: seed of the reset.
        path: path of the picture, ending in ``.png`` or another format that matplotlib knows.
        **options: options of the environment.

    Raises:
        ValueError: an unknown ending, option or value.
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    figure = _figure((9, 7), path)
    env = environment(task, policies, **options)
    stages, rewards, paid, openings = [], [], [], []

    def keep() -> None:
        core = env.core
        stages.append(int(core.progress.stage[0]))
        # A reset is not rewarded.
        rewards.append(core.rewards[0] if stages[1:] else np.full(len(SIDES), np.nan))
        paid.append(core.progress.earned[0])
        openings.append(core.readings.gripper[0, :, 0].copy())

    episode = play(env, policies, seed, keep)
    env.close()
    time = np.arange(len(stages)) * CONTROL_TIMESTEP
    terms = env.core.terms
    heights = (4, 2, 2, 3) if terms else (4, 2, 3)
    panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    top, *middle, bottom = panels

    top.step(time, stages, where="post", color="0.2", lw=2)
    top.set(ylabel="stage", yticks=range(SUCCESS + 1), ylim=(-0.25, SUCCESS + 0.4))
    for stage, meaning in enumerate(env.task.stages, start=1):
        place = {"transform": top.get_yaxis_transform(), "va": "center"}
        top.text(1.01, stage, textwrap.fill(meaning, 26), color="0.4", fontsize=8.5, **place)
    for values, side, style in zip(np.transpose(openings), SIDES, _STYLES, strict=True):
        bottom.plot(time, values, label=f"{side} arm", **style)
    bottom.legend(**_BESIDE)
    if terms:
        _plot_terms(middle, time, np.array(paid), terms)
    else:
        for values, style in zip(np.transpose(rewards), _STYLES, strict=True):
            middle[0].step(time, values, where="post", **style)
        middle[0].set(ylabel="reward", ylim=(-0.25, max(1, np.nanmax(rewards)) + 0.25))
        middle[0].yaxis.get_major_locator().set_params(integer=True)
    # A gripper may be pushed wider than its actuator opens it.
    bottom.set(ylim=(-0.05, max(1.0, np.nanmax(openings)) + 0.05), xlabel="time [s]")
    bottom.set(ylabel="gripper, measured\n(0 closed, 1 open)")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.02)
        if episode.success:
            panel.axvline(time[-1], color="tab:green", zorder=1)
    if episode.success:
        top.plot(time[-1], SUCCESS, "o", color="tab:green", ms=8)
    result = "success" if episode.success else "diverged" if episode.diverged else "no success"
    title = f"{env.task.name}, seed {seed}: {result} after {episode.steps} steps, {time[-1]:.2f} s"
    figure.suptitle(title, color="tab:green" if episode.success else "0.2")
    _save(figure, path)
    return episode


def _plot_terms(
    panels: list[Any], time: np.ndarray, paid: np.ndarray, terms: tuple[str, ...]
) -> None:
    """Plots the sums (t, 2, T) that the T terms of a dense reward have paid, a panel per arm."""
    for panel, side, levels in zip(panels, SIDES, np.moveaxis(paid - paid[0], 1, 0), strict=True):
        panel.stackplot(time, levels.T, labels=terms, step="post", alpha=0.85)
        panel.set(ylabel=f"earned,\n{side} arm", ylim=(0, 1))
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].legend(handles[::-1], labels[::-1], fontsize=8, **_BESIDE)


def plot_recording(recording: Recording, path: str | Path) -> None:
    """Plots a recorded episode: stage, joints and grippers, measured and commanded (dotted).

    Args:
        recording: the episode.
        path: path of the picture, ending in ``.png`` or another format that matplotlib knows.

    Raises:
        ValueError: an unknown ending, or a damaged recording.
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    figure = _figure((9, 8), path)
    time = np.arange(len(recording)) * CONTROL_TIMESTEP
    moves = {"-": recording["qpos"], ":": recording["action"]}
    stages = None if recording.is_foreign else recording["stage"]
    panels = figure.subplots(len(SIDES) + 1 + (stages is not None), 1, sharex=True)
    *above, grippers = panels
    if stages is not None:
        panel = above.pop(0)
        panel.step(time + CONTROL_TIMESTEP, stages, where="post", color="0.2", lw=2)
        panel.set(ylabel="stage", yticks=range(SUCCESS + 1), ylim=(-0.25, SUCCESS + 0.4))
    for style, values in moves.items():
        arms = np.split(values, len(SIDES), axis=1)
        for arm, side, panel, line in zip(arms, SIDES, above, _STYLES, strict=True):
            panel.set_prop_cycle(None)  # both of a joint have one colour
            panel.plot(time, arm[:, : len(JOINTS)], style, label=JOINTS if style == "-" else None)
            panel.set(ylabel=f"{side} arm,\njoints [rad]")
            label = f"{side} arm" if style == "-" else None
            grippers.plot(time, arm[:, -1], **(line | {"ls": style, "label": label}))
    above[0].legend(fontsize=8, **_BESIDE)
    grippers.legend(**_BESIDE)
    grippers.set(ylabel="gripper\n(0 closed, 1 open)", xlabel="time [s]")
    for panel in panels:
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
        panel.margins(x=0.02)
    figure.suptitle(recording.path.name)
    _save(figure, path)


def draw_heat_map(result: Crossplay, path: str | Path) -> None:
    """Draws the success rates of all pairs, with the means of rows and columns.

    Args:
        result: the result of one task.
        path: path of the picture, ending in ``.png`` or another format that matplotlib knows.

    Raises:
        ValueError: an unknown ending.
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    n = len(result.names)
    figure = _figure((max(5.5, 3 + 0.62 * n), 2.4 + 0.62 * n), path)  # a cell is 0.62 inches wide
    axes = figure.subplots()
    edges = np.array([*range(n + 1), n + 0.25, n + 1.25])  # a gap before the means
    percent = np.full((n + 2, n + 2), np.nan)  # NaN in the gap
    percent[:n, :n] = 100 * result.rates
    percent[:n, -1], percent[-1, :n] = percent[:n, :n].mean(axis=1), percent[:n, :n].mean(axis=0)
    percent[-1, -1] = percent[:n, :n].mean()
    # Cividis is legible with any kind of colour blindness.
    style = {"cmap": "cividis", "vmin": 0, "vmax": 100, "lw": 1, "ec": "white"}
    mesh = axes.pcolormesh(edges, edges, percent, **style)
    middles = (edges[:-1] + edges[1:]) / 2
    for (i, j), value in np.ndenumerate(percent):
        if not math.isnan(value):
            style = {"ha": "center", "va": "center", "color": "white" if value < 50 else "black"}
            style["weight"] = "bold" if i == j < n else "normal"
            axes.text(middles[j], middles[i], f"{value:.0f}", **style)
    shown = [*range(n), n + 1]
    labels = [*result.labels, "mean"]
    axes.set_xticks(middles[shown], labels, rotation=40, ha="left", rotation_mode="anchor")
    axes.set_yticks(middles[shown], labels)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.invert_yaxis()
    axes.set(aspect="equal", xlabel=f"{SIDES[1]} arm", ylabel=f"{SIDES[0]} arm")
    axes.xaxis.set_label_position("top")
    bar = figure.colorbar(mesh, shrink=0.6, label=f"success [%] of {len(result.seeds)} episodes")
    bar.outline.set_visible(False)
    figure.suptitle(f"{result.task}\n{result.summary()}")
    _save(figure, path)


def _save(figure: Any, path: str | Path) -> None:
    with atomic(path) as aside:
        figure.savefig(aside, dpi=100)


def _figure(size: tuple[float, float], path: str | Path) -> Any:
    """A figure of this size [inches] that can be written to this path.

    Raises:
        ValueError: an unknown ending.
        OSError: nothing can be written there.
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    try:
        # Not pyplot: that keeps every figure, and opens a window where there is a screen.
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"no plots without {error.name}: pip install 'aloha_marl[cli]'"
        ) from error
    figure = Figure(figsize=size, layout="constrained")
    ending = Path(path).suffix.removeprefix(".")
    choose("picture format", ending, figure.canvas.get_supported_filetypes())
    check_writable(path)
    return figure
