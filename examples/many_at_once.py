"""Sixty-four hand-overs at once: the scripted experts act on whole batches of observations."""

from __future__ import annotations

import time

import numpy as np

import aloha_marl


def main() -> None:
    """Plays one episode in every row and counts the successes."""
    env = aloha_marl.AlohaVectorEnv("transfer_cube", num_envs=64, autoreset_mode="NextStep")
    arms = aloha_marl.policies.load("scripted", "transfer_cube")
    observations, _ = env.reset(seed=0)
    over = np.zeros(env.num_envs, bool)
    success = over.copy()
    steps = 0
    start = time.perf_counter()
    while not over.all():
        actions = {agent: arms[agent](observations[agent]) for agent in arms}
        observations, _, terminations, truncations, _ = env.step(actions)
        success |= terminations["left_arm"] & ~over
        over |= terminations["left_arm"] | truncations["left_arm"]
        steps += env.num_envs
    seconds = time.perf_counter() - start
    print(f"{success.sum()} of {env.num_envs} handed over; {steps / seconds:.0f} steps/s")
    env.close()


if __name__ == "__main__":
    main()
