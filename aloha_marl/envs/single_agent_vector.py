"""The two arms merged, many times at once: a Gymnasium vector environment."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import VectorEnv
from gymnasium.vector.utils import batch_space

from aloha_marl.arms import ACTION_SIZE, SIDES
from aloha_marl.envs.episodes import final_infos, vector_infos
from aloha_marl.envs.merged import MERGED_ACTION_SIZE, MergedObserver, merged_action_space
from aloha_marl.envs.single_agent import as_gym_aloha
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.tasks import Task


class AlohaSingleAgentVector(VectorEnv[Any, np.ndarray, np.ndarray]):
    """Both arms as one agent in N environments: a thin layer over :class:`AlohaVectorEnv`.

    Row i is, bit for bit, an :class:`~aloha_marl.envs.single_agent.AlohaSingleAgent` that is reset with row
    i's seed. Spaces, observations and infos are described there; here they have a leading N.

    ## Version history
    * v0: first version.

    Args:
        env: the environment to merge; it decides N, threads and ``autoreset_mode``.
        obs_type: as in ``AlohaSingleAgent``.
        cameras: in ``pixels`` and ``pixels_agent_pos``.

    Raises:
        ValueError: an unknown ``obs_type`` or camera; the message lists the valid ones.
    """

    def __init__(
        self, env: AlohaVectorEnv, obs_type: str = "state", cameras: tuple[str, ...] = ("top",)
    ):
        self.env = env
        self.num_envs = env.num_envs
        self.metadata = env.metadata
        self.render_mode = env.render_mode
        self._camera = "angle"
        self._observer: MergedObserver | None = MergedObserver(
            env.core, env.pictures, obs_type, cameras
        )
        self.single_observation_space = self._observer.space
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._act_in(merged_action_space(map(env.single_action_space, env.possible_agents)))

    def reset(
        self, *, seed: Any = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts episodes; see :meth:`AlohaVectorEnv.reset`."""
        started = self.env.episodes.reset(seed, options)
        infos = vector_infos(self.env.core.infos().merged(), started)
        return self._observations(None), infos

    def step(
        self, actions: np.ndarray
    ) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Advances both arms of all rows by 0.02 s.

        Args:
            actions: (N, 14), the left arm first.

        Raises:
            ValueError: not (N, 14) finite numbers. Nothing has moved.
        """
        actions = np.asarray(actions)
        shape = (self.num_envs, MERGED_ACTION_SIZE)
        if actions.shape != shape or actions.dtype.kind not in "fiu":
            raise ValueError(
                f"actions must be numbers of shape {shape}, got shape {actions.shape} of dtype "
                f"{actions.dtype}"
            )
        bad = np.flatnonzero(~np.isfinite(actions).all(axis=1))
        if bad.size:
            raise ValueError(f"action in row {bad[0]} must be finite, got {actions[bad[0]]}")
        halves = actions.astype(float).reshape(-1, len(SIDES), ACTION_SIZE)
        step = self.env.episodes.step(halves, self._observations)
        infos = vector_infos(step.infos.merged(), np.ones(self.num_envs, bool))
        if (ended := step.ended) is not None:
            infos |= final_infos(ended.rows, ended.observations, ended.infos.merged())
        reward = (step.rewards[0] + step.rewards[1]) / 2
        return step.observations, reward, step.terminated, step.truncated, infos

    def render(self) -> tuple[np.ndarray, ...] | None:
        """What :meth:`AlohaSingleAgent.render` returns, per row; None if ``render_mode`` is None."""
        return self.env.frames(self._camera)

    def close_extras(self, **kwargs: Any) -> None:
        """Ends the threads and frees the OpenGL contexts."""
        self._observer = None
        self.env.close()

    def _observations(self, rows: np.ndarray | None) -> Any:
        if self._observer is None:
            raise RuntimeError("the environment is closed")
        return self._observer.observations(rows)

    def _act_in(self, space: spaces.Box) -> None:
        self.single_action_space = space
        self.action_space = batch_space(space, self.num_envs)


class GymAlohaVector(AlohaSingleAgentVector):
    """As :class:`~aloha_marl.envs.single_agent.GymAloha`: ``Box(-1, 1)`` is declared, radians are meant."""

    def __init__(
        self, env: AlohaVectorEnv, obs_type: str = "pixels", cameras: tuple[str, ...] = ("top",)
    ):
        super().__init__(env, obs_type, cameras)
        self._camera = "top"
        self._act_in(spaces.Box(-1, 1, (MERGED_ACTION_SIZE,), np.float32))


def make(
    task: str | Task,
    num_envs: int = 1,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = ("top",),
    **options: Any,
) -> AlohaSingleAgentVector:
    """Vector entry point of the ids ``aloha_marl/<Task>-v0``; options as of ``AlohaVectorEnv``."""
    return AlohaSingleAgentVector(AlohaVectorEnv(task, num_envs, **options), obs_type, cameras)


def make_gym_aloha(
    task: str | Task,
    num_envs: int = 1,
    obs_type: str = "pixels",
    cameras: tuple[str, ...] = ("top",),
    **options: Any,
) -> GymAlohaVector:
    """Vector entry point of the ids ``aloha_marl/GymAloha<Task>-v0``."""
    env = AlohaVectorEnv(task, num_envs, **as_gym_aloha(options))
    return GymAlohaVector(env, obs_type, cameras)
