"""Every training example trains, and repeats with its seed."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import smoke

from aloha_marl import AGENTS
from aloha_marl.arms import SIDES
from aloha_marl.policies.learned import load_file
from aloha_marl.policies.view import task_layout


@dataclasses.dataclass(frozen=True)
class Example:
    """A training example and its quick training.

    Attributes:
        library: name of the extra and of its environment in ``make``.
        package: name to import.
        parameters: results of the example's ``build`` to pairs of a name and a trained tensor; None
            if a test of its own trains it.
        arguments: arguments of a quick training.
        steps: steps at the last point of the learning curve, at most.
        variants: further arguments, a training each.
        tensors: number of trained tensors, if it is known.
        stop: ends the processes that ``build`` started.
        variables: variables of the process in which two runs are equal.
    """

    library: str
    package: str
    parameters: Callable[..., Any] | None = None
    arguments: tuple[str, ...] = smoke.PPO
    steps: int = 2048
    variants: tuple[tuple[str, ...], ...] = ((),)
    tensors: int | None = None
    stop: Callable[..., None] = lambda *_: None
    variables: dict[str, str] = dataclasses.field(default_factory=dict)


def agilerl_parameters(ippo: Any, _: Any) -> Any:
    """Parameters of both arms' actors and critics."""
    for network in ("actors", "critics"):
        for name, value in getattr(ippo, network).named_parameters():
            yield f"{network} {name}", value


def skrl_parameters(trainer: Any) -> Any:
    """Parameters of both arms' policies and values."""
    for agent in AGENTS:
        for kind in ("policy", "value"):
            for name, value in trainer.agents.models[agent][kind].named_parameters():
                yield f"{agent} {kind} {name}", value


def tianshou_parameters(algorithm: Any, _: Any) -> Any:
    """Parameters of both arms' algorithms."""
    for agent in AGENTS:
        for name, value in algorithm.get_algorithm(agent).named_parameters():
            yield f"{agent} {name}", value


def stop_ray(algorithm: Any) -> None:
    """Ends RLlib's processes."""
    algorithm.stop()
    importlib.import_module("ray").shutdown()


