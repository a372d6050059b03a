"""The environment itself, on arrays with a leading ``num_envs``: no dicts, no autoreset.

A step goes one way: actions -> targets -> ctrl -> physics -> readings -> stage, reward, observation.
Every front door is a thin layer over :class:`Core`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import mujoco
import numpy as np

from aloha_marl.arms import (
    CONTROL_TIMESTEP,
    FINGERS,
    JOINTS,
    SIDES,
)
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.metrics import Metrics
from aloha_marl.core.observations import Observer
from aloha_marl.core.options import Options
from aloha_marl.core.rewards import REWARDS, Shaping, pooled
from aloha_marl.scene.randomization import Randomization
from aloha_marl.scene.scene import load_model, watched
from aloha_marl.simulation.base import OneSimulation, Simulation
from aloha_marl.simulation.readings import Readings
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
        diverged: (n,) bool, the physics blew up in this episode.
        drawn: (n, P) the numbers domain randomisation drew for the episode.
        earned: (n, 2, T) by side and term what a dense reward has paid and the episode began with.
        metrics: (n, M) what the figures of the episode have added up.
    """

    physics: np.ndarray
    memory: np.ndarray
    stage: np.ndarray
    elapsed: np.ndarray
    diverged: np.ndarray
    drawn: np.ndarray
    earned: np.ndarray
    metrics: np.ndarray

    def __len__(self) -> int:
        return len(self.stage)

    def take(self, rows: np.ndarray) -> State:
        """The state of those of its simulations, a copy; a row may be taken more than once."""
        return State(*(getattr(self, field.name)[rows] for field in dataclasses.fields(self)))


class Infos(NamedTuple):
    """What is told beside observations and rewards, by name.

    Attributes:
        both: (n,) numbers of both arms together.
        own: (2, n) numbers of the left and of the right arm.
    """

    both: dict[str, np.ndarray]
    own: dict[str, np.ndarray]

    def of(self, arm: int) -> dict[str, np.ndarray]:
        """What an arm is told: name -> (n,)."""
        return self.both | {name: values[arm] for name, values in self.own.items()}

    def merged(self) -> dict[str, np.ndarray]:
        """What both arms as one agent are told: an arm's own under ``left_<name>``, ``right_<name>``."""
        return self.both | {
            f"{side}_{name}": values[arm]
            for name, values in self.own.items()
            for arm, side in enumerate(SIDES)
        }


