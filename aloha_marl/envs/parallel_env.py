"""The PettingZoo environment: one arm, one agent."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, cast

import mujoco
import numpy as np
import pettingzoo
from gymnasium import spaces
from gymnasium.utils import seeding

from aloha_marl.arms import ACTION_SIZE, CONTROL_TIMESTEP
from aloha_marl.checks import checked_seed
from aloha_marl.copies import Rebuilt
from aloha_marl.core.core import Core
from aloha_marl.core.observations import Layout
from aloha_marl.core.options import RENDER_MODES, Options
from aloha_marl.core.state import State
from aloha_marl.envs.mamujoco import MaMuJoCoMaps
from aloha_marl.envs.per_arm import AgentID, PerArmView
from aloha_marl.envs.physics import physics
from aloha_marl.envs.rows import row_of
from aloha_marl.rendering.pictures import Pictures
from aloha_marl.rendering.viewer import Viewer, has_screen
from aloha_marl.simulation.single import SingleSimulation
from aloha_marl.tasks import TaskLike, make_task

_ROW = np.arange(1)


class AlohaParallelEnv(Rebuilt, MaMuJoCoMaps, pettingzoo.ParallelEnv[AgentID, Any, Any]):
    """ALOHA's two arms over a table, each an agent with seven numbers to act with.

    ## Actions
    Both agents: ``Box(7,) float32``; its meaning is the option ``control``. Values outside the bounds
    are clipped. Targets are commanded at 50 Hz and move at most at ``max_joint_speed``.

    | index | name | ``joint_position`` [rad] | ``joint_position_normalized`` | ``joint_delta`` |
    |---|---|---|---|---|
    | 0 | waist | -3.14158 .. 3.14158 | -1 .. 1 | -1 .. 1 x 0.05 rad |
    | 1 | shoulder | -1.85005 .. 1.25664 | -1 .. 1 | -1 .. 1 x 0.05 rad |
    | 2 | elbow | -1.76278 .. 1.6057 | -1 .. 1 | -1 .. 1 x 0.05 rad |
    | 3 | forearm_roll | -3.14158 .. 3.14158 | -1 .. 1 | -1 .. 1 x 0.05 rad |
    | 4 | wrist_angle | -1.8675 .. 2.23402 | -1 .. 1 | -1 .. 1 x 0.05 rad |
    | 5 | wrist_rotate | -3.14158 .. 3.14158 | -1 .. 1 | -1 .. 1 x 0.05 rad |
    | 6 | gripper | 0 closed .. 1 open | -1 closed .. 1 open | -1 .. 1 x 0.2 |

    | index | name | ``ee_delta``: steps of the tool from its commanded pose, in the arm's base frame |
    |---|---|---|
    | 0, 1, 2 | x, y, z | -1 .. 1 x 0.015 m |
    | 3, 4, 5 | rx, ry, rz | -1 .. 1 x 0.1 rad, a rotation vector about the tool centre point |
    | 6 | gripper | -1 .. 1 x 0.2 |

    A zero holds in both delta modes. A step of the tool that the joints are too slow for is shortened as a
    whole; one beyond their limits or out of reach goes as near as one step of damped least squares does.

    ## Observations
    ``Box(D,) float32`` with finite bounds, the same for both agents, every quantity in the arm's own
    base frame. D depends on the option ``scope`` and on the number k of objects; an object's hinge or
    slide adds 2, a goal 3. ``aloha-marl show TASK`` prints every index.

    | scope | holds | size |
    |---|---|---|
    | ``proprioception`` | joint positions, gripper, their velocities, command gap, tool pose | 29 |
    | ``local`` | + each object's pose, velocity, position in the tool frame, finger contacts | 29 + 20 k |
    | ``partner`` | + the partner's tool pose and gripper | 39 + 20 k |
    | ``full`` | + everything the partner observes | 78 + 40 k |

    With ``obs_type="pixels"`` an observation is ``{camera: (height, width, 3) uint8}``, by default of its
    ``wrist_wide`` and ``top``; with ``"pixels_agent_pos"`` it is ``{"pixels": ..., "agent_pos": the Box}``.

    ## Rewards, starting state, episode end
    | ``reward`` | in every step | per episode |
    |---|---|---|
    | ``staged`` | the stage 0..4, to both agents | up to 4 ``max_cycles`` |
    | ``sparse`` | 1 on success, to both agents | 0 or 1 |
    | ``dense`` | each arm's progress since its best in the episode, in the terms of the task | 0 .. 1 |

    With ``credit="team"`` both agents get the mean of both shares, with ``"individual"`` each its own; of
    ``staged`` and ``sparse`` the shares are equal.

    Objects start anywhere in the task's ranges, the arms within 0.1 rad of ``home``. Stage 4 is success
    and terminates, and so does a loss, see ``Task.lost``; ``max_cycles`` or a diverged simulation
    truncate. Both agents end together.

    A simulation diverges when MuJoCo meets a bad number or raises an error in it, or when a joint or an
    object is faster than 1,000 rad/s or m/s after a step. It is put back to MuJoCo's zero pose, which is
    then observed; its stage is 0 and the step pays nothing.

    ## Infos
    Numbers only, the same keys at reset and step: ``is_success``, ``stage``, ``diverged``. With
    ``reward="dense"`` also ``reward_<term>``, what each term of the task paid the arm before credit is
    given. With ``metrics=True`` also how the arms worked together, filled in when the episode ends
    (:data:`aloha_marl.core.metrics.BOTH`, :data:`aloha_marl.core.metrics.OWN`, and the task's own).

    ## Rendering
    ``render_mode="human"`` opens a window at the first reset and draws in it at every reset and step,
    in real time: a step then lasts 0.02 s. The mouse can move the objects; without it episodes are
    the same, bit for bit, as without a window. If you close the window, the environment goes on
    without it, as fast as it can. See :class:`~aloha_marl.rendering.viewer.Viewer`.

    ## Copies
    By ``copy.deepcopy`` or ``pickle``: a new environment with the same task and options, ``max_cycles``
    among them. It has no episode; :meth:`get_state` and :meth:`set_state` carry that.

    ## Version history
    * v0: first version.

    Args:
        task: a name, such as "insertion", ``module:Class``, or a :class:`~aloha_marl.tasks.Task`.
        **options: see :class:`~aloha_marl.core.options.Options`.

    Attributes:
        viewer: the window with ``render_mode="human"``, else None.
        np_random, np_random_seed: the generator that draws the starts, and its seed.

    Raises:
        ValueError: an unknown task, option or value; the message lists the valid ones.
    """

    metadata: dict[str, Any] = {
        "render_modes": list(RENDER_MODES),
        "render_fps": round(1 / CONTROL_TIMESTEP),
        "is_parallelizable": True,
    }

    def __init__(self, task: TaskLike = "transfer_cube", **options: Any):
        self.task = make_task(task)
        self.options = Options.of(options, self.task)
        self.core = Core(self.task, self.options)
        self.pictures = Pictures(self.core)
        self._view = PerArmView(self.core, self.pictures)
        self.metadata = {
            **self.metadata,
            "name": f"{self.task.name}_v0",
            "render_modes": [mode for mode in RENDER_MODES if mode != "human" or has_screen()],
        }
        self.render_mode = self.options.render_mode
        self.viewer = Viewer(self.model, self.data) if self.render_mode == "human" else None
        self.possible_agents, self.agents = list(self._view.names), []
        self.GROUP_MAP = {"arms": list(self._view.names)}
        self.action_spaces = self._view.action_spaces
        self.observation_spaces = self._view.observation_spaces
        self.state_space = self.core.observer.state_layout.space()
        self.np_random, self.np_random_seed = seeding.np_random()

    def observation_space(self, agent: AgentID) -> spaces.Space[Any]:
        """The space of that agent's observations, always the same object."""
        return self.observation_spaces[agent]

    def action_space(self, agent: AgentID) -> spaces.Space[Any]:
        """The space of that agent's actions, always the same object."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[AgentID, Any], dict[AgentID, dict[str, Any]]]:
        """Starts an episode.

        Args:
            seed: reseeds the environment's generator; without it the stream goes on.
            options: parts that are given, see :meth:`aloha_marl.core.starts.Starts.given`.

        Raises:
            ValueError: a bad seed or start. Nothing has changed.
        """
        seed, given = checked_seed(seed), self.core.starts.given(options, _ROW)
        if seed is not None:
            self.np_random, self.np_random_seed = seeding.np_random(seed)
        self.core.reset(_ROW, [self.np_random], [seed], given)
        if self.viewer is not None:
            self.viewer.redraw()
        self.agents = list(self.possible_agents)
        return self.observations(), self._infos()

    def step(
        self, actions: Mapping[AgentID, np.ndarray]
    ) -> tuple[
        dict[AgentID, Any],
        dict[AgentID, float],
        dict[AgentID, bool],
        dict[AgentID, bool],
        dict[AgentID, dict[str, Any]],
    ]:
        """Advances both arms by 0.02 s.

        Args:
            actions: agent -> (7,) array.

        Raises:
            ValueError: an agent is missing or unknown, or an action is not seven finite numbers.
                Nothing has moved.
            RuntimeError: the episode has not begun or is over.
        """
        self.advance(self.check_actions(actions))
        core, agents = self.core, self.possible_agents
        return (
            self.observations(),
            dict(zip(agents, core.rewards[0].tolist(), strict=True)),
            dict.fromkeys(agents, bool(core.terminated[0])),
            dict.fromkeys(agents, bool(core.truncated[0])),
            self._infos(),
        )

    def advance(self, actions: np.ndarray) -> None:
        """Steps without making the result dicts; read the result from ``core``.

        Args:
            actions: (1, 2, 7) finite, as :meth:`check_actions` returns them.

        Raises:
            RuntimeError: the episode has not begun or is over.
        """
        if not self.agents:
            raise RuntimeError("no episode is running: call reset() first")
        if self.viewer is None:
            self.core.step(actions)
        else:
            with self.viewer.pulling():
                self.core.step(actions)
            self.viewer.redraw()
        self._update_agents()

    def check_actions(self, actions: Mapping[AgentID, Any], more: int = 0) -> np.ndarray:
        """(1, 2, 7 + more) actions, left arm first, that may have more numbers; raises as :meth:`step`."""
        return self._view.actions(actions, (ACTION_SIZE + more,))

    def observations(self) -> dict[AgentID, Any]:
        """Observations of the present state, for instance after :meth:`set_state`."""
        return row_of(self._view.observations(), 0)

    def state(self) -> np.ndarray:
        """(S,) float32: both arms' own quantities, the left arm's first, for a central critic."""
        return self.core.observer.state()[0]

    def get_state(self) -> State:
        """The whole state of the episode, a copy; not the generator that draws the next start."""
        return self.core.get_state(_ROW)

    def set_state(self, state: State) -> None:
        """Goes back to a state of an environment made with the same options, bit for bit.

        Raises:
            ValueError: a state that does not fit. Nothing has changed.
        """
        self.core.set_state(_ROW, self.core.fitted(state, 1))
        self._update_agents()

    @property
    def unwrapped(self) -> AlohaParallelEnv:
        return self

    @property
    def layout(self) -> Layout:
        """Columns of each quantity in a state observation."""
        return self.core.observer.layout

    @property
    def max_cycles(self) -> int:
        """Control steps until an episode is truncated; it may be set at any time."""
        return self.core.options.max_cycles

    @max_cycles.setter
    def max_cycles(self, value: int) -> None:
        self.options = dataclasses.replace(self.options, max_cycles=value)
        self.core.options = self.options

    @property
    def model(self) -> mujoco.MjModel:
        """The live model."""
        return self.core.model

    @property
    def data(self) -> mujoco.MjData:
        """The live data."""
        return cast(SingleSimulation, self.core.simulation).data

    @functools.cached_property
    def physics(self) -> Any:
        """A ``dm_control.mujoco.Physics`` on the same model and data, for named access.

        Raises:
            ImportError: dm_control is missing, as on Python 3.13, where it can't be installed.
            RuntimeError: it can't read models of the installed MuJoCo, as dm_control 1.0.50 with 4.0.
        """
        return physics(self.model, self.data)

    def render(self) -> np.ndarray | None:
        """Camera ``angle``, as ``render_mode`` says; None without one, and with "human".

        Returns:
            With "rgb_array" a (height, width, 3) uint8 picture; with "depth_array" the (height, width)
            float32 depth buffer, 0 near .. 1 far.
        """
        return self.pictures.render("angle")

    def picture(self, camera: str, observed: bool = False) -> np.ndarray:
        """Draws one camera.

        Args:
            camera: one of the model's cameras.
            observed: in the size of observations, instead of that of ``render()``.
        """
        return self.pictures.draw(camera, observed=observed)

    def __reduce__(self) -> tuple[Any, ...]:
        *made, changed = super().__reduce__()
        return (*made, changed | {"max_cycles": self.max_cycles})

    def close(self) -> None:
        """Closes the window and frees the OpenGL contexts. The environment can still be stepped."""
        if self.viewer is not None:
            self.viewer.close()
        self.pictures.close()

    def _update_agents(self) -> None:
        over = self.core.terminated[0] or self.core.truncated[0]
        self.agents = [] if over else list(self.possible_agents)

    def _infos(self) -> dict[AgentID, dict[str, Any]]:
        infos = self.core.infos()
        shared = {name: values.item() for name, values in infos.shared.items()}
        return {
            agent: shared | {name: values[0, arm].item() for name, values in infos.per_arm.items()}
            for arm, agent in enumerate(self.possible_agents)
        }
