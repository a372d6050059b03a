"""Entry points of the Gymnasium ids, gym-aloha's own interface among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from aloha_marl.envs.merged import MERGED_ACTION_SIZE
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.single_agent import AlohaSingleAgent
from aloha_marl.envs.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.tasks import Task

CAMERAS = ("top",)
"""Default cameras of the ids."""

AS_GYM_ALOHA: dict[str, Any] = {
    "rules": "gym_aloha",
    "start": "gym_aloha",
    "max_joint_speed": None,
}
"""Options that make the physics and the rewards gym-aloha's."""


class GymAloha(AlohaSingleAgent):
    """gym-aloha's own interface: ``Box(-1, 1)`` is declared, yet the values are radians.

    The action space is gym-aloha's, for code that reads it. Values beyond it are not clipped to it:
    they are absolute joint targets, as recorded episodes hold them.
    """

    def __init__(
        self,
        env: ParallelEnv[str, Any, Any],
        obs_type: str = "pixels",
        cameras: tuple[str, ...] = CAMERAS,
    ):
        super().__init__(env, obs_type, cameras)
        self.action_space = spaces.Box(-1, 1, (MERGED_ACTION_SIZE,), np.float32)

    def render(self) -> np.ndarray | None:
        """gym-aloha shows the camera ``top``."""
        return self.base.pictures.render("top")


class GymAlohaVector(AlohaSingleAgentVector):
    """As :class:`GymAloha`: ``Box(-1, 1)`` is declared, radians are meant."""

    def __init__(
        self, env: AlohaVectorEnv, obs_type: str = "pixels", cameras: tuple[str, ...] = CAMERAS
    ):
        super().__init__(env, obs_type, cameras)
        self._declare_actions(spaces.Box(-1, 1, (MERGED_ACTION_SIZE,), np.float32))

    def render(self) -> tuple[np.ndarray, ...] | None:
        """gym-aloha shows the camera ``top``."""
        return self.env.frames("top")


def make(
    task: str | Task, obs_type: str = "pixels", cameras: tuple[str, ...] = CAMERAS, **options: Any
) -> AlohaSingleAgent:
    """Entry point of the ids ``aloha_marl/<Task>-v0``."""
    return AlohaSingleAgent(AlohaParallelEnv(task, **options), obs_type, cameras)


def make_gym_aloha(
    task: str | Task, obs_type: str = "pixels", cameras: tuple[str, ...] = CAMERAS, **options: Any
) -> GymAloha:
    """Entry point of the ids ``aloha_marl/GymAloha<Task>-v0``."""
    return GymAloha(AlohaParallelEnv(task, **as_gym_aloha(options)), obs_type, cameras)


def make_vector(
    task: str | Task,
    num_envs: int = 1,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = CAMERAS,
    **options: Any,
) -> AlohaSingleAgentVector:
    """Vector entry point of ``aloha_marl/<Task>-v0``; options as of ``AlohaVectorEnv``."""
    return AlohaSingleAgentVector(AlohaVectorEnv(task, num_envs, **options), obs_type, cameras)


def make_gym_aloha_vector(
    task: str | Task,
    num_envs: int = 1,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = CAMERAS,
    **options: Any,
) -> GymAlohaVector:
    """Vector entry point of ``aloha_marl/GymAloha<Task>-v0``."""
    env = AlohaVectorEnv(task, num_envs, **as_gym_aloha(options))
    return GymAlohaVector(env, obs_type, cameras)


def as_gym_aloha(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the ``GymAloha*`` ids, given those that were asked for."""
    exact = {"render_quality": "high"} if options.get("visuals") == "gym_aloha" else {}
    return AS_GYM_ALOHA | exact | dict(options)
