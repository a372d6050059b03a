"""ALOHA's two arms as agents: a two-arm manipulation environment for MuJoCo.

Importing this package registers its ids with Gymnasium and, from 1.27 on, with PettingZoo.
"""

import warnings

with warnings.catch_warnings():
    # Without a screen, MuJoCo's default window library warns when it is imported. Pictures here
    # choose their own backend (see aloha_marl.rendering), so the warning would only confuse.
    warnings.simplefilter("ignore")
    import mujoco  # noqa: F401  (imported first, for the filter above)

from aloha_marl import policies
from aloha_marl.arms import AGENTS, GROUP_MAP
from aloha_marl.options import Options
from aloha_marl.parallel_env import AlohaParallelEnv
from aloha_marl.registration import register
from aloha_marl.single_agent import AlohaSingleAgent
from aloha_marl.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.tasks import TASKS, Task
from aloha_marl.vector_env import AlohaVectorEnv

__version__ = "0.1.0"

parallel_env = AlohaParallelEnv
"""``parallel_env(task, **options)``: the PettingZoo environment."""

register()

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
    "parallel_env",
    "policies",
]
