"""AgileRL: the example learns from the episodes as they were played."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import smoke
import torch
import train_agilerl

from aloha_marl import AGENTS


def test_ends_are_learned_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes begin where they do, and a time limit earns the value of the last observation."""
    cycles, gamma, value = 10, 0.5, 3.0
    monkeypatch.setitem(train_agilerl.training.OPTIONS, "max_cycles", cycles)
    arguments = train_agilerl.parse(
        ("--steps", "64", "--num-envs", "2", "--rollout", "32", "--gamma", str(gamma))
    )
    learner = train_agilerl.Learner(arguments)
    ippo = learner.ippo
    learned: list[Any] = []
    act = ippo.get_action

    def known_value(seen: Any) -> Any:
        *rest, values = act(seen)
        return *rest, {agent: np.full_like(of, value) for agent, of in values.items()}

    monkeypatch.setattr(ippo, "get_action", known_value)
    monkeypatch.setattr(ippo, "learn", lambda given: learned.append(given) or {"left_arm": 0.0})
    train_agilerl.train(learner, train_agilerl.training.Run("agilerl", arguments, learner))
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


def test_networks() -> None:
    """They act as AgileRL's do."""
    learner, _ = smoke.trained("train_agilerl", *smoke.PPO)
    for (agent, seen), network in zip(
        learner.rows.observations().items(), learner.networks(), strict=True
    ):
        actor = learner.ippo.actors[agent]
        with torch.no_grad():
            actor(torch.from_numpy(seen))
        np.testing.assert_allclose(network(seen), actor.head_net.dist.mu, atol=1e-5)
    learner.rows.close()


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "12288", "--num-envs", "16", "--learning-rate", "0.001")
    assert smoke.learned("train_agilerl", monkeypatch, *arguments, "--batch-size", "256") > 0.1
