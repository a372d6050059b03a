"""Does memory stay flat? Random steps of a few and of a thousand environments, with their episodes.

Prints the resident memory of the process along the way, and at the end by how much it has grown since
the first tenth.
"""

from __future__ import annotations

import argparse

import psutil

from aloha_marl import TASKS, AlohaVectorEnv


def megabytes() -> float:
    """Resident memory of this process."""
    return psutil.Process().memory_info().rss / 1e6


def soak(task: str, num_envs: int, steps: int) -> float:
    """Steps with random actions; returns the growth since the first tenth, as a share."""
    env = AlohaVectorEnv(task, num_envs)
    env.reset(seed=0)
    box = env.action_space(env.possible_agents[0])
    sizes = []
    for _ in range(10):
        for _ in range(steps // 10):
            env.step({agent: box.sample() for agent in env.possible_agents})
        sizes.append(megabytes())
    env.close()
    growth = sizes[-1] / sizes[0] - 1
    print(
        f"{task}, {num_envs} environments, {steps} steps: {sizes[0]:.1f} MB after a tenth, "
        f"{sizes[-1]:.1f} MB at the end, at most {max(sizes):.1f} MB ({growth:+.2%})",
        flush=True,
    )
    return growth


def main() -> None:
    """Soaks every task; exits with an error if memory has grown by more than 2 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=100_000, help="steps of 4 environments")
    parser.add_argument("--many", type=int, default=300, help="steps of 1,024 environments")
    arguments = parser.parse_args()
    growths = []
    for task in TASKS:
        growths.append(soak(task, 1024, arguments.many))
        growths.append(soak(task, 4, arguments.few))
    if max(growths) > 0.02:
        raise SystemExit("memory has grown by more than 2 %")


if __name__ == "__main__":
    main()
