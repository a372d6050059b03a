"""The three constructors PettingZoo users expect of an environment's module."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from pettingzoo import AECEnv
from pettingzoo.utils import OrderEnforcingWrapper, parallel_to_aec

from aloha_marl.envs.parallel_env import AlohaParallelEnv


def constructors(
    task: str,
) -> tuple[Callable[..., AlohaParallelEnv], Callable[..., AECEnv], Callable[..., AECEnv]]:
    """``parallel_env``, ``env`` (AEC, enforcing the order of calls) and ``raw_env`` (AEC) of a task."""
    parallel_env = functools.partial(AlohaParallelEnv, task)

    def raw_env(**options: Any) -> AECEnv:
        return parallel_to_aec(parallel_env(**options))

    def env(**options: Any) -> AECEnv:
        return OrderEnforcingWrapper(raw_env(**options))

    return parallel_env, env, raw_env
