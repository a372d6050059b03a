"""What stands beside dm_control and dm_env: the adapter, named access, a line of our own."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

import mujoco
import numpy as np
import pytest
from helpers import TASK_NAMES, make, recorded, sample

import aloha_marl
from aloha_marl.tasks.stages import closeness

if sys.version_info >= (3, 13):
    pytest.skip("dm_control can't be installed here", allow_module_level=True)

import dm_env
from absl.testing import absltest
from dm_control.utils import rewards
from dm_env import specs, test_utils

from aloha_marl.envs.dm_env import AlohaDmEnv

READS = int(mujoco.__version__.split(".")[0]) < 4
"""Whether dm_control can read a model of this MuJoCo."""


def single(task: str, obs_type: str = "state", **options: Any) -> aloha_marl.AlohaSingleAgent:
    """A merged environment with small pictures."""
    return aloha_marl.AlohaSingleAgent(make(task, **options), obs_type=obs_type)


def test_closeness() -> None:
    """It is dm_control's ``tolerance`` with a long tail."""
    distances = np.concatenate((np.linspace(0, 3, 1001), [10, 1e6]))
    expected = rewards.tolerance(distances, (0, 0), margin=1, sigmoid="long_tail")
    np.testing.assert_allclose(closeness(distances), expected, rtol=1e-15)


@pytest.mark.skipif(not READS, reason="dm_control can't read a model of this MuJoCo")
def test_dm_control_physics(task: str) -> None:
    """``physics`` is named access to the live model and data, not a copy."""
    env = make(task)
    env.reset(seed=0)
    view = env.physics
    assert view is env.physics
    draw = np.random.default_rng(0)
    for _ in range(3):
        env.step(sample(env, draw))
        np.testing.assert_array_equal(view.data.qpos, env.data.qpos)
        for i, side in enumerate(("left", "right")):
            assert view.named.data.qpos[f"{side}/waist"] == env.data.qpos[8 * i]
            site = env.data.site(f"{side}/tcp").xpos
            np.testing.assert_array_equal(view.named.data.site_xpos[f"{side}/tcp"], site)
    assert np.shares_memory(view.data.qpos, env.data.qpos)
    assert view.model.nq == env.model.nq


@pytest.mark.skipif(READS, reason="dm_control reads models of this MuJoCo")
def test_unreadable_physics(task: str) -> None:
    """The error names both versions, for the adapter too."""
    versions = f"dm_control {metadata.version('dm_control')} .* mujoco {mujoco.__version__}"
    for env in (make(task), AlohaDmEnv(single(task))):
        with pytest.raises(RuntimeError, match=versions):
            _ = env.physics


class DmConformance(test_utils.EnvironmentTestMixin, absltest.TestCase):
    """dm_env's own test of an environment."""

    def make_object_under_test(self) -> AlohaDmEnv:
        """A short episode, so that its end is met."""
        return AlohaDmEnv(single(TASK_NAMES[0], max_cycles=20), seed=0)

    def make_action_sequence(self) -> Any:
        """Valid actions, past the end of the episode."""
        space = self.environment.action_spec()
        draw = np.random.default_rng(0)
        for _ in range(50):
            yield draw.uniform(space.minimum, space.maximum).astype(space.dtype)


def test_dm_env_specs(task: str) -> None:
    """Specs are the spaces, and what comes out conforms to them."""
    for obs_type in ("state", "environment_state_agent_pos", "pixels_agent_pos"):
        env = AlohaDmEnv(single(task, obs_type, max_cycles=4), seed=1)
        spec = env.action_spec()
        assert isinstance(spec, specs.BoundedArray)
        assert spec.shape == (14,)
        draw = np.random.default_rng(0)
        step = env.reset()
        assert step.first()
        assert step.reward is None
        count = 0
        while not step.last():
            validate(step.observation, env.observation_spec())
            step = env.step(draw.uniform(spec.minimum, spec.maximum).astype(np.float32))
            count += 1
        assert count == 4
        assert step.discount == 1  # out of time, not a failure
        assert env.step(np.zeros(14, np.float32)).first()
        env.close()


def validate(value: Any, spec: Any) -> None:
    """Checks nested observations, key by key."""
    if isinstance(spec, dict):
        assert value.keys() == spec.keys()
        for key, part in spec.items():
            validate(value[key], part)
    else:
        spec.validate(value)


def test_dm_env_discount_on_success() -> None:
    """Success has discount 0."""
    env = AlohaDmEnv(
        single(
            "transfer_cube",
            rules="gym_aloha",
            start="gym_aloha",
            max_joint_speed=None,
            max_cycles=900,
        ),
        seed=1,
    )
    step = env.reset()
    for action in recorded("b_transfer_1")["actions"]:
        step = env.step(action)
        if step.last():
            break
    assert step.step_type is dm_env.StepType.LAST
    assert step.discount == 0
    assert step.reward == 4


def test_dm_env_seed(task: str) -> None:
    """The seed decides the first episode, and the stream goes on from it."""
    runs = []
    for _ in range(2):
        env = AlohaDmEnv(single(task), seed=5)
        runs.append([env.reset().observation["observation"] for _ in range(3)])
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0][0], runs[0][1])
