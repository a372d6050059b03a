"""XuanCe: the example's view of the environments is theirs."""

from __future__ import annotations

import numpy as np
import train_xuance

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE

SHORT = {"max_cycles": 7, "reward": "dense", "credit": "individual"}
N = 3


def test_rows_are_the_batch(task: str, rng: np.random.Generator) -> None:
    """Over several episodes all is the batch's; episodes end with their own last observations."""
    arms = train_xuance.Arms(AlohaVectorEnv(task, N, **SHORT), seed=4)
    batch = AlohaVectorEnv(task, N, autoreset_mode="Disabled", **SHORT)
    arms.reset()
    batch.reset(seed=4)
    earned = dict.fromkeys(AGENTS, 0.0)
    for step in range(1, 21):
        actions = rng.uniform(-1, 1, (len(AGENTS), N, ACTION_SIZE)).astype(np.float32)
        halves = dict(zip(AGENTS, actions, strict=True))
        rows = [{agent: halves[agent][row] for agent in AGENTS} for row in range(N)]
        seen, rewards, terminated, ended, infos = arms.step(rows)
        want, want_rewards, want_terminated, want_truncated, _ = batch.step(halves)
        earned = {agent: earned[agent] + want_rewards[agent] for agent in AGENTS}
        over = want_truncated[AGENTS[0]]
        np.testing.assert_array_equal(ended, over)
        after = batch.reset()[0] if over.all() else None
        for row in range(N):
            assert infos[row]["episode_step"] == (step - 1) % SHORT["max_cycles"] + 1
            for agent in AGENTS:
                np.testing.assert_array_equal(seen[row][agent], want[agent][row])
                assert rewards[row][agent] == want_rewards[agent][row]
                assert terminated[row][agent] == want_terminated[agent][row]
                assert infos[row]["episode_score"][agent] == earned[agent][row]
                if after is not None:
                    np.testing.assert_array_equal(infos[row]["reset_obs"][agent], after[agent][row])
        if after is not None:
            assert step % SHORT["max_cycles"] == 0
            earned = dict.fromkeys(AGENTS, 0.0)
