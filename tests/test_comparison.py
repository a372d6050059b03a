"""Perturbed evaluations, and what two evaluations on the same seeds say about one another."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest

import aloha_marl
from aloha_marl import policies
from aloha_marl.evaluation import Episode, Evaluation, Perturbations, compare, evaluate, pass_rates
from aloha_marl.evaluation.comparison import mcnemar, newcombe
from aloha_marl.wrappers import ActionDelay, Freeze, ObservationDelay, ObservationNoise

PERTURBED = Perturbations(
    action_delay=1,
    observation_delay=2,
    noise={"joint_pos": 0.01},
    freeze=(0.9, 0, 5),
    randomization={"object_mass": (0.5, 2)},
    repeat=1,
)


def made_up(
    successes: str, policy: str = "", first: int = 0, task: str = "insertion"
) -> Evaluation:
    """An evaluation whose episodes succeed where there is a 1."""
    episodes = (
        Episode(seed, one == "1", 100, 4, False, (1, 2, 3, 100))
        for seed, one in enumerate(successes, first)
    )
    return Evaluation(task, policy, {}, tuple(episodes))


# ---------------------------------------------------------------- perturbations


def test_perturbations_are_wrappers_and_an_option(task: str) -> None:
    """A perturbed evaluation plays what the wrappers, put on by hand, make of the same options."""

    def by_hand(randomization: dict[str, tuple[float, float]], **options: object) -> object:
        ranges = randomization | {"object_mass": (0.5, 2)}
        env = aloha_marl.parallel_env(task, randomization=ranges, **options)
        env = ObservationDelay(ObservationNoise(env, {"joint_pos": 0.01}, repeat=1), 2)
        return Freeze(ActionDelay(env, 1), 0.9, (0, 5), repeat=1)

    arms = policies.load("scripted", task)
    options = {"max_cycles": 40, "randomization": {"friction": (0.8, 1.2)}}
    perturbed = evaluate(task, arms, range(3), perturbations=PERTURBED, **options)
    wrapped = evaluate(by_hand, arms, range(3), **options)
    assert perturbed == dataclasses.replace(wrapped, perturbations=PERTURBED)
    assert perturbed.episodes != evaluate(task, arms, range(3), **options).episodes


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Perturbations)][:-1])
def test_every_perturbation_counts(field: str) -> None:
    """Each alone changes the episodes, is named in the text and kept in the JSON."""
    alone = Perturbations(**{field: getattr(PERTURBED, field)})
    arms = policies.load("scripted", "transfer_cube")
    plain, harder = (
        evaluate("transfer_cube", arms, range(2), max_cycles=60, perturbations=each)
        for each in (Perturbations(), alone)
    )
    assert plain.episodes != harder.episodes
    assert str(alone) in repr(harder)
    assert "with" not in repr(plain)
    assert "perturbations" not in json.loads(plain.to_json())
    content = json.loads(harder.to_json())["perturbations"]
    assert content == json.loads(json.dumps(dataclasses.asdict(alone)))
    assert bool(alone)
    assert not Perturbations(repeat=3)


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"action_delay": -1}, "steps=-1"),
        ({"noise": {"objects": 1}}, "noise='objects'"),
        ({"freeze": (2, 0, 1)}, "probability=2"),
        ({"randomization": {"weight": (0, 1)}}, "weight"),
        ({"noise": {"joint_pos": 0.1}, "repeat": -1}, "repeat=-1"),
    ],
    ids=str,
)
def test_bad_perturbations(bad: dict[str, object], named: str) -> None:
    """They are refused before anything is played."""
    arms = policies.load("random", "insertion")
    with pytest.raises(ValueError, match=named):
        evaluate("insertion", arms, [0], perturbations=Perturbations(**bad))


# ---------------------------------------------------------------- statistics


def test_pairs() -> None:
    """Who succeeds where, and the figures that follow from it."""
    result = compare(made_up("1110010", "old"), made_up("1001000", "new"))
    assert result.labels == ("old", "new")
    assert result.pairs == {"both": 1, "only_a": 3, "only_b": 1, "neither": 2}
    assert result.difference == pytest.approx(2 / 7 - 4 / 7)
    low, high = result.interval
    assert low < result.difference < 0 < high
    assert result.p_value == mcnemar(3, 1) == 0.625
    assert repr(result).startswith("<Comparison on insertion, 7 seeds: old 57.1%, new 28.6%; ")
    assert "-28.6 points" in repr(result)


def test_mcnemar() -> None:
    """The p-value is that of SciPy's binomial test."""
    stats = pytest.importorskip("scipy.stats")
    for a, b in itertools.product(range(12), repeat=2):
        want = stats.binomtest(a, a + b).pvalue if a + b else 1
        assert mcnemar(a, b) == pytest.approx(want, rel=1e-12)
    assert 0 < mcnemar(0, 1000) < 1e-300


