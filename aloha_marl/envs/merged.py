"""View of both arms as one agent: spaces, observations and actions, with a leading ``num_envs``."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from aloha_marl.arms import ACTION_SIZE, FINGERS, GRIPPER_CLOSED, GRIPPER_SPAN, JOINTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.core.core import Core
from aloha_marl.envs.per_arm import checked_action, picture_space
from aloha_marl.rendering.pictures import Pictures

MERGED_OBS_TYPES = ("pixels", "pixels_agent_pos", "state", "environment_state_agent_pos", "full")

MERGED_ACTION_SIZE = ACTION_SIZE * len(SIDES)

_FULL_CAMERAS = ("top", "angle", "vis")
_BOUND = 1000.0
"""Declared bound of raw positions and velocities, gym-aloha's; values are clipped to it."""

_ARM = len(JOINTS) + len(FINGERS)
_ROBOT = _ARM * len(SIDES)


class MergedView:
    """Spaces, observations and actions of both arms as one agent.

    Args:
        core: the simulations that are observed.
        pictures: draws them.
        obs_type: one of ``MERGED_OBS_TYPES``.
        cameras: in ``pixels`` and ``pixels_agent_pos``.

    Attributes:
        observation_space: of one simulation.
        action_space: of one simulation.

    Raises:
        ValueError: an unknown ``obs_type`` or camera; the message lists the valid ones.
    """

    def __init__(self, core: Core, pictures: Pictures, obs_type: str, cameras: tuple[str, ...]):
        self.obs_type = choose("obs_type", obs_type, MERGED_OBS_TYPES)
        self.cameras = _FULL_CAMERAS if obs_type == "full" else tuple(cameras)
        pictures.check_cameras(self.cameras)
        self._core = core
        self._pictures = pictures
        self._all = np.arange(core.num_envs)
        self.observation_space = self._space()
        low, high = (
            np.tile(bound, len(SIDES)).astype(np.float32)
            for bound in (core.control.low, core.control.high)
        )
        self.action_space = spaces.Box(low, high, dtype=np.float32)

    def observations(self, rows: np.ndarray | None = None) -> Any:
        """Arrays with a leading m, or dicts of them, of those simulations or of all."""
        rows = self._all if rows is None else rows
        match self.obs_type:
            case "state":
                return self._core.observer.state()[rows]
            case "pixels":
                return self._drawn(rows)
            case "pixels_agent_pos":
                return {"pixels": self._drawn(rows), "agent_pos": self._agent_pos(rows)}
            case "environment_state_agent_pos":
                return {
                    "environment_state": self._object_poses(rows),
                    "agent_pos": self._agent_pos(rows),
                }
            case _:
                return {
                    "qpos": self._agent_pos(rows),
                    "qvel": self._agent_vel(rows),
                    "env_state": self._object_poses(rows),
                    "images": self._drawn(rows),
                }

    def actions(self, actions: Any, lead: tuple[int, ...]) -> np.ndarray:
        """(n, 2, 7) the actions of both arms, left arm first.

        Args:
            actions: (*lead, 14) numbers.
            lead: () for one simulation, (n,) for n.

        Raises:
            ValueError: it is not such an array or not finite; the message names the row.
        """
        checked = checked_action(actions, (*lead, MERGED_ACTION_SIZE))
        return checked.astype(float).reshape(-1, len(SIDES), ACTION_SIZE)

    def _agent_pos(self, rows: np.ndarray) -> np.ndarray:
        return _per_arm(self._core.simulation.qpos[rows], GRIPPER_CLOSED)

    def _agent_vel(self, rows: np.ndarray) -> np.ndarray:
        return _per_arm(self._core.simulation.qvel[rows], 0.0)

    def _object_poses(self, rows: np.ndarray) -> np.ndarray:
        return _bounded(self._core.simulation.qpos[rows, _ROBOT:])

    def _drawn(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return self._pictures.observe(self.cameras, rows)

    def _space(self) -> spaces.Space[Any]:
        options = self._core.options
        pictures = picture_space(
            self.cameras, options.observation_height, options.observation_width
        )
        arms = _box(MERGED_ACTION_SIZE)
        objects = _box(self._core.model.nq - _ROBOT)
        match self.obs_type:
            case "state":
                return self._core.observer.state_layout.space()
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


def _per_arm(values: np.ndarray, closed: float) -> np.ndarray:
    """(m, 14) joints and normalised left finger of each arm from MuJoCo's (m, 2 x 8 ...) order."""
    arms = values[:, :_ROBOT].reshape(-1, len(SIDES), _ARM)[:, :, :ACTION_SIZE].copy()
    arms[:, :, -1] = (arms[:, :, -1] - closed) / GRIPPER_SPAN
    return _bounded(arms.reshape(-1, MERGED_ACTION_SIZE))


def _bounded(values: np.ndarray) -> np.ndarray:
    return np.clip(values, -_BOUND, _BOUND)


def _box(size: int) -> spaces.Box:
    return spaces.Box(-_BOUND, _BOUND, (size,), np.float64)