class Core:
    """Runs a task: simulation, control mode, observer, stage and reward.

    Args:
        task: what is to be done.
        options: of the front door.
        simulate: makes the simulations of a model, given the names of its fields that may vary.

    Attributes, new arrays after every :meth:`reset`, :meth:`step` and :meth:`set_state`:
        stage: (n,) int 0..4.
        shares: (2, n) what the left and the right arm earned in the last step.
        rewards: (2, n) what they get for it, by the option ``credit``.
        terms: T names of the terms of a dense reward, else none.
        earned: (n, 2, T) by side and term what it has paid and the episode began with.
        gained: (n, 2, T) what of that it paid in the last step.
        terminated: (n,) bool, success.
        truncated: (n,) bool, out of time or diverged.
        diverged: (n,) bool, the physics blew up in this episode.
        elapsed: (n,) control steps since the reset.
        drawn: (n, P) the numbers domain randomisation drew, named by ``randomization.names``.
    """

    def __init__(
        self,
        task: Task,
        options: Options,
        simulate: Callable[[mujoco.MjModel, tuple[str, ...]], Simulation] = OneSimulation,
    ):
        self.task = task
        self.options = options
        scene = watched(task.scene()) if options.metrics else task.scene()
        self.model = load_model(scene)
        objects = [name for name, _ in scene.objects]
        self.randomization = Randomization(options.randomization, self.model, objects)
        self.simulation = simulate(self.model, self.randomization.fields)
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
        self.control = CONTROLS[options.control](self._low, self._high, self._most_step)
        self._reward = REWARDS[options.reward]

        self.num_envs = n = self.simulation.num_envs
        self._memory, self._remembers = np.zeros((n, task.memory_size), int), False
        self._shaping = Shaping(task, n, options.reward == "dense")
        self.terms = self._shaping.terms
        self._told = [f"reward_{term}" for term in self.terms]
        self._pools = options.credit == "team" and bool(self.terms)
        self.earned = np.zeros((n, len(SIDES), len(self._shaping.terms)))
        self.gained = self.earned
        self._metrics = Metrics(self.readings, self.simulation) if options.metrics else None
        self._held: np.ndarray | None = None
        self.stage = np.zeros(n, int)
        self.elapsed = np.zeros(n, int)
        self.drawn = np.zeros((n, len(self.randomization.names)))
        self._one = np.ones(n, int)
        self._success = np.full(n, SUCCESS)
        self._max_cycles = np.full(n, options.max_cycles)
        self._read()
        self._conclude()

    def reset(
        self,
        rows: np.ndarray,
        rngs: Sequence[np.random.Generator],
        seeds: Sequence[int | None],
    ) -> None:
        """Starts new episodes.

        Args:
            rows: (m,) which simulations: ints, rising.
            rngs: m generators that draw the starts.
            seeds: m gym-aloha's seeds for ``start="gym_aloha"``; drawn from the generator if None.
        """
        qpos = np.empty((len(rows), self._home_qpos.size))
        ctrl = np.empty((len(rows), self._home_ctrl.size))
        qpos[:], ctrl[:] = self._home_qpos, self._home_ctrl
        drawn = np.empty((len(rows), self.drawn.shape[1]))
        for i, (rng, seed) in enumerate(zip(rngs, seeds, strict=True)):
            self._draw_start(rng, seed, qpos[i], ctrl[i])
            if drawn.size:
                drawn[i] = self.randomization.draw(rng)
        self._vary(rows, drawn)
        self.simulation.reset(rows, qpos, ctrl)
        self._held = None
        self.elapsed = replaced(self.elapsed, rows, 0)
        self._remember(replaced(self._memory, rows, 0))
        self.earned = replaced(self.earned, rows, 0)
        self._read()
        # The rows that go on have been judged already; judging them again would count their step twice.
        stage, memory, level = self._judge()
        self.stage = replaced(self.stage, rows, stage[rows])
        self._remember(replaced(self._memory, rows, memory[rows]))
        self.earned = replaced(self.earned, rows, level[rows])
        self.gained = replaced(self.gained, rows, 0)
        self._conclude()
        if self._metrics:
            self._metrics.reset(rows, self.stage)

    def _draw_start(
        self, rng: np.random.Generator, seed: int | None, qpos: np.ndarray, ctrl: np.ndarray
    ) -> None:
        """Writes an episode's start into (nq,) and (nu,), which hold ``home``."""
        if self.options.start == "gym_aloha":
            poses = self.task.place_as_gym_aloha(int(rng.integers(2**32)) if seed is None else seed)
        else:
            poses = self.task.place(rng)
            offsets = rng.uniform(-_START_NOISE, _START_NOISE, (len(SIDES), _JOINTS))
            for values in (qpos[: ctrl.size], ctrl):
                values.reshape(len(SIDES), -1)[:, :_JOINTS] += offsets
        qpos[ctrl.size :] = poses.ravel()

    def _vary(self, rows: np.ndarray, drawn: np.ndarray) -> None:
        if not drawn.size:
            return
        self.drawn = replaced(self.drawn, rows, drawn)
        self.randomization.apply(drawn, self.simulation.fields, rows)
        scale = self.randomization.object_scale(drawn)
        if scale is not None:
            self.readings.rescale(rows, scale)

    def hold(self, arms: np.ndarray) -> None:
        """In the next step, and in no other, these arms keep their targets, whatever their actions.

        Args:
            arms: (n, 2) bool; they add to those that are held already.
        """
        self._held = arms if self._held is None else self._held | arms

    def step(self, actions: np.ndarray) -> None:
        """Advances all simulations by one control step of 0.02 s.

        Args:
            actions: (n, 2, 7) finite; values outside the control mode's bounds are clipped.
        """
        self._command(actions)
        self.simulation.step(self._substeps)
        self.elapsed = self.elapsed + self._one
        self._read()
        self.stage, memory, level = self._judge()
        self._remember(memory)
        if self.terms:
            self.gained, self.earned = level - self.earned, level
        self._conclude()
        if self._metrics:
            self._metrics.update(self.elapsed, self.stage, self.shares)

    def _command(self, actions: np.ndarray) -> None:
        ctrl = self._ctrl
        targets = self.control.targets(actions, ctrl)
        if self._held is not None:
            np.copyto(targets, ctrl, where=self._held[:, :, None])
            self._held = None
        # Within the limits, and not further from the targets in force than the slew limit.
        low, high = ctrl - self._most_step, ctrl + self._most_step
        np.maximum(low, self._low, out=low)
        np.minimum(high, self._high, out=high)
        np.maximum(targets, low, out=targets)
        np.minimum(targets, high, out=ctrl)

    def _read(self) -> None:
        self.readings.update()
        self.diverged = self.simulation.diverged()

    def _judge(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n,) stages by the current readings; (n, m) memory and (n, 2, T) earnings after them."""
        readings, memory, level = self.readings, self._memory, self.earned
        strict = self.options.rules == "strict"
        if (strict or self.terms) and (readings.touching or self._remembers):
            stage, memory = self.task.stage(readings, memory)
        else:
            stage = np.zeros(self.num_envs, int)
        if self.terms:
            level = np.maximum(level, self._shaping.level(readings, stage, memory))
        if not strict:
            stage = cast(GymAlohaTask, self.task).gym_aloha_stage(readings)
        if np.count_nonzero(self.diverged):
            # MuJoCo has put it back to zero: nothing is reached there.
            stage[self.diverged] = 0
            level = np.where(self.diverged[:, None, None], self.earned, level)
        return stage, memory, level

    def _remember(self, memory: np.ndarray) -> None:
        if memory is not self._memory:
            self._memory, self._remembers = memory, bool(memory.any())

    def _conclude(self) -> None:
        self.shares = self._reward(self.stage, self.gained)
        self.rewards = pooled(self.shares) if self._pools else self.shares
        self.terminated = self.stage == self._success
        self.truncated = (self.elapsed >= self._max_cycles) | self.diverged

    def infos(self) -> Infos:
        """What is told beside observations and rewards."""
        both = {"is_success": self.terminated, "stage": self.stage, "diverged": self.diverged}
        own = dict(zip(self._told, self.gained.T, strict=True)) if self.terms else {}
        if self._metrics:
            figures = self._metrics.told(self.terminated | self.truncated, self.elapsed)
            both, own = both | figures[0], own | figures[1]
        return Infos(both, own)

    def get_state(self, rows: np.ndarray) -> State:
        """A copy of the whole state of those simulations."""
        return State(
            self.simulation.get_state(rows),
            self._memory[rows],
            self.stage[rows],
            self.elapsed[rows],
            self.diverged[rows],
            self.drawn[rows],
            self.earned[rows],
            self._metrics.values[rows] if self._metrics else np.empty((len(rows), 0)),
        )

    def set_state(self, rows: np.ndarray, state: State) -> None:
        """Goes back to a state; the same actions then give the same results bit for bit."""
        self._vary(rows, state.drawn)
        self.simulation.set_state(rows, state.physics, state.diverged)
        self._held = None
        self._remember(replaced(self._memory, rows, state.memory))
        self.stage = replaced(self.stage, rows, state.stage)
        self.elapsed = replaced(self.elapsed, rows, state.elapsed)
        self.earned = replaced(self.earned, rows, state.earned)
        self.gained = replaced(self.gained, rows, 0)
        if self._metrics:
            self._metrics.values[rows] = state.metrics
        self._read()
        self._conclude()


def replaced(values: np.ndarray, rows: np.ndarray, new: np.ndarray | int) -> np.ndarray:
    """A copy with other values in those rows: arrays that were handed out never change."""
    values = values.copy()
    values[rows] = new
    return values
