"""How much of the raw physics speed is left after observations, rewards and the PettingZoo API.

Replays the same controls from the same start, in turns: through ``AlohaParallelEnv.step`` and through
``mujoco.mj_step(model, data, 10)`` alone. Prints the share of the raw speed that the environment
reaches, as the median over repeats. Also the time of a reset.
"""

from __future__ import annotations

import argparse
import statistics
import time

import mujoco
import numpy as np

from aloha_marl.parallel_env import AlohaParallelEnv
from aloha_marl.tasks import TASKS

STEPS = 100
RESETS = 10


def rollout_env(env: AlohaParallelEnv, actions: np.ndarray) -> tuple[float, np.ndarray]:
    """Seconds per step through the environment, and the controls it sent."""
    ctrl = np.empty((len(actions), env.model.nu))
    names = env.possible_agents
    spent = 0.0
    for row, action in zip(ctrl, actions, strict=True):
        pair = dict(zip(names, action, strict=True))
        start = time.perf_counter()
        env.step(pair)
        spent += time.perf_counter() - start
        row[:] = env.data.ctrl
    return spent / len(actions), ctrl


def rollout_raw(model: mujoco.MjModel, data: mujoco.MjData, ctrl: np.ndarray) -> float:
    """Seconds per control step of the physics alone."""
    spent = 0.0
    for row in ctrl:
        data.ctrl[:] = row
        start = time.perf_counter()
        mujoco.mj_step(model, data, 10)
        spent += time.perf_counter() - start
    return spent / len(ctrl)


def measure(task: str, repeats: int) -> tuple[float, float, float]:
    """Medians: share of the raw speed, steps/s, seconds per reset."""
    env = AlohaParallelEnv(task)
    rng = np.random.default_rng(0)
    model, data = env.model, mujoco.MjData(env.model)
    shares, speeds, resets = [], [], []
    for repeat in range(repeats):
        start = time.perf_counter()
        for _ in range(RESETS):
            env.reset()
        resets.append((time.perf_counter() - start) / RESETS)
        env.reset(seed=repeat)
        qpos = env.data.qpos.copy()
        home = np.append(env.data.ctrl[:6], 0.1)
        wave = 0.1 * np.sin(0.1 * np.arange(STEPS)[:, None, None] + rng.uniform(0, 6, (2, 7)))
        seconds, ctrl = rollout_env(env, home + wave)
        speeds.append(1 / seconds)
        mujoco.mj_resetData(model, data)
        data.qpos[:] = qpos
        mujoco.mj_forward(model, data)
        shares.append(rollout_raw(model, data, ctrl) / seconds)
    return statistics.median(shares), statistics.median(speeds), statistics.median(resets)


def main() -> None:
    """Measures every task and prints a row for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=60)
    repeats = parser.parse_args().repeats
    print(f"{'task':15} {'share of raw':>12} {'steps/s':>9} {'reset [us]':>11}")
    for task in TASKS:
        share, speed, reset = measure(task, repeats)
        print(f"{task:15} {share:12.3f} {speed:9.0f} {reset * 1e6:11.0f}")


if __name__ == "__main__":
    main()
