"""Measures how fast a Gymnasium environment steps for some seconds: a process of gym_aloha.py.

It runs in gym-aloha's own environment, too, so it needs nothing but Gymnasium and NumPy. When it has
warmed up it prints a line and waits for one, so that several can begin at the same time.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import json
import time
from typing import Any

import gymnasium
import numpy as np

PACKAGES = ("aloha_marl", "gym-aloha", "dm_control", "mujoco", "gymnasium", "numpy")


def main() -> None:
    """Makes the environment, warms up, waits and measures."""
    arguments = parse()
    env = gymnasium.make(arguments.env, **json.loads(arguments.options))
    actions = np.load(arguments.actions)
    env.reset(seed=0)
    step_for(arguments.warm_up, env, actions)
    print("ready", flush=True)
    input()
    speed = step_for(arguments.seconds, env, actions)
    env.close()
    print(json.dumps({**speed, "versions": versions()}))


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("env", help="MODULE:ID")
    add("options", help="of the environment, as JSON")
    add("actions", help="an episode of them, a .npy file")
    add("--seconds", type=float, default=5, help="that are timed")
    add("--warm-up", type=float, default=1, help="seconds before")
    return parser.parse_args()


def step_for(seconds: float, env: gymnasium.Env[Any, Any], actions: np.ndarray) -> dict[str, float]:
    """Steps for that long, and resets as episodes end.

    Returns:
        Steps per second, and steps per second that the processor worked for this process.
    """
    begun, worked = time.perf_counter(), time.process_time()
    spent = 0.0
    steps = 0
    cycle = itertools.cycle(actions)
    while spent < seconds:
        _, _, terminated, truncated, _ = env.step(next(cycle))
        if terminated or truncated:
            env.reset()
        steps += 1
        spent = time.perf_counter() - begun
    return {"per_second": steps / spent, "per_cpu_second": steps / (time.process_time() - worked)}


def versions() -> dict[str, str]:
    """Versions of the packages that are installed here."""
    installed = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
    return {name: installed[name] for name in PACKAGES if name in installed}


if __name__ == "__main__":
    main()
