"""Plays what needs no training, for the page on baselines: experts, random actions, one arm alone."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aloha_marl import policies
from aloha_marl.arms import SIDES
from aloha_marl.control.modes import CONTROLS
from aloha_marl.evaluation.pairs import crossplay
from aloha_marl.policies import Policy
from aloha_marl.tasks import TASKS

FOLDER = Path(__file__).parent
SEEDS = range(100_000, 100_300)
"""No training starts from these."""


def references() -> Iterator[dict[str, Any]]:
    """A result after the other, each as a training writes it but for the learning."""
    one_arm = runpy.run_path(str(FOLDER.parent / "tests" / "one_arm.py"))
    for task in TASKS:
        for control in CONTROLS:
            yield played("scripted", task, policies.load("scripted", task, control=control))
            if control != "joint_delta":  # in which they learned: of that the trainings tell
                arms = policies.load("imitation", task, control=control)
                seed = arms["left_arm"].network.seed
                yield played("imitation", task, arms) | {"arguments": {"seed": seed}}
        yield played("random", task, policies.load("random", task, control="joint_delta"))
    for attempt, (task, *_) in one_arm["ATTEMPTS"].items():
        for rules in ("gym_aloha", "strict"):
            arms = one_arm["alone"](attempt)
            result = played("one arm", task, arms, rules=rules, start="gym_aloha")
            yield result | {"arguments": {"attempt": attempt}}


def played(method: str, task: str, arms: Mapping[str, Policy], **options: Any) -> dict[str, Any]:
    """The result of an episode per seed.

    Args:
        method: its name.
        task: its name.
        arms: agent -> policy.
        **options: of the environment.
    """
    result = crossplay(task, {method: arms}, SEEDS, **options)
    (pair,) = result.pairs
    own = {name: pair[name] for name in ("scope", "control")}
    summary = {name: value for name, value in pair.items() if name not in {*own, *SIDES}}
    return {
        "method": method,
        "command": "python docs/references.py",
        "arguments": {},
        "evaluation": {
            "task": task,
            "policy": method,
            "options": result.options | own,
            "versions": result.versions,
            "summary": summary,
            "first_seed": SEEDS[0],
        },
    }


def main() -> None:
    """Plays all and writes them to a file."""
    found = []
    for run in references():
        found.append(run)
        summary = run["evaluation"]["summary"]
        what = {**run["evaluation"]["options"], **run["arguments"]}
        names = (what[name] for name in ("control", "rules", "attempt") if name in what)
        print(run["method"], run["evaluation"]["task"], *names, summary["successes"], flush=True)
    path = FOLDER / "results" / "references.json"
    path.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
