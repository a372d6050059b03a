"""PyTorch: the example of imitation trains, repeats, and writes policies that run without it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import smoke
import torch
from rich.progress import Progress

from aloha_marl import AGENTS, TASKS
from aloha_marl.arms import SIDES
from aloha_marl.core.observations import Layout
from aloha_marl.policies.learned import load_file

imitate = smoke.example("imitate")

QUICK = ("--num-envs", "4", "--expert-steps", "150", "--rounds", "2", "--round-steps", "20")
QUICK += ("--updates", "30", "--last-updates", "30", "--batch-size", "64", "--episodes", "1")


@pytest.mark.parametrize("scope", ["partner", "local"])
@pytest.mark.parametrize("task", TASKS)
def test_trains(task: str, scope: str) -> None:
    """The experts' episodes end in success, samples add up, losses fall."""
    arguments = imitate.parse([*QUICK, "--task", task, "--scope", scope])
    with Progress(disable=True) as bar:
        policies, curve = imitate.train(arguments, bar)
    assert [point["samples_per_arm"] for point in curve] == [600, 680, 760]
    assert curve[0]["successes"] == curve[0]["episodes"] >= 3
    assert all(math.isfinite(point["loss"]) for point in curve)
    assert {policy.scope for policy in policies.values()} == {scope}


def test_learner_fits() -> None:
    """The loss of a few samples falls, every parameter moves, and NumPy computes what PyTorch does."""
    size = Layout(("cube",), "partner").size
    experience = imitate.Experience("transfer_cube", "partner")
    rng = np.random.default_rng(0)
    seen = {agent: rng.uniform(-1, 1, (32, size)).astype(np.float32) for agent in AGENTS}
    experience.add(seen)
    inputs, labels = experience.tensors()
    assert labels.shape == (2, 32, 7)
    assert set(labels[..., 6].unique().tolist()) <= {-1.0, 1.0}
    learner = imitate.Learner("transfer_cube", "partner", 0, 1e-3, 32, inputs)
    before = [p.clone() for network in learner.networks for p in network.parameters()]
    losses = list(learner.learn((inputs, labels), 200))
    after = [p for network in learner.networks for p in network.parameters()]
    assert losses[-1] < losses[0] / 10
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    policies = imitate.training.policies(learner.networks, imitate.parse(QUICK))
    for arm, policy in enumerate(policies.values()):
        with torch.no_grad():
            want = learner.networks[arm](inputs[arm]).numpy()
        np.testing.assert_allclose(policy.network(inputs[arm].numpy()), want, atol=1e-4)


def test_repeats(tmp_path: Path) -> None:
    """Two runs with the same seed differ in their times only; another one in all."""
    results = [
        smoke.run("imitate", tmp_path / str(number), *QUICK, "--seed", seed)
        for number, seed in enumerate(("0", "0", "1"))
    ]
    for result in results:
        for point in result["curve"]:
            assert point.pop("wall_seconds") >= 0
            assert point.pop("cpu_seconds") >= 0
    first, second, other = results
    assert first == second
    assert first["curve"] != other["curve"]
    seen = np.zeros(Layout(("cube",), "partner").size, np.float32)
    for side in SIDES:
        one, again, another = (
            load_file(
                tmp_path / str(number) / f"imitation_transfer_cube_{side}.npz",
                "transfer_cube",
                side,
            )
            for number in range(3)
        )
        np.testing.assert_array_equal(one(seen), again(seen))
        assert not np.array_equal(one(seen), another(seen))
