"""Tianshou: the recipe trains, and each arm learns from its own steps."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import smoke

from aloha_marl import AGENTS, AlohaVectorEnv

QUICK = ("--steps", "2048", "--num-envs", "4", "--episodes", "1", "--rollout", "128")
N = 3
STEPS = 20


def test_rows_are_the_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is learned from is the batch's: of each arm, and the last observation of each episode."""
    train_tianshou = smoke.example("tianshou")
    cycles = 7
    monkeypatch.setitem(train_tianshou.training.OPTIONS, "max_cycles", cycles)
    options = ("--num-envs", str(N), "--rollout", str(STEPS), "--seed", "4")
    _, collector = train_tianshou.build(train_tianshou.parse(options))
    collector.collect(n_step=STEPS * N * len(AGENTS))
    rows, _ = collector.buffer.sample(0)
    batch = AlohaVectorEnv(
        "transfer_cube", N, autoreset_mode="Disabled", **train_tianshou.training.OPTIONS
    )
    seen, _ = batch.reset(seed=4)
    for step in range(STEPS):
        at = {
            agent: rows[np.arange(N) * STEPS + step + arm * N * STEPS]
            for arm, agent in enumerate(AGENTS)
        }
        after, rewards, terminated, truncated, _ = batch.step(
            {agent: at[agent].act for agent in AGENTS}
        )
        for arm, agent in enumerate(AGENTS):
            assert set(at[agent].obs.agent_id) == {agent}
            np.testing.assert_array_equal(at[agent].obs.obs, seen[agent])
            np.testing.assert_array_equal(at[agent].obs_next.obs, after[agent])
            np.testing.assert_array_equal(at[agent].rew[:, arm], rewards[agent])
            np.testing.assert_array_equal(at[agent].terminated, terminated[agent])
            np.testing.assert_array_equal(at[agent].truncated, truncated[agent])
        seen = after
        if truncated[AGENTS[0]].all():
            assert step % cycles == cycles - 1
            seen, _ = batch.reset()


def test_example_trains() -> None:
    """Its losses are finite, and every parameter of both arms' networks moves."""
    train_tianshou = smoke.example("tianshou")
    arguments = train_tianshou.parse(QUICK)
    algorithm, collector = train_tianshou.build(arguments)
    named = {
        f"{agent} {name}": value
        for agent in AGENTS
        for name, value in algorithm.get_algorithm(agent).named_parameters()
    }
    before = {name: value.clone() for name, value in named.items()}
    assert len(before) == len(AGENTS) * (7 + 6)
    with train_tianshou.training.Run("tianshou", arguments) as run:
        train_tianshou.train(algorithm, collector, run)
    assert run.curve[-1]["steps"] == 2048
    assert all(math.isfinite(point["loss"]) for point in run.curve)
    for name, value in named.items():
        assert not before[name].equal(value), name


def test_example_repeats(tmp_path: Path) -> None:
    """Two runs with the same seed give the same curve and the same evaluation."""
    first, second = (smoke.run("tianshou", tmp_path / str(i), *QUICK) for i in range(2))
    assert first["curve"] == second["curve"]
    assert first["evaluation"] == second["evaluation"]
    assert len(first["evaluation"]["episodes"]) == 1
