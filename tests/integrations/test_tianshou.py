"""Tianshou: in the example each arm learns from its own steps."""

from __future__ import annotations

import numpy as np
import pytest
import smoke
import torch
import train_tianshou

from aloha_marl import AGENTS, AlohaVectorEnv

N = 3
STEPS = 20


def test_rows_are_the_arms(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples are the batch's, per arm, with the last observation of each episode."""
    cycles = 7
    monkeypatch.setitem(train_tianshou.training.OPTIONS, "max_cycles", cycles)
    options = ("--num-envs", str(N), "--rollout", str(STEPS), "--seed", "4")
    collector = train_tianshou.Learner(train_tianshou.parse(options)).collector
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


def test_networks() -> None:
    """They act as Tianshou's do."""
    learner, _ = smoke.trained("train_tianshou", *smoke.PPO)
    for (agent, seen), network in zip(
        learner.rows.observations().items(), learner.networks(), strict=True
    ):
        with torch.no_grad():
            (mean, _), _ = learner.algorithm.get_algorithm(agent).policy.actor(seen)
        np.testing.assert_allclose(network(seen), mean, atol=1e-5)
    learner.rows.close()


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "12288", "--num-envs", "16", "--learning-rate", "0.001")
    assert smoke.learned("train_tianshou", monkeypatch, *arguments, "--batch-size", "256") > 0.1
