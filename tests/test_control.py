"""What actions mean, at the level of targets: no physics unless a test says so."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import make

import aloha_marl
from aloha_marl.arms import GRIPPER_CLOSED, GRIPPER_SPAN, JOINT_LIMITS, JOINTS
from aloha_marl.control.kinematics import forward, rotation_matrix, rotation_vector
from aloha_marl.control.limits import Limits
from aloha_marl.control.modes import CONTROLS, Control, EndEffectorDelta

LOW, HIGH = np.transpose(JOINT_LIMITS)
HOME = (0.0, -0.96, 1.16, 0.0, -0.3, 0.0)
SLEW = 3.14 * 0.02
UNIT = np.repeat((EndEffectorDelta.POSITION_STEP, EndEffectorDelta.ROTATION_STEP), 3)
DELTAS = [name for name in CONTROLS if name.endswith("delta")]


def mode(name: str, n: int, slew: float = SLEW) -> Control:
    """A control mode of n simulations."""
    limits = aloha_marl.parallel_env("transfer_cube").model.actuator_ctrlrange
    low, high = (np.tile(limit.reshape(2, 8), (n, 1, 1)) for limit in limits.T)
    most_step = np.full((n, 2, 8), np.inf)
    most_step[:, :, :6] = slew
    return CONTROLS[name](low, high, most_step)


def commanded(joints: np.ndarray) -> np.ndarray:
    """(n, 2, 8) targets of (2 n, 6) joints, the grippers half open."""
    fingers = np.tile((0.04, -0.04), (len(joints), 1))
    return np.concatenate((joints, fingers), axis=1).reshape(-1, 2, 8)


def moved(name: str, joints: np.ndarray, moves: np.ndarray, slew: float = SLEW) -> np.ndarray:
    """(2 n, 6) joint targets after (2 n, 6) moves from (2 n, 6) joints; the grippers stay."""
    actions = np.concatenate((moves, np.zeros((len(moves), 1))), axis=1).reshape(-1, 2, 7)
    targets = mode(name, len(actions), slew).targets(actions, commanded(joints))
    np.testing.assert_array_equal(targets[:, :, 6:], commanded(joints)[:, :, 6:])
    return targets[:, :, :6].reshape(-1, 6)


def way(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(k, 6) how the tool moves between (k, 6) joints, in units of the action."""
    (start, turned), (end, further) = forward(before), forward(after)
    turn = rotation_vector(further @ np.swapaxes(turned, 1, 2))
    return np.concatenate((end - start, turn), axis=1) / UNIT


def anywhere(rng: np.random.Generator, count: int = 10_000) -> np.ndarray:
    """(count, 6) joints all over their ranges."""
    return rng.uniform(LOW, HIGH, (count, 6))


def anywhere_and_worse(rng: np.random.Generator) -> np.ndarray:
    """(10000, 6) the same, many of them at limits and where the arm can't move every way."""
    joints = anywhere(rng)
    at_limit = rng.random(joints.shape) < 0.1
    joints = np.where(at_limit, np.where(rng.random(joints.shape) < 0.5, LOW, HIGH), joints)
    joints[:500, 4] = 0  # the wrist straight
    joints[500:1000, 2] = np.arctan2(0.05955, 0.3) - np.pi / 2  # the elbow straight
    joints[1000:1500, :] = 0
    return joints


@pytest.mark.parametrize("name", CONTROLS)
def test_bounds(name: str) -> None:
    """The Box of every mode has its bounds, and each number a name and a unit."""
    control = CONTROLS[name]
    assert len(control.names) == len(control.units) == 7
    assert control.names[-1] == "gripper"
    box = make("transfer_cube", control=name).action_space("left_arm")
    np.testing.assert_array_equal(box.low, control.low.astype(np.float32))
    np.testing.assert_array_equal(box.high, control.high.astype(np.float32))
    if name == "joint_position":
        limits = aloha_marl.parallel_env("transfer_cube").model.actuator_ctrlrange[:6]
        np.testing.assert_array_equal(np.transpose((control.low, control.high))[:6], limits)
    else:
        assert (box.low == -1).all()
        assert (box.high == 1).all()


