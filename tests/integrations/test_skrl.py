"""skrl: the recipe trains, and its view of the environments is theirs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import smoke
import torch

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE

QUICK = ("--steps", "2048", "--num-envs", "4", "--episodes", "1", "--rollout", "128")
SHORT = {"max_cycles": 7, "reward": "dense", "credit": "individual"}
N = 3


def test_last_observations(task: str, rng: np.random.Generator) -> None:
    """Over several episodes all is the batch's; the infos hold the last observation of each episode."""
    arms = smoke.example("skrl").Arms(AlohaVectorEnv(task, N, **SHORT), seed=4)
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


def test_example_trains() -> None:
    """Its losses are finite, and every parameter of both arms' networks moves."""
    train_skrl = smoke.example("skrl")
    arguments = train_skrl.parse(QUICK)
    trainer = train_skrl.build(arguments)
    models = trainer.agents.models
    named = {
        f"{agent} {model} {name}": value
        for agent in AGENTS
        for model in ("policy", "value")
        for name, value in models[agent][model].named_parameters()
    }
    before = {name: value.clone() for name, value in named.items()}
    assert len(before) == len(AGENTS) * (7 + 6)
    with train_skrl.training.Run("skrl", arguments) as run:
        train_skrl.train(trainer, run)
    assert run.curve[-1]["steps"] == 2048
    assert all(math.isfinite(point["loss"]) for point in run.curve)
    for name, value in named.items():
        assert not before[name].equal(value), name


def test_example_repeats(tmp_path: Path) -> None:
    """Two runs with the same seed give the same curve and the same evaluation."""
    first, second = (smoke.run("skrl", tmp_path / str(i), *QUICK) for i in range(2))
    assert first["curve"] == second["curve"]
    assert first["evaluation"] == second["evaluation"]
    assert len(first["evaluation"]["episodes"]) == 1
