"""The environments' ids with Gymnasium and PettingZoo, and the entry points behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
from gymnasium import spaces

from aloha_marl.checks import is_whole
from aloha_marl.core.options import UNLIMITED
from aloha_marl.envs.merged import MERGED_ACTION_SIZE
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.single_agent import AlohaSingleAgent
from aloha_marl.envs.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.tasks import TASKS, Task

MAX_EPISODE_STEPS = 300
"""Default of Gymnasium's option ``max_episode_steps`` for the ids, that of gym-aloha."""

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

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.action_space = _gym_aloha_actions()

    def render(self) -> np.ndarray | None:
        """gym-aloha shows the camera ``top``."""
        return self.base.pictures.render("top")


class GymAlohaVector(AlohaSingleAgentVector):
    """As :class:`GymAloha`: ``Box(-1, 1)`` is declared, radians are meant."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._declare_actions(_gym_aloha_actions())

    def render(self) -> tuple[np.ndarray, ...] | None:
        """gym-aloha shows the camera ``top``."""
        return self.env.frames("top")


def _gym_aloha_actions() -> spaces.Box:
    return spaces.Box(-1, 1, (MERGED_ACTION_SIZE,), np.float32)


def make(
    task: str | Task,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = ("top",),
    gym_aloha: bool = False,
    **options: Any,
) -> AlohaSingleAgent:
    """Entry point of the ids ``aloha_marl/<Task>-v0`` and ``aloha_marl/GymAloha<Task>-v0``.

    Gymnasium's ``TimeLimit`` ends the episodes, at ``max_episode_steps``; so infos tell metrics, if they
    are asked for, in every step. With ``max_cycles`` the environment itself ends them.

    Raises:
        ValueError: a bad option, or ``max_cycles`` above the limit of the id.
    """
    kind = GymAloha if gym_aloha else AlohaSingleAgent
    options = {"max_cycles": UNLIMITED} | _checked(options, gym_aloha, MAX_EPISODE_STEPS)
    return kind(AlohaParallelEnv(task, **options), obs_type, cameras)


vars(make)["metadata"] = AlohaSingleAgent.metadata  # by it gymnasium.make offers "rgb_array_list"


def make_vector(
    task: str | Task,
    num_envs: int = 1,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = ("top",),
    gym_aloha: bool = False,
    max_episode_steps: int = MAX_EPISODE_STEPS,
    **options: Any,
) -> AlohaSingleAgentVector:
    """Vector entry point of the same ids; options as of ``AlohaVectorEnv``."""
    kind = GymAlohaVector if gym_aloha else AlohaSingleAgentVector
    options = _checked(options, gym_aloha, max_episode_steps)
    options = {"max_cycles": max_episode_steps} | options
    return kind(AlohaVectorEnv(task, num_envs, **options), obs_type, cameras)


def _checked(options: Mapping[str, Any], gym_aloha: bool, limit: int) -> dict[str, Any]:
    """All options of an id, given those that were asked for."""
    asked = options.get("max_cycles", limit)
    if is_whole(asked) and asked > limit:
        raise ValueError(
            f"max_cycles={asked} is more than max_episode_steps={limit}, which would end the episodes: "
            f"pass max_episode_steps={asked} instead"
        )
    if not gym_aloha:
        return dict(options)
    exact = {"render_quality": "high"} if options.get("visuals") == "gym_aloha" else {}
    return AS_GYM_ALOHA | exact | dict(options)


def register() -> None:
    """Registers every task; again is harmless."""
    for name in TASKS:
        title = name.title().replace("_", "")  # transfer_cube -> TransferCube
        for prefix in ("", "GymAloha"):
            env_id = f"aloha_marl/{prefix}{title}-v0"
            if env_id not in gymnasium.registry:
                gymnasium.register(
                    env_id,
                    entry_point=f"{__name__}:make",
                    vector_entry_point=f"{__name__}:make_vector",
                    kwargs={"task": name, "gym_aloha": bool(prefix)},
                    max_episode_steps=MAX_EPISODE_STEPS,
                )
        if hasattr(pettingzoo, "register"):  # from PettingZoo 1.27 on
            env_id, module = f"aloha_marl/{name}-v0", f"aloha_marl.{name}_v0"
            pettingzoo.register("parallel", env_id, entry_point=f"{module}:parallel_env")
            pettingzoo.register("aec", env_id, entry_point=f"{module}:env")
