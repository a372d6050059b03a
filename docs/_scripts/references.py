"""Plays the policies that need no training, for the page on baselines: experts, random, one arm."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pages import RESULTS

from aloha_marl import policies
from aloha_marl.arms import SIDES
from aloha_marl.control.modes import CONTROLS
from aloha_marl.evaluation import crossplay
from aloha_marl.policies import Policy
from aloha_marl.policies.learned import LearnedPolicy
from aloha_marl.policies.one_arm import ATTEMPTS, alone
from aloha_marl.tasks import TASKS

SEEDS = range(100_000, 100_300)
"""No training starts from these."""


def references() -> Iterator[dict[str, Any]]:
    """Yields results in the form in which a training writes its own, without the learning."""
    for task in TASKS:
        for control in CONTROLS:
            yield played("scripted", task, policies.load("scripted", task, control=control))
            if control != "joint_delta":  # the mode they learned in: the trainings have that result
                arms = policies.load("imitation", task, control=control)
                left = arms["left_arm"]
                assert isinstance(left, LearnedPolicy)
                seed = left.pair.seed
                yield played("imitation", task, arms) | {"arguments": {"seed": seed}}
        yield played("random", task, policies.load("random", task, control="joint_delta"))
    for attempt, (task, *_) in ATTEMPTS.items():
        for rules in ("gym_aloha", "strict"):
            arms = alone(attempt)
            result = played("one arm", task, arms, rules=rules, start="gym_aloha")
            yield result | {"arguments": {"attempt": attempt}}


def played(method: str, task: str, arms: Mapping[str, Policy], **options: Any) -> dict[str, Any]:
    """The result of an episode per seed.

    Args:
        method: name of the method.
        task: name of the task.
        arms: agent -> policy.
        **options: options of the environment.
    """
    result = crossplay(task, {method: arms}, SEEDS, **options)
    (pair,) = result.pairs
    own = {name: pair[name] for name in ("scope", "control")}
    summary = {name: value for name, value in pair.items() if name not in {*own, *SIDES}}
    return {
        "method": method,
        "command": "python docs/_scripts/references.py",
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
    (RESULTS / "references.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
