"""The policies that come with the package, by name."""

from __future__ import annotations

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.learned import load_learned
from aloha_marl.policies.network import METHODS
from aloha_marl.policies.policy import Policy
from aloha_marl.policies.scripted import EXPERTS, ScriptedPolicy
from aloha_marl.policies.styles import STYLES
from aloha_marl.policies.uniform import UniformPolicy
from aloha_marl.policies.view import POLICY_SCOPES

NAMES = (*STYLES, *METHODS, "random")
"""Policies that :func:`load` knows."""


def load(
    name: str,
    task: str,
    scope: str | None = None,
    control: str = "joint_position",
    seed: int = 0,
) -> dict[str, Policy]:
    """Makes a policy per arm.

    Args:
        name: "scripted", one of its styles such as "scripted:slow", "imitation" for networks that
            learned from "scripted", "ippo" for those that learned from rewards alone, or "random"; see
            ``NAMES``.
        task: "transfer_cube" or "insertion".
        scope: scope of the observations to read, "partner" or "local"; by default that of the style,
            "partner" for all but "scripted:alone".
        control: control mode of the actions, any of the option ``control``.
        seed: seed of random actions, and of the errors of "scripted:novice".

    Returns:
        agent -> policy, under the default agent names.

    Raises:
        ValueError: an unknown name, task, scope or control mode; the message lists the valid ones. Or
            a scope for which the package has no networks.
    """
    choose("policy", name, NAMES)
    choose("task", task, EXPERTS)
    choose("scope", scope, (*POLICY_SCOPES, None))
    choose("control", control, CONTROLS)
    return {
        agent: _make(name, task, side, scope, control, [seed, i])
        for i, (agent, side) in enumerate(zip(AGENTS, SIDES, strict=True))
    }


def _make(
    name: str, task: str, side: str, scope: str | None, control: str, seed: list[int]
) -> Policy:
    """The policy of one arm."""
    if name in METHODS:
        return load_learned(name, task, side, scope, control)
    if name == "random":
        return UniformPolicy(task, scope or POLICY_SCOPES[0], control, seed)
    style = STYLES[name]
    return ScriptedPolicy(task, side, scope or style.scope, control, style, seed)
