"""Learned policies: they run with NumPy alone, they play well, and their files are checked."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aloha_marl
from aloha_marl import policies
from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.control.modes import CONTROLS
from aloha_marl.evaluation import crossplay
from aloha_marl.policies.learned import WEIGHTS, LearnedPolicy, features, load_file
from aloha_marl.policies.network import METHODS, Network
from aloha_marl.policies.view import View, task_layout

TASKS = tuple(aloha_marl.TASKS)
FILES = [
    WEIGHTS / f"{method}_{task}_{side}.npz"
    for method in METHODS
    for task in TASKS
    for side in SIDES
]


def seen(task: str, n: int) -> dict[str, np.ndarray]:
    """Agent -> (n, D) observations of a played episode."""
    arms = policies.load("imitation", task)
    env = aloha_marl.parallel_env(task)
    rows: dict[str, list[np.ndarray]] = {agent: [] for agent in AGENTS}
    observations, _ = env.reset(seed=100_000)
    while env.agents and len(rows[AGENTS[0]]) < n:
        for agent in AGENTS:
            rows[agent].append(observations[agent])
        observations, *_ = env.step({agent: arms[agent](observations[agent]) for agent in AGENTS})
    env.close()
    return {agent: np.stack(row) for agent, row in rows.items()}


def content(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of a file."""
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return json.loads(str(arrays.pop("header"))), arrays


def write(path: Path, header: dict[str, Any], arrays: dict[str, Any]) -> Path:
    """Writes a file with this header and these arrays."""
    with path.open("wb") as file:
        np.savez(file, header=np.array(json.dumps(header)), **arrays)
    return path


@pytest.mark.parametrize(
    ("method", "task"),
    [("imitation", "transfer_cube"), ("imitation", "insertion"), ("ippo", "transfer_cube")],
)
def test_success(method: str, task: str) -> None:
    """At least 9 of 10 episodes that no training has seen, strictly judged, random starts."""
    arms = {method: policies.load(method, task, control="joint_delta")}
    result = crossplay(task, arms, range(100_000, 100_010))
    assert result.options["rules"] == "strict"
    assert result.options["start"] == "random"
    assert result.pairs[0]["successes"] >= 9


@pytest.mark.parametrize("control", [name for name in CONTROLS if name != "joint_delta"])
@pytest.mark.parametrize("task", TASKS)
def test_every_control_mode(task: str, control: str) -> None:
    """Networks that learned joint steps act in every mode."""
    arms = {"imitation": policies.load("imitation", task, control=control)}
    assert {policy.control for policy in arms["imitation"].values()} == {control}
    assert crossplay(task, arms, range(100_000, 100_005)).pairs[0]["successes"] >= 4


@pytest.mark.parametrize("task", TASKS)
def test_rows_do_not_depend_on_the_batch(task: str) -> None:
    """One observation or many, in any order: the same actions, bit for bit."""
    for agent, rows in seen(task, 60).items():
        policy = policies.load("imitation", task)[agent]
        single = np.stack([policy(row) for row in rows])
        assert single.shape == (len(rows), 7)
        assert single.dtype == np.float32
        for many in (policy(rows), policy(rows[::-1])[::-1], policy(rows[:17])):
            np.testing.assert_array_equal(many, single[: len(many)])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_are_small_and_plain(path: Path) -> None:
    """Less than 1 MB each, arrays of numbers and a text."""
    assert path.stat().st_size < 1_000_000
    header, arrays = content(path)
    assert path.stem.endswith(f"{header['task']}_{header['side']}")
    assert all(array.dtype == np.float32 and np.isfinite(array).all() for array in arrays.values())


def test_no_other_files() -> None:
    """There are weights for every arm of every task, and no others."""
    assert sorted(WEIGHTS.iterdir()) == sorted(FILES)


def test_runs_without_torch() -> None:
    """PyTorch is not imported; with it blocked the policies act all the same."""
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
from aloha_marl import policies
for policy in policies.load("imitation", "insertion").values():
    assert np.isfinite(policy(np.zeros(79, np.float32))).all()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("scope", ["local", "partner"])
@pytest.mark.parametrize("task", TASKS)
def test_save_and_load(task: str, scope: str, tmp_path: Path) -> None:
    """A saved network comes back, for either scope."""
    rng = np.random.default_rng(0)
    rows = rng.uniform(-1, 1, (5, task_layout(task, scope).size)).astype(np.float32)
    inputs = sum(p.shape[1] for p in features(View(rows, task_layout(task, scope)), task).values())
    sizes = (inputs, 8, 7)
    layers = tuple(
        (rng.normal(size=(a, b)).astype(np.float32), rng.normal(size=b).astype(np.float32))
        for a, b in itertools.pairwise(sizes)
    )
    network = Network(task, "left", scope, 3, layers)
    network.save(tmp_path / "mine.npz")
    loaded = load_file(tmp_path / "mine.npz", task, "left", control="ee_delta")
    assert (loaded.scope, loaded.control, loaded.network.seed) == (scope, "ee_delta", 3)
    np.testing.assert_array_equal(loaded(rows), LearnedPolicy(network, "ee_delta")(rows))


