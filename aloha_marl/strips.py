"""Plots an episode over time: stage, rewards and grippers in strips below one another."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from aloha_marl.arms import CONTROL_TIMESTEP, SIDES
from aloha_marl.evaluation import Episode, environment, play
from aloha_marl.policies import Policy
from aloha_marl.tasks import SUCCESS, Task

_STYLES = ({"color": "tab:blue", "lw": 2.5}, {"color": "tab:orange", "lw": 1.5, "ls": "--"})
"""Of the left and the right arm; both stay visible where their lines coincide."""


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
    stages, rewards, openings = [], [], []

    def keep() -> None:
        core = env.core
        stages.append(int(core.stage[0]))
        # A reset is not rewarded.
        rewards.append(float(core.reward[0]) if stages[1:] else np.nan)
        openings.append(core.readings.gripper[0, :, 0].copy())

    episode = play(env, policies, seed, keep)
    env.close()
    time = np.arange(len(stages)) * CONTROL_TIMESTEP
    top, middle, bottom = panels = figure.subplots(3, 1, sharex=True, height_ratios=(4, 2, 3))

    top.step(time, stages, where="post", color="0.2", lw=2)
    top.set(ylabel="stage", yticks=range(SUCCESS + 1), ylim=(-0.25, SUCCESS + 0.4))
    for stage, meaning in enumerate(env.task.stages, start=1):
        place = {"transform": top.get_yaxis_transform(), "va": "center"}
        top.text(1.01, stage, textwrap.fill(meaning, 26), color="0.4", fontsize=8.5, **place)
    for values, side, style in zip(np.transpose(openings), SIDES, _STYLES, strict=True):
        middle.step(time, rewards, where="post", label=f"{side} arm", **style)
        bottom.plot(time, values, **style)
    middle.set(ylabel="reward", ylim=(-0.25, max(1, *rewards[1:]) + 0.25))
    middle.yaxis.get_major_locator().set_params(integer=True)
    middle.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
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
