"""Two evaluations on the same seeds: their difference, and whether chance explains it."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

from aloha_marl.evaluation.results import Evaluation, points, versions, wilson


@dataclasses.dataclass(frozen=True, repr=False)
class Comparison:
    """Two evaluations of one task on the same seeds; made by :func:`compare`.

    Attributes:
        a: the first evaluation, or the unperturbed one.
        b: the second evaluation, or the perturbed one.
        repeats: evaluations that repeat ``b`` with other draws of its perturbations.
    """

    a: Evaluation
    b: Evaluation
    repeats: tuple[Evaluation, ...] = ()

    @property
    def labels(self) -> tuple[str, str]:
        """Names of both: of their policies, or what else tells them apart."""
        if self.a.policy != self.b.policy:
            return self.a.policy, self.b.policy
        perturbed = bool(self.a.perturbations), bool(self.b.perturbations)
        return ("unperturbed", "perturbed") if perturbed == (False, True) else ("a", "b")

    @property
    def pairs(self) -> dict[str, int]:
        """Numbers of seeds on which "both" succeed, "only_a", "only_b" or "neither"."""
        both = only_a = only_b = 0
        for a, b in zip(self.a.episodes, self.b.episodes, strict=True):
            both += a.success and b.success
            only_a += a.success and not b.success
            only_b += b.success and not a.success
        neither = len(self.a.episodes) - both - only_a - only_b
        return {"both": both, "only_a": only_a, "only_b": only_b, "neither": neither}

    @property
    def difference(self) -> float:
        """Success rate of ``b`` minus that of ``a``."""
        return self.b.success_rate - self.a.success_rate

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the difference by Newcombe's method for pairs, see :func:`newcombe`."""
        return newcombe(*self.pairs.values())

    @property
    def p_value(self) -> float:
        """Two-sided p-value of McNemar's exact test, see :func:`mcnemar`."""
        pairs = self.pairs
        return mcnemar(pairs["only_a"], pairs["only_b"])

    @property
    def pass_rates(self) -> tuple[float, ...]:
        """pass^1, pass^2, ... of ``b`` and its repeats, see :func:`pass_rates`."""
        return pass_rates((self.b, *self.repeats))

    def summary(self) -> dict[str, Any]:
        """Figures of both together."""
        passed = {k: rate for k, rate in enumerate(self.pass_rates, 1) if self.repeats}
        return {
            "pairs": self.pairs,
            "difference": self.difference,
            "difference_newcombe_95": self.interval,
            "mcnemar_exact_p": self.p_value,
            **({"pass^k": passed} if passed else {}),
        }

    def to_json(self) -> str:
        """Everything as JSON; the same on every run with the same :func:`versions`."""
        content: dict[str, Any] = {"task": self.a.task, "versions": versions()} | self.summary()
        content |= {"a": self.a.content(), "b": self.b.content()}
        content |= {"repeats": [each.content() for each in self.repeats]} if self.repeats else {}
        return json.dumps(content, indent=1) + "\n"

    def __repr__(self) -> str:
        rates = ", ".join(
            f"{label} {each.success_rate:.1%}"
            for label, each in zip(self.labels, (self.a, self.b), strict=True)
        )
        return (
            f"<Comparison on {self.a.task}, {len(self.a.episodes)} seeds: {rates}; difference "
            f"{points(self.difference, *self.interval)}, McNemar's exact p = {self.p_value:.2g}>"
        )


def compare(a: Evaluation, b: Evaluation, *repeats: Evaluation) -> Comparison:
    """Compares two evaluations, episode by episode.

    Args:
        a: evaluation of one policy, or an unperturbed one.
        b: evaluation of another policy, or a perturbed one of the same.
        *repeats: further evaluations like ``b``, with other values of ``Perturbations.repeat``.

    Raises:
        ValueError: no episodes, or they are of different tasks or seeds.
    """
    _same_episodes((a, b, *repeats))
    return Comparison(a, b, repeats)


def pass_rates(repeats: Sequence[Evaluation]) -> tuple[float, ...]:
    """pass^1 to pass^n of n repeats: how likely is success in each of k repeats of an episode?

    A seed that succeeds in c of its n repeats counts C(c, k) / C(n, k), the share of its choices of k
    repeats that all succeed. Its mean over the seeds is an unbiased estimate.

    Args:
        repeats: evaluations on the same seeds, with other draws of the perturbations.

    Raises:
        ValueError: no episodes, or they are of different tasks or seeds.
    """
    seeds, n = _same_episodes(repeats), len(repeats)
    counts = [sum(each.episodes[i].success for each in repeats) for i in range(len(seeds))]
    return tuple(
        sum(math.comb(count, k) for count in counts) / (math.comb(n, k) * len(seeds))
        for k in range(1, n + 1)
    )


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value of McNemar's exact test that both are as likely to succeed.

    Given the seeds on which just one succeeds, which one does is then a fair coin.

    Args:
        only_a: number of seeds on which only the first succeeds.
        only_b: number of seeds on which only the second does.
    """
    n = only_a + only_b
    tail = sum(math.comb(n, i) for i in range(min(only_a, only_b) + 1))
    return min(2 * tail / 2**n, 1.0)


def newcombe(both: int, only_a: int, only_b: int, neither: int) -> tuple[float, float]:
    """95 % interval of the difference of two paired proportions, the second minus the first.

    Method 10 of Newcombe (1998, Statistics in Medicine 17, 2635-2650): it joins the Wilson intervals of
    both, corrected by how they correlate.

    Args:
        both: number of seeds on which both succeed.
        only_a: number of seeds on which only the first does.
        only_b: number of seeds on which only the second does.
        neither: number of seeds on which neither does.
    """
    n = both + only_a + only_b + neither
    margins = math.prod((both + only_a, only_b + neither, both + only_b, only_a + neither))
    excess = both * neither - only_a * only_b
    if excess > 0:
        excess = max(excess - n / 2, 0)
    correlation = excess / math.sqrt(margins) if margins else 0.0
    shares = [(both + only) / n for only in (only_a, only_b)]
    (below_a, above_a), (below_b, above_b) = (
        (share - low, high - share)
        for share, (low, high) in zip(
            shares, (wilson(both + only, n) for only in (only_a, only_b)), strict=True
        )
    )

    def join(x: float, y: float) -> float:
        return math.sqrt(max(x * x - 2 * correlation * x * y + y * y, 0.0))

    difference = shares[1] - shares[0]
    return difference - join(below_b, above_a), difference + join(above_b, below_a)


def _same_episodes(results: Sequence[Evaluation]) -> list[int]:
    """The seeds that all of them played.

    Raises:
        ValueError: there are none, or they differ, or the tasks do.
    """
    tasks = list(dict.fromkeys(each.task for each in results))
    if len(tasks) > 1:
        raise ValueError(f"evaluations of different tasks: {', '.join(tasks)}")
    seeds = [[episode.seed for episode in each.episodes] for each in results]
    if not seeds or not seeds[0]:
        raise ValueError("no episodes to compare")
    for other in seeds[1:]:
        if other != seeds[0]:
            raise ValueError(
                f"evaluations of different seeds: {_span(seeds[0])} and {_span(other)}"
            )
    return seeds[0]


def _span(seeds: Sequence[int]) -> str:
    return f"{len(seeds)} from {seeds[0]} to {seeds[-1]}" if seeds else "none"
