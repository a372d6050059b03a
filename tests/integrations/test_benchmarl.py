"""BenchMARL: its tasks are the environments, and the example trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smoke
import torch
from torchrl.envs.utils import check_env_specs

import aloha_marl
from aloha_marl import AGENTS, TASKS
from aloha_marl.integrations.benchmarl import AlohaTask
from aloha_marl.integrations.torchrl import AlohaEnv

N = 3
SHORT: dict[str, Any] = {"max_cycles": 7, "reward": "dense"}


def made(task: str, seed: int, **options: Any) -> AlohaEnv:
    """What BenchMARL has the task make."""
    configured = AlohaTask[task.upper()].get_task(SHORT | options)
    return configured.get_env_fun(N, continuous_actions=True, seed=seed, device="cpu")()


def test_every_task_is_there() -> None:
    """Under its own name in capitals, as a BenchMARL task."""
    assert [member.name.lower() for member in AlohaTask] == list(TASKS)
    assert AlohaTask.INSERTION.get_task().max_steps(None) == 300
    assert AlohaTask.INSERTION.get_task(SHORT).max_steps(None) == 7
    assert AlohaTask.env_name() == "aloha_marl"


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
    """Each part of what the environments give has its place, without the rows."""
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


QUICK = ("--steps", "2048", "--num-envs", "4", "--episodes", "1", "--rollout", "128")


@pytest.mark.parametrize("algorithm", ["mappo", "ippo"])
@pytest.mark.filterwarnings("ignore:No episode terminated this iteration:UserWarning")
def test_example_trains(algorithm: str, tmp_path: Path) -> None:
    """Its losses are finite, and every parameter of actors and critics moves."""
    train_benchmarl = smoke.example("benchmarl")
    arguments = train_benchmarl.parse([*QUICK, "--algorithm", algorithm, "--out", str(tmp_path)])
    experiment = train_benchmarl.build(arguments)
    losses = experiment.losses["arms"]
    before = {name: value.clone() for name, value in losses.named_parameters()}
    assert before
    run = train_benchmarl.training.Run("benchmarl", arguments)
    train_benchmarl.train(experiment, run)
    assert run.curve[-1]["steps"] <= 2048
    assert all(math.isfinite(point["loss"]) for point in run.curve)
    for name, value in losses.named_parameters():
        assert not before[name].equal(value), name
    # One arm at a time acts as both do together.
    seen = torch.randn(1, len(AGENTS), 59)
    with (
        torch.no_grad(),
        train_benchmarl.set_exploration_type(train_benchmarl.ExplorationType.DETERMINISTIC),
    ):
        both = experiment.policy(train_benchmarl.TensorDict({"arms": {"observation": seen}}, 1))
    for arm in range(len(AGENTS)):
        acted = train_benchmarl.act(experiment.policy, arm, seen[0, arm].numpy())
        np.testing.assert_allclose(acted, both["arms", "action"][0, arm], atol=1e-6)


def test_example_repeats(tmp_path: Path) -> None:
    """Two runs with the same seed give the same curve and the same evaluation."""
    first, second = (smoke.run("benchmarl", tmp_path / str(i), *QUICK) for i in range(2))
    assert first["curve"] == second["curve"]
    assert first["evaluation"] == second["evaluation"]
    assert len(first["evaluation"]["episodes"]) == 1
