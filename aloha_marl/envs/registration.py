"""The environments' ids with Gymnasium and PettingZoo, and the entry points behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import pettingzoo
from gymnasium import spaces

from aloha_marl.envs.merged import MERGED_ACTION_SIZE
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.single_agent import AlohaSingleAgent
from aloha_marl.envs.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.tasks import TASKS, Task

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
    """Entry point of the ids ``aloha_marl/<Task>-v0`` and ``aloha_marl/GymAloha<Task>-v0``."""
    kind = GymAloha if gym_aloha else AlohaSingleAgent
    options = _as_gym_aloha(options) if gym_aloha else options
    return kind(AlohaParallelEnv(task, **options), obs_type, cameras)


def make_vector(
    task: str | Task,
    num_envs: int = 1,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = ("top",),
    gym_aloha: bool = False,
    **options: Any,
) -> AlohaSingleAgentVector:
    """Vector entry point of the same ids; options as of ``AlohaVectorEnv``."""
    kind = GymAlohaVector if gym_aloha else AlohaSingleAgentVector
    options = _as_gym_aloha(options) if gym_aloha else options
    return kind(AlohaVectorEnv(task, num_envs, **options), obs_type, cameras)


def _as_gym_aloha(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the ``GymAloha*`` ids, given those that were asked for."""
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
                )
        if hasattr(pettingzoo, "register"):  # from PettingZoo 1.27 on
            pettingzoo.register(
                "parallel",
                f"aloha_marl/{name}-v0",
                entry_point=f"aloha_marl.{name}_v0:parallel_env",
            )
