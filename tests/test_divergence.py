"""When the physics blows up, the episode ends, finite and reported."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from helpers import POISON, flatten, make, sample


def finite(value: Any) -> bool:
    """Whether every number of nested results is finite."""
    return all(np.isfinite(array).all() for array in flatten(value))


@pytest.mark.parametrize("poison", POISON)
@pytest.mark.parametrize("where", [0, 9, 16])  # a joint of each arm, an object
@pytest.mark.parametrize("rules", ["strict", "gym_aloha"])
def test_poisoned_state(task: str, poison: str, where: int, rules: str) -> None:
    """A bad number anywhere truncates, is reported, and leaves the next episode clean."""
    env = make(task, rules=rules)
    clean = make(task, rules=rules)
    draw = np.random.default_rng(0)
    env.reset(seed=1)
    for _ in range(5):
        env.step(sample(env, draw))
    field, value = POISON[poison]
    getattr(env.data, field)[where] = value
    observations, rewards, terminations, truncations, infos = env.step(sample(env, draw))
    for agent in env.possible_agents:
        assert truncations[agent] is True
        assert terminations[agent] is False
        assert infos[agent]["diverged"] == 1
        assert infos[agent]["is_success"] == 0
        assert infos[agent]["stage"] == 0
        assert rewards[agent] == 0
        assert observations[agent] in env.observation_space(agent)
    assert finite(observations)
    assert finite(rewards)
    assert finite(env.state())
    assert env.agents == []
    draws = [np.random.default_rng(1) for _ in range(2)]
    np.testing.assert_array_equal(*(e.reset(seed=2)[0]["right_arm"] for e in (env, clean)))
    for _ in range(20):
        results = [e.step(sample(e, d)) for e, d in zip((env, clean), draws, strict=True)]
        assert results[0][4]["left_arm"]["diverged"] == 0
        for agent in env.possible_agents:
            np.testing.assert_array_equal(results[0][0][agent], results[1][0][agent])


@pytest.mark.slow
def test_unlimited_speed_reports_every_divergence(task: str) -> None:
    """Full-range jumps blow the dynamics up now and then; nothing bad is ever seen."""
    env = make(task, max_joint_speed=None)
    draw = np.random.default_rng(0)
    env.reset(seed=0)
    diverged = 0
    for _ in range(3000):
        observations, rewards, terminations, truncations, infos = env.step(sample(env, draw))
        assert finite(observations)
        assert finite(rewards)
        info = infos["left_arm"]
        bad = not (np.isfinite(env.data.qpos).all() and np.isfinite(env.data.qvel).all())
        assert not bad
        reset_by_mujoco = not np.isclose(
            env.data.time, round(env.core.progress.elapsed[0]) * 0.02, atol=1e-9
        )
        assert bool(info["diverged"]) == reset_by_mujoco
        diverged += bool(info["diverged"])
        if info["diverged"]:
            assert all(truncations.values())
            assert not any(terminations.values())
        if not env.agents:
            env.reset()
    assert 0 < diverged < 90


def test_default_speed_never_diverges(task: str) -> None:
    """The slew limit keeps the same actions stable."""
    env = make(task)
    draw = np.random.default_rng(0)
    env.reset(seed=0)
    for _ in range(3000):
        observations, *_, infos = env.step(sample(env, draw))
        assert finite(observations)
        assert infos["left_arm"]["diverged"] == 0
        if not env.agents:
            env.reset()
