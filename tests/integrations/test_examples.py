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

import pytest
import smoke

from aloha_marl import AGENTS


@dataclasses.dataclass(frozen=True)
class Example:
    """A training example and its quick training.

    Attributes:
        library: name of the extra and of its environment in ``make``.
        package: name to import.
        parameters: the example's learner to pairs of a name and a trained tensor; None if a test of
            its own trains it.
        arguments: arguments of a quick training.
        steps: steps at the last point of the learning curve, at most.
        variants: further arguments, a training each.
        tensors: number of trained tensors, if it is known.
        exact: True if a training that goes on after a kill ends as one in one piece.
        variables: variables of the process in which two runs are equal.
        suffix: of the files of its policies.
    """

    library: str
    package: str
    parameters: Callable[[Any], Any] | None = None
    arguments: tuple[str, ...] = smoke.PPO
    steps: int = 2048
    variants: tuple[tuple[str, ...], ...] = ((),)
    tensors: int | None = None
    exact: bool = True
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    suffix: str = ".npz"


def agilerl_parameters(learner: Any) -> Any:
    """Parameters of both arms' actors and critics."""
    for network in ("actors", "critics"):
        for name, value in getattr(learner.ippo, network).named_parameters():
            yield f"{network} {name}", value


def skrl_parameters(learner: Any) -> Any:
    """Parameters of both arms' policies and values."""
    for agent in AGENTS:
        for kind in ("policy", "value"):
            for name, value in learner.models[agent][kind].named_parameters():
                yield f"{agent} {kind} {name}", value


def tianshou_parameters(learner: Any) -> Any:
    """Parameters of both arms' algorithms."""
    for agent in AGENTS:
        for name, value in learner.algorithm.get_algorithm(agent).named_parameters():
            yield f"{agent} {name}", value


EXAMPLES = {
    "imitate": Example("torch", "torch", arguments=smoke.IMITATE),
    "imitate_strangers": Example("torch", "torch", arguments=smoke.IMITATE),
    "imitate_chunks": Example("torch", "torch", arguments=smoke.CHUNKS, suffix=".ts"),
    "train_cleanrl": Example("torch", "torch", arguments=smoke.CLEANRL),
    "train_sb3": Example(
        "sb3", "stable_baselines3", lambda learner: learner.model.policy.named_parameters()
    ),
    "train_torchrl": Example("torchrl", "torchrl", lambda learner: learner.loss.named_parameters()),
    "train_benchmarl": Example(
        "benchmarl",
        "benchmarl",
        lambda learner: learner.experiment.losses["arms"].named_parameters(),
        variants=(("--algorithm", "mappo"), ("--algorithm", "ippo")),
    ),
    "train_rllib": Example(
        "rllib",
        "ray",
        lambda learner: learner.algorithm.get_module("shared").named_parameters(),
        arguments=smoke.RLLIB,
        steps=2000,
        exact=False,
        variables={"PYTHONHASHSEED": "0"},  # RLlib iterates over sets of names
    ),
    "train_skrl": Example("skrl", "skrl", skrl_parameters, tensors=len(AGENTS) * (7 + 6)),
    "train_agilerl": Example("agilerl", "agilerl", agilerl_parameters),
    "train_tianshou": Example(
        "tianshou", "tianshou", tianshou_parameters, tensors=len(AGENTS) * (7 + 6)
    ),
    "train_xuance": Example(
        "xuance", "xuance", lambda learner: learner.ippo.policy.named_parameters()
    ),
}
PER_ARM = {"skrl", "agilerl", "tianshou", "xuance"}
"""Libraries whose example has networks per arm, which their names tell."""


def close(learner: Any) -> None:
    """Ends RLlib's processes, or frees the simulations."""
    (learner.close if hasattr(learner, "close") else learner.rows.close)()


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
    files = {path.stem for path in smoke.EXAMPLES.glob("*.py") if "def main" in path.read_text()}
    assert files == EXAMPLES.keys()


def test_example_trains(name: str, variant: tuple[str, ...], tmp_path: Path) -> None:
    """Its losses are finite, and every parameter moves."""
    example, module = EXAMPLES[name], importlib.import_module(name)
    assert example.parameters is not None
    arguments = module.parse([*example.arguments, *variant, "--out", str(tmp_path)])
    learner = module.Learner(arguments)
    try:
        before = {key: value.clone() for key, value in example.parameters(learner)}
        assert before
        assert example.tensors in (None, len(before))
        if example.library in PER_ARM:
            assert all(any(agent in key for key in before) for agent in AGENTS)
        with module.training.Run(name, arguments, learner) as run:
            module.train(learner, run)
        assert run.curve[-1]["steps"] == example.steps
        assert all(math.isfinite(point["loss"]) for point in run.curve)
        for key, value in example.parameters(learner):
            assert not before[key].equal(value), key
    finally:
        close(learner)


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
    parse = importlib.import_module(name).parse
    if arguments[0].strip("-").replace("-", "_") not in vars(parse([])):
        error = "unrecognized arguments"
    with pytest.raises(SystemExit) as stop:
        parse([*arguments])
    assert stop.value.code == 2
    assert error in capsys.readouterr().err


def test_interrupt(name: str, tmp_path: Path) -> None:
    """Ctrl-C keeps policy, curve and state, and says so; the results are not touched."""
    example, module = EXAMPLES[name], importlib.import_module(name)
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
    files = [*tmp_path.glob("[!.]*.part.*")]
    assert {*map(str, files)} == {*text.strip().rpartition("kept: ")[2].split(", ")}
    assert {path.suffix for path in files} == {".json", example.suffix, ".pt"}
    content = json.loads(parts[0].read_text())
    assert content["curve"]
    assert "evaluation" not in content
    assert smoke.policies(tmp_path, f".part{example.suffix}")


def test_example_repeats(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs with one seed differ in their times only, killed and resumed or not; seeds differ."""
    example = EXAMPLES[name]
    for variable, value in example.variables.items():
        monkeypatch.setenv(variable, value)
    results, weights = [], []
    for seed, resumed in (("0", False), ("0", example.exact), ("1", not example.exact)):
        out = tmp_path / str(len(results))
        arguments = (*example.arguments, "--seed", seed, "--tensorboard")
        if resumed:
            smoke.kill(name, out, *arguments)
            arguments += ("--resume",)
        results.append(smoke.without_times(smoke.run(name, out, *arguments)))
        assert smoke.policies(out, example.suffix)
        weights.append(smoke.weights(out, example.suffix))
        (curve,) = (out / "tensorboard").glob(f"*_transfer_cube_{seed}")
        assert [*curve.iterdir()]
    first, second, other = results
    assert first == second
    assert first["curve"] != other["curve"]
    assert len(first["curve"]) == len(other["curve"])
    assert weights[0] == weights[1] != weights[2]
    assert first["evaluation"]["summary"]["episodes"] == 1
    assert first["command"].startswith(f"python examples/learning/{name}.py --task transfer_cube")