def test_round_trip(rng: np.random.Generator) -> None:
    """The tool gets to 10,000 poses that joint targets nearby have."""
    joints = anywhere(rng)
    step = np.clip(joints + rng.uniform(-0.05, 0.05, joints.shape), LOW, HIGH) - joints
    # Not further than an action can ask for.
    far = np.abs(way(joints, joints + step)).max(axis=1, keepdims=True)
    wanted = joints + step * np.minimum(0.95 / far, 1)
    moves = way(joints, wanted)
    assert np.median(np.abs(moves).max(axis=1)) > 0.5
    assert np.abs(moves).max() <= 1
    apart = np.abs(way(wanted, moved("ee_delta", joints, moves, np.inf))) * UNIT
    # Next to a straight elbow the other way to bend it may be beyond a limit.
    assert (apart.max(axis=1) < 1e-9).mean() > 0.999
    assert (apart[:, :3] < 0.005).all()
    assert (apart[:, 3:] < 0.01).all()


def test_unreachable_poses(rng: np.random.Generator) -> None:
    """Whatever is asked for, joints stay within limits and none jumps further than it may."""
    joints = anywhere_and_worse(rng)
    moves = rng.uniform(-1.5, 1.5, joints.shape)
    fast = moved("ee_delta", joints, moves, np.inf)
    missed = np.abs(way(joints, fast) - moves.clip(-1, 1)).max(axis=1) > 1e-6
    assert missed.sum() > 3000
    for _ in range(20):
        before, joints = joints, moved("ee_delta", joints, moves)
        assert (joints >= LOW - 1e-8).all()
        assert (joints <= HIGH + 1e-8).all()
        assert np.abs(joints - before).max() <= SLEW + 1e-12
    # What could not be reached was not saved up: back is back at once.
    back = way(joints, moved("ee_delta", joints, -moves))
    assert ((back * -moves).sum(axis=1) > 0).mean() > 0.97


def test_unreachable_is_approached(rng: np.random.Generator) -> None:
    """Towards a pose out of reach or beyond limits the tool still goes more or less that way."""
    joints = anywhere_and_worse(rng)
    moves = rng.uniform(-1, 1, joints.shape)
    done = way(joints, moved("ee_delta", joints, moves))
    missed = (
        np.abs(way(joints, moved("ee_delta", joints, moves, np.inf)) - moves).max(axis=1) > 1e-6
    )
    cosine = (done * moves).sum(axis=1) / np.maximum(
        np.linalg.norm(done, axis=1) * np.linalg.norm(moves, axis=1), 1e-9
    )
    assert np.median(cosine[missed]) > 0.8
    assert (cosine[missed] > 0).mean() > 0.95


def test_a_step_cut_short_keeps_its_direction(rng: np.random.Generator) -> None:
    """Where joints are too slow for a whole step, the tool goes the same way, less far."""
    joints = HOME + rng.uniform(-0.1, 0.1, (2000, 6))
    moves = rng.uniform(-1, 1, joints.shape)
    done = way(joints, moved("ee_delta", joints, moves))
    length, asked = np.linalg.norm(done, axis=1), np.linalg.norm(moves, axis=1)
    assert np.mean(length < 0.9 * asked) > 0.9
    cosine = (done * moves).sum(axis=1) / (length * asked)
    assert np.median(cosine) > 0.995
    assert np.quantile(cosine, 0.01) > 0.98


@pytest.mark.parametrize("axis", range(6))
@pytest.mark.parametrize("sign", [-1, 1])
def test_axes(axis: int, sign: int) -> None:
    """One number moves the tool along or turns it about one axis of the base frame."""
    joints = np.tile((0.4, -0.5, 0.6, 0.5, 0.7, -0.2), (2, 1))
    moves = np.zeros((2, 6))
    moves[0, axis] = sign
    after = moved("ee_delta", joints, moves, np.inf)
    np.testing.assert_array_equal(after[1], joints[1])
    (start, before), (end, turned) = forward(joints[0]), forward(after[0])
    step = np.zeros(3)
    step[axis % 3] = sign * UNIT[axis]
    np.testing.assert_allclose(end - start, step if axis < 3 else 0, atol=1e-12)
    turn = rotation_matrix(step) if axis >= 3 else np.eye(3)
    np.testing.assert_allclose(turned, turn @ before, atol=1e-12)


@pytest.mark.parametrize("name", DELTAS)
def test_zero_holds_exactly(name: str, rng: np.random.Generator) -> None:
    """A zero leaves every target as it is, also where the arm is singular or at its limits."""
    joints = anywhere_and_worse(rng)
    np.testing.assert_array_equal(moved(name, joints, np.zeros_like(joints)), joints)


@pytest.mark.parametrize("name", DELTAS)
def test_gripper_steps(name: str) -> None:
    """The last number opens or closes the gripper by a fifth, and moves no joint."""
    before = commanded(np.tile(HOME, (2, 1)))
    actions = np.zeros((1, 2, 7))
    actions[0, :, 6] = 1.0, -0.5
    after = mode(name, 1).targets(actions, before)
    np.testing.assert_array_equal(after[:, :, :6], before[:, :, :6])
    step = np.array((0.2, -0.1)) * GRIPPER_SPAN
    np.testing.assert_allclose((after - before)[0, :, 6], step, atol=1e-15)
    np.testing.assert_allclose((after - before)[0, :, 7], -step, atol=1e-15)


