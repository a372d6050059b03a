"""The ids of the environments, with Gymnasium and PettingZoo."""

from __future__ import annotations

import gymnasium
import pettingzoo

from aloha_marl.tasks import TASKS


def register() -> None:
    """Registers every task; again is harmless."""
    for name in TASKS:
        title = name.title().replace("_", "")  # transfer_cube -> TransferCube
        for prefix, entry_point in (("", "make"), ("GymAloha", "make_gym_aloha")):
            env_id = f"aloha_marl/{prefix}{title}-v0"
            if env_id not in gymnasium.registry:
                gymnasium.register(
                    env_id,
                    entry_point=f"aloha_marl.envs.gymnasium_ids:{entry_point}",
                    vector_entry_point=f"aloha_marl.envs.gymnasium_ids:{entry_point}_vector",
                    kwargs={"task": name},
                )
        if hasattr(pettingzoo, "register"):  # from PettingZoo 1.27 on
            pettingzoo.register(
                "parallel",
                f"aloha_marl/{name}-v0",
                entry_point=f"aloha_marl.{name}_v0:parallel_env",
            )
