"""Arms that play with strangers: ``imitate.py`` among partners whose styles are drawn at random.

In half of the rows the left arm learns, in the others the right one. Its partner is a scripted expert in
a style that is drawn anew in every round: its speed, its noise, the pitch of its grasp, where the arms
meet, and how it turns the cube. The labels come from a patient expert who knows the meeting point. The
network has to see it from the partner and the cube. Needs the extra ``torch``.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import imitate
import numpy as np
import training
from imitate import CONTROL

from aloha_marl import AGENTS
from aloha_marl.arms import ACTION_SIZE, SIDES
from aloha_marl.policies import Policy
from aloha_marl.policies.scripted import ScriptedPolicy
from aloha_marl.policies.styles import Style

RANGES = {
    "speed": (0.5, 1.25),
    "height": (-0.03, 0.06),
    "pitch": (-0.3, 0.2),
    "yaw": (-0.8, 0.8),
    "noise": (0.0, 0.002),
}
"""Attribute of the styles -> bounds between which it is drawn [m, rad]."""

BELOW = 0.02
"""How far below its partner's meeting point the giver is taught to begin to raise the cube [m]."""

STYLES = 8
"""Styles at once, per arm; there are fewer if there are fewer rows."""


class Group(NamedTuple):
    """Rows in which the same arm learns beside the same partner."""

    rows: slice
    learns: str
    expert: Policy
    other: str
    partner: Policy


class AmongStrangers(imitate.Experience):
    """Samples of each arm from its own half of the rows."""

    def __init__(self, task: str, scope: str, rows: int, seed: int):
        super().__init__(task, scope)
        self._half, self._seed = rows // 2, seed
        self._groups: list[Group] = []

    def begin(self, number: int) -> None:
        """Draws the partners of a round."""
        task, scope = self._own["task"], self._own["scope"]
        rng = np.random.default_rng([self._seed, number])
        half = self._half
        edges = np.linspace(0, half, min(STYLES, half) + 1).astype(int)
        self._groups = []
        for own, other in ((0, 1), (1, 0)):
            for rows in map(slice, own * half + edges[:-1], own * half + edges[1:]):
                drawn: dict[str, Any] = {name: rng.uniform(*ends) for name, ends in RANGES.items()}
                style = Style(**drawn)
                teacher = Style(height=style.height - BELOW * own, patient=True)
                expert, partner = (
                    ScriptedPolicy(task, SIDES[arm], scope, CONTROL, plays, number)
                    for arm, plays in ((own, teacher), (other, style))
                )
                self._groups.append(Group(rows, AGENTS[own], expert, AGENTS[other], partner))

    def add(self, observations: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        actions = {agent: np.zeros((2 * self._half, ACTION_SIZE)) for agent in AGENTS}
        for group in self._groups:
            actions[group.learns][group.rows] = group.expert(observations[group.learns][group.rows])
        halves = list(zip(AGENTS, (slice(self._half), slice(self._half, None)), strict=True))
        self._add(
            *([given[agent][rows] for agent, rows in halves] for given in (observations, actions))
        )
        return actions

    def replace(
        self, observations: Mapping[str, np.ndarray], actions: dict[str, np.ndarray]
    ) -> None:
        for rows, _, _, other, partner in self._groups:
            actions[other][rows] = partner(observations[other][rows])


class Learner(imitate.Learner):
    """Environments in which an arm learns and a stranger plays the other one."""

    def _experience(self) -> AmongStrangers:
        arguments = self._arguments
        return AmongStrangers(arguments.task, arguments.scope, arguments.num_envs, arguments.seed)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    arguments = imitate.parse(argv, __doc__, num_envs=256, width=192)
    if arguments.num_envs % 2:
        training.refuse(f"--num-envs: {arguments.num_envs} is odd; each arm learns in half of them")
    return arguments


def main() -> None:
    """Trains, evaluates and writes all of it."""
    arguments = parse()
    imitate.run_all("adaptive", Learner(arguments), arguments)


if __name__ == "__main__":
    main()
