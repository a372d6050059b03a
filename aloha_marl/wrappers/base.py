"""The base of the wrappers: what they share round one environment and round many."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, cast

import numpy as np
from pettingzoo import ParallelEnv
from pettingzoo.utils import BaseParallelWrapper

from aloha_marl.checks import at_least, choose
from aloha_marl.copies import Rebuilt
from aloha_marl.core.core import Core
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.rows import batch_of, row_of, with_rows
from aloha_marl.envs.vector_env import AlohaVectorEnv

Wrappable = ParallelEnv[AgentID, Any, Any] | AlohaVectorEnv
Agents = Sequence[AgentID] | None


class ArmWrapper(Rebuilt, BaseParallelWrapper[AgentID, Any, Any]):
    """Calls its subclasses when rows start and step; a single environment is a batch of one row."""

    def __init__(self, env: Wrappable, agents: Agents = None, repeat: int = 0):
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
        result, infos = self.env.reset(seed=seed, options=options)
        observations, rows = self._batch(result), self._rows
        if not self._single:
            rows = np.flatnonzero(cast(Any, infos)[f"_{self.possible_agents[0]}"])
        self._begin(rows, observations)
        return self._result(self._observed(observations)), infos

    def step(self, actions: Mapping[AgentID, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s, as the environment does."""
        result, *outcome, infos = cast(Any, self.env).step(actions)
        last = observations = self._batch(result)
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
        return cast(Any, (self._result(observed), *outcome, infos))

    def observations(self) -> dict[AgentID, Any]:
        """Observations of the present state, as the environment returns them."""
        observations = self._batch(cast(Any, self.env).observations())
        return self._result(self._observed(observations))

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

    def _batch(self, result: Any) -> dict[AgentID, Any]:
        """Arrays with a leading n of what the environment returned or takes."""
        return batch_of([result]) if self._single else result

    def _result(self, batch: dict[AgentID, Any]) -> dict[AgentID, Any]:
        """The reverse of :meth:`_batch`."""
        return row_of(batch, 0) if self._single else batch

    def _spawn(self, row: int) -> np.random.Generator:
        """Spawns a generator; the environment's own, which draws the starts, is not disturbed."""
        base = self._base
        single = isinstance(base, AlohaParallelEnv)
        generator = (base.np_random if single else base.episodes.generators[row]).spawn(1)[0]
        return generator.spawn(self._repeat)[-1] if self._repeat else generator


def numbers_of(observation: Any) -> np.ndarray:
    """The numbers of an observation, beside which there may be pictures."""
    return observation["agent_pos"] if isinstance(observation, dict) else observation


def with_numbers(observation: Any, numbers: np.ndarray) -> Any:
    """The observation with other numbers."""
    return observation | {"agent_pos": numbers} if isinstance(observation, dict) else numbers
