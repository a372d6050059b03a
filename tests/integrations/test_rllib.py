"""RLlib: its view of the environment is the environment's, and the example runs in processes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import learners
import numpy as np
import pytest
import ray
import smoke
import torch
import train_rllib
from helpers import SMALL, assert_alike

import aloha_marl
from aloha_marl import AGENTS
from aloha_marl.arms import ACTION_SIZE
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
    """It returns a picture, which RLlib's own wrapper does not."""
    size = {"visualization_width": 32, "visualization_height": 24}
    env = AlohaEnv({"task": task, "render_mode": "rgb_array", **size})
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (24, 32, 3)
    env.close()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(cloudpickle.dumps(it))])
def test_copies(copied: Callable[[Any], Any]) -> None:
    """A copy is a new one with the same options, whatever the original has done."""
    config: dict[str, Any] = {"task": "insertion", **SHORT}
    env, fresh = AlohaEnv(config), AlohaEnv(config)
    env.reset(seed=1)
    config["task"] = "transfer_cube"
    again = copied(env)
    env.close()
    assert_alike(again.reset(seed=3), fresh.reset(seed=3))
    actions = {agent: np.full(7, 0.3, np.float32) for agent in AGENTS}
    assert_alike(again.step(actions), fresh.step(actions))
    assert again.get_agent_ids() == fresh.get_agent_ids()


def test_example_in_processes(tmp_path: Path) -> None:
    """It runs as its user runs it, with a process for the environments."""
    content = smoke.run("train_rllib", tmp_path, *smoke.RLLIB, "--runners", "1")
    assert content["curve"][-1]["steps"] == 2000
    assert content["evaluation"]["summary"]["episodes"] == 1


@pytest.fixture
def processes() -> Iterator[None]:
    """Ends Ray's processes."""
    yield
    ray.shutdown()


class Early(AlohaEnv):
    """Every episode reaches stage 3 in its tenth step, and then falls back."""

    def step(self, action_dict: dict[str, np.ndarray]) -> tuple[Any, ...]:
        *results, infos = super().step(action_dict)
        stage = 3 if self.par_env.core.progress.elapsed[0] == 10 else 0
        return *results, {agent: info | {"stage": stage} for agent, info in infos.items()}


@pytest.mark.usefixtures("processes")
def test_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its episodes count by their highest stage, and the network acts as RLlib's policy does."""
    monkeypatch.setattr(train_rllib, "AlohaEnv", Early)
    learner, curve = smoke.trained("train_rllib", *smoke.RLLIB)
    assert [curve[-1][f"stage_{stage}"] for stage in range(1, 5)] == [1, 1, 1, 0]
    env = aloha_marl.parallel_env(**train_rllib.training.OPTIONS)
    seen = np.stack([*env.reset(seed=0)[0].values()])
    with torch.no_grad():
        means = learner.algorithm.get_module("shared").forward_inference(
            {"obs": torch.from_numpy(seen)}
        )["action_dist_inputs"][:, :ACTION_SIZE]
    np.testing.assert_allclose(learner.networks()[0](seen), means, atol=1e-5)


@pytest.mark.usefixtures("processes")
def test_checkpoint(tmp_path: Path) -> None:
    """It holds the networks, the optimizer and the number of steps."""
    file, arguments = tmp_path / "state.pt", train_rllib.parse(smoke.RLLIB)
    learner = train_rllib.Learner(arguments)
    learner.algorithm.train()
    saved = learner.state_dict()
    learners.save(file, learner=saved)
    learner.close()
    arguments.resume = True
    again = train_rllib.Learner(arguments)
    again.load_state_dict(learners.load(file)["learner"])
    for part in ("rl_module", "optimizer"):
        got, want = (each["learner_group"]["learner"][part] for each in (again.state_dict(), saved))
        assert_alike(got, want)
    assert again.algorithm.train()["num_env_steps_sampled_lifetime"] == 2000


@pytest.mark.usefixtures("processes")
def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "8000", "--num-envs", "8", "--runners", "0", "--learning-rate", "1e-3")
    arguments += ("--batch", "1000", "--batch-size", "250")
    assert smoke.learned("train_rllib", monkeypatch, *arguments) > 0.1
