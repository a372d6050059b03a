"""XuanCe: the recipe trains, and its view of the environments is theirs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import smoke

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE

QUICK = ("--steps", "2048", "--num-envs", "4", "--episodes", "1", "--rollout", "128")
SHORT = {"max_cycles": 7, "reward": "dense", "credit": "individual"}
N = 3


def test_rows_are_the_batch(task: str, rng: np.random.Generator) -> None:
    """Over several episodes all is the batch's; episodes end with their own last observations."""
    arms = smoke.example("xuance").Arms(AlohaVectorEnv(task, N, **SHORT), seed=4)
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


def test_example_trains() -> None:
    """Its losses are finite, and every parameter of both arms' networks moves."""
    train_xuance = smoke.example("xuance")
    arguments = train_xuance.parse(QUICK)
    ippo = train_xuance.build(arguments)
    named = dict(ippo.policy.named_parameters())
    assert all(any(agent in name for name in named) for agent in AGENTS)
    before = {name: value.clone() for name, value in named.items()}
    run = train_xuance.training.Run("xuance", arguments)
    train_xuance.train(ippo, run)
    assert run.curve[-1]["steps"] == 2048
    assert all(math.isfinite(point["loss"]) for point in run.curve)
    for name, value in named.items():
        assert not before[name].equal(value), name


def test_example_repeats(tmp_path: Path) -> None:
    """Two runs with the same seed give the same curve and the same evaluation."""
    first, second = (smoke.run("xuance", tmp_path / str(i), *QUICK) for i in range(2))
    assert first["curve"] == second["curve"]
    assert first["evaluation"] == second["evaluation"]
    assert len(first["evaluation"]["episodes"]) == 1
