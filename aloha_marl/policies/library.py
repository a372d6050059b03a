"""The policies that come with the package, by name."""

from __future__ import annotations

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.learned import WEIGHTS, LearnedPolicy
from aloha_marl.policies.network import METHODS, Network
from aloha_marl.policies.noise import UniformPolicy
from aloha_marl.policies.policy import Policy
from aloha_marl.policies.scripted import ScriptedPolicy
from aloha_marl.policies.styles import STYLES
from aloha_marl.policies.view import POLICY_SCOPES
from aloha_marl.tasks import TASKS

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
    choose("task", task, TASKS)
    choose("scope", scope, (*POLICY_SCOPES, None))
    choose("control", control, CONTROLS)
    policies: dict[str, Policy] = {}
    for i, (agent, side) in enumerate(zip(AGENTS, SIDES, strict=True)):
        if name in METHODS:
            path = WEIGHTS / f"{name}_{task}_{side}.npz"
            network = Network.load(path, task, side, scope, name)
            policies[agent] = LearnedPolicy(network, control)
        elif name == "random":
            policies[agent] = UniformPolicy(task, scope or POLICY_SCOPES[0], control, [seed, i])
        else:
            style = STYLES[name]
            own = scope or style.scope
            policies[agent] = ScriptedPolicy(task, side, own, control, style, [seed, i])
    return policies
