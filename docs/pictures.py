"""Makes the pictures of this folder: the README's and one small film per task."""

from __future__ import annotations

from pathlib import Path

import imageio.v2 as imageio
import numpy as np

from aloha_marl import TASKS, policies
from aloha_marl.evaluation import environment, play
from aloha_marl.recording import record

FOLDER = Path(__file__).parent
SEED = 3
SIZE = {"visualization_width": 480, "visualization_height": 360}


def still(task: str) -> np.ndarray:
    """The episode when stage 3 is first reached: both arms at work."""
    arms = policies.load("scripted", task)
    env = environment(task, arms, render_mode="rgb_array", **SIZE)
    when = play(env, arms, SEED).first_steps[2]
    step, picture = -1, None

    def look() -> None:
        nonlocal step, picture
        step += 1
        if step == when:
            picture = env.render()

    play(env, arms, SEED, look)
    env.close()
    assert picture is not None, f"seed {SEED} does not reach stage 3 of {task}"
    return picture


def main() -> None:
    """Writes all pictures."""
    imageio.imwrite(FOLDER / "tasks.png", np.hstack([still(task) for task in TASKS]))
    for task in TASKS:
        record(task, policies.load("scripted", task), SEED, FOLDER / f"{task}.gif")


if __name__ == "__main__":
    main()
