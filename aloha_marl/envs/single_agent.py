"""The two arms merged again: the standard 14-dim Gymnasium environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from pettingzoo import ParallelEnv

from aloha_marl.arms import SIDES
from aloha_marl.envs.merged import MERGED_ACTION_SIZE, MergedObserver, merged_action_space
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import row_of
from aloha_marl.tasks import Task


class AlohaSingleAgent(gymnasium.Env[Any, np.ndarray]):
    """Both arms as one agent: a thin layer over a parallel environment.

    ## Actions
    ``Box(14,) float32``: the left arm's seven numbers, then the right arm's; see
    :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv`.

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
    The mean of the arms' rewards. Infos are those of one arm; what is told to each arm of itself is here
    under ``left_<name>`` and ``right_<name>``.

    ## Version history
    * v0: first version.

    Args:
        env: an :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv`, wrapped or not, with
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
        self._observer = MergedObserver(self.base.core, self.base.pictures, obs_type, cameras)
        self.render_mode = self.base.render_mode
        self.action_space = merged_action_space(map(env.action_space, env.possible_agents))
        self.observation_space = self._observer.space

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Starts an episode; see :meth:`AlohaParallelEnv.reset`."""
        super().reset(seed=seed)
        _, infos = self.env.reset(seed=seed, options=options)
        return self._observation(), self._info(infos)

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Advances both arms by 0.02 s.

        Args:
            action: (14,), the left arm first.

        Raises:
            ValueError: not fourteen finite numbers. Nothing has moved.
        """
        action = np.asarray(action)
        if action.shape != (MERGED_ACTION_SIZE,):
            raise ValueError(
                f"action must be {MERGED_ACTION_SIZE} numbers, got shape {action.shape}"
            )
        agents = self.env.possible_agents
        halves = dict(zip(agents, action.reshape(len(agents), -1), strict=True))
        if self.env is self.base:  # nobody between them would see the arms' own observations
            self.base.advance(halves)
            core = self.base.core
            left, right = core.rewards[:, 0].tolist()
            return (
                self._observation(),
                (left + right) / 2,
                bool(core.terminated[0]),
                bool(core.truncated[0]),
                {name: values.item() for name, values in core.infos().merged().items()},
            )
        _, rewards, terminations, truncations, infos = self.env.step(halves)
        first, second = agents
        return (
            self._observation(),
            (rewards[first] + rewards[second]) / 2,
            terminations[first],
            truncations[first],
            self._info(infos),
        )

    def render(self) -> np.ndarray | None:
        """The parallel environment's picture."""
        return cast(np.ndarray | None, self.env.render())

    def close(self) -> None:
        """Closes the window and frees the OpenGL contexts."""
        self.env.close()

    def _observation(self) -> Any:
        return row_of(self._observer.observations(), 0)

    def _info(self, infos: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
        """Both agents' infos as one, named as :meth:`Infos.merged` does."""
        first = infos[self.env.possible_agents[0]]
        own = self.base.core.infos().own
        if not own:
            return first
        both = {name: value for name, value in first.items() if name not in own}
        return both | {
            f"{side}_{name}": infos[agent][name]
            for name in own
            for side, agent in zip(SIDES, self.env.possible_agents, strict=True)
        }


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
        return self.base.pictures.render("top")


AS_GYM_ALOHA: dict[str, Any] = {
    "rules": "gym_aloha",
    "start": "gym_aloha",
    "max_joint_speed": None,
}
"""Options that make the physics and the rewards gym-aloha's."""


def as_gym_aloha(options: Mapping[str, Any]) -> dict[str, Any]:
    """All options of the ``GymAloha*`` ids, given those that were asked for."""
    exact = {"render_quality": "high"} if options.get("visuals") == "gym_aloha" else {}
    return AS_GYM_ALOHA | exact | dict(options)


def make(
    task: str | Task, obs_type: str = "pixels", cameras: tuple[str, ...] = ("top",), **options: Any
) -> AlohaSingleAgent:
    """Entry point of the ids ``aloha_marl/<Task>-v0``."""
    return AlohaSingleAgent(AlohaParallelEnv(task, **options), obs_type, cameras)


def make_gym_aloha(
    task: str | Task, obs_type: str = "pixels", cameras: tuple[str, ...] = ("top",), **options: Any
) -> GymAloha:
    """Entry point of the ids ``aloha_marl/GymAloha<Task>-v0``."""
    return GymAloha(AlohaParallelEnv(task, **as_gym_aloha(options)), obs_type, cameras)
