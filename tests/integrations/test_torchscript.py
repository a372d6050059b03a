"""Policies in TorchScript files play as the module does."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aloha_marl import policies  # noqa: E402
from aloha_marl.arms import AGENTS  # noqa: E402
from aloha_marl.evaluation import evaluate  # noqa: E402
from aloha_marl.policies.view import task_layout  # noqa: E402

TASKS = ("transfer_cube", "insertion")


def save(module: torch.nn.Module, size: int, path: Path, said: str = "") -> None:
    """Writes a traced module."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, torch.zeros(1, size))
        torch.jit.save(traced, path, _extra_files={"aloha_marl": said})


@pytest.mark.parametrize("task", TASKS)
def test_one_arm(task: str, tmp_path: Path) -> None:
    """It acts as the module, in batches of any size, in the control mode that it says."""
    torch.manual_seed(0)
    size, path = task_layout(task, "local").size, tmp_path / "arm.pt"
    module = torch.nn.Sequential(torch.nn.Linear(size, 16), torch.nn.Tanh(), torch.nn.Linear(16, 7))
    save(module, size, path, '{"scope": "local", "control": "joint_delta"}')
    arms = policies.load(str(path), task)
    arm = arms[AGENTS[0]]
    assert (arm.scope, arm.control) == ("local", "joint_delta")
    rows = np.random.default_rng(0).normal(size=(4, size)).astype(np.float32)
    expected = module(torch.from_numpy(rows)).detach().numpy()
    np.testing.assert_allclose(arm(rows), expected, atol=1e-6)
    np.testing.assert_allclose(arm(rows[1]), expected[1], atol=1e-6)
    assert evaluate(task, arms, [3], max_cycles=3).episodes[0].steps == 3


@pytest.mark.parametrize("task", TASKS)
def test_both_arms(task: str, tmp_path: Path) -> None:
    """One of both arms reads what it says."""
    size, path = len(AGENTS) * task_layout(task, "partner").size, tmp_path / "both.ts"
    module = torch.nn.Linear(size, 14)
    save(module, size, path, '{"obs_type": "state"}')
    both = policies.load(str(path), task)
    assert evaluate(task, both, [3], max_cycles=3).episodes[0].steps == 3


def test_pickles_are_refused(tmp_path: Path) -> None:
    """A file of torch.save is no program: nothing in it is run."""

    class Trap:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "sprung",)

    path = tmp_path / "weights.pt"
    torch.save({"weights": Trap()}, path)
    with pytest.raises(ValueError, match=r"weights\.pt can't be read as \.pt file"):
        policies.load(str(path), "insertion")
    assert not (tmp_path / "sprung").exists()
    for name in ("wrong size", "both"):
        path = tmp_path / "arm.pt"
        sizes = (58, 7) if name == "wrong size" else (59, 14)
        save(torch.nn.Linear(*sizes), sizes[0], path)
        with pytest.raises(ValueError, match=r"arm\.pt .*\(1, 59\) float32"):
            policies.load(str(path), "transfer_cube")
