"""Recorded episodes as batches of tensors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from aloha_marl import datasets  # noqa: E402
from aloha_marl.datasets import Plan, Recorder  # noqa: E402


@pytest.mark.parametrize("workers", [0, 2])
def test_loader(workers: int, tmp_path: Path) -> None:
    """PyTorch's loader makes batches of chunks, masks and pictures, in processes as well."""
    plan = Plan("insertion", tmp_path, size=(24, 32), options={"max_cycles": 10})
    list(Recorder(plan, 2).record(iter(range(2))))
    samples = datasets.open(tmp_path).chunks(5, ("qpos", "environment_state"), ("top",))
    loader = torch.utils.data.DataLoader(samples, batch_size=8, num_workers=workers)
    batches = list(loader)
    assert [len(batch["action"]) for batch in batches] == [8, 8, 4]
    whole = {
        name: torch.cat([batch[name] for batch in batches]).numpy()
        for name in ("action", "is_pad", "qpos", "environment_state")
    }
    for name, shape in {"action": (20, 5, 14), "is_pad": (20, 5), "qpos": (20, 14)}.items():
        assert whole[name].shape == shape
    for index, sample in enumerate(samples):
        for name, values in whole.items():
            np.testing.assert_array_equal(values[index], sample[name])
    assert batches[0]["images"]["top"].shape == (8, 24, 32, 3)
    assert whole["is_pad"].sum() == 2 * (1 + 2 + 3 + 4)


def test_cloning(tmp_path: Path) -> None:
    """A network learns the experts' actions from the stacked arrays."""
    plan = Plan("transfer_cube", tmp_path, quality="none", control="joint_delta")
    list(Recorder(plan, 4).record(iter(range(4))))
    stacked = datasets.open(tmp_path).stacked()
    inputs, labels = (
        torch.from_numpy(stacked[name][:, 0]).float() for name in ("observations", "actions")
    )
    torch.manual_seed(0)
    network = torch.nn.Sequential(
        torch.nn.Linear(inputs.shape[1], 64), torch.nn.Tanh(), torch.nn.Linear(64, 7)
    )
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(300):
        losses.append(torch.nn.functional.mse_loss(network(inputs), labels))
        optimizer.zero_grad()
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < losses[0] / 4
