"""Imperfect arms: noisy or late observations, late actions, an arm that freezes.

PettingZoo wrappers that go round an :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv` or an
:class:`~aloha_marl.envs.vector_env.AlohaVectorEnv`, one round the other in any order::

    env = ActionDelay(ObservationNoise(env, {"joint_pos": 0.01}), steps=2, agents=["left_arm"])

Row i of a wrapped batch is, bit for bit, the wrapped single environment with row i's seed. Every episode
spawns generators from the environment's own for its noise, so the seed decides them, and starts are the
same as without wrappers. Another ``repeat`` draws other noise for the same starts.

Rewards, ``state()`` and the observations of the merged environments are not perturbed. ``get_state`` and
``set_state`` are the environment's: they neither save nor change what a wrapper has drawn or delayed. A
copy of a wrapper, by ``copy.deepcopy`` or ``pickle``, is a new one with the same arguments, round a copy
of its environment; it has no episode.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from aloha_marl.checks import at_least, choose, is_number, is_whole
from aloha_marl.copies import Rebuilt
from aloha_marl.core.core import Core
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.rows import batch_of, row_of, vector_infos, with_rows
from aloha_marl.envs.vector_env import AlohaVectorEnv

_Env = ParallelEnv[AgentID, Any, Any] | AlohaVectorEnv
_Agents = Sequence[AgentID] | None
_NEVER = np.iinfo(int).max


class _Imperfect(Rebuilt, BaseParallelWrapper[AgentID, Any, Any]):
    """Calls its subclasses when rows start and step; a single environment is a batch of one row."""

    def __init__(self, env: _Env, agents: _Agents = None, repeat: int = 0):
        super().__init__(cast(ParallelEnv[AgentID, Any, Any], env))
        names = self.possible_agents if agents is None else agents
        if isinstance(names, str) or not names:
            raise ValueError(f"agents={names!r} must be a non-empty sequence of names")
        for name in names:
            choose("agents", name, self.possible_agents)
        self._base = cast(AlohaParallelEnv | AlohaVectorEnv, env.unwrapped)
        self._single = isinstance(self._base, AlohaParallelEnv)
        self._imperfect = [agent for agent in self.possible_agents if agent in names]
        self._arms = np.array([agent in names for agent in self.possible_agents])
        self._rows = np.arange(self._core.num_envs)
        self._repeat = at_least(0, "repeat", repeat)

    def reset(self, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Starts episodes, as the environment does."""
        observations, infos = self.env.reset(seed=seed, options=options)
        rows = self._rows
        if self._single:
            observations = batch_of([observations])
        else:
            rows = np.flatnonzero(cast(Any, infos)[f"_{self.possible_agents[0]}"])
        self._begin(rows, observations)
        observed = self._observed(observations)
        return row_of(observed, 0) if self._single else observed, infos

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s, as the environment does."""
        observations, *outcome, infos = cast(Any, self.env).step(actions)
        if self._single:
            observations = batch_of([observations])
        last = observations
        ended = np.flatnonzero(infos[self.possible_agents[0]].get("_final_obs", ()))
        if ended.size:
            final = {agent: batch_of(infos[agent]["final_obs"][ended]) for agent in observations}
            last = with_rows(observations, ended, final)
        self._advance(last)
        observed = self._observed(last)
        for agent, row in itertools.product(self._imperfect, ended):
            infos[agent]["final_obs"][row] = row_of(observed[agent], row)
        started = np.flatnonzero(self._core.progress.elapsed == 0)
        if started.size:
            self._begin(started, observations)
            observed = self._observed(observations)
        return cast(Any, (row_of(observed, 0) if self._single else observed, *outcome, infos))

    def _begin(self, rows: np.ndarray, observations: dict[AgentID, Any]) -> None:
        """Called when rows start an episode; observations are agent -> arrays with a leading n."""

    def _advance(self, observations: dict[AgentID, Any]) -> None:
        """Called after a step of all rows, with its observations."""

    def _observed(self, observations: dict[AgentID, Any]) -> dict[AgentID, Any]:
        """Observations as the agents get them, in place of the environment's own."""
        return observations

    @property
    def _core(self) -> Core:
        return self._base.core

    def _spawn(self, row: int) -> np.random.Generator:
        """Spawns a generator; the environment's own, which draws the starts, is not disturbed."""
        base = self._base
        single = isinstance(base, AlohaParallelEnv)
        generator = (base.np_random if single else base.episodes.generators[row]).spawn(1)[0]
        return generator.spawn(self._repeat)[-1] if self._repeat else generator


class ObservationNoise(_Imperfect):
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
        self, env: _Env, noise: Mapping[str, float], agents: _Agents = None, repeat: int = 0
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
            observation = noisy[agent]
            pictures = isinstance(observation, dict)
            state = (observation["agent_pos"] if pictures else observation).copy()
            sums = state[:, self._columns] + noise[:, i]
            state[:, self._columns] = np.minimum(np.maximum(sums, self._low), self._high)
            noisy[agent] = observation | {"agent_pos": state} if pictures else state
        return noisy


class _Delay(_Imperfect):
    """Keeps the values of the last ``steps`` and of the present one; the oldest are due."""

    def __init__(self, env: _Env, steps: int, agents: _Agents = None):
        super().__init__(env, agents)
        self._steps = at_least(0, "steps", steps)
        self._past: deque[dict[AgentID, Any]] = deque(maxlen=self._steps + 1)


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
        # Copies, for the caller may write into what it gets.
        return observations | row_of(self._past[0], self._rows)


class ActionDelay(_Delay):
    """Delays actions by ``steps`` of 0.02 s; until an episode's first one is due, the arm holds still.

    Args:
        env: the environment, wrapped or not.
        steps: the delay, a whole number of at least 0.
        agents: names of the agents that act late; both without it.

    Raises:
        ValueError: an unknown agent, or bad ``steps``.
    """

    def __init__(self, env: _Env, steps: int, agents: _Agents = None):
        super().__init__(env, steps, agents)
        self._still = self._steps * self._arms  # steps until the first action of an arm is due
        while isinstance(env, BaseParallelWrapper):
            if isinstance(env, ActionDelay):
                self._still += env._still
                break
            env = env.env

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s; bad actions are refused when they are given."""
        self._base.check_actions(actions)
        given = {agent: np.array(actions[agent]) for agent in self._imperfect}
        due, *_ = [*self._past, given][-self._steps - 1 :]
        self._core.hold(self._core.progress.elapsed[:, None] < self._still)
        result = super().step({**actions, **due})
        self._past.append(given)
        return result


class Freeze(_Imperfect):
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
        env: _Env,
        probability: float,
        steps: tuple[int, int],
        agents: _Agents = None,
        repeat: int = 0,
    ):
        super().__init__(env, agents, repeat)
        if not is_number(probability) or not 0 <= probability <= 1:
            raise ValueError(f"probability={probability!r} must be a number from 0 to 1")
        whole = isinstance(steps, Sequence) and len(steps) == 2 and all(map(is_whole, steps))
        if not whole or not 0 <= steps[0] <= steps[1] < _NEVER:
            raise ValueError(
                f"steps={steps!r} must be whole numbers (first, last), 0 <= first <= last"
            )
        self._probability, self._first, self._last = float(probability), *map(int, steps)
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