EXAMPLES = {
    "imitate": Example("torch", "torch", arguments=smoke.IMITATE),
    "train_cleanrl": Example("torch", "torch", arguments=smoke.CLEANRL),
    "train_sb3": Example("sb3", "stable_baselines3", lambda model: model.policy.named_parameters()),
    "train_torchrl": Example("torchrl", "torchrl", lambda mappo: mappo.loss.named_parameters()),
    "train_benchmarl": Example(
        "benchmarl",
        "benchmarl",
        lambda experiment: experiment.losses["arms"].named_parameters(),
        variants=(("--algorithm", "mappo"), ("--algorithm", "ippo")),
    ),
    "train_rllib": Example(
        "rllib",
        "ray",
        lambda algorithm: algorithm.get_module("shared").named_parameters(),
        arguments=smoke.RLLIB,
        steps=2000,
        stop=stop_ray,
        variables={"PYTHONHASHSEED": "0"},  # RLlib iterates over sets of names
    ),
    "train_skrl": Example("skrl", "skrl", skrl_parameters, tensors=len(AGENTS) * (7 + 6)),
    "train_agilerl": Example("agilerl", "agilerl", agilerl_parameters),
    "train_tianshou": Example(
        "tianshou", "tianshou", tianshou_parameters, tensors=len(AGENTS) * (7 + 6)
    ),
    "train_xuance": Example("xuance", "xuance", lambda ippo: ippo.policy.named_parameters()),
}
PER_ARM = {"skrl", "agilerl", "tianshou", "xuance"}
"""Libraries whose example has networks per arm, which their names tell."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """The examples of ``--library``, installed or not; without it those that can run here."""
    asked = metafunc.config.getoption("--library")
    cases = [
        (name, variant)
        for name, example in EXAMPLES.items()
        for variant in example.variants
        if (asked == example.library if asked else importlib.util.find_spec(example.package))
    ]
    if asked and not cases:
        valid = dict.fromkeys(example.library for example in EXAMPLES.values())
        raise pytest.UsageError(f"--library {asked} is unknown; valid: {', '.join(valid)}")
    if "variant" in metafunc.fixturenames:
        trained = [(name, variant) for name, variant in cases if EXAMPLES[name].parameters]
        ids = [" ".join((name, *variant)) for name, variant in trained]
        metafunc.parametrize(("name", "variant"), trained, ids=ids)
    elif "name" in metafunc.fixturenames:
        metafunc.parametrize("name", list(dict.fromkeys(name for name, _ in cases)))


def test_all_examples_are_run() -> None:
    """The table above knows every example."""
    files = {path.stem for path in smoke.EXAMPLES.glob("*.py")} - {"training"}
    assert files == EXAMPLES.keys()


@pytest.mark.filterwarnings("ignore:No episode terminated this iteration:UserWarning")
def test_example_trains(name: str, variant: tuple[str, ...], tmp_path: Path) -> None:
    """Its losses are finite, and every parameter moves."""
    example, module = EXAMPLES[name], importlib.import_module(name)
    assert example.parameters is not None
    arguments = module.parse([*example.arguments, *variant, "--out", str(tmp_path)])
    built = module.build(arguments)
    parts = built if isinstance(built, tuple) else (built,)
    try:
        before = {key: value.clone() for key, value in example.parameters(*parts)}
        assert before
        assert example.tensors in (None, len(before))
        if example.library in PER_ARM:
            assert all(any(agent in key for key in before) for agent in AGENTS)
        with module.training.Run(name, arguments) as run:
            module.train(*parts, run)
        steps = [point["steps"] for point in run.curve]
        # BenchMARL has a point only where an episode ended.
        assert steps[-1] <= example.steps if variant else steps[-1] == example.steps
        assert all(math.isfinite(point["loss"]) for point in run.curve)
        for key, value in example.parameters(*parts):
            assert not before[key].equal(value), key
    finally:
        example.stop(*parts)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("--out", "file"), "file/curve.json can't be written: File exists"),
        (("--episodes", "0"), "--episodes: invalid positive value: '0'"),
        (("--num-envs", "-1"), "--num-envs: invalid positive value: '-1'"),
        (("--seed", "-1"), "--seed: invalid natural value: '-1'"),
    ],
)
def test_mistakes(
    name: str,
    arguments: tuple[str, ...],
    error: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """They are told before the training begins."""
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(name).parse([*arguments])
    assert stop.value.code == 2
    assert error in capsys.readouterr().err


def test_interrupt(name: str, tmp_path: Path) -> None:
    """Ctrl-C keeps the curve and, where there are any, the weights; the results are not touched."""
    example, module = EXAMPLES[name], importlib.import_module(name)
    weights = len(SIDES) if example.library == "torch" else 0
    known = vars(module.parse(["--out", str(tmp_path)]))
    command = [sys.executable, str(smoke.EXAMPLES / f"{name}.py"), *example.arguments]
    for option, value in {"steps": 10_000_000, "points": 9999, "rounds": 9999}.items():
        command += [f"--{option}", str(value)] * (option in known)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--out", str(tmp_path)], **pipes) as process:
        end = time.monotonic() + 300
        while not (parts := [*tmp_path.glob("[!.]*.part.json")]):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        text, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    files = {*tmp_path.glob("[!.]*.part.*")}
    assert {*map(str, files)} == {*text.strip().rpartition("kept: ")[2].split(", ")}
    content = json.loads(parts[0].read_text())
    assert content["curve"]
    assert "evaluation" not in content
    for side, file in zip(SIDES, sorted(files - {*parts}), strict=bool(weights)):
        assert load_file(file, "transfer_cube", side).network.side == side


def test_example_repeats(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs with one seed differ in their times only, one with another seed also in its curve."""
    example = EXAMPLES[name]
    for variable, value in example.variables.items():
        monkeypatch.setenv(variable, value)
    first, second, other = (
        smoke.without_times(smoke.run(name, tmp_path / str(i), *example.arguments, "--seed", seed))
        for i, seed in enumerate(("0", "0", "1"))
    )
    assert first == second
    assert first["curve"] != other["curve"]
    assert first["evaluation"]["summary"]["episodes"] == 1
    assert first["command"].startswith(f"python examples/learning/{name}.py --task transfer_cube")
    files = sorted((tmp_path / "0").glob("*.npz"))
    assert len(files) == (len(SIDES) if example.library == "torch" else 0)
    seen = np.zeros(task_layout("transfer_cube", "partner").size, np.float32)
    for side, file in zip(SIDES, files, strict=bool(files)):
        one, again, another = (
            load_file(tmp_path / str(i) / file.name, "transfer_cube", side)(seen) for i in range(3)
        )
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, another)