@pytest.mark.parametrize("task", TASKS)
def test_features_do_not_tell_equal_yaws_apart(task: str) -> None:
    """An object turned to where it looks the same gives the same features; turned less, others."""
    rows, parts = seen(task, 1)["right_arm"].astype(float), task_layout(task, "partner")
    for name in aloha_marl.TASKS[task].objects:
        turn = np.pi / 2 if name == "cube" else np.pi
        same = {}
        for angle in (0, turn, turn / 2):
            turned = rows.copy()
            cos, sin = np.cos(angle), np.sin(angle)
            x, y, z = rows[0, parts[f"{name}_x_axis"]]
            turned[0, parts[f"{name}_x_axis"]] = cos * x - sin * y, sin * x + cos * y, z
            same[angle] = np.column_stack([*features(View(turned, parts), task).values()])
        np.testing.assert_allclose(same[turn], same[0], atol=0.02)
        assert np.abs(same[turn / 2] - same[0]).max() > 0.5


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        (("transfer_cube", "left"), "task='insertion', needed is 'transfer_cube'"),
        (("insertion", "right"), "side='left', needed is 'right'"),
        (("insertion", "left", "local"), "scope='partner', needed is 'local'"),
    ],
)
def test_file_for_something_else(asked: tuple[str, ...], text: str) -> None:
    """The message says what the file is for, and which command makes the right one."""
    path = WEIGHTS / "imitation_insertion_left.npz"
    scope = asked[2] if len(asked) > 2 else "partner"
    command = f"`python examples/learning/imitate.py --task {asked[0]} --scope {scope}` makes one"
    with pytest.raises(ValueError, match=f"{re.escape(text)}; {re.escape(command)}"):
        load_file(path, *asked)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("juggle", "left"), "task='juggle' is unknown; valid: 'transfer_cube'"),
        (("insertion", "middle"), "side='middle' is unknown; valid: 'left', 'right'"),
        (("insertion", "left", "full"), "scope='full' is unknown; valid: 'partner', 'local'"),
        (("insertion", "left", None, "torque"), "control='torque' is unknown; .*'ee_delta'"),
    ],
)
def test_unknown_names(arguments: tuple[Any, ...], text: str) -> None:
    """Errors list the valid names."""
    with pytest.raises(ValueError, match=text):
        load_file(WEIGHTS / "imitation_insertion_left.npz", *arguments)


def test_spoiled_files(tmp_path: Path) -> None:
    """A file of another size, with other features or layers, no file of a policy, or none at all."""
    header, arrays = content(WEIGHTS / "imitation_insertion_left.npz")
    path = tmp_path / "policy.npz"

    def refused(text: str) -> None:
        with pytest.raises(ValueError, match=text) as caught:
            load_file(path, "insertion", "left")
        assert "`python examples/learning/imitate.py --task insertion" in str(caught.value)

    write(path, header | {"observation_size": 59}, arrays)
    refused("observation_size=59, needed is 79")
    fewer = {name: size for name, size in header["features"].items() if name != "gripper"}
    write(path, header | {"features": fewer}, arrays)
    refused("features=")
    write(path, header, arrays | {"weights0": arrays["weights0"][1:]})
    refused("layers of the shapes")
    last = {name: arrays[name] for name in ("weights0", "bias0")}
    write(path, header, last)
    refused("layers of the shapes")
    for spoiled in ([], {**header, "scope": "all"}, {}):
        write(path, spoiled, arrays)  # type: ignore[arg-type]
        refused("is no file of a learned policy")
    np.savez(path, weights0=np.zeros(3))
    refused("is no file of a learned policy")
    path.write_bytes((WEIGHTS / "imitation_insertion_left.npz").read_bytes()[:1000])
    refused("is no file of a learned policy")
    path.write_text("weights")
    refused("is no file of a learned policy")
    path.write_text("")
    refused("is no file of a learned policy")
    path.unlink()
    with pytest.raises(FileNotFoundError):
        load_file(path, "insertion", "left")


def test_no_weights_for_local() -> None:
    """The package's own networks know the partner; the message tells how to train others."""
    with pytest.raises(ValueError, match=r"imitate\.py --task insertion --scope local` makes one"):
        policies.load("imitation", "insertion", scope="local")


def test_wrong_observation_is_told() -> None:
    """A policy refuses observations of another task."""
    policy = policies.load("imitation", "insertion")["left_arm"]
    with pytest.raises(ValueError, match=r"reads \(79,\) or \(N, 79\), scope 'partner'"):
        policy(np.zeros(59, np.float32))
