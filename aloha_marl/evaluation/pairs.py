"""Cross-play: every left policy with every right one, and how well strangers work together."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.envs.rows import row_of
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation.evaluator import checked_seeds, rollout
from aloha_marl.evaluation.matching import fitting, phases
from aloha_marl.evaluation.results import Episode, Evaluation, Interrupted, outcome, versions
from aloha_marl.policies import Policy
from aloha_marl.tasks import TaskLike


@dataclasses.dataclass(frozen=True)
class Crossplay:
    """Results of all pairs of a left and a right policy.

    Attributes:
        task: name of the task.
        names: names of the policies, each a row as the left arm and a column as the right one.
        seeds: seeds of the resets, the same for every pair.
        options: options of the environment that all pairs share.
        versions: of what the result depends on, with the kind of processor.
        pairs: row by row: the policies "left" and "right", "scope" and "control" of the environment,
            and the figures of :meth:`aloha_marl.evaluation.Evaluation.summary`. If cross-play was
            interrupted, the last ones are missing.
    """

    task: str
    names: tuple[str, ...]
    seeds: tuple[int, ...]
    options: dict[str, Any]
    versions: dict[str, str]
    pairs: tuple[dict[str, Any], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names after their last colon, or in full if two of those are the same."""
        short = tuple(name.rpartition(":")[2] for name in self.names)
        return short if len(set(short)) == len(short) else self.names

    @property
    def rates(self) -> np.ndarray:
        """(n, n) success rates; rows are left policies, columns right ones. NaN: not played."""
        return self._square([pair["success_rate"] for pair in self.pairs], math.nan)

    @property
    def intervals(self) -> np.ndarray:
        """(n, n, 2) Wilson 95 % intervals of the success rates; 0 to 1 without episodes."""
        return self._square([pair["success_rate_wilson_95"] for pair in self.pairs], (0.0, 1.0))

    @property
    def unplayed(self) -> int:
        """Number of pairs that are missing because cross-play was interrupted."""
        return len(self.names) ** 2 - len(self.pairs)

    def _square(self, values: list[Any], missing: Any) -> np.ndarray:
        """(n, n, ...) values of all pairs."""
        n = len(self.names)
        whole = np.array(values + [missing] * self.unplayed)
        return whole.reshape(n, n, *whole.shape[1:])

    @property
    def alike(self) -> float:
        """Mean success rate of the pairs of one policy with itself, NaN if any was not played."""
        return float(self.rates.diagonal().mean())

    @property
    def strangers(self) -> float:
        """Mean success rate of the pairs of two policies, NaN if there is none or any was not played."""
        n = len(self.names)
        return float(self.rates[~np.eye(n, dtype=bool)].mean()) if n > 1 else math.nan

    def summary(self) -> str:
        """Both means in a sentence, or how many pairs were played if not all."""
        if self.unplayed:
            return f"{len(self.pairs)} of {len(self.names) ** 2} pairs were played"
        text = f"mean success: with itself {self.alike:.1%}"
        return text if math.isnan(self.strangers) else f"{text}, strangers {self.strangers:.1%}"

    def to_json(self) -> str:
        """Everything as JSON; the same on every run with the same :attr:`versions`."""
        return json.dumps(dataclasses.asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Crossplay:
        """The result that :meth:`to_json` wrote."""
        content = json.loads(text)
        return cls(**content | {key: tuple(content[key]) for key in ("names", "seeds", "pairs")})


def crossplay(
    task: TaskLike,
    policies: Mapping[str, Mapping[str, Policy]],
    seeds: Iterable[int],
    *,
    on_episode: Callable[[Episode], None] | None = None,
    **options: Any,
) -> Crossplay:
    """Plays one episode per seed with every pair of a left and a right policy.

    All episodes of a pair are played at once, in a batch with a row per seed. They equal, bit for bit,
    those of :func:`aloha_marl.evaluation.evaluate`, if an action depends on nothing but the observation
    of its row, as it does with all scripted policies and "random".

    Args:
        task: a task or its name.
        policies: name -> agent -> policy; each pair decides the options ``scope`` and ``control``.
        seeds: seeds of the resets.
        on_episode: called after every episode.
        **options: further options of the environment.

    Raises:
        ValueError: an unknown option or value, policies that don't fit one another or the
            environment, a bad seed, or nothing to play.
        Interrupted: Ctrl-C after the first pair; its ``result`` has the pairs that are finished.
    """
    seeds = checked_seeds(seeds)
    if not policies or not seeds:
        raise ValueError(f"nothing to play: {len(policies)} policies, {len(seeds)} seeds")
    pairs = pairings(policies, **{"metrics": True} | options)
    results: list[dict[str, Any]] = []
    played = None
    try:
        for names, (arms, fitted) in pairs.items():
            batch = AlohaVectorEnv(task, len(seeds), autoreset_mode="NextStep", **fitted)
            with contextlib.closing(batch) as env:
                episodes = _play_rows(env, arms, seeds, on_episode)
            used = dataclasses.asdict(env.options)
            summary = Evaluation(env.task.name, "", used, episodes).summary()
            own = {name: used.pop(name) for name in ("scope", "control")}
            results.append(dict(zip(SIDES, names, strict=True)) | own | summary)
            shared = (env.task.name, tuple(policies), seeds, used, versions())
            played = Crossplay(*shared, tuple(results))
    except KeyboardInterrupt as stop:
        if played is None:
            raise
        raise Interrupted(played) from stop
    assert played is not None  # there is a pair
    return played


def pairings(
    policies: Mapping[str, Mapping[str, Policy]], **options: Any
) -> dict[tuple[str, str], tuple[dict[str, Policy], dict[str, Any]]]:
    """Names of the left and the right policy -> both policies, and the options of their environment.

    Raises:
        ValueError: a policy acts for both arms, or two don't fit one another or the options.
    """
    pairs = {}
    for name, arms in policies.items():
        if not isinstance(arms, Mapping):
            raise ValueError(f"policy={name!r} acts for both arms; cross-play pairs single ones")
    for names in itertools.product(policies, repeat=len(AGENTS)):
        arms = {agent: policies[name][agent] for agent, name in zip(AGENTS, names, strict=True)}
        pairs[names] = arms, fitting(arms, options)
    return pairs


def _play_rows(
    env: AlohaVectorEnv,
    policies: Mapping[str, Policy],
    seeds: Sequence[int],
    on_episode: Callable[[Episode], None] | None,
) -> tuple[Episode, ...]:
    """Plays an episode in every row, all at once."""
    episodes: dict[int, Episode] = {}
    stages = []
    steps = rollout(env, policies, seeds)
    while len(episodes) < len(seeds):
        observations, infos, ended = next(steps)
        stages.append(infos[env.possible_agents[0]]["stage"])
        # A row that has ended starts again in the next step only, so its last observation is there.
        for row in [row for row in np.flatnonzero(ended).tolist() if row not in episodes]:
            doing = phases(policies, row_of(observations, row))
            last = [row_of(infos[agent], row) for agent in env.possible_agents]
            reached = [int(stage[row]) for stage in stages]
            episodes[row] = outcome(env.task, seeds[row], reached, last, doing)
            if on_episode is not None:
                on_episode(episodes[row])
    return tuple(episodes[row] for row in range(len(seeds)))
