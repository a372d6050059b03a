"""Closed-form kinematics against MuJoCo and against itself."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

import aloha_marl
from aloha_marl import kinematics
from aloha_marl.arms import JOINT_LIMITS, JOINTS, SIDES


@pytest.fixture(scope="module")
def joints() -> np.ndarray:
    """(10000, 6) joint angles all over the joints' ranges."""
    model = aloha_marl.parallel_env("transfer_cube").model
    low, high = model.jnt_range[: len(JOINTS)].T
    return np.random.default_rng(0).uniform(low, high, (10_000, len(JOINTS)))


@pytest.mark.parametrize("side", SIDES)
def test_joint_limits_are_the_models(side: str) -> None:
    """The limits known without a model are those of its joints."""
    model = aloha_marl.parallel_env("transfer_cube").model
    for name, limits in zip(JOINTS, JOINT_LIMITS, strict=True):
        assert tuple(model.joint(f"{side}/{name}").range) == limits


@pytest.mark.parametrize("side", SIDES)
def test_forward_equals_mujoco(side: str, joints: np.ndarray) -> None:
    """The tool centre point in the base frame is where MuJoCo puts it."""
    env = aloha_marl.parallel_env("transfer_cube")
    model, data = env.model, env.data
    address = model.joint(f"{side}/waist").qposadr[0]
    for row in joints[:300]:
        data.qpos[address : address + len(JOINTS)] = row
        mujoco.mj_kinematics(model, data)
        base, tcp = data.body(f"{side}/base"), data.site(f"{side}/tcp")
        turn = base.xmat.reshape(3, 3)
        position, rotation = kinematics.forward(row)
        np.testing.assert_allclose(position, turn.T @ (tcp.xpos - base.xpos), atol=1e-12)
        np.testing.assert_allclose(rotation, turn.T @ tcp.xmat.reshape(3, 3), atol=1e-12)


def test_inverse_reaches_every_pose(joints: np.ndarray) -> None:
    """Poses that come from joints are met to 1e-9, from one row or from many."""
    position, rotation = kinematics.forward(joints)
    solved, within_reach = kinematics.inverse(position, rotation)
    assert within_reach.all()
    again, turned = kinematics.forward(solved)
    np.testing.assert_allclose(again, position, atol=1e-9)
    np.testing.assert_allclose(turned, rotation, atol=1e-9)
    single, _ = kinematics.inverse(position[7], rotation[7])
    np.testing.assert_array_equal(single, solved[7])


def test_inverse_stays_near(joints: np.ndarray) -> None:
    """With a reference, the wrist bends the way that turns the forearm less away from it."""
    position, rotation = kinematics.forward(joints)
    solved, _ = kinematics.inverse(position, rotation, near=joints)
    free, _ = kinematics.inverse(position, rotation)
    assert (np.abs(free[:, 3]) <= np.pi / 2 + 1e-9).all()
    moved = np.abs(solved[:, 3] - joints[:, 3])
    assert (moved <= np.abs(free[:, 3] - joints[:, 3]) + 1e-9).all()


def test_out_of_reach_is_told() -> None:
    """A pose beyond the arm is marked, and the arm stretches towards it."""
    position, rotation = np.array((2.0, 0.5, 0.3)), np.eye(3)
    solved, within_reach = kinematics.inverse(position, rotation)
    assert not within_reach
    assert np.isfinite(solved).all()
    reached, _ = kinematics.forward(solved)
    assert np.linalg.norm(reached[:2]) < 1
    assert np.arctan2(reached[1], reached[0]) > 0


def test_rotation_vectors_round_trip() -> None:
    """Rotation vector to matrix and back."""
    vectors = np.random.default_rng(1).uniform(-1.5, 1.5, (1000, 3))
    matrices = kinematics.rotation_matrix(vectors)
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, 1, 2), np.tile(np.eye(3), (1000, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(kinematics.rotation_vector(matrices), vectors, atol=1e-9)
    np.testing.assert_allclose(kinematics.rotation_matrix(np.zeros(3)), np.eye(3))
