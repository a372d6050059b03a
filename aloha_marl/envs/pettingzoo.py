"""The three constructors PettingZoo users expect of an environment's module."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils import OrderEnforcingWrapper
from pettingzoo.utils.conversions import parallel_to_aec_wrapper

from aloha_marl.copies import Rebuilt
from aloha_marl.envs.parallel_env import AgentID, AlohaParallelEnv
from aloha_marl.tasks import TaskLike


class AlohaAECEnv(Rebuilt, OrderEnforcingWrapper[AgentID, Any, Any]):
    """A parallel environment in turns, as by ``pettingzoo.utils.parallel_to_aec``.

    What is passed in and what ``last`` and ``observe`` return belongs to the caller. A copy, by
    ``copy.deepcopy`` or ``pickle``, is a new one round a copy of the environment; it has no episode.
    """

    def __init__(self, env: AlohaParallelEnv):
        super().__init__(parallel_to_aec_wrapper(env))

    def step(self, action: Any) -> None:
        super().step(copy.deepcopy(action))  # used when the other agent acts

    def observe(self, agent: AgentID) -> Any:
        return copy.deepcopy(super().observe(agent))

    def last(self, observe: bool = True) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super().last(observe)
        return observation, reward, terminated, truncated, dict(info)

    def __str__(self) -> str:
        return str(self.env)


parallel_env = AlohaParallelEnv


def aec_env(task: TaskLike, **options: Any) -> AlohaAECEnv:
    """The environment of a task in turns; it enforces the order of calls."""
    return AlohaAECEnv(parallel_env(task, **options))


def constructors(
    task: str,
) -> tuple[Callable[..., AlohaParallelEnv], Callable[..., AECEnv], Callable[..., AECEnv]]:
    """``parallel_env``, ``env`` (AEC) and ``raw_env`` of a task; both enforce the order of calls."""
    env = functools.partial(aec_env, task)
    return functools.partial(parallel_env, task), env, env