@pytest.mark.parametrize(
    ("pairs", "interval"),
    # Newcombe's own example; and where nothing ever fails, z^2 / (n + z^2) to both sides.
    [((36, 2, 12, 0), (0.0569, 0.3404)), ((54, 0, 0, 0), (-0.0664, 0.0664))],
)
def test_newcombe(pairs: tuple[int, ...], interval: tuple[float, float]) -> None:
    """Known intervals; with both swapped they are mirrored."""
    both, only_a, only_b, neither = pairs
    assert newcombe(*pairs) == pytest.approx(interval, abs=5e-5)
    low, high = newcombe(both, only_b, only_a, neither)
    assert (-high, -low) == pytest.approx(newcombe(*pairs))


def test_newcombe_covers() -> None:
    """In 95 % of the samples the interval contains the true difference."""
    draw = np.random.default_rng(0)
    for chances in ([0.7, 0.15, 0.05, 0.1], [0.9, 0.08, 0.01, 0.01], [0.25] * 4):
        true = chances[2] - chances[1]
        intervals = np.array([newcombe(*pairs) for pairs in draw.multinomial(100, chances, 2000)])
        covered = ((intervals[:, 0] <= true) & (true <= intervals[:, 1])).mean()
        assert 0.93 < covered < 0.98


def test_pass_rates() -> None:
    """pass^k is the share of the choices of k repeats in which a seed always succeeds."""
    draw = np.random.default_rng(0)
    table = draw.random((5, 20)) < draw.random(20)  # (repeats, seeds)
    repeats = [made_up("".join(str(int(one)) for one in row)) for row in table]
    rates = pass_rates(repeats)
    assert len(rates) == 5
    for k, rate in enumerate(rates, 1):
        choices = [table[list(rows)].all(axis=0) for rows in itertools.combinations(range(5), k)]
        assert rate == pytest.approx(np.mean(choices))
    assert rates[0] == pytest.approx(table.mean())
    assert rates[-1] == pytest.approx(table.all(axis=0).mean())
    whole = compare(made_up("1" * 20), *repeats)
    assert whole.pass_rates == rates
    content = json.loads(whole.to_json())
    assert content["pass^k"] == {str(k): rate for k, rate in enumerate(rates, 1)}
    assert len(content["repeats"]) == 4
    assert "pass^k" not in json.loads(compare(*repeats[:2]).to_json())


@pytest.mark.parametrize(
    ("results", "named"),
    [
        ((made_up("10"), made_up("101")), "2 from 0 to 1 and 3 from 0 to 2"),
        ((made_up("10"), made_up("10", first=5)), "2 from 0 to 1 and 2 from 5 to 6"),
        ((made_up("10"), made_up("")), "2 from 0 to 1 and none"),
        ((made_up(""), made_up("")), "no episodes"),
        ((made_up("1"), made_up("1", task="transfer_cube")), "insertion, transfer_cube"),
        ((made_up("1"), made_up("1"), made_up("11")), "2 from 0 to 1"),
    ],
    ids=repr,
)
def test_what_cant_be_compared(results: tuple[Evaluation, ...], named: str) -> None:
    """Other seeds or another task are refused, by name."""
    with pytest.raises(ValueError, match=named):
        compare(*results)
    with pytest.raises(ValueError, match=named):
        pass_rates(results)


# ---------------------------------------------------------------- text and JSON


def test_repr() -> None:
    """An evaluation shows what a person wants to know, and no dump of its episodes."""
    shown = repr(made_up("1101", "mine"))
    assert shown == (
        "<Evaluation mine on insertion: 3 of 4 succeeded, 75.0% (95 % interval 30.1% .. 95.4%), "
        "in 100.0 steps on average>"
    )
    assert repr(made_up("")) == "<Evaluation insertion: 0 of 0 succeeded>"
    part = dataclasses.replace(made_up("0"), unplayed=(1, 2))
    assert repr(part).endswith(
        "0 of 1 succeeded, 0.0% (95 % interval 0.0% .. 79.3%), 2 not played>"
    )


@pytest.mark.slow
def test_json_repeats(task: str) -> None:
    """The JSON of a comparison is the same every time, and has both evaluations whole."""

    def compared() -> str:
        plain, harder = (
            evaluate(task, policies.load("scripted", task), range(2), perturbations=each)
            for each in (Perturbations(), Perturbations(2, noise={"tcp_pos": 0.005}))
        )
        return compare(plain, harder).to_json()

    first, second = compared(), compared()
    assert first == second
    content = json.loads(first)
    assert content["task"] == task
    assert content["versions"].keys() >= {"mujoco", "numpy", "processor"}
    assert sum(content["pairs"].values()) == 2
    assert content["a"]["seeds"] == content["b"]["seeds"] == [0, 1]
    assert content["b"]["perturbations"]["action_delay"] == 2
    assert not math.isnan(content["difference"])
