"""Plots an episode over time: stage, rewards and grippers in strips below one another."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.arms import CONTROL_TIMESTEP, SIDES
from aloha_marl.evaluation.evaluator import Episode, environment, play
from aloha_marl.policies import Policy
from aloha_marl.tasks import SUCCESS, Task

_STYLES = ({"color": "tab:blue", "lw": 2.5}, {"color": "tab:orange", "lw": 1.5, "ls": "--"})
"""Of the left and the right arm; both stay visible where their lines coincide."""


_BESIDE: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5), "frameon": False}
"""Where a legend stands."""


def plot_episode(
    task: str | Task,
    policies: Mapping[str, Policy],
    seed: int,
    path: str | Path,
    **options: Any,
) -> Episode:
    """Plays one episode and writes its course as a picture, 900 pixels wide if it is a PNG.

    Args:
        task: a task or its name.
        policies: agent -> policy.
        seed: of the reset.
        path: of the picture, ending in ``.png`` or another format that matplotlib knows.
        **options: of the environment.

    Raises:
        ValueError: an unknown ending, option or value.
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    figure = figure_class()(figsize=(9, 7), layout="constrained")
    env = environment(task, policies, **options)
    stages, rewards, paid, openings = [], [], [], []

    def keep() -> None:
        core = env.core
        stages.append(int(core.stage[0]))
        # A reset is not rewarded.
        rewards.append(core.rewards[:, 0] if stages[1:] else np.full(len(SIDES), np.nan))
        paid.append(core.earned[0])
        openings.append(core.readings.gripper[0, :, 0].copy())

    episode = play(env, policies, seed, keep)
    env.close()
    time = np.arange(len(stages)) * CONTROL_TIMESTEP
    terms = env.core.terms
    heights = (4, *(2, 2)[: 2 if terms else 1], 3)
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
        _plot_rewards(middle[0], time, np.array(rewards))
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
    figure.suptitle(_title(env.task.name, episode), color="tab:green" if episode.success else "0.2")
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    return episode


def _plot_rewards(panel: Any, time: np.ndarray, rewards: np.ndarray) -> None:
    """Both arms' (t, 2) rewards."""
    for values, style in zip(rewards.T, _STYLES, strict=True):
        panel.step(time, values, where="post", **style)
    panel.set(ylabel="reward", ylim=(-0.25, max(1, np.nanmax(rewards)) + 0.25))
    panel.yaxis.get_major_locator().set_params(integer=True)


def _plot_terms(
    panels: list[Any], time: np.ndarray, paid: np.ndarray, terms: tuple[str, ...]
) -> None:
    """What the terms of a dense reward have (t, 2, T) paid so far, a panel per arm."""
    paid = paid - paid[0]
    for panel, side, levels in zip(panels, SIDES, np.moveaxis(paid, 1, 0), strict=True):
        panel.stackplot(time, levels.T, labels=terms, step="post", alpha=0.85)
        panel.set(ylabel=f"earned,\n{side} arm", ylim=(0, 1))
    handles, labels = panels[0].get_legend_handles_labels()
    panels[0].legend(handles[::-1], labels[::-1], fontsize=8, **_BESIDE)


def _title(task: str, episode: Episode) -> str:
    result = "success" if episode.success else "diverged" if episode.diverged else "no success"
    seconds = episode.steps * CONTROL_TIMESTEP
    return f"{task}, seed {episode.seed}: {result} after {episode.steps} steps, {seconds:.2f} s"


def figure_class() -> Any:
    """Matplotlib's ``Figure``.

    Raises:
        RuntimeError: matplotlib is missing; the message says how to install it.
    """
    try:
        # Not pyplot: that keeps every figure, and opens a window where there is a screen.
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise RuntimeError(
            f"no plots without {error.name}: pip install 'aloha_marl[cli]'"
        ) from error
    return Figure
