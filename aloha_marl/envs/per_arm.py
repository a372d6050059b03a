"""Arrays of both arms to dicts by agent and back, for the multi-agent front doors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from aloha_marl.arms import ACTION_SIZE, SIDES
from aloha_marl.core.core import Core, replaced
from aloha_marl.rendering.pictures import Pictures, own_camera

AgentID = str


class Agents:
    """What the agents of a core are called, see and do.

    Attributes:
        names: the left and the right arm's.
        observation_spaces, action_spaces: agent -> space of one simulation.
    """

    def __init__(self, core: Core, pictures: Pictures):
        options = core.options
        pictures.check_cameras(options.cameras, own=True)
        self._core = core
        self._obs_type = options.obs_type
        self._pictures = pictures
        self.names: tuple[AgentID, ...] = options.agent_names
        self._known = frozenset(self.names)
        # Per arm, name -> the model's camera; and all of them, each once.
        self._cameras = [
            {name: own_camera(name, side) for name in options.cameras} for side in SIDES
        ]
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
        """Agent -> what it observes, arrays with a leading m, of those simulations or of all."""
        states = self._core.observer.observations()
        if self._obs_type == "state":
            return dict(zip(self.names, states if rows is None else states[:, rows], strict=True))
        if rows is None:
            rows = np.arange(self._core.num_envs)
        drawn = self._pictures.observe(self._drawn, rows)
        observations: dict[AgentID, Any] = {}
        for agent, cameras, state in zip(self.names, self._cameras, states, strict=True):
            pixels = {name: drawn[camera].copy() for name, camera in cameras.items()}
            observations[agent] = (
                pixels
                if self._obs_type == "pixels"
                else {"pixels": pixels, "agent_pos": state[rows]}
            )
        return observations

    def actions(self, actions: Mapping[AgentID, Any], lead: tuple[int, ...]) -> np.ndarray:
        """(n, 2, 7) the actions of both agents, left arm first.

        Args:
            actions: agent -> (*lead, 7) numbers.
            lead: () for one simulation, (n,) for n.

        Raises:
            ValueError: an agent is missing or unknown, or an action is not such an array or not
                finite; the message names the agent, and the row where there are rows.
        """
        if actions.keys() != self._known:
            unknown, missing = set(actions) - self._known, self._known - set(actions)
            problem = " and ".join(
                f"{what} {sorted(map(str, names))}"
                for what, names in (("unknown agents", unknown), ("no action for", missing))
                if names
            )
            raise ValueError(f"{problem}; agents: {', '.join(self.names)}")
        given = []
        shape = (*lead, ACTION_SIZE)
        for agent in self.names:
            try:
                action = np.asarray(actions[agent])
            except ValueError as error:
                raise ValueError(f"{agent}: action is not an array: {error}") from None
            if action.shape != shape or action.dtype.kind not in "fiu":
                raise ValueError(
                    f"{agent}: action must be numbers of shape {shape}, got shape {action.shape} of "
                    f"dtype {action.dtype}"
                )
            given.append(action)
        checked = np.array(given, float)
        # The sum of the squares is finite if all numbers are; if it is not, look at each.
        if not math.isfinite(np.vdot(checked, checked)):
            for agent, both in zip(self.names, checked, strict=True):
                for row, action in enumerate(np.atleast_2d(both)):
                    if not np.isfinite(action).all():
                        where = f" in row {row}" if lead else ""
                        raise ValueError(f"{agent}: action{where} must be finite, got {action}")
        return checked.reshape(len(SIDES), -1, ACTION_SIZE).swapaxes(0, 1)

    def _space(self) -> spaces.Space[Any]:
        state = self._core.observer.layout.space()
        options = self._core.options
        if self._obs_type == "state":
            return state
        pixels = picture_space(
            options.cameras, options.observation_height, options.observation_width
        )
        if self._obs_type == "pixels":
            return pixels
        return spaces.Dict({"pixels": pixels, "agent_pos": state})


def picture_space(cameras: tuple[str, ...], height: int, width: int) -> spaces.Dict:
    """The space of {camera: picture}."""
    return spaces.Dict({name: spaces.Box(0, 255, (height, width, 3), np.uint8) for name in cameras})


def row_of(batch: Any, row: Any) -> Any:
    """One simulation's part of nested dicts of arrays with a leading n, or several's, a copy."""
    if isinstance(batch, dict):
        return {key: row_of(value, row) for key, value in batch.items()}
    return batch[row]


def batch_of(rows: Sequence[Any]) -> Any:
    """Nested dicts of arrays with a leading n, of those of n simulations; copies."""
    first = rows[0]
    if isinstance(first, dict):
        return {key: batch_of([row[key] for row in rows]) for key in first}
    return np.stack(rows)


def with_rows(batch: Any, rows: np.ndarray, new: Any) -> Any:
    """A copy of nested dicts of arrays with a leading n, with other values in those rows."""
    if isinstance(batch, dict):
        return {key: with_rows(value, rows, new[key]) for key, value in batch.items()}
    return replaced(batch, rows, new)
