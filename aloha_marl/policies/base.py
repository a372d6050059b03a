"""What a policy is, and where the ones that come with the package are found."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.learned import METHODS, load_learned
from aloha_marl.policies.scripted import EXPERTS, SCOPES, ScriptedPolicy
from aloha_marl.policies.styles import STYLES
from aloha_marl.policies.uniform import UniformPolicy


class Policy(Protocol):
    """Acts for one arm from that arm's observation alone.

    It may also have a method ``phase`` that says in words what it is doing in a (D,) observation;
    evaluations then tell where an episode that failed got stuck.

    Attributes:
        scope: the ``scope`` of the observations it reads.
        control: the ``control`` mode its actions are for.
    """

    scope: str
    control: str

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """(D,) or (N, D) observations to (7,) or (N, 7) actions."""
        ...

    def reset(self) -> None:
        """Starts an episode."""
        ...


NAMES = (*STYLES, *METHODS, "random")
"""What :func:`load` knows."""


def load(
    name: str,
    task: str,
    scope: str | None = None,
    control: str = "joint_position",
    seed: int = 0,
) -> dict[str, Policy]:
    """A policy per arm.

    Args:
        name: "scripted", one of its styles such as "scripted:slow", "imitation" for networks that
            learned from "scripted", "ippo" for those that learned from rewards alone, or "random"; see
            ``NAMES``.
        task: "transfer_cube" or "insertion".
        scope: of the observations it will be given, "partner" or "local"; without it what the style
            reads, which is "partner" for all but "scripted:alone".
        control: mode its actions are for, any of the option ``control``.
        seed: of random actions, and of the errors of "scripted:novice".

    Returns:
        agent -> policy, under the default agent names.

    Raises:
        ValueError: an unknown name, task, scope or control mode; the message lists the valid ones. Or
            a scope that such networks have not learned to act on.
    """
    choose("policy", name, NAMES)
    choose("task", task, EXPERTS)
    choose("scope", scope, (*SCOPES, None))
    choose("control", control, CONTROLS)
    if name in METHODS:
        return {
            agent: load_learned(name, task, side, scope, control)
            for agent, side in zip(AGENTS, SIDES, strict=True)
        }
    style = STYLES.get(name)
    arms = [
        (agent, side, [seed, i]) for i, (agent, side) in enumerate(zip(AGENTS, SIDES, strict=True))
    ]
    if style is None:
        scope = scope or SCOPES[0]
        return {agent: UniformPolicy(task, scope, control, own) for agent, _, own in arms}
    return {
        agent: ScriptedPolicy(task, side, scope or style.scope, control, style, own)
        for agent, side, own in arms
    }
