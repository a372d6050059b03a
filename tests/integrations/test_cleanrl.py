"""PyTorch: the one-file example of IPPO and MAPPO trains, and writes policies that run without it."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smoke
import torch
import train_cleanrl as cleanrl
import training

from aloha_marl import AGENTS, TASKS, policies
from aloha_marl.policies.learned import load_file

PARTS = {"policy", "physics", "learning", "assessment"}


def parse(*arguments: str) -> argparse.Namespace:
    """The arguments of a short training."""
    return cleanrl.parse([*smoke.CLEANRL, *arguments])


def learner(*arguments: str) -> tuple[Any, Any]:
    """One that has learned nothing yet, and its environments."""
    parsed = parse(*arguments)
    torch.manual_seed(parsed.seed)
    play = cleanrl.Play(parsed, parsed.num_envs, 0, parsed.restarts)
    return cleanrl.Learner(parsed, play, cleanrl.Stopwatch()), play


@pytest.mark.parametrize("critic", ["own", "central"])
@pytest.mark.parametrize("task", TASKS)
def test_trains(task: str, critic: str, tmp_path: Path) -> None:
    """All losses are finite, every parameter moves, the curve goes to the end."""
    arguments = parse("--task", task, "--critic", critic, "--out", str(tmp_path))
    torch.manual_seed(arguments.seed)
    made, play = learner("--task", task, "--critic", critic)
    before = [weight.clone() for weight in made.weights]
    with training.Run("test", arguments) as run:
        trained, seconds = cleanrl.train(run)
    assert not any(map(torch.equal, before, trained.weights))
    assert [point["steps"] for point in run.curve] == [1024, 2048]
    assert all(math.isfinite(value) for point in run.curve for value in point.values())
    assert set(seconds) == PARTS
    play.close()


@pytest.mark.parametrize("arm", range(len(AGENTS)))
def test_decentralised(arm: int) -> None:
    """An arm's action and, in IPPO, its value depend on its own observation alone."""
    made, play = learner()
    inputs = play.inputs()
    judged = made.critic_inputs(inputs)
    other = inputs.copy()
    other[1 - arm] += 1
    np.testing.assert_array_equal(made.act(other)[arm], made.act(inputs)[arm])
    assert not np.array_equal(made.act(other)[1 - arm], made.act(inputs)[1 - arm])
    np.testing.assert_array_equal(made.critic_inputs(other)[arm], judged[arm])
    central, _ = learner("--critic", "central")
    assert not np.array_equal(central.critic_inputs(other)[arm], central.critic_inputs(inputs)[arm])
    play.close()


def test_learns_what_pays() -> None:
    """Where the first action is paid for turning the waist, it turns further with every update."""
    made, play = learner("--rollout", "4", "--num-envs", "64", "--learning-rate", "0.001")
    noise, turned = 0.5, []
    for _ in range(10):
        rollout = made.collect(noise)
        turned.append(float(rollout.actions[..., 0].mean()))
        made.update(rollout._replace(rewards=rollout.actions[..., 0] / 10), noise)
    assert turned[-1] > turned[0] + 0.2
    play.close()


def test_advantages() -> None:
    """They are those of the definition, summed up step by step; nothing passes the end of an episode."""
    made, play = learner("--rollout", "5", "--gamma", "0.9", "--gae-lambda", "0.8")
    rollout = made.collect(0.5)
    rollout.ended[:] = False
    rollout.ended[2, ::2] = True
    rollout.rewards[:] = np.random.default_rng(0).uniform(0, 0.1, rollout.rewards.shape)
    advantages, targets = made.advantages(rollout)
    with torch.no_grad():
        judged = torch.from_numpy(rollout.critic_inputs)
        values = [made.critics[arm](judged[:, arm])[..., 0].numpy() for arm in range(len(AGENTS))]
    for arm, row in np.ndindex(len(AGENTS), rollout.ended.shape[1]):
        for turn in range(5):
            expected, weight = 0.0, 1.0
            for later in range(turn, 5):
                end = rollout.ended[later, row]
                following = 0 if end else values[arm][later + 1, row]
                reward = cleanrl.REWARD_SCALE * rollout.rewards[later, arm, row]
                expected += weight * (reward + 0.9 * following - values[arm][later, row])
                weight *= 0.9 * 0.8
                if end:
                    break
            assert advantages[turn, arm, row] == pytest.approx(expected, abs=1e-4)
    np.testing.assert_allclose(targets[:, 1], advantages[:, 1] + values[1][:-1], atol=1e-5)
    play.close()


def test_starts_half_way() -> None:
    """Rows start again where the learner has been, in the very state, and all levels are drawn."""
    arguments = parse("--restarts", "1")
    play = cleanrl.Play(arguments, 8, 0, restarts=1)
    arms = policies.load("scripted", "transfer_cube", control=cleanrl.OPTIONS["control"])
    while not (play.core.progress.stage >= 2).all():
        seen = zip(AGENTS, play.core.observer.observations().swapaxes(0, 1), strict=True)
        play.step(np.stack([arms[agent](own) for agent, own in seen]))
        play.starts.remember()
    known = play.starts.levels
    assert len(known) > 1
    physics = {state.physics.tobytes() for states in known.values() for state in states}
    play.begin(np.arange(8) < 4)
    state = play.core.get_state(np.arange(4))
    assert all(row.tobytes() in physics for row in state.physics)
    assert (state.stage >= 2).all()
    drawn = {id(play.starts.draw()) for _ in range(500)}
    assert all(drawn & {id(state) for state in states} for states in known.values())
    play.close()


def test_central_critics_to_the_end(tmp_path: Path) -> None:
    """The command with them writes its results, too, and how to repeat them."""
    result = smoke.run("train_cleanrl", tmp_path, *smoke.CLEANRL, "--critic", "central")
    assert result["method"] == "mappo"
    assert result["command"].startswith(
        "python examples/learning/train_cleanrl.py --task transfer_cube"
    )
    assert "--critic central" in result["command"]
    policy = load_file(tmp_path / "mappo_transfer_cube_left.npz", "transfer_cube", "left")
    assert policy.network.side == "left"
