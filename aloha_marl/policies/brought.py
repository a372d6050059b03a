"""Policies that users and other packages bring along: classes, factories, objects, dicts per agent."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.observations import SCOPES
from aloha_marl.policies.policy import MergedPolicy, Policy
from aloha_marl.tasks import Task

KINDS = (
    "a policy has a call from observation to action, reset(), control, and either scope (one arm) or "
    "obs_type (both arms); valid: a class or a factory of policies, a policy, a dict agent -> policy"
)


def make_policy(
    found: Any,
    label: str,
    task: Task,
    side: str,
    scope: str | None,
    control: str | None,
    seed: int,
) -> Policy | MergedPolicy:
    """Makes the policy of one arm, or of both, from what an import gave.

    Args:
        found: a class or a factory, called with those of ``task``, ``side``, ``scope``, ``control``
            and ``seed`` that it names, scope and control only if they are asked for; a policy, of
            which every arm gets a copy; or a dict agent -> policy.
        label: begins the messages of errors.
        task: the task.
        side: "left" or "right".
        scope: scope to read, or None for the policy's own.
        control: control mode to act in, or None for the policy's own.
        seed: seed of random actions.

    Raises:
        ValueError: it is no policy, it can't be made, or it has another scope or control mode.
    """
    offered = {"task": task, "side": side, "scope": scope, "control": control, "seed": seed}
    try:
        if isinstance(found, type) or (callable(found) and not hasattr(found, "reset")):
            found = found(**_named(found, offered))
        else:
            found = copy.deepcopy(found)
    except Exception as error:  # anything may go wrong in a factory
        problem = f"{type(error).__name__}: {error}"
        raise ValueError(f"{label} can't be made: {problem}; {KINDS}") from error
    if isinstance(found, Mapping):
        agent = AGENTS[SIDES.index(side)]
        if agent not in found:
            raise ValueError(f"{label} has no policy for {agent}; it has {', '.join(found)}")
        found = found[agent]
    return check_policy(found, label, scope, control)


def _named(function: Any, offered: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the offered keywords that a function names and that are not None."""
    named = inspect.signature(function).parameters.values()
    every = any(parameter.kind is parameter.VAR_KEYWORD for parameter in named)
    names = {p.name for p in named if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {
        name: value
        for name, value in offered.items()
        if value is not None and (every or name in names)
    }


def check_policy(
    policy: Any, label: str, scope: str | None = None, control: str | None = None
) -> Any:
    """The policy, if it is one and has that scope and control mode.

    Raises:
        ValueError: it is not, or has not.
    """
    merged = hasattr(policy, "obs_type")
    needed = ("reset", "control", *(("obs_type", "cameras") if merged else ("scope",)))
    missing = [name for name in needed if not hasattr(policy, name)]
    if missing or not callable(policy):
        lacks = ", ".join(missing) or "a call"
        raise ValueError(f"{label} gave a {type(policy).__name__} without {lacks}; {KINDS}")
    asked = {"scope": (scope, SCOPES), "control": (control, CONTROLS)}
    for name, (wanted, valid) in asked.items():
        own = None if merged and name == "scope" else getattr(policy, name)
        if own is not None and own not in valid:
            raise ValueError(
                f"{label} has {name}={own!r}, which is unknown; valid: {', '.join(map(repr, valid))}"
            )
        if wanted not in (None, own):
            has = f"{name}={own!r}" if own else f"obs_type={policy.obs_type!r}"
            raise ValueError(f"{label} is made for {has}, not for {name}={wanted!r}")
    return policy
