"""Policies by name: those of the package, of other packages, of files and of modules."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.observations import SCOPES
from aloha_marl.plugins import POLICIES, announced, find, names_attribute
from aloha_marl.policies.brought import make_policy
from aloha_marl.policies.exported import (
    FORMATS,
    ExportedMergedPolicy,
    ExportedPolicy,
    open_program,
)
from aloha_marl.policies.learned import WEIGHTS, load_file
from aloha_marl.policies.network import METHODS
from aloha_marl.policies.noise import UniformPolicy
from aloha_marl.policies.policy import MergedPolicy, Policy
from aloha_marl.policies.scripted import EXPERTS, ScriptedPolicy
from aloha_marl.policies.styles import STYLES
from aloha_marl.policies.view import POLICY_SCOPES
from aloha_marl.tasks import Task, TaskLike, make_task

NAMES = (*STYLES, *METHODS, "random")
"""Policies of the package."""

_SUFFIXES = (".npz", *FORMATS)


def load(
    name: str = NAMES[0],
    task: TaskLike = "transfer_cube",
    scope: str | None = None,
    control: str | None = None,
    seed: int = 0,
    *,
    left: str | None = None,
    right: str | None = None,
) -> Any:
    """Makes a policy per arm, or one of both arms.

    A name is one of:

    * ``NAMES``, the package's own: "scripted" and its styles such as "scripted:slow"; "imitation" for
      networks that learned from "scripted", "adaptive" for those that learned so among strangers,
      "ippo" for those that learned from rewards alone; "random".
    * :func:`announced_names`, the entry points ``aloha_marl.policies`` of other packages.
    * the path of a file: ``.npz`` of a training example, ``.onnx``, or TorchScript (``.pt``, ``.ts``).
    * ``module:attribute``: a class, a factory or an object, see
      :func:`aloha_marl.policies.brought.make_policy`. The module is imported, which runs its code.

    Args:
        name: of both arms' policies.
        task: a task, its class or its name.
        scope: scope of the observations to read; by default the policy's own, which is "partner" for
            all of the package but "scripted:alone".
        control: control mode of the actions; by default the policy's own, "joint_position" for all of
            the package, which can act in any.
        seed: seed of random actions, and of the errors of "scripted:novice".
        left: of the left arm's policy, in place of ``name``.
        right: of the right arm's policy, in place of ``name``.

    Returns:
        agent -> policy, under the default agent names; or a :class:`MergedPolicy`, if the name stands
        for a policy of both arms.

    Raises:
        ValueError: an unknown name, task, scope or control mode, or a policy that is not made for them.
        FileNotFoundError: there is no such file.
        ImportError: a library that plays the file is missing.
    """
    made = make_task(task)
    choose("scope", scope, (*SCOPES, None))
    choose("control", control, (*CONTROLS, None))
    names = (left or name, right or name)
    policies: dict[str, Policy] = {}
    for agent, side, chosen in zip(AGENTS, SIDES, names, strict=True):
        policy = _source(chosen)(made, side, scope, control, seed)
        if hasattr(policy, "obs_type"):
            if len(set(names)) > 1:
                raise ValueError(
                    f"policy={chosen!r} acts for both arms, it can't play the {side} one alone"
                )
            return cast(MergedPolicy, policy)
        policies[agent] = cast(Policy, policy)
    return policies


def announced_names() -> tuple[str, ...]:
    """Names of the policies that other packages announce."""
    return tuple(name for name in announced(POLICIES) if name not in NAMES)


_Source = Callable[[Task, str, str | None, str | None, int], Policy | MergedPolicy]
"""From task, side, scope, control mode and seed to a policy."""


def _source(name: str) -> _Source:
    """What makes the policies of a name.

    Raises:
        ValueError: an unknown name, or one that can't be imported.
    """
    others = announced_names()
    if name in NAMES:
        return lambda *request: _own(name, *request)
    path = Path(name)
    if path.suffix in _SUFFIXES or os.sep in name:
        choose("suffix of a policy's file", path.suffix, _SUFFIXES)
        return lambda *request: _file(path, *request)
    if name in others or (names_attribute(name) and name.partition(":")[0] != NAMES[0]):
        found = find("policy", name, POLICIES)
        return lambda *request: make_policy(found, f"policy={name!r}", *request)
    raise ValueError(
        f"policy={name!r} is unknown; valid: {', '.join(map(repr, (*NAMES, *others)))}, "
        f"a file ({', '.join(_SUFFIXES)}), or 'module:attribute'"
    )


def _own(
    name: str, task: Task, side: str, scope: str | None, control: str | None, seed: int
) -> Policy:
    """A policy of the package."""
    control = control or next(iter(CONTROLS))
    draws = [seed, SIDES.index(side)]
    if name == "random":
        return UniformPolicy(task, scope or SCOPES[0], control, draws)
    choose("scope", scope, (*POLICY_SCOPES, None))
    files = {other: WEIGHTS / f"{name}_{other}.npz" for other in EXPERTS}
    plays = [other for other in EXPERTS if name not in METHODS or files[other].exists()]
    if task.name not in plays:
        raise ValueError(
            f"policy={name!r} does not play task={task.name!r}; it plays {', '.join(plays)}"
        )
    if name in METHODS:
        return load_file(files[task.name], task, side, scope, control)
    style = STYLES[name]
    return ScriptedPolicy(task.name, side, scope or style.scope, control, style, draws)


def _file(
    path: Path, task: Task, side: str, scope: str | None, control: str | None, seed: int
) -> Policy | MergedPolicy:
    """A policy in a file."""
    if path.suffix not in FORMATS:
        return load_file(path, task, side, scope, control)
    _, said = open_program(path)
    if "obs_type" not in said:
        return ExportedPolicy(path, task, scope, control)
    if scope is not None:
        raise ValueError(
            f"{path} is made for obs_type={said['obs_type']!r}, not for scope={scope!r}"
        )
    return ExportedMergedPolicy(path, control)
