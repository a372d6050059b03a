"""Cross-play: every left policy with every right one, and how well strangers work together."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.envs.per_arm import row_of
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation.evaluator import (
    Episode,
    Evaluation,
    fitting,
    outcome,
    phases,
    sight,
    versions,
)
from aloha_marl.evaluation.table import Table
from aloha_marl.policies import Policy
from aloha_marl.tasks import Task

_PER_PAIR = ("scope", "control")
"""Options that the policies of a pair decide."""


@dataclasses.dataclass(frozen=True)
class Crossplay:
    """What came of all pairs.

    Attributes:
        task: its name.
        names: of the policies, each a row as the left arm and a column as the right one.
        seeds: of the resets, the same for every pair.
        options: of the environment, but for those of a pair.
        versions: which the result depends on.
        pairs: row by row: who was "left" and "right", "scope" and "control" of the environment, and
            the figures of :meth:`aloha_marl.evaluation.evaluator.Evaluation.summary`.
    """

    task: str
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    options: dict[str, Any]
    versions: dict[str, str]
    pairs: tuple[dict[str, Any], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names, without what is before a colon as long as they differ."""
        short = tuple(name.rpartition(":")[2] for name in self.names)
        return short if len(set(short)) == len(short) else self.names

    @property
    def rates(self) -> np.ndarray:
        """(n, n) success rates; rows are left policies, columns right ones."""
        rates = [pair["success_rate"] for pair in self.pairs]
        return np.reshape(rates, (len(self.names), len(self.names)))

    @property
    def intervals(self) -> np.ndarray:
        """(n, n, 2) their Wilson 95 % intervals."""
        intervals = [pair["success_rate_wilson_95"] for pair in self.pairs]
        return np.reshape(intervals, (len(self.names), len(self.names), 2))

    @property
    def alike(self) -> float:
        """Mean success rate of the pairs of one policy with itself: the diagonal."""
        return float(self.rates.diagonal().mean())

    @property
    def strangers(self) -> float:
        """Mean success rate of the pairs of two policies, NaN if there is one only."""
        n = len(self.names)
        return float(self.rates[~np.eye(n, dtype=bool)].mean()) if n > 1 else math.nan

    def summary(self) -> str:
        """The means in a line."""
        text = f"mean success: with itself {self.alike:.1%}"
        return text if math.isnan(self.strangers) else f"{text}, strangers {self.strangers:.1%}"

    def table(self, cell: Callable[[str, str, bool], str]) -> Table:
        """The matrix in per cent, with means.

        Args:
            cell: rate, interval and whether it is on the diagonal -> text.
        """
        percent = 100 * self.rates
        rows = []
        for i, label in enumerate(self.labels):
            cells = (
                cell(f"{percent[i, j]:.0f}", f"{low:.0f}-{high:.0f}", i == j)
                for j, (low, high) in enumerate(100 * self.intervals[i])
            )
            rows.append((label, *cells, f"{percent[i].mean():.0f}"))
        means = (f"{mean:.0f}" for mean in (*percent.mean(axis=0), percent.mean()))
        rows.append(("mean", *means))
        title = f"{self.task}: success [%] of {len(self.seeds)} episodes"
        return Table(title, (" \\ ".join(SIDES), *self.labels, "mean"), rows)

    def to_json(self) -> str:
        """Everything as JSON; the same on every run with the same versions."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Crossplay:
        """The result that :meth:`to_json` wrote."""
        content = json.loads(text)
        return cls(**content | {key: tuple(content[key]) for key in ("names", "seeds", "pairs")})


def crossplay(
    task: str | Task,
    policies: Mapping[str, Mapping[str, Policy]],
    seeds: Sequence[int],
    *,
    on_episode: Callable[[Episode], None] | None = None,
    **options: Any,
) -> Crossplay:
    """Plays one episode per seed with every pair of a left and a right policy.

    All episodes of a pair are played at once, in a batch with a row per seed. They are, bit for bit,
    those of :func:`aloha_marl.evaluation.evaluate`, if an action depends on nothing but the observation
    of its row. So it is with all scripted policies and "random".

    Args:
        task: a task or its name.
        policies: name -> agent -> policy; each pair decides the options ``scope`` and ``control``.
        seeds: of the resets.
        on_episode: called after every episode.
        **options: further options of the environment.

    Raises:
        ValueError: an unknown option or value, policies that don't fit one another or the
            environment, or nothing to play.
    """
    if not policies or not seeds:
        raise ValueError(f"nothing to play: {len(policies)} policies, {len(seeds)} seeds")
    pairs = {}
    for names in ((left, right) for left in policies for right in policies):
        arms = {agent: policies[name][agent] for agent, name in zip(AGENTS, names, strict=True)}
        pairs[names] = arms, fitting(arms, {"metrics": True} | options)
    results = []
    for names, (arms, fitted) in pairs.items():
        env = AlohaVectorEnv(task, len(seeds), autoreset_mode="NextStep", **fitted)
        episodes = {}
        for row, episode in _play(env, arms, seeds):
            episodes[row] = episode
            if on_episode is not None:
                on_episode(episode)
        env.close()
        used = dataclasses.asdict(env.options)
        in_order = tuple(episodes[row] for row in range(len(seeds)))
        result = Evaluation(env.task.name, " with ".join(names), used, in_order)
        own = {name: used.pop(name) for name in _PER_PAIR}
        results.append(dict(zip(SIDES, names, strict=True)) | own | result.summary())
    return Crossplay(env.task.name, tuple(policies), tuple(seeds), used, versions(), tuple(results))


def _play(
    env: AlohaVectorEnv, policies: Mapping[str, Policy], seeds: Sequence[int]
) -> Iterator[tuple[int, Episode]]:
    """Plays an episode in every row and gives the rows' numbers and episodes, as they end."""
    for policy in policies.values():
        policy.reset()
    see = sight(env, policies)
    observations, infos = env.reset(seed=seeds)
    first = env.possible_agents[0]
    stages = [infos[first]["stage"]]
    over = np.zeros(len(seeds), bool)
    while not over.all():
        seen = see(observations)
        actions = {agent: policy(seen[agent]) for agent, policy in policies.items()}
        observations, _, terminations, truncations, infos = env.step(actions)
        stages.append(infos[first]["stage"])
        ended = (terminations[first] | truncations[first]) & ~over
        over |= ended
        seen = see(observations)  # an episode that has ended starts again in the next step only
        for row in np.flatnonzero(ended).tolist():
            told = [row_of(infos[agent], row) for agent in env.possible_agents]
            doing = phases(policies, row_of(seen, row))
            yield (
                row,
                outcome(env.task, seeds[row], [int(stage[row]) for stage in stages], told, doing),
            )
