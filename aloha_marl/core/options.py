"""The keywords every front door takes, checked in one place."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from aloha_marl.arms import AGENTS
from aloha_marl.checks import at_least, choose, is_number, names_of
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.observations import SCOPES
from aloha_marl.core.rewards import CREDITS, REWARDS
from aloha_marl.core.starts import STARTS
from aloha_marl.scene.randomization import RANGES, check_ranges
from aloha_marl.tasks import Task

OBS_TYPES = ("state", "pixels", "pixels_agent_pos")
PICTURE_MODES = ("rgb_array", "depth_array")
RENDER_MODES = (*PICTURE_MODES, "human")
RENDER_QUALITIES = ("fast", "high", "best")

UNLIMITED = 2**31 - 1
"""Value of ``max_cycles`` for episodes that somebody else ends."""

_MOST_PIXELS = 2**20
"""Largest width or height of a picture that is asked of OpenGL."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Keywords of :func:`aloha_marl.parallel_env` and of every other front door.

    Attributes:
        obs_type: "state", "pixels" (own wrist camera and ``top``) or "pixels_agent_pos" (both).
        scope: the part of the scene an arm observes: "partner", "local", "proprioception" or "full".
        control: meaning of the actions: "joint_position", "joint_position_normalized", "joint_delta" or
            "ee_delta".
        reward: "staged" (the stage at every step), "sparse" (1 on success) or "dense" (each arm's own
            progress, at most 1 in an episode).
        credit: "team" (both arms get the mean of their shares) or "individual" (each its own). Of
            "staged" and "sparse" both have the same share.
        rules: how stages are judged, "strict" or "gym_aloha".
        start: "random" (any yaw, joints +-0.1 rad) or "gym_aloha" (fixed arms, no yaw).
        max_cycles: control steps (50 Hz) until an episode is truncated.
        max_joint_speed: limit of the speed of the commanded joint targets [rad/s], or None. Without
            it full-range actions make the simulation diverge in about 0.1 % of the steps.
        metrics: True adds figures of how the arms worked together to the last infos of an episode; see
            :mod:`aloha_marl.core.metrics`.
        randomization: ranges drawn from at every reset: a name of
            :data:`aloha_marl.scene.randomization.RANGES` -> (low, high).
        agent_names: names of the left and the right arm.
        cameras: name or names of the cameras in pixel observations; "wrist_wide" and "wrist" are each
            arm's own.
        observation_width, observation_height: size of observed pictures [pixels].
        visualization_width, visualization_height: size of ``render()`` [pixels]; a window's is fixed.
        render_mode: "rgb_array", "depth_array" or None: what ``render()`` returns. With "human" it
            returns None: every reset and step shows in a window, in real time.
        render_quality: of observed pictures and of ``render()``: "fast", "high" (with shadows and the
            table's grain) or "best" (also with smooth edges, as in films).
        visuals: "own", or "gym_aloha" to draw the meshes, cameras and lights of an installed
            gym-aloha. "high" and "best" pictures are then gym-aloha's own. A window always shows "own".
    """

    obs_type: str = "state"
    scope: str = "partner"
    control: str = "joint_position"
    reward: str = "staged"
    credit: str = "team"
    rules: str = "strict"
    start: str = "random"
    max_cycles: int = 300
    max_joint_speed: float | None = 3.14
    metrics: bool = False
    randomization: Mapping[str, tuple[float, float]] = dataclasses.field(default_factory=dict)
    agent_names: tuple[str, str] = AGENTS
    cameras: str | Sequence[str] = ("wrist_wide", "top")
    observation_width: int = 640
    observation_height: int = 480
    visualization_width: int = 640
    visualization_height: int = 480
    render_mode: str | None = None
    render_quality: str = "fast"
    visuals: str = "own"

    @classmethod
    def of(cls, keywords: Mapping[str, Any], task: Task) -> Options:
        """Options from keywords, checked for this task.

        Raises:
            ValueError: an unknown keyword or value; the message lists the valid ones.
        """
        valid = [field.name for field in dataclasses.fields(cls)]
        for name in keywords:
            if name not in valid:
                close = difflib.get_close_matches(name, valid, n=1)
                hint = f"did you mean {close[0]!r}? " if close else ""
                raise ValueError(f"unknown option {name!r}; {hint}valid: {', '.join(valid)}")
        options = cls(**keywords)
        choose("rules", options.rules, task.rules)
        choose("visuals", options.visuals, task.visuals)
        choose("reward", options.reward, task.rewards)
        return options

    def __post_init__(self) -> None:
        choose("obs_type", self.obs_type, OBS_TYPES)
        choose("scope", self.scope, SCOPES)
        choose("control", self.control, CONTROLS)
        choose("reward", self.reward, REWARDS)
        choose("credit", self.credit, CREDITS)
        choose("start", self.start, STARTS)
        if not isinstance(self.metrics, bool):
            raise ValueError(f"metrics={self.metrics!r} must be True or False")
        choose("render_mode", self.render_mode, (*RENDER_MODES, None))
        choose("render_quality", self.render_quality, RENDER_QUALITIES)
        plain: dict[str, Any] = {
            name: at_least(1, name, getattr(self, name), most)
            for name, most in (
                ("max_cycles", UNLIMITED),
                ("observation_width", _MOST_PIXELS),
                ("observation_height", _MOST_PIXELS),
                ("visualization_width", _MOST_PIXELS),
                ("visualization_height", _MOST_PIXELS),
            )
        }
        speed = self.max_joint_speed
        if speed is not None:
            if not is_number(speed) or not 0 < speed <= 1e9:
                raise ValueError(
                    f"max_joint_speed={speed!r} must be a positive number [rad/s] or None"
                )
            plain["max_joint_speed"] = float(speed)
        plain["agent_names"] = names = names_of("agent_names", self.agent_names)
        if len(names) != len(set(names)) or len(names) != len(AGENTS):
            raise ValueError(f"agent_names={names!r} must be two different names, left arm first")
        plain["cameras"] = names_of("cameras", self.cameras)
        plain["randomization"] = check_ranges(self.randomization)
        shown = [name for name in plain["randomization"] if RANGES[name].seen]
        if shown and self.visuals != "own":
            raise ValueError(
                f"visuals={self.visuals!r} can't show a randomized {shown[0]!r}; valid: 'own'"
            )
        for name, value in plain.items():
            object.__setattr__(self, name, value)
