"""Perturbations of an evaluation: imperfect arms and a randomized scene, in one record."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.wrappers import ActionDelay, Freeze, ObservationDelay, ObservationNoise


@dataclasses.dataclass(frozen=True)
class Perturbations:
    """What makes the episodes of an evaluation harder; nothing by default. Starts stay the same.

    Noise is added first, then observations are delayed.

    Attributes:
        action_delay: steps of 0.02 s by which actions are late.
        observation_delay: steps of 0.02 s by which observations are late.
        noise: quantity in the observation -> standard deviation, in its unit.
        freeze: (probability, first step, last step) of an arm that freezes, see
            :class:`aloha_marl.wrappers.Freeze`; None: none does.
        randomization: ranges drawn from at every reset, as in the option ``randomization``.
        repeat: number of the repeat: each has its own noise and freezes, for the same seeds.
    """

    action_delay: int = 0
    observation_delay: int = 0
    noise: Mapping[str, float] = dataclasses.field(default_factory=dict)
    freeze: tuple[float, int, int] | None = None
    randomization: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    repeat: int = 0

    def __bool__(self) -> bool:
        """False if nothing is perturbed."""
        return any(dataclasses.astuple(dataclasses.replace(self, repeat=0)))

    def __str__(self) -> str:
        return ", ".join(self._parts())

    def options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options of the environment, with these ranges of the randomization beside others."""
        ranges = {**options.get("randomization", {}), **self.randomization}
        return {**options, "randomization": ranges} if ranges else {**options}

    def wrap(self, env: AlohaParallelEnv | AlohaVectorEnv) -> Any:
        """Wraps an environment that was made with :meth:`options`.

        Raises:
            ValueError: a bad value; the message names it.
        """
        wrapped: Any = env
        if self.noise:
            wrapped = ObservationNoise(wrapped, self.noise, repeat=self.repeat)
        if self.observation_delay:
            wrapped = ObservationDelay(wrapped, self.observation_delay)
        if self.action_delay:
            wrapped = ActionDelay(wrapped, self.action_delay)
        if self.freeze:
            probability, *steps = self.freeze
            wrapped = Freeze(wrapped, probability, (steps[0], steps[1]), repeat=self.repeat)
        return wrapped

    def _parts(self) -> Iterator[str]:
        if self.action_delay:
            yield f"action delay {self.action_delay}"
        if self.observation_delay:
            yield f"observation delay {self.observation_delay}"
        for name, deviation in self.noise.items():
            yield f"noise {name}={deviation:g}"
        if self.freeze:
            yield "freeze {:g} in steps {}..{}".format(*self.freeze)
        for name, (low, high) in self.randomization.items():
            yield f"{name} {low:g}..{high:g}"


UNPERTURBED = Perturbations()
