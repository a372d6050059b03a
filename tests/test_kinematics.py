"""Closed-form kinematics against MuJoCo and against itself."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

import aloha_marl
from aloha_marl.arms import JOINT_LIMITS, JOINTS, SIDES
from aloha_marl.control import kinematics


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
    """Of the ways to reach a pose it takes that of the joints it is given, also some way off."""
    position, rotation = kinematics.forward(joints)
    solved, _ = kinematics.inverse(position, rotation, near=joints)
    np.testing.assert_allclose(solved, joints, atol=1e-9)
    near = joints + np.random.default_rng(1).uniform(-0.3, 0.3, joints.shape)
    solved, _ = kinematics.inverse(position, rotation, near=near)
    again, turned = kinematics.forward(solved)
    np.testing.assert_allclose(again, position, atol=1e-9)
    np.testing.assert_allclose(turned, rotation, atol=1e-9)
    quarter, half = np.pi / 2 + 1e-9, np.pi + 1e-9
    assert (np.abs(solved - near)[:, (0, 3)] <= quarter).all()
    assert (np.abs(solved - near)[:, 5] <= half).all()
    assert (np.abs(solved - joints) < 1e-9).all(axis=1).mean() > 0.9


def test_inverse_leaves_what_does_not_matter() -> None:
    """With the wrist straight the last and the first of its joints can share a turn anyhow."""
    joints = np.array((0.3, -0.4, 0.5, 1.2, 0.0, -0.7))
    position, rotation = kinematics.forward(joints)
    for near in (joints, joints + (0, 0, 0, 0.4, 0, 0)):
        solved, _ = kinematics.inverse(position, rotation, near=near)
        np.testing.assert_allclose(solved[3], near[3], atol=1e-3)
        np.testing.assert_allclose(solved[3] + solved[5], 0.5, atol=1e-9)


def test_jacobian_is_the_derivative(joints: np.ndarray) -> None:
    """Against differences of the forward kinematics, from one row or from many."""
    joints = joints[:200]
    gradient = kinematics.jacobian(joints)
    for joint in range(len(JOINTS)):
        step = np.zeros(len(JOINTS))
        step[joint] = 1e-6
        (before, turned), (after, further) = (
            kinematics.forward(joints + side * step) for side in (-1, 1)
        )
        turn = kinematics.rotation_vector(further @ np.swapaxes(turned, 1, 2))
        np.testing.assert_allclose(gradient[:, :3, joint], (after - before) / 2e-6, atol=1e-8)
        np.testing.assert_allclose(gradient[:, 3:, joint], turn / 2e-6, atol=1e-8)
    np.testing.assert_array_equal(kinematics.jacobian(joints[7]), gradient[7])


def test_out_of_reach_is_told() -> None:
    """A pose beyond the arm is marked, and the arm stretches towards it."""
    position, rotation = np.array((2.0, 0.5, 0.3)), np.eye(3)
    solved, within_reach = kinematics.inverse(position, rotation)
    assert not within_reach
    assert np.isfinite(solved).all()
    reached, _ = kinematics.forward(solved)
    assert np.linalg.norm(reached[:2]) < 1
    assert np.arctan2(reached[1], reached[0]) > 0


def test_what_is_told_is_what_is_reached(rng: np.random.Generator) -> None:
    """A pose anywhere round the arm is marked as reached if and only if the joints lead to it."""
    position = rng.uniform(-1, 1, (5000, 3)) + (0, 0, kinematics.SHOULDER_HEIGHT)
    rotation = kinematics.rotation_matrix(rng.uniform(-1.8, 1.8, (5000, 3)))
    solved, within_reach = kinematics.inverse(position, rotation)
    reached, turned = kinematics.forward(solved)
    apart = np.abs(reached - position).max(axis=1) + np.abs(turned - rotation).max(axis=(1, 2))
    np.testing.assert_array_equal(within_reach, apart < 1e-6)
    assert 0.1 < within_reach.mean() < 0.9


def test_rotation_vectors_round_trip() -> None:
    """Rotation vector to matrix and back."""
    vectors = np.random.default_rng(1).uniform(-1.5, 1.5, (1000, 3))
    matrices = kinematics.rotation_matrix(vectors)
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, 1, 2), np.tile(np.eye(3), (1000, 1, 1)), atol=1e-12
    )
    np.testing.assert_allclose(kinematics.rotation_vector(matrices), vectors, atol=1e-9)
    np.testing.assert_allclose(kinematics.rotation_matrix(np.zeros(3)), np.eye(3))
