"""Imperfect arms, and arms that talk: noise, delays, freezes, rare actions, a channel for messages.

PettingZoo wrappers that go round an :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv` or an
:class:`~aloha_marl.envs.vector_env.AlohaVectorEnv`, one round the other in any order::

    env = ActionDelay(ObservationNoise(env, {"joint_pos": 0.01}), steps=2, agents=["left_arm"])

Row i of a wrapped batch is, bit for bit, the wrapped single environment with row i's seed. Every episode
spawns generators from the environment's own for its noise, so the seed decides them, and starts are the
same as without wrappers. Another ``repeat`` draws other noise for the same starts.

Rewards, ``state()`` and the observations of the merged environments are not perturbed. ``get_state`` and
``set_state`` are the environment's: they neither save nor change what a wrapper has drawn, delayed or
passed on. A copy of a wrapper, by ``copy.deepcopy`` or ``pickle``, is a new one with the same arguments,
round a copy of its environment; it has no episode.
"""

from aloha_marl.wrappers.channel import MessageChannel
from aloha_marl.wrappers.imperfect import (
    ActionDelay,
    ActionRepeat,
    Freeze,
    ObservationDelay,
    ObservationNoise,
)

__all__ = ["ActionDelay", "ActionRepeat", "Freeze", "MessageChannel", "ObservationDelay"]
__all__ += ["ObservationNoise"]
