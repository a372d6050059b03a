"""PyTorch: the example of imitation trains, and its policies run without it."""

from __future__ import annotations

import math

import imitate
import numpy as np
import pytest
import smoke
import torch
import training

from aloha_marl import AGENTS, TASKS
from aloha_marl.core.observations import Layout


@pytest.mark.parametrize("scope", ["partner", "local"])
@pytest.mark.parametrize("task", TASKS)
def test_trains(task: str, scope: str) -> None:
    """The experts' episodes end in success, samples add up, losses fall."""
    arguments = imitate.parse([*smoke.IMITATE, "--task", task, "--scope", scope])
    with training.Run("test", arguments, imitate.total(arguments)) as run:
        policies = imitate.train(run)
    curve = run.curve
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
    learner = imitate.Learner(0, 1e-3, 32, inputs)
    before = [p.clone() for network in learner.networks for p in network.parameters()]
    losses = list(learner.learn((inputs, labels), 200))
    after = [p for network in learner.networks for p in network.parameters()]
    assert losses[-1] < losses[0] / 10
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    policies = training.policies(learner.networks, imitate.parse(smoke.IMITATE))
    for arm, policy in enumerate(policies.values()):
        with torch.no_grad():
            want = learner.networks[arm](inputs[arm]).numpy()
        np.testing.assert_allclose(policy.network(inputs[arm].numpy()), want, atol=1e-4)
