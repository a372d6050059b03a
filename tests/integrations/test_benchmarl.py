"""BenchMARL: its tasks are the environments, and the example acts as it learned."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import cloudpickle
import numpy as np
import pytest
import smoke
import torch
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, check_env_specs, set_exploration_type

import aloha_marl
from aloha_marl import AGENTS, TASKS
from aloha_marl.integrations.benchmarl import AlohaTask
from aloha_marl.integrations.torchrl import AlohaEnv

N = 3
SHORT: dict[str, Any] = {"max_cycles": 7, "reward": "dense"}


def made(task: str, seed: int, **options: Any) -> AlohaEnv:
    """The environments that BenchMARL makes of the task."""
    configured = AlohaTask[task.upper()].get_task(SHORT | options)
    return configured.get_env_fun(N, continuous_actions=True, seed=seed, device="cpu")()


def test_every_task_is_there() -> None:
    """Under its own name in capitals, as a BenchMARL task."""
    assert [member.name.lower() for member in AlohaTask] == list(TASKS)
    assert AlohaTask.INSERTION.get_task().max_steps(None) == 300
    assert AlohaTask.INSERTION.get_task(SHORT).max_steps(None) == 7
    assert AlohaTask.env_name() == "aloha_marl"


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(cloudpickle.dumps(it))])
def test_copies(copied: Callable[[Any], Any]) -> None:
    """A task makes the same environments after it was copied; so do their makers."""
    task = AlohaTask.INSERTION.get_task(SHORT)
    makers = [each.get_env_fun(N, True, 5, "cpu") for each in (task, copied(task))]
    seen = [make().reset() for make in (*makers, copied(makers[0]))]
    assert all((each == seen[0]).all() for each in seen)


def test_environments(task: str) -> None:
    """The rows of one batch, with the options and the seed that were asked for."""
    env = made(task, seed=5, scope="local")
    check_env_specs(env)
    env = made(task, seed=5, scope="local")
    seen = env.reset()["arms", "observation"]
    for row in range(N):
        single = aloha_marl.parallel_env(task, scope="local")
        want, _ = single.reset(seed=5 + row)
        for arm, agent in enumerate(AGENTS):
            np.testing.assert_array_equal(seen[row, arm], want[agent])


def test_specs(task: str) -> None:
    """Each output of the environments has its spec, without the rows."""
    configured, env = AlohaTask[task.upper()].get_task(SHORT), made(task, seed=0)
    played = env.rollout(3)[0, 0]
    for spec in (configured.observation_spec, configured.state_spec, configured.info_spec):
        keys = list(spec(env).keys(True, True))
        assert keys
        assert spec(env).is_in(played.select(*keys))
    assert list(configured.state_spec(env).keys()) == ["state"]
    assert list(configured.observation_spec(env).keys(True, True)) == [("arms", "observation")]
    assert configured.action_spec(env).is_in(played.select(("arms", "action")))
    assert configured.action_mask_spec(env) is None
    assert configured.group_map(env) == aloha_marl.GROUP_MAP


@pytest.mark.parametrize("algorithm", ["mappo", "ippo"])
def test_networks(algorithm: str) -> None:
    """They act as BenchMARL's policy does."""
    learner, _ = smoke.trained("train_benchmarl", *smoke.PPO, "--algorithm", algorithm)
    seen = learner.rows.observations()
    both = torch.from_numpy(np.stack([seen[agent] for agent in AGENTS], axis=1))
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        acted = learner.experiment.policy(TensorDict({"arms": {"observation": both}}, len(both)))
    for arm, (agent, network) in enumerate(zip(AGENTS, learner.networks(), strict=True)):
        np.testing.assert_allclose(network(seen[agent]), acted["arms", "action"][:, arm], atol=1e-5)


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "8192", "--num-envs", "16", "--rollout", "32", "--batch-size", "128")
    assert smoke.learned("train_benchmarl", monkeypatch, *arguments) > 0.1
