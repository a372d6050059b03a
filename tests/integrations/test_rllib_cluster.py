"""Ray's clusters: trainings and evaluations on several nodes go on when one of them is lost."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import train_rllib
from ray.cluster_utils import Cluster
from typer.testing import CliRunner

from aloha_marl import policies
from aloha_marl.cli import app as commands
from aloha_marl.evaluation import evaluate
from aloha_marl.integrations import ray_cluster
from aloha_marl.policies import Policy

NODE: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 10**8}
NOBODY = "127.0.0.1:9"
"""A port at which nothing listens."""
PATIENCE = 300
"""Seconds until a test gives up waiting for something."""


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head without processors, and two nodes with one each; they import what the tests do."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    head = NODE | {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(2):
        made.add_node(**NODE)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def node_of(_: object = None) -> str:
    """The node on which this is called."""
    return ray.get_runtime_context().get_node_id()


def test_training_outlives_a_node(cluster: Cluster, tmp_path: Path) -> None:
    """Each node has a runner; one is killed after the first update, another takes its place."""
    victim = next(iter(cluster.worker_nodes))

    class Run(train_rllib.training.Run):
        def point(self, steps: int, *figures: Any, **others: float) -> None:
            super().point(steps, *figures, **others)
            if steps == 1000:
                cluster.remove_node(victim, allow_graceful=False)
                cluster.add_node(**NODE)

    quick = ("--steps", "6000", "--batch", "1000", "--batch-size", "500", "--num-envs", "2")
    address = ("--runners", "2", "--ray-address", cluster.address)
    arguments = train_rllib.parse([*quick, *address, "--out", str(tmp_path)])
    learner = train_rllib.Learner(arguments)
    try:
        runners = learner.algorithm.env_runner_group
        before = runners.foreach_env_runner(node_of, local_env_runner=False)
        assert sorted(before) == sorted(node.node_id for node in cluster.worker_nodes)
        assert victim.node_id in before
        with Run("rllib", arguments, learner) as run:
            train_rllib.train(learner, run)
        assert victim not in cluster.worker_nodes
        assert run.curve[-1]["steps"] >= 6000
        until = time.monotonic() + PATIENCE
        while runners.num_healthy_remote_workers() < 2:
            assert time.monotonic() < until
            learner.algorithm.train()
        after = runners.foreach_env_runner(node_of, local_env_runner=False)
        assert sorted(after) == sorted(node.node_id for node in cluster.worker_nodes)
    finally:
        learner.algorithm.stop()


class Trap:
    """A policy that stops in its third episode on one node; other nodes wait until it does.

    Args:
        policy: policy that acts on other nodes.
        victim: name of the node it stops on.
        log: gets a line with a node's name at the start of every episode there.
    """

    def __init__(self, policy: Policy, victim: str, log: Path):
        self.scope, self.control = policy.scope, policy.control
        self._policy, self._victim, self._log = policy, victim, log
        self._episodes = 0

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        return self._policy(observation)

    def reset(self) -> None:
        here = node_of()
        with self._log.open("a") as log:
            log.write(f"{here}\n")
        self._episodes += 1
        if here != self._victim:
            self.wait()
        elif self._episodes == 3:
            time.sleep(PATIENCE)
            raise RuntimeError("the node was not killed")

    def wait(self) -> None:
        """Until it stops."""
        until = time.monotonic() + PATIENCE
        while not self._log.exists() or self._log.read_text().count(self._victim) < 3:
            if time.monotonic() > until:
                raise RuntimeError("the node got nothing to do")
            time.sleep(0.05)


def test_evaluation_outlives_a_node(cluster: Cluster, tmp_path: Path) -> None:
    """One is killed amid its episodes; the result is that of one process, bit for bit."""
    arms: dict[str, Policy] = {**policies.load("random", "insertion")}
    arms["left_arm"] = policies.load("scripted:novice", "insertion")["left_arm"]
    seeds, options = range(4 * ray_cluster.CHUNK - 1), {"max_cycles": 30}
    here = evaluate("insertion", arms, seeds, **options)
    victim = next(iter(cluster.worker_nodes))
    trap = Trap(arms["right_arm"], victim.node_id, tmp_path / "log")

    def kill() -> None:
        trap.wait()
        cluster.remove_node(victim, allow_graceful=False)

    with ray_cluster.connect(cluster.address), ThreadPoolExecutor() as pool:
        killed = pool.submit(kill)
        arms["right_arm"] = trap
        there = evaluate("insertion", arms, seeds, play_all=ray_cluster.play_all, **options)
        killed.result()
    assert there.to_json() == here.to_json()
    played = (tmp_path / "log").read_text().split()
    (other,) = (node.node_id for node in cluster.worker_nodes)
    assert played.count(victim.node_id) == 3
    assert played.count(other) == len(played) - 3 == len(seeds)


def run(*arguments: str, code: int = 0) -> str:
    """Runs ``aloha-marl eval`` and checks its exit code; returns its output."""
    wide = {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    result = CliRunner(env=wide).invoke(commands.app, ("eval", *arguments))
    assert result.exit_code == code, result.output
    return result.output


def test_command(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file is the same with a cluster; a node with other versions is refused."""
    files = [tmp_path / "here.json", tmp_path / "there.json"]
    there = ("--ray", cluster.address)
    for file, more in zip(files, ((), there), strict=True):
        play = ("--policy", "random", "--episodes", "7", "--max-cycles", "20", "--json", str(file))
        assert "0 of 7" in run(*play, *more)
    assert files[0].read_text() == files[1].read_text()
    assert not ray.is_initialized()
    monkeypatch.setattr(ray_cluster, "versions", lambda: {"mujoco": "9"})
    text = run(*there, "--episodes", "1", "--max-cycles", "2", code=1)
    assert "install {'mujoco': '9'} on all" in text


def test_nobody_there() -> None:
    """The message names the command that starts a cluster, and comes at once: Ray is not even asked."""
    text = run("--ray", NOBODY, code=1)
    with pytest.raises(SystemExit) as told:
        train_rllib.Learner(train_rllib.parse(["--ray-address", NOBODY]))
    for message in (text, str(told.value)):
        assert f"no Ray cluster at '{NOBODY}'" in message
        assert "Connection refused" in message
        assert "'ray start --head --port=9'" in message


@pytest.mark.parametrize("address", ["nowhere", "ray://127.0.0.1:10001", "host:", ":6379"])
def test_no_address(address: str) -> None:
    """The message says how an address looks."""
    text = run("--ray", address, code=2)
    assert f"address '{address}' is unknown; valid: 'HOST:PORT', 'auto'" in text
