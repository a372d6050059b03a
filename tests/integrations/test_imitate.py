"""PyTorch: the example of imitation trains, and its policies run without it."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import imitate
import imitate_strangers as strangers
import learners
import numpy as np
import pytest
import smoke
import torch
import training

from aloha_marl import AGENTS, TASKS, datasets
from aloha_marl.datasets import Plan, Recorder
from aloha_marl.policies.view import task_layout


@pytest.mark.parametrize(("task", "scope"), [*zip(TASKS, itertools.cycle(["partner", "local"]))])
def test_trains(task: str, scope: str) -> None:
    """The experts' episodes end in success, samples add up, losses fall."""
    arguments = imitate.parse([*smoke.IMITATE, "--task", task, "--scope", scope])
    learner = imitate.Learner(arguments)
    with training.Run("test", arguments, learner, imitate.total(arguments), features=True) as run:
        imitate.train(learner, run)
    curve = run.curve
    assert [point["samples_per_arm"] for point in curve] == [800, 880, 960]
    assert curve[0]["successes"] == curve[0]["episodes"] >= 3
    assert curve[-1]["steps"] == imitate.total(arguments)
    assert all(math.isfinite(point["loss"]) for point in curve)
    assert {policy.scope for policy in run.policies().values()} == {scope}
    learner.rows.close()


def test_strangers() -> None:
    """Each arm learns in half of the rows; in the others it plays as the partner that was drawn."""
    arguments = strangers.parse([*smoke.IMITATE, "--num-envs", "8", "--width", "16"])
    learner = strangers.Learner(arguments)
    experience = learner.experience
    assert isinstance(experience, strangers.AmongStrangers)
    met = []
    for number in (0, 1, 0):
        experience.begin(number)
        seen = learner.rows.observations()
        actions = experience.add(seen)
        learned = {agent: own.copy() for agent, own in actions.items()}
        experience.replace(seen, actions)
        kept = [np.any(actions[agent] == learned[agent], axis=1) for agent in AGENTS]
        assert kept[0][:4].all()
        assert kept[1][4:].all()
        met.append({agent: own.tobytes() for agent, own in actions.items()})
    assert met[0] == met[2] != met[1]
    assert experience.tensors()[0].shape[:2] == (2, 3 * 4)
    learner.rows.close()
    with pytest.raises(SystemExit) as stop:
        strangers.parse(["--num-envs", "3"])
    assert stop.value.code == 2


def test_learner_fits() -> None:
    """The loss of a few samples falls, every parameter moves, and NumPy computes what PyTorch does."""
    size = task_layout("transfer_cube", "partner").size
    experience = imitate.Experience("transfer_cube", "partner")
    rng = np.random.default_rng(0)
    seen = {agent: rng.uniform(-1, 1, (32, size)).astype(np.float32) for agent in AGENTS}
    experience.add(seen)
    inputs, labels = experience.tensors()
    assert labels.shape == (2, 32, 7)
    assert set(labels[..., 6].unique().tolist()) <= {-1.0, 1.0}
    learner = imitate.Students(0, 1e-3, 32, 256, inputs)
    before = [p.clone() for network in learner.networks for p in network.parameters()]
    losses = list(learner.learn((inputs, labels), 200))
    after = [p for network in learner.networks for p in network.parameters()]
    assert losses[-1] < losses[0] / 10
    assert not any(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    for own, seen_by_arm in zip(learner.networks, inputs, strict=True):
        with torch.no_grad():
            want = own(seen_by_arm).numpy()
        np.testing.assert_allclose(learners.network(own)(seen_by_arm.numpy()), want, atol=1e-4)


def test_learns_from_recordings(tmp_path: Path) -> None:
    """Recorded observations and actions are samples; those of another control mode are refused."""
    plan = Plan("transfer_cube", tmp_path / "demos", quality="none", control=imitate.CONTROL)
    steps = sum(result.steps for result in Recorder(plan, 2).record(iter(range(2))))
    experience = imitate.Experience("transfer_cube", "partner")
    experience.add_demos(str(plan.folder))
    inputs, labels = experience.tensors()
    assert inputs.shape[:2] == labels.shape[:2] == (2, steps)
    # The experts label what they observe with the same actions.
    again = imitate.Experience("transfer_cube", "partner")
    for episode in datasets.open(plan.folder):
        again.add({agent: arm["observations"][:-1] for agent, arm in episode.per_arm().items()})
    assert all(map(torch.equal, experience.tensors(), again.tensors()))
    (path,) = [episode.path for episode in datasets.open(plan.folder)][:1]
    arguments = imitate.parse([*smoke.IMITATE, "--task", "insertion", "--demos", str(path)])
    with pytest.raises(ValueError, match="has task='transfer_cube', not 'insertion'"):
        imitate.Learner(arguments)
