"""AgileRL: the recipe trains, from what was played."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smoke

from aloha_marl import AGENTS

QUICK = ("--steps", "2048", "--num-envs", "4", "--episodes", "1", "--rollout", "128")


def test_ends_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes begin where they do, and a time limit earns the value of the last observation."""
    train_agilerl = smoke.example("agilerl")
    cycles, gamma, value = 10, 0.5, 3.0
    monkeypatch.setitem(train_agilerl.training.OPTIONS, "max_cycles", cycles)
    arguments = train_agilerl.parse(
        ("--steps", "64", "--num-envs", "2", "--rollout", "32", "--gamma", str(gamma))
    )
    ippo, env = train_agilerl.build(arguments)
    learned: list[Any] = []
    act = ippo.get_action

    def known_value(seen: Any) -> Any:
        *rest, values = act(seen)
        return *rest, {agent: np.full_like(of, value) for agent, of in values.items()}

    monkeypatch.setattr(ippo, "get_action", known_value)
    monkeypatch.setattr(ippo, "learn", lambda given: learned.append(given) or {"left_arm": 0.0})
    train_agilerl.train(ippo, env, train_agilerl.training.Run("agilerl", arguments))
    ((seen, actions, log_probs, rewards, begun, values, after, next_begun),) = learned
    for agent in AGENTS:
        for stored in (seen, actions, log_probs, rewards, begun, values):
            assert np.stack(stored[agent]).shape[:2] == (32, 2)
        starts = np.flatnonzero(np.stack(begun[agent])[:, 0])
        np.testing.assert_array_equal(starts, [cycles, 2 * cycles, 3 * cycles])
        earned = np.stack(rewards[agent])
        np.testing.assert_allclose(earned[starts - 1], gamma * value, atol=0.2)
        assert np.abs(np.delete(earned, starts - 1, axis=0)).max() < 0.2
        assert not next_begun[agent].any()
        assert np.isfinite(after[agent]).all()


def test_example_trains() -> None:
    """Its losses are finite, and every parameter of both arms' networks moves."""
    train_agilerl = smoke.example("agilerl")
    arguments = train_agilerl.parse(QUICK)
    ippo, env = train_agilerl.build(arguments)
    named = {
        f"{network} {name}": value
        for network in ("actors", "critics")
        for name, value in getattr(ippo, network).named_parameters()
    }
    assert all(any(f"s {agent}." in name for name in named) for agent in AGENTS)
    before = {name: value.clone() for name, value in named.items()}
    with train_agilerl.training.Run("agilerl", arguments) as run:
        train_agilerl.train(ippo, env, run)
    assert run.curve[-1]["steps"] == 2048
    assert all(math.isfinite(point["loss"]) for point in run.curve)
    for name, value in named.items():
        assert not before[name].equal(value), name


def test_example_repeats(tmp_path: Path) -> None:
    """Two runs with the same seed give the same curve and the same evaluation."""
    first, second = (smoke.run("agilerl", tmp_path / str(i), *QUICK) for i in range(2))
    assert first["curve"] == second["curve"]
    assert first["evaluation"] == second["evaluation"]
    assert len(first["evaluation"]["episodes"]) == 1
