"""XuanCe: the example's view of the environments is theirs."""

from __future__ import annotations

import numpy as np
import pytest
import smoke
import torch
import train_xuance
from rows import Rows

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE

SHORT = {"max_cycles": 7, "reward": "dense", "credit": "individual"}
N = 3


def test_rows_are_the_batch(task: str, rng: np.random.Generator) -> None:
    """Over several episodes all is the batch's; episodes end with their own last observations."""
    arms = train_xuance.Arms(Rows(task, N, **SHORT), seed=4)
    batch = AlohaVectorEnv(task, N, autoreset_mode="Disabled", **SHORT)
    arms.reset()
    batch.reset(seed=4)
    for step in range(1, 21):
        actions = rng.uniform(-1, 1, (len(AGENTS), N, ACTION_SIZE)).astype(np.float32)
        halves = dict(zip(AGENTS, actions, strict=True))
        rows = [{agent: halves[agent][row] for agent in AGENTS} for row in range(N)]
        seen, rewards, terminated, ended, infos = arms.step(rows)
        want, want_rewards, want_terminated, want_truncated, _ = batch.step(halves)
        over = want_truncated[AGENTS[0]]
        np.testing.assert_array_equal(ended, over)
        after = batch.reset()[0] if over.all() else None
        for row in range(N):
            for agent in AGENTS:
                np.testing.assert_array_equal(seen[row][agent], want[agent][row])
                assert rewards[row][agent] == want_rewards[agent][row]
                assert terminated[row][agent] == want_terminated[agent][row]
                if after is not None:
                    np.testing.assert_array_equal(infos[row]["reset_obs"][agent], after[agent][row])
        if after is not None:
            assert step % SHORT["max_cycles"] == 0


def test_networks() -> None:
    """They act as XuanCe's do."""
    learner, _ = smoke.trained("train_xuance", *smoke.PPO)
    for (agent, seen), network in zip(
        learner.rows.observations().items(), learner.networks(), strict=True
    ):
        with torch.no_grad():
            _, acted = learner.ippo.policy({agent: seen}, agent_key=agent)
        np.testing.assert_allclose(network(seen), acted[agent].deterministic_sample(), atol=1e-5)
    learner.rows.close()


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "12288", "--num-envs", "16", "--learning-rate", "0.003")
    assert smoke.learned("train_xuance", monkeypatch, *arguments, "--batch-size", "256") > 0.1
