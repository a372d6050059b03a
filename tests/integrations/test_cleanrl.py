"""PyTorch: the one-file example of IPPO and MAPPO trains, and writes policies that run without it."""

from __future__ import annotations

import argparse
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import learners
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
    made = cleanrl.Learner(parse(*arguments))
    return made, made.play


@pytest.mark.parametrize(("task", "critic"), [*zip(TASKS, itertools.cycle(["own", "central"]))])
def test_trains(task: str, critic: str, tmp_path: Path) -> None:
    """All losses are finite, every parameter moves, the curve goes to the end."""
    arguments = parse("--task", task, "--critic", critic, "--out", str(tmp_path))
    made = cleanrl.Learner(arguments)
    before = [weight.clone() for weight in made.weights]
    with training.Run("test", arguments, made, features=True) as run:
        cleanrl.train(made, run)
    assert not any(map(torch.equal, before, made.weights))
    assert [point["steps"] for point in run.curve] == [1024, 2048]
    assert all(math.isfinite(value) for point in run.curve for value in point.values())
    assert set(made.watch.seconds) == PARTS
    made.play.close()


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


def test_starts_are_kept(tmp_path: Path) -> None:
    """After a resumption the same states are drawn."""
    made, other = (cleanrl.Play(parse("--restarts", "1"), 8, 0, restarts=1) for _ in range(2))
    for level, size in ((3, 2), (7, 1)):
        states = (made.core.get_state(np.array([row])) for row in range(size))
        made.starts.levels[level] = [*states]
    learners.save(tmp_path / "state.pt", play=made.state_dict())
    other.load_state_dict(learners.load(tmp_path / "state.pt")["play"])
    for _ in range(20):
        one, two = made.starts.draw(), other.starts.draw()
        assert one is not None
        assert two is not None
        for name, values in vars(one).items():
            np.testing.assert_array_equal(values, vars(two)[name])
            assert values.dtype == vars(two)[name].dtype
    made.close()
    other.close()


def test_central_critics_to_the_end(tmp_path: Path) -> None:
    """The command with them writes its results, too, and how to repeat them."""
    result = smoke.run("train_cleanrl", tmp_path, *smoke.CLEANRL, "--critic", "central")
    assert result["method"] == "mappo"
    assert result["command"].startswith(
        "python examples/learning/train_cleanrl.py --task transfer_cube"
    )
    assert "--critic central" in result["command"]
    load_file(tmp_path / "mappo_transfer_cube_0.npz", "transfer_cube", "left")


def test_networks() -> None:
    """NumPy acts as PyTorch does."""
    made, play = learner()
    inputs = play.inputs()
    acted = [network(own) for network, own in zip(made.networks(), inputs, strict=True)]
    np.testing.assert_allclose(acted, made.act(inputs), atol=1e-5)
    play.close()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--seed", "1"), "ippo_transfer_cube_1.part.pt does not exist"),
        (
            ("--width", "64", "--clip", "0.1"),
            "ippo_transfer_cube_0.part.pt has clip=0.2, not 0.1; width=128, not 64",
        ),
    ],
)
def test_nothing_to_resume(
    arguments: tuple[str, ...], text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line names the file, and what differs; nothing is overwritten."""
    out = ("--out", str(tmp_path))
    smoke.kill("train_cleanrl", tmp_path, *smoke.CLEANRL)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    parsed = parse(*arguments, *out, "--resume")
    with pytest.raises(SystemExit) as stop:
        training.Run("ippo", parsed, cleanrl.Learner(parsed))
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"Error: --resume: {tmp_path}/{text}\n"
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_no_checkpoint(tmp_path: Path) -> None:
    """It is refused, and code in it is not run."""
    path = tmp_path / "state.pt"
    for content in ({"generators": Path("somewhere")}, {"weights": torch.zeros(3)}, torch.zeros(3)):
        torch.save(content, path)
        with pytest.raises(ValueError, match=r"state\.pt is no checkpoint"):
            learners.load(path)
    path.write_text("weights")
    with pytest.raises(ValueError, match=r"state\.pt is no checkpoint"):
        learners.load(path)


def test_progress_without_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line at most every ten seconds, with the time that is left."""
    made, play = learner()
    clock = iter([100, 105, 111, 112, 125])
    monkeypatch.setattr(training.time, "monotonic", lambda: next(clock))
    run = training.Run("ippo", parse("--steps", "1000"), made, features=True)
    for steps in (50, 110, 120, 250):
        run.show(steps, "return 0.1")
    assert capsys.readouterr().out.splitlines() == [
        "110 of 1,000 steps, return 0.1, 0:01:29 left",
        "250 of 1,000 steps, return 0.1, 0:01:15 left",
    ]
    play.close()


def test_tensorboard_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line says what to install."""
    made, play = learner()
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(SystemExit) as stop:
        training.Run("ippo", parse("--tensorboard"), made)
    assert stop.value.code == 2
    assert (
        capsys.readouterr().err
        == "Error: --tensorboard needs tensorboardX: pip install tensorboardX\n"
    )
    play.close()


def test_interrupt_inside_a_library(capsys: pytest.CaptureFixture[str]) -> None:
    """An error that a library makes of Ctrl-C is taken for it, others are not."""
    made, play = learner()

    def of_a_library() -> None:
        try:
            raise KeyboardInterrupt
        finally:
            raise RuntimeError("not permitted")

    with pytest.raises(SystemExit) as stop, training.Run("ippo", parse(), made):
        of_a_library()
    assert stop.value.code == 130
    assert capsys.readouterr().out == "Interrupted; kept: nothing yet\n"
    with pytest.raises(RuntimeError, match="permitted"), training.Run("ippo", parse(), made):
        raise RuntimeError("not permitted")
    play.close()
