"""ALOHA's two arms as agents: five two-arm manipulation tasks for MuJoCo.

Importing this package registers its ids with Gymnasium and, from 1.27 on, with PettingZoo.
"""

import os
import warnings

with warnings.catch_warnings():
    # Without a screen, MuJoCo's default window library warns when it is imported. Pictures here
    # choose their own backend (see aloha_marl.rendering.opengl), so the warning would only confuse.
    warnings.simplefilter("ignore")
    try:
        import mujoco  # imported first, for the filter above
    except Exception:
        # MuJoCo refuses to load when MUJOCO_GL names what is unknown or not installed. States need no
        # OpenGL, and the first picture says what is wrong (see aloha_marl.rendering.opengl).
        _asked = os.environ.get("MUJOCO_GL")
        if not _asked:
            raise
        os.environ["MUJOCO_GL"] = "off"
        try:
            import mujoco  # noqa: F401
        finally:
            os.environ["MUJOCO_GL"] = _asked

from aloha_marl import policies, wrappers
from aloha_marl.arms import AGENTS, GROUP_MAP
from aloha_marl.core.options import Options
from aloha_marl.envs.check import check_task
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.partner import with_partner
from aloha_marl.envs.registration import register_all, register_task
from aloha_marl.envs.single_agent import AlohaSingleAgent
from aloha_marl.envs.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.tasks import TASKS, Task

__version__ = "0.1.0"

parallel_env = AlohaParallelEnv
"""``parallel_env(task, **options)``: the PettingZoo environment."""

register_all()

__all__ = [
    "AGENTS",
    "GROUP_MAP",
    "TASKS",
    "AlohaParallelEnv",
    "AlohaSingleAgent",
    "AlohaSingleAgentVector",
    "AlohaVectorEnv",
    "Options",
    "Task",
    "__version__",
    "check_task",
    "parallel_env",
    "policies",
    "register_task",
    "with_partner",
    "wrappers",
]
