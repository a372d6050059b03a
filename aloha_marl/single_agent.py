"""The two arms merged again: the standard 14-dim Gymnasium environment."""

from __future__ import annotations

from typing import Any, ClassVar, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from aloha_marl.arms import ACTION_SIZE, FINGERS, GRIPPER_CLOSED, GRIPPER_SPAN, JOINTS, SIDES
from aloha_marl.options import choose
from aloha_marl.parallel_env import AlohaParallelEnv
from aloha_marl.rendering import check_cameras
from aloha_marl.tasks import Task

OBS_TYPES = ("pixels", "pixels_agent_pos", "state", "environment_state_agent_pos", "full")

_FULL_CAMERAS = ("top", "angle", "vis")
_BOUND = 1000.0
"""Declared bound of raw positions and velocities, gym-aloha's; values are clipped to it."""

_ARM = len(JOINTS) + len(FINGERS)


class AlohaSingleAgent(gymnasium.Env[Any, np.ndarray]):
    """Both arms as one agent: a thin layer over a parallel environment.

    ## Actions
    ``Box(14,) float32``: the left arm's seven numbers, then the right arm's; see
    :class:`~aloha_marl.parallel_env.AlohaParallelEnv`.

    ## Observations
    | ``obs_type`` | observation |
    |---|---|
    | ``pixels`` | ``{camera: (height, width, 3) uint8}`` |
    | ``pixels_agent_pos`` | ``{"pixels": {camera: ...}, "agent_pos": (14,)}`` |
    | ``state`` | ``(S,) float32``, :meth:`AlohaParallelEnv.state` |
    | ``environment_state_agent_pos`` | ``{"environment_state": (7 k,), "agent_pos": (14,)}`` |
    | ``full`` | ``{"qpos": (14,), "qvel": (14,), "env_state": (7 k,), "images": {camera: ...}}`` |

    ``agent_pos`` and ``qpos`` are gym-aloha's: per arm six joint angles [rad] and the left finger's
    position, 0 closed .. 1 open, in float64; ``qvel`` their rates. ``environment_state`` and
    ``env_state`` are the poses of the k objects [m, quaternion]. ``full`` shows the cameras ``top``,
    ``angle`` and ``vis``.

    ## Rewards, episode end, infos
    Those of the team; the infos are those of one arm.

    ## Version history
    * v0: first version.

    Args:
        env: an :class:`~aloha_marl.parallel_env.AlohaParallelEnv`, wrapped or not, with
            ``obs_type="state"``.
        obs_type: see above.
        cameras: in ``pixels`` and ``pixels_agent_pos``.

    Raises:
        ValueError: an unknown ``obs_type`` or camera; the message lists the valid ones.
    """

    metadata: ClassVar[dict[str, Any]] = AlohaParallelEnv.metadata

    def __init__(
        self,
        env: ParallelEnv[str, Any, Any],
        obs_type: str = "state",
        cameras: tuple[str, ...] = ("top",),
    ):
        self.env = env
        self.base = cast(AlohaParallelEnv, env.unwrapped)
        self.obs_type = choose("obs_type", obs_type, OBS_TYPES)
        self.cameras = _FULL_CAMERAS if obs_type == "full" else tuple(cameras)
        check_cameras(self.cameras, self.base.model, own=False)
        self.render_mode = self.base.render_mode
        boxes = [cast(spaces.Box, env.action_space(agent)) for agent in env.possible_agents]
        self.action_space = spaces.Box(
            np.concatenate([box.low for box in boxes]),
            np.concatenate([box.high for box in boxes]),
            dtype=np.float32,
        )
        self.observation_space = self._space()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; see :meth:`AlohaParallelEnv.reset`."""
        super().reset(seed=seed)
        _, infos = self.env.reset(seed=seed, options=options)
        return self._observation(), infos[self.env.possible_agents[0]]

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances both arms by 0.02 s.

        Args:
            action: (14,), the left arm first.

        Raises:
            ValueError: not fourteen finite numbers. Nothing has moved.
        """
        action = np.asarray(action)
        size = ACTION_SIZE * len(SIDES)
        if action.shape != (size,):
            raise ValueError(f"action must be {size} numbers, got shape {action.shape}")
        agents = self.env.possible_agents
        halves = dict(zip(agents, action.reshape(len(agents), -1), strict=True))
        _, rewards, terminations, truncations, infos = self.env.step(halves)
        first = agents[0]
        return (
            self._observation(),
            rewards[first],
            terminations[first],
            truncations[first],
            infos[first],
        )

    def render(self) -> np.ndarray | None:
        """The parallel environment's picture."""
        return cast(np.ndarray | None, self.env.render())

    def close(self) -> None:
        """Frees the OpenGL contexts."""
        self.env.close()

    # What the observations are made of.

    def _agent_pos(self) -> np.ndarray:
        return self._per_arm(self.base.data.qpos, GRIPPER_CLOSED)

    def _agent_vel(self) -> np.ndarray:
        return self._per_arm(self.base.data.qvel, 0.0)

    def _per_arm(self, values: np.ndarray, closed: float) -> np.ndarray:
        """(14,) joints and normalised left finger of each arm from MuJoCo's (2 x 8, ...) order."""
        arms = values[: _ARM * len(SIDES)].reshape(len(SIDES), _ARM)[:, :ACTION_SIZE].copy()
        arms[:, -1] = (arms[:, -1] - closed) / GRIPPER_SPAN
        return _bounded(arms.ravel())

    def _object_poses(self) -> np.ndarray:
        return _bounded(self.base.data.qpos[_ARM * len(SIDES) :])

    def _pictures(self) -> dict[str, np.ndarray]:
        return {name: self.base.picture(name, observed=True) for name in self.cameras}

    def _observation(self) -> Any:
        match self.obs_type:
            case "state":
                return self.base.state()
            case "pixels":
                return self._pictures()
            case "pixels_agent_pos":
                return {"pixels": self._pictures(), "agent_pos": self._agent_pos()}
            case "environment_state_agent_pos":
                return {"environment_state": self._object_poses(), "agent_pos": self._agent_pos()}
            case _:
                return {
                    "qpos": self._agent_pos(),
                    "qvel": self._agent_vel(),
                    "env_state": self._object_poses(),
                    "images": self._pictures(),
                }

    def _space(self) -> spaces.Space[Any]:
        options = self.base.options
        shape = (options.observation_height, options.observation_width, 3)
        pictures = spaces.Dict({name: spaces.Box(0, 255, shape, np.uint8) for name in self.cameras})
        arms = _box(ACTION_SIZE * len(SIDES))
        objects = _box(self.base.model.nq - _ARM * len(SIDES))
        match self.obs_type:
            case "state":
                return self.base.state_space
            case "pixels":
                return pictures
            case "pixels_agent_pos":
                return spaces.Dict({"pixels": pictures, "agent_pos": arms})
            case "environment_state_agent_pos":
                return spaces.Dict({"environment_state": objects, "agent_pos": arms})
            case _:
                return spaces.Dict(
                    {"qpos": arms, "qvel": arms, "env_state": objects, "images": pictures}
                )


