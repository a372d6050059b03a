"""skrl: the example's view of the environments is theirs."""

from __future__ import annotations

import numpy as np
import pytest
import smoke
import torch
import train_skrl
from rows import Rows

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE

SHORT = {"max_cycles": 7, "reward": "dense", "credit": "individual"}
N = 3


def test_last_observations(task: str, rng: np.random.Generator) -> None:
    """Over several episodes all is the batch's; the infos hold the last observation of each episode."""
    rows = Rows(task, N, **SHORT)
    rows.reset(seed=4)
    arms = train_skrl.Arms(rows)
    batch = AlohaVectorEnv(task, N, autoreset_mode="Disabled", **SHORT)
    seen, _ = arms.reset()
    want, _ = batch.reset(seed=4)
    ended = 0
    for _ in range(20):
        for agent in AGENTS:
            np.testing.assert_array_equal(seen[agent], want[agent])
            np.testing.assert_array_equal(arms.state()[agent], batch.state())
        actions = rng.uniform(-1, 1, (len(AGENTS), N, ACTION_SIZE)).astype(np.float32)
        halves = dict(zip(AGENTS, actions, strict=True))
        seen, *outcome, infos = arms.step({a: torch.from_numpy(v) for a, v in halves.items()})
        want, *expected, _ = batch.step(halves)
        for agent in AGENTS:
            np.testing.assert_array_equal(infos["last"][agent], want[agent])
            for ours, theirs in zip(outcome, expected, strict=True):
                assert ours[agent].shape == (N, 1)
                np.testing.assert_array_equal(
                    ours[agent][:, 0], theirs[agent].astype(ours[agent].numpy().dtype)
                )
        over = expected[1][AGENTS[0]] | expected[2][AGENTS[0]]
        if over.any():
            ended += over.sum()
            want, _ = batch.reset(options={"reset_mask": over})
    assert ended == 2 * N


def test_networks() -> None:
    """They act as skrl's policies do."""
    learner, _ = smoke.trained("train_skrl", *smoke.PPO)
    seen = learner.env.reset()[0]
    with torch.no_grad():
        acted = learner.act(seen, learner.env.state(), timestep=0, timesteps=1)[1]
    for agent, network in zip(AGENTS, learner.networks(), strict=True):
        np.testing.assert_allclose(
            network(seen[agent].numpy()), acted[agent]["mean_actions"], atol=1e-5
        )


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "8192", "--num-envs", "16", "--rollout", "32", "--batch-size", "128")
    assert smoke.learned("train_skrl", monkeypatch, *arguments) > 0.1
