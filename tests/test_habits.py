"""Habits of Gymnasium's and gym-aloha's users: limits, render modes, checkers, registries."""

from __future__ import annotations

import warnings
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import pytest
from gymnasium.utils.env_checker import check_env

import aloha_marl

IDS = [
    f"aloha_marl/{prefix}{task}-v0"
    for prefix in ("", "GymAloha")
    for task in ("TransferCube", "Insertion")
]
SMALL = {"observation_width": 16, "observation_height": 16}
every_id = pytest.mark.parametrize("env_id", IDS)


def steps(env: Any) -> tuple[int, dict[str, Any]]:
    """Control steps of an episode in which nothing moves, and its last infos."""
    env.reset(seed=0)
    for step in range(1, 1000):
        *_, terminated, truncated, infos = env.step(np.zeros(14, np.float32))
        if terminated or truncated:
            return step, infos
    raise AssertionError("no end")


@every_id
def test_limits(env_id: str) -> None:
    """``max_episode_steps`` wins, ``max_cycles`` may be less, and both can be asked for."""
    assert gymnasium.spec(env_id).max_episode_steps == 300
    for limits, want in (({}, 300), ({"max_episode_steps": 310}, 310), ({"max_cycles": 7}, 7)):
        env = gymnasium.make(env_id, obs_type="state", metrics=True, **limits)
        length, infos = steps(env)
        assert length == want
        assert infos["left_motion_share"] != 0.5, "no metrics at the end"
        many: Any = gymnasium.make_vec(env_id, num_envs=2, obs_type="state", **limits)
        assert many.call("_max_episode_steps") == (want, want)
    sync: Any = gymnasium.make_vec(env_id, num_envs=2, vectorization_mode="sync", obs_type="state")
    assert sync.call("_max_episode_steps") == (300, 300)
    for make in (gymnasium.make, gymnasium.make_vec):
        with pytest.raises(ValueError, match="pass max_episode_steps=400 instead"):
            make(env_id, obs_type="state", max_cycles=400)


def test_max_cycles_can_be_set() -> None:
    """It takes effect, in copies too, and a bad one is refused."""
    env = aloha_marl.parallel_env()
    env.max_cycles = 2
    assert aloha_marl.AlohaSingleAgent(env)._max_episode_steps == 2
    env.reset(seed=0)
    still = {agent: np.zeros(7) for agent in env.agents}
    assert [any(env.step(still)[3].values()) for _ in range(2)] == [False, True]
    with pytest.raises(ValueError, match="max_cycles"):
        env.max_cycles = 0
    assert env.max_cycles == 2


@every_id
def test_render_modes(env_id: str) -> None:
    """``rgb_array_list`` collects pictures; without a mode ``render()`` warns."""
    env = gymnasium.make(env_id, render_mode="rgb_array_list", **SMALL)
    env.reset(seed=0)
    env.step(env.action_space.sample())
    pictures: Any = env.render()
    assert [picture.shape for picture in pictures] == [(480, 640, 3)] * 2
    env.close()
    for make in (gymnasium.make, gymnasium.make_vec):
        plain = make(env_id, obs_type="state").unwrapped
        plain.reset(seed=0)
        with pytest.warns(UserWarning, match="render"):
            assert plain.render() is None


@every_id
def test_check_env(env_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Gymnasium's checker passes without a flag where there is no screen; it only advises."""
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    env = gymnasium.make(env_id, **SMALL).unwrapped
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_env(env)
    assert all("symmetric and normalized" in str(warning.message) for warning in told)
    monkeypatch.setenv("DISPLAY", ":0")
    assert "human" in gymnasium.make(env_id, **SMALL).unwrapped.metadata["render_modes"]


@pytest.mark.skipif(not hasattr(pettingzoo, "make"), reason="PettingZoo 1.26 has no registry")
def test_pettingzoo_ids(task: str) -> None:
    """Both kinds of environments are registered."""
    parallel: Any = pettingzoo.make("parallel", f"aloha_marl/{task}-v0", max_cycles=3)
    turns: Any = pettingzoo.make("aec", f"aloha_marl/{task}-v0", max_cycles=3)
    for env in (parallel, turns):
        env.reset(seed=0)
        assert env.agents == list(aloha_marl.AGENTS)