class GymAloha(AlohaSingleAgent):
    """gym-aloha's own interface: ``Box(-1, 1)`` is declared, yet the values are radians.

    The action space is gym-aloha's, for code that reads it. Values beyond it are not clipped to it:
    they are absolute joint targets, as recorded episodes hold them.
    """

    def __init__(
        self,
        env: ParallelEnv[str, Any, Any],
        obs_type: str = "pixels",
        cameras: tuple[str, ...] = ("top",),
    ):
        super().__init__(env, obs_type, cameras)
        self.action_space = spaces.Box(-1, 1, self.action_space.shape, np.float32)

    def render(self) -> np.ndarray | None:
        """gym-aloha shows the camera ``top``."""
        return None if self.render_mode is None else self.base.picture("top")


def make(
    task: str | Task, obs_type: str = "pixels", cameras: tuple[str, ...] = ("top",), **options: Any
) -> AlohaSingleAgent:
    """Entry point of the ids ``aloha_marl/<Task>-v0``."""
    return AlohaSingleAgent(AlohaParallelEnv(task, **options), obs_type, cameras)


def make_gym_aloha(
    task: str | Task, obs_type: str = "pixels", cameras: tuple[str, ...] = ("top",), **options: Any
) -> GymAloha:
    """Entry point of the ids ``aloha_marl/GymAloha<Task>-v0``."""
    as_gym_aloha = {"rules": "gym_aloha", "start": "gym_aloha", "max_joint_speed": None}
    return GymAloha(AlohaParallelEnv(task, **(as_gym_aloha | options)), obs_type, cameras)


def _bounded(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -_BOUND, _BOUND)


def _box(size: int) -> spaces.Box:
    return spaces.Box(-_BOUND, _BOUND, (size,), np.float64)