@pytest.mark.parametrize("name", CONTROLS)
def test_rows_do_not_depend_on_one_another(name: str, rng: np.random.Generator) -> None:
    """Each row is, bit for bit, what it is alone, however many there are."""
    ctrl = commanded(anywhere_and_worse(rng)[::5])
    actions = rng.uniform(-1.2, 1.2, (len(ctrl), 2, 7))
    actions[::7] = 0
    whole = mode(name, len(ctrl)).targets(actions, ctrl)
    for n in (1, 2, 3, 8):
        part = mode(name, n)
        for i in range(0, len(ctrl) - n + 1, n + 5):
            rows = slice(i, i + n)
            np.testing.assert_array_equal(part.targets(actions[rows], ctrl[rows]), whole[rows])


def test_normalized_targets_are_the_same(rng: np.random.Generator) -> None:
    """-1 and 1 are the bounds of ``joint_position``, and all between is on a straight line."""
    shares = rng.uniform(-0.1, 1.1, (200, 2, 7))
    shares[0], shares[1] = 0, 1
    low, high = CONTROLS["joint_position"].low, CONTROLS["joint_position"].high
    ctrl = commanded(np.tile(HOME, (400, 1)))
    plain = mode("joint_position", 200).targets(low + shares * (high - low), ctrl)
    normalized = mode("joint_position_normalized", 200).targets(2 * shares - 1, ctrl)
    np.testing.assert_allclose(normalized, plain, rtol=0, atol=1e-12)
    finger = GRIPPER_CLOSED + shares[:, :, 6:] * GRIPPER_SPAN
    np.testing.assert_allclose(plain[:, :, 6:], finger * (1, -1), rtol=0, atol=1e-12)


@pytest.mark.parametrize("speed", [None, 3.14, 1.0])
def test_limits(speed: float | None, rng: np.random.Generator) -> None:
    """What is commanded is within the actuators' limits and a step of what was, else as asked for."""
    model = aloha_marl.parallel_env("transfer_cube").model
    limits = Limits(model, 50, speed)
    low, high = (bound.reshape(2, 8) for bound in model.actuator_ctrlrange.T)
    before = rng.uniform(low, high, (50, 2, 8))
    asked = before + rng.uniform(-2, 2, before.shape) * (high - low)
    asked[:5] = before[:5]
    most = np.full(8, np.inf)
    most[:6] = np.inf if speed is None else 0.02 * speed
    ctrl = before.copy()
    limits.write(asked.copy(), ctrl)
    want = np.clip(np.clip(asked, before - most, before + most), low, high)
    np.testing.assert_array_equal(ctrl, want)
    for bound in (low, high):
        assert (ctrl == bound).any(axis=0).all() or speed is not None


@pytest.mark.parametrize("name", DELTAS)
def test_zero_action_does_not_drift(task: str, name: str) -> None:
    """In the simulation, an arm that is told to do nothing stays where it is for 300 steps."""
    for start in ("random", "gym_aloha"):
        env = make(task, control=name, start=start)
        env.reset(seed=1)
        tools = [env.data.site(f"{side}/tcp").xpos.copy() for side in ("left", "right")]
        commands = env.data.ctrl.copy()
        while env.agents:
            env.step(dict.fromkeys(env.agents, np.zeros(7)))
        np.testing.assert_array_equal(env.data.ctrl, commands)
        for tool, side in zip(tools, ("left", "right"), strict=True):
            assert np.linalg.norm(env.data.site(f"{side}/tcp").xpos - tool) < 0.005


def test_tool_follows(task: str) -> None:
    """In the simulation, the tool comes to where its commands have led it."""
    env = make(task, control="ee_delta")
    env.reset(seed=0)
    draw = np.random.default_rng(0)
    for _ in range(20):
        action = np.append(draw.uniform(-1, 1, 6), 0)
        for _ in range(5):
            env.step(dict.fromkeys(env.agents, action))
    for _ in range(60):
        env.step(dict.fromkeys(env.agents, np.zeros(7)))
    position, _ = forward(env.data.ctrl.reshape(2, 8)[:, : len(JOINTS)])
    apart = np.linalg.norm(env.core.readings["tcp_pos"][0] - position, axis=1)
    assert (apart < 0.01).all()
