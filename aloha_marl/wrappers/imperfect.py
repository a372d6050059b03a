"""Imperfect arms: noisy or late observations, late or rare actions, an arm that freezes."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aloha_marl.checks import at_least, choose, fraction, is_number, is_whole
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.rows import row_of, vector_infos, with_rows
from aloha_marl.wrappers.base import Agents, ArmWrapper, Wrappable, numbers_of, with_numbers

_NEVER = np.iinfo(int).max


class ObservationNoise(ArmWrapper):
    """Adds Gaussian noise to observed quantities, anew at every step; the sums stay in the bounds.

    Args:
        env: the environment, wrapped or not, with ``obs_type`` "state" or "pixels_agent_pos".
        noise: name of a quantity in the table of the observation -> standard deviation of each of
            its numbers, in its unit; 0 leaves it as it is.
        agents: names of the agents that observe it; both without it.
        repeat: number of the repeat, from 0 on: each has its own noise, independent of the others'.

    Raises:
        ValueError: an unknown quantity, agent or ``obs_type``, or a bad standard deviation or repeat.
    """

    def __init__(
        self, env: Wrappable, noise: Mapping[str, float], agents: Agents = None, repeat: int = 0
    ):
        super().__init__(env, agents, repeat)
        choose("obs_type", self._base.options.obs_type, ("state", "pixels_agent_pos"))
        layout = self._base.layout
        deviations = np.zeros(layout.size)
        for name, deviation in noise.items():
            choose("noise", name, [quantity.name for quantity in layout])
            if not is_number(deviation) or not 0 <= deviation < math.inf:
                raise ValueError(f"noise of {name} must be a finite number >= 0, got {deviation!r}")
            deviations[layout[name]] = deviation
        space, self._columns = layout.space(), np.flatnonzero(deviations)
        self._deviations = deviations[self._columns]
        self._low, self._high = space.low[self._columns], space.high[self._columns]
        self._generators = [self._spawn(row) for row in self._rows.tolist()]
        self._drawn = np.zeros((self._rows.size, len(self._imperfect), self._columns.size))

    def _begin(self, rows: np.ndarray, observations: dict[AgentID, Any]) -> None:
        for row in rows.tolist():
            self._generators[row] = self._spawn(row)
            self._generators[row].standard_normal(out=self._drawn[row])

    def _advance(self, observations: dict[AgentID, Any]) -> None:
        for generator, drawn in zip(self._generators, self._drawn, strict=True):
            generator.standard_normal(out=drawn)

    def _observed(self, observations: dict[AgentID, Any]) -> dict[AgentID, Any]:
        noisy = dict(observations)
        noise = self._drawn * self._deviations
        for i, agent in enumerate(self._imperfect):
            numbers = numbers_of(noisy[agent]).copy()
            sums = numbers[:, self._columns] + noise[:, i]
            numbers[:, self._columns] = np.minimum(np.maximum(sums, self._low), self._high)
            noisy[agent] = with_numbers(noisy[agent], numbers)
        return noisy


class _Delay(ArmWrapper):
    """Keeps the values of the last ``steps`` and of the present one; the oldest are due."""

    def __init__(self, env: Wrappable, steps: int, agents: Agents = None):
        super().__init__(env, agents)
        self._steps = at_least(0, "steps", steps)
        self._past: deque[Any] = deque(maxlen=self._steps + 1)


class ObservationDelay(_Delay):
    """Delays observations by ``steps`` of 0.02 s; at first agents get the one their episode starts with.

    Arguments and errors are those of :class:`ActionDelay`; ``agents`` are those that observe late.
    """

    def _begin(self, rows: np.ndarray, observations: dict[AgentID, Any]) -> None:
        if not self._past:
            self._advance(observations)
        started = row_of({agent: observations[agent] for agent in self._imperfect}, rows)
        for past in self._past:
            past.update(with_rows(past, rows, started))

    def _advance(self, observations: dict[AgentID, Any]) -> None:
        self._past.append({agent: observations[agent] for agent in self._imperfect})

    def _observed(self, observations: dict[AgentID, Any]) -> dict[AgentID, Any]:
        # Copies, for the caller may write into what it gets. Nothing is past in a state put in by hand.
        return observations | (row_of(self._past[0], self._rows) if self._past else {})


class ActionDelay(_Delay):
    """Delays actions by ``steps`` of 0.02 s; until an episode's first one is due, the arm holds still.

    Messages of a :class:`MessageChannel` inside are as late; they are zero until the first one is due.

    Args:
        env: the environment, wrapped or not.
        steps: the delay, a whole number of at least 0.
        agents: names of the agents that act late; both without it.

    Raises:
        ValueError: an unknown agent, or bad ``steps``.
    """

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s; bad actions are refused when they are given."""
        self.check_actions(actions)
        core = self._core
        given = self._batch({agent: np.array(actions[agent]) for agent in self._imperfect})
        self._past.append((given, core.held))
        late, held = self._past[0]
        waits = core.progress.elapsed[:, None] < self._steps
        due = {agent: np.where(waits, 0, action) for agent, action in late.items()}
        core.hold((waits | held) & self._arms)
        return super().step({**actions, **self._result(due)})


