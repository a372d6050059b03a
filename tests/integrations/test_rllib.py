"""RLlib: its view of the environment is the environment's, and the example trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import smoke
from helpers import SMALL, assert_alike

import aloha_marl
from aloha_marl import AGENTS
from aloha_marl.integrations.rllib import AlohaEnv

SHORT: dict[str, Any] = {"max_cycles": 7, "reward": "dense", "credit": "individual", **SMALL}


@pytest.mark.parametrize("obs_type", ["state", "pixels_agent_pos"])
def test_it_is_the_environment(task: str, obs_type: str, rng: np.random.Generator) -> None:
    """Over several episodes everything is the same; both end at once."""
    options = SHORT | {"task": task, "obs_type": obs_type, "metrics": True}
    ours, theirs = AlohaEnv(options), aloha_marl.parallel_env(**options)
    assert ours.agents == ours.possible_agents == list(AGENTS)
    for agent in AGENTS:
        assert ours.observation_space[agent] == theirs.observation_space(agent)
        assert ours.action_space[agent] == theirs.action_space(agent)
    for seed in (3, None):
        assert_alike(ours.reset(seed=seed), theirs.reset(seed=seed))
        while theirs.agents:
            actions = {agent: rng.uniform(-1, 1, 7).astype(np.float32) for agent in AGENTS}
            seen, rewards, terminated, truncated, infos = ours.step(actions)
            assert terminated.pop("__all__") == all(terminated.values())
            assert truncated.pop("__all__") == all(truncated.values())
            want = theirs.step(actions)
            assert_alike((seen, rewards, terminated, truncated, infos), want)
        assert all(truncated.values())


def test_render(task: str) -> None:
    """A picture, which RLlib's own wrapper fails to give."""
    size = {"visualization_width": 32, "visualization_height": 24}
    env = AlohaEnv({"task": task, "render_mode": "rgb_array", **size})
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (24, 32, 3)
    env.close()


QUICK = ("--steps", "2000", "--num-envs", "2", "--runners", "0", "--episodes", "1")
QUICK += ("--batch", "1000", "--batch-size", "500")


def test_example_trains() -> None:
    """Its losses are finite, and every parameter of the policy moves."""
    train_rllib = smoke.example("rllib")
    arguments = train_rllib.parse(QUICK)
    algorithm = train_rllib.build(arguments)
    try:
        parameters = dict(algorithm.get_module("shared").named_parameters())
        before = {name: value.clone() for name, value in parameters.items()}
        assert before
        with train_rllib.training.Run("rllib", arguments) as run:
            train_rllib.train(algorithm, run)
        assert run.curve[-1]["steps"] == 2000
        assert all(math.isfinite(point["loss"]) for point in run.curve)
        for name, value in algorithm.get_module("shared").named_parameters():
            assert not before[name].equal(value), name
    finally:
        algorithm.stop()
        ray.shutdown()


def test_example_repeats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs in one process give the same curve, if Python's hashes are the same: RLlib uses sets."""
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    first, second = (smoke.run("rllib", tmp_path / str(i), *QUICK) for i in range(2))
    assert first["curve"] == second["curve"]
    assert first["evaluation"] == second["evaluation"]
    assert len(first["evaluation"]["episodes"]) == 1


def test_example_in_processes(tmp_path: Path) -> None:
    """It runs as its user runs it, with a process for the environments."""
    content = smoke.run("rllib", tmp_path, *QUICK, "--runners", "1")
    assert content["curve"][-1]["steps"] == 2000
    assert len(content["evaluation"]["episodes"]) == 1
