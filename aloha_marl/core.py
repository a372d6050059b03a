"""The environment itself, on arrays with a leading ``num_envs``: no dicts, no autoreset.

A step goes one way: actions -> targets -> ctrl -> physics -> readings -> stage, reward, observation.
Every front door is a thin layer over :class:`Core`.
"""

from __future__ import annotations

import dataclasses
from typing import cast

import numpy as np

from aloha_marl.arms import (
    CONTROL_TIMESTEP,
    FINGERS,
    JOINTS,
    SIDES,
)
from aloha_marl.control import CONTROLS
from aloha_marl.observations import Observer
from aloha_marl.options import Options
from aloha_marl.readings import Readings
from aloha_marl.rewards import REWARDS
from aloha_marl.scene import load_model
from aloha_marl.simulation import Simulation
from aloha_marl.tasks import SUCCESS, GymAlohaTask, Task

_JOINTS = len(JOINTS)
_START_NOISE = 0.1
"""Half range [rad] of the joints' offsets from ``home`` with ``start="random"``."""


@dataclasses.dataclass(frozen=True)
class State:
    """All that decides how an episode goes on, apart from the actions to come.

    Attributes:
        physics: (n, S) MuJoCo's integration state, the commanded targets among it.
        memory: (n, m) what the task remembers of the episode.
        stage: (n,) the stage reached.
        elapsed: (n,) control steps since the reset.
    """

    physics: np.ndarray
    memory: np.ndarray
    stage: np.ndarray
    elapsed: np.ndarray


class Core:
    """Runs a task: simulation, control mode, observer, stage and reward.

    Attributes, current after :meth:`reset`, :meth:`step` and :meth:`set_state`:
        stage: (n,) int 0..4.
        reward: (n,) the team's reward of the last step.
        terminated: (n,) bool, success.
        truncated: (n,) bool, out of time or diverged.
        diverged: (n,) bool, the physics blew up in this episode.
        elapsed: (n,) control steps since the reset.
    """

    def __init__(self, task: Task, options: Options):
        self.task = task
        self.options = options
        scene = task.scene()
        self.model = load_model(scene)
        self.simulation = Simulation(self.model)
        self.readings = Readings(
            self.model, scene, self.simulation.sensordata, self.simulation.ctrl
        )
        self.observer = Observer(self.readings, options.scope)
        home = self.model.key("home")
        self._home_qpos, self._home_ctrl = home.qpos, home.ctrl
        self._substeps = round(CONTROL_TIMESTEP / self.model.opt.timestep)

        # (n, 2, 8) live view: six joints and two fingers per arm.
        self._ctrl = self.simulation.ctrl.reshape(-1, len(SIDES), _JOINTS + len(FINGERS))
        # How far a target may move in one step; a gripper's may jump.
        speed = np.inf if options.max_joint_speed is None else options.max_joint_speed
        most = np.array([speed * CONTROL_TIMESTEP] * _JOINTS + [np.inf] * len(FINGERS))
        limits = self.model.actuator_ctrlrange[: most.size].T
        # Constants have the shape of what they are combined with: NumPy is three times as fast then.
        self._low, self._high, self._most_step = (
            np.broadcast_to(constant, self._ctrl.shape).copy() for constant in (*limits, most)
        )
        self.control = CONTROLS[options.control](self._low, self._high)
        self._reward = REWARDS[options.reward]

        n = self.simulation.num_envs
        self._remember(np.zeros((n, task.memory_size), int))
        self.stage = np.zeros(n, int)
        self.elapsed = np.zeros(n, int)
        self._one = np.ones(n, int)
        self._success = np.full(n, SUCCESS)
        self._max_cycles = np.full(n, options.max_cycles)

    def reset(self, rng: np.random.Generator, seed: int | None = None) -> None:
        """Starts a new episode.

        Args:
            rng: draws the start.
            seed: with ``start="gym_aloha"``, gym-aloha's seed; drawn from ``rng`` if None.
        """
        qpos, ctrl = self._home_qpos.copy(), self._home_ctrl.copy()
        if self.options.start == "gym_aloha":
            poses = self.task.place_as_gym_aloha(int(rng.integers(2**32)) if seed is None else seed)
        else:
            poses = self.task.place(rng)
            offsets = rng.uniform(-_START_NOISE, _START_NOISE, (len(SIDES), _JOINTS))
            for values in (qpos[: ctrl.size], ctrl):
                values.reshape(len(SIDES), -1)[:, :_JOINTS] += offsets
        qpos[ctrl.size :] = poses.ravel()
        self.simulation.reset(qpos[None], ctrl[None])
        self.elapsed[:] = 0
        self._remember(np.zeros_like(self._memory))
        self._read()
        self._judge()

    def step(self, actions: np.ndarray) -> None:
        """Advances all simulations by one control step of 0.02 s.

        Args:
            actions: (n, 2, 7) finite; values outside the control mode's bounds are clipped.
        """
        self._command(actions)
        self.simulation.step(self._substeps)
        self.elapsed += self._one
        self._read()
        self._judge()

    def _command(self, actions: np.ndarray) -> None:
        ctrl = self._ctrl
        targets = self.control.targets(actions, ctrl)
        # Within the limits, and not further from the targets in force than the slew limit.
        low, high = ctrl - self._most_step, ctrl + self._most_step
        np.maximum(low, self._low, out=low)
        np.minimum(high, self._high, out=high)
        np.maximum(targets, low, out=targets)
        np.minimum(targets, high, out=ctrl)

    def _read(self) -> None:
        self.readings.update()
        self.diverged = self.simulation.diverged()

    def _judge(self) -> None:
        if self.options.rules == "gym_aloha":
            self.stage = cast(GymAlohaTask, self.task).gym_aloha_stage(self.readings)
        elif self.readings.touching or self._remembers:
            self.stage, memory = self.task.stage(self.readings, self._memory)
            self._remember(memory)
        else:
            self.stage = np.zeros(len(self.elapsed), int)
        if np.count_nonzero(self.diverged):
            # MuJoCo has put it back to zero: nothing is reached there.
            self.stage[self.diverged] = 0
        self._conclude()

    def _remember(self, memory: np.ndarray) -> None:
        self._memory, self._remembers = memory, bool(memory.any())

    def _conclude(self) -> None:
        self.reward = self._reward(self.stage)
        self.terminated = self.stage == self._success
        self.truncated = (self.elapsed >= self._max_cycles) | self.diverged

    def get_state(self) -> State:
        """A copy of the whole state."""
        return State(
            self.simulation.get_state(),
            self._memory.copy(),
            self.stage.copy(),
            self.elapsed.copy(),
        )

    def set_state(self, state: State) -> None:
        """Goes back to a state; the same actions then give the same results bit for bit."""
        self.simulation.set_state(state.physics)
        self._remember(state.memory.copy())
        self.stage = state.stage.copy()
        self.elapsed[:] = state.elapsed
        self._read()
        self._conclude()