class ActionRepeat(ArmWrapper):
    """Lets arms act in every n-th step only; in the steps between they repeat their last action.

    An episode begins with a step in which they act. The environment still steps at 50 Hz, and the agents
    observe every step; what they ask for between is ignored. In the delta modes a repeated action moves
    the arm again. If a delay holds the arm still when it acts, it holds still until it acts again.

    Args:
        env: the environment, wrapped or not.
        steps: steps of 0.02 s that an action lasts, a whole number of at least 1.
        agents: names of the agents that act so; both without it.

    Raises:
        ValueError: an unknown agent, or bad ``steps``.
    """

    def __init__(self, env: Wrappable, steps: int, agents: Agents = None):
        super().__init__(env, agents)
        self._steps = at_least(1, "steps", steps)
        self._last: dict[AgentID, np.ndarray] = {}
        self._held = np.zeros((self._rows.size, self._arms.size), bool)

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s; bad actions are refused, also when they would be ignored."""
        self.check_actions(actions)
        core = self._core
        acts = np.flatnonzero((core.progress.elapsed % self._steps == 0) | (not self._last))
        given = self._batch({agent: np.array(actions[agent]) for agent in self._imperfect})
        self._last = with_rows(self._last or given, acts, row_of(given, acts))
        self._held = with_rows(self._held, acts, core.held[acts] & self._arms)
        core.hold(self._held)
        return super().step({**actions, **self._result(self._last)})


class Freeze(ArmWrapper):
    """In some episodes one arm stops: from some step on its commanded targets do not change.

    The infos have one more key, ``frozen``: True if that agent's arm was frozen in this step.

    Args:
        env: the environment, wrapped or not.
        probability: of an episode in which an arm freezes.
        steps: (first, last) step at which it may begin, counted from 0; each is equally likely.
        agents: the arms of which one freezes, each equally likely; both without it.
        repeat: number of the repeat, from 0 on: each draws anew, independently of the others.

    Raises:
        ValueError: an unknown agent, a bad probability, bad steps or a bad repeat.
    """

    def __init__(
        self,
        env: Wrappable,
        probability: float,
        steps: tuple[int, int],
        agents: Agents = None,
        repeat: int = 0,
    ):
        super().__init__(env, agents, repeat)
        self._probability = fraction("probability", probability)
        whole = isinstance(steps, Sequence) and len(steps) == 2 and all(map(is_whole, steps))
        if not whole or not 0 <= steps[0] <= steps[1] < _NEVER:
            raise ValueError(
                f"steps={steps!r} must be whole numbers (first, last), 0 <= first <= last"
            )
        self._first, self._last = map(int, steps)
        self._since = np.full((self._rows.size, self._arms.size), _NEVER)

    def reset(self, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        observations, infos = super().reset(seed, options)
        self._add_frozen(infos, np.zeros_like(self._since, bool))
        return observations, infos

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        frozen = self._core.progress.elapsed[:, None] >= self._since
        self._core.hold(frozen)
        result = super().step(actions)
        self._add_frozen(result[-1], frozen)
        return result

    def _begin(self, rows: np.ndarray, observations: dict[AgentID, Any]) -> None:
        arms = np.flatnonzero(self._arms)
        self._since[rows] = _NEVER
        for row in rows.tolist():
            generator = self._spawn(row)
            if generator.random() < self._probability:
                arm, step = generator.choice(arms), generator.integers(self._first, self._last + 1)
                self._since[row, arm] = step

    def _add_frozen(self, infos: dict[str, Any], frozen: np.ndarray) -> None:
        """Adds (n, 2) bool to the infos; true stays what another wrapper of this kind wrote."""
        now = frozen & (self._core.progress.elapsed > 0)[:, None]
        for agent, here, at_end in zip(self.possible_agents, now.T, frozen.T, strict=True):
            info = infos[agent]
            if self._single:
                info["frozen"] = info.get("frozen", False) or bool(here[0])
                continue
            info |= vector_infos({"frozen": here | info.get("frozen", False)}, infos[f"_{agent}"])
            if "final_info" in info:
                final = info["final_info"]
                at_end = at_end | final.get("frozen", False)
                final |= vector_infos({"frozen": at_end}, info["_final_info"])
