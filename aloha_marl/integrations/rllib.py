"""RLlib's ``MultiAgentEnv``, by its own ``ParallelPettingZooEnv``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from aloha_marl.copies import Rebuilt
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.integrations.requirements import library

with library("rllib"):
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv


class AlohaEnv(Rebuilt, ParallelPettingZooEnv):
    """For ``config.environment(AlohaEnv, env_config={"task": "insertion", ...})``.

    Mends RLlib's wrapper, which leaves the order of the agents to chance and fails in ``render()``. A
    copy, by ``copy.deepcopy`` or ``pickle``, is a new one with the same ``config``; it has no episode.

    Args:
        config: task and options of :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv`.
    """

    def __init__(self, config: Mapping[str, Any]):
        env = AlohaParallelEnv(**config)
        self.agents = list(env.possible_agents)
        self.possible_agents = list(env.possible_agents)
        super().__init__(env)  # pyright: ignore[reportCallIssue]

    def render(self) -> np.ndarray | None:
        """The environment's picture."""
        return self.par_env.render()
