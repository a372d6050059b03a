"""Options of the conditions under which policies are evaluated: perturbations and a speed limit."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from typer import Option

from aloha_marl.evaluation import Perturbations

_FREEZE_STEPS = (0, 100)

DelayOption = Annotated[
    int, Option("--delay", min=0, help="Steps of 0.02 s by which actions are late.")
]
ObservationDelayOption = Annotated[
    int, Option(min=0, help="Steps of 0.02 s by which observations are late.")
]
NoiseOption = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=DEVIATION",
        help="Gaussian noise on an observed quantity, such as joint_pos=0.01; may be repeated.",
    ),
]
FreezeOption = Annotated[
    str | None,
    Option(
        metavar="PROBABILITY[:FIRST-LAST]",
        help="Probability that an arm freezes in an episode, and the steps in which it may begin, "
        "{}-{} if not given.".format(*_FREEZE_STEPS),
    ),
]
RandomizeOption = Annotated[
    list[str] | None,
    Option(
        metavar="NAME=LOW..HIGH",
        help="Range drawn from at every reset, such as object_mass=0.5..2; may be repeated; "
        "`show` lists the names.",
    ),
]


def perturbations(
    delay: int,
    observation_delay: int,
    noise: Iterable[str] | None,
    freeze: str | None,
    randomize: Iterable[str] | None,
) -> Perturbations:
    """The perturbations that these options describe.

    Raises:
        ValueError: an option has another form; the message names it.
    """
    form = "--noise {!r} must be NAME=DEVIATION, such as joint_pos=0.01"
    deviations = {name: value for name, (value,) in _named(form, noise, 1)}
    form = "--randomize {!r} must be NAME=LOW..HIGH, such as object_mass=0.5..2"
    ranges = {name: (low, high) for name, (low, high) in _named(form, randomize, 2)}
    return Perturbations(delay, observation_delay, deviations, _freeze(freeze), ranges)


def speed(text: str) -> float | None:
    """A speed [rad/s], or None for the word "none".

    Raises:
        ValueError: it is neither.
    """
    if text.lower() == "none":
        return None
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"max_joint_speed={text!r} must be a positive number [rad/s] or 'none'"
        ) from None


def _named(
    form: str, texts: Iterable[str] | None, count: int
) -> Iterable[tuple[str, tuple[float, ...]]]:
    """Names and numbers of NAME=NUMBER or NAME=NUMBER..NUMBER."""
    for text in texts or ():
        name, _, values = text.partition("=")
        try:
            numbers = tuple(map(float, values.split("..")))
        except ValueError:
            numbers = ()
        if len(numbers) != count:
            raise ValueError(form.format(text))
        yield name, numbers


def _freeze(text: str | None) -> tuple[float, int, int] | None:
    """(probability, first step, last step) of PROBABILITY or PROBABILITY:FIRST-LAST."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d*\.?\d+)(?::(\d+)-(\d+))?", text)
    if found is None:
        raise ValueError(
            f"--freeze {text!r} must be PROBABILITY or PROBABILITY:FIRST-LAST, such as 0.5:0-100"
        )
    probability, *steps = found.groups()
    first, last = map(int, steps) if steps[0] else _FREEZE_STEPS
    return float(probability), first, last
