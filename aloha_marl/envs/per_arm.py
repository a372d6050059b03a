"""Views of the two arms as agents: names, spaces, observations and actions, for the multi-agent doors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from aloha_marl.arms import SIDES
from aloha_marl.core.core import Core
from aloha_marl.rendering.pictures import Pictures
from aloha_marl.rendering.renderer import own_camera

AgentID = str


class PerArmView:
    """Names, spaces, observations and actions of the two agents of a core.

    Attributes:
        names: the left and the right arm's.
        observation_spaces, action_spaces: agent -> space of one simulation.
    """

    def __init__(self, core: Core, pictures: Pictures):
        options = core.options
        cameras = pictures.checked_cameras(options.cameras)
        self._core = core
        self._obs_type = options.obs_type
        self._pictures = pictures
        if self._obs_type != "state":
            core.prepare = pictures.prepare
        self.names: tuple[AgentID, ...] = options.agent_names
        self._known = frozenset(self.names)
        # Per arm, name -> the model's camera; and all of them, each once.
        self._cameras = [{name: own_camera(name, side) for name in cameras} for side in SIDES]
        self._drawn = tuple({camera: None for own in self._cameras for camera in own.values()})
        control = core.control
        self.action_spaces: dict[AgentID, spaces.Space[Any]] = {
            agent: spaces.Box(
                control.low.astype(np.float32), control.high.astype(np.float32), dtype=np.float32
            )
            for agent in self.names
        }
        self.observation_spaces: dict[AgentID, spaces.Space[Any]] = {
            agent: self._space() for agent in self.names
        }

    def observations(self, rows: np.ndarray | None = None) -> dict[AgentID, Any]:
        """Agent -> observations of those simulations or of all: arrays with a leading m, or dicts."""
        states = self._core.observer.observations()
        if self._obs_type == "state":
            states = states if rows is None else states[rows]
            return {agent: states[:, arm] for arm, agent in enumerate(self.names)}
        if rows is None:
            rows = np.arange(self._core.num_envs)
        drawn = self._pictures.observe(self._drawn, rows)
        observations: dict[AgentID, Any] = {}
        for arm, (agent, cameras) in enumerate(zip(self.names, self._cameras, strict=True)):
            pixels = {name: drawn[camera].copy() for name, camera in cameras.items()}
            observations[agent] = (
                pixels
                if self._obs_type == "pixels"
                else {"pixels": pixels, "agent_pos": states[rows, arm]}
            )
        return observations

    def actions(self, actions: Mapping[AgentID, Any], shape: tuple[int, ...]) -> np.ndarray:
        """(n, 2, size) the actions of both agents, left arm first.

        Args:
            actions: agent -> action.
            shape: of an action: (size,) for one simulation, (n, size) for n.

        Raises:
            ValueError: an agent is missing or unknown, or an action is not such an array or not
                finite; the message names the agent, and the row where there are rows.
        """
        if type(actions) is not dict and not isinstance(actions, Mapping):
            raise ValueError(
                f"actions must be a dict agent -> array, got {type(actions).__name__}; agents: "
                f"{', '.join(self.names)}"
            )
        if actions.keys() != self._known:
            unknown, missing = set(actions) - self._known, self._known - set(actions)
            problem = " and ".join(
                f"{label} {sorted(map(str, names))}"
                for label, names in (("unknown agents", unknown), ("no action for", missing))
                if names
            )
            raise ValueError(f"{problem}; agents: {', '.join(self.names)}")
        in_order = {agent: actions[agent] for agent in self.names}
        checked = checked_actions(in_order, shape)
        return checked.reshape(len(SIDES), -1, shape[-1]).swapaxes(0, 1)

    def _space(self) -> spaces.Space[Any]:
        state = self._core.observer.layout.space()
        options = self._core.options
        if self._obs_type == "state":
            return state
        pixels = picture_space(
            tuple(self._cameras[0]), options.observation_height, options.observation_width
        )
        if self._obs_type == "pixels":
            return pixels
        return spaces.Dict({"pixels": pixels, "agent_pos": state})


def checked_actions(actions: Mapping[AgentID, Any], shape: tuple[int, ...]) -> np.ndarray:
    """(agents, *shape) float64 actions.

    Args:
        actions: agent -> action; the agent's name, if it has one, begins the message.
        shape: of each action; if it has two dimensions, the first is the row.

    Raises:
        ValueError: an action is not such an array of numbers or not finite.
    """
    arrays = []
    for agent, action in actions.items():
        try:
            array = np.asarray(action)
            if array.shape != shape or array.dtype.kind not in "fiu":
                raise ValueError(
                    f"must be numbers of shape {shape}, got shape {array.shape} of dtype {array.dtype}"
                )
        except ValueError as error:
            label = agent and f"{agent}: "
            raise ValueError(f"{label}action {error}") from None
        arrays.append(array)
    checked = np.array(arrays, float)
    finite = np.isfinite(checked)
    if np.count_nonzero(finite) < checked.size:  # a third of what all() takes
        place = tuple(np.argwhere(~finite)[0].tolist())
        agent, row = list(actions)[place[0]], place[1:-1]
        label, where = agent and f"{agent}: ", f" in row {row[0]}" if row else ""
        raise ValueError(f"{label}action{where} must be finite, got {checked[place]}")
    return checked


def picture_space(cameras: tuple[str, ...], height: int, width: int) -> spaces.Dict:
    """The space of {camera: picture}."""
    return spaces.Dict({name: spaces.Box(0, 255, (height, width, 3), np.uint8) for name in cameras})
