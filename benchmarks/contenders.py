"""Contenders of a timing: the same motion through MuJoCo alone and through every front door."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import time
from collections.abc import Callable
from typing import Any

import mujoco
import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from mujoco.batch import Batch

from aloha_marl import AGENTS, AlohaParallelEnv, AlohaSingleAgent, AlohaVectorEnv
from aloha_marl.arms import ACTION_SIZE, JOINTS, SIDES
from aloha_marl.core.state import State

SEED = 0
SUBSTEPS = 10
SETTLING = 25
"""Steps before the timed ones: objects fall on the table first."""


@dataclasses.dataclass(frozen=True)
class Workload:
    """A motion of N rows, recorded so that all contenders do the same physics.

    Attributes:
        task: name of the task.
        model: model of its scene.
        actions: (steps, 2, N, 7) actions.
        start: state of all rows. Their episodes are evenly spread in time, so that a few steps of many
            rows hold as many ends of episodes as many steps of a few.
        ctrl: (steps, N, nu) controls that the actions command.
        restarts: step -> rows that start before it, and their physics.
    """

    task: str
    model: mujoco.MjModel
    actions: np.ndarray
    start: State
    ctrl: np.ndarray
    restarts: dict[int, tuple[np.ndarray, np.ndarray]]

    @property
    def num_envs(self) -> int:
        """Number of rows N."""
        return len(self.start)

    @property
    def total_steps(self) -> int:
        """Number of steps of all rows together."""
        return len(self.actions) * self.num_envs

    def by_agent(self) -> list[dict[str, np.ndarray]]:
        """Actions per step, agent -> (N, 7)."""
        return [dict(zip(AGENTS, action, strict=True)) for action in self.actions]

    def merged(self) -> np.ndarray:
        """(steps, N, 14) actions, the left arm's first."""
        return self.actions.swapaxes(1, 2).reshape(len(self.actions), self.num_envs, -1)


def record(task: str, num_envs: int, steps: int) -> Workload:
    """Makes a workload by running it once."""
    # Rows are started by hand: in the step itself that overwrites the controls of the last step.
    env = AlohaVectorEnv(task, num_envs, autoreset_mode=AutoresetMode.DISABLED)
    simulation = env.core.simulation
    actions = motion(simulation.model, num_envs, SETTLING + steps)
    env.reset(seed=SEED)
    for action in actions[:SETTLING]:
        env.step(dict(zip(AGENTS, action, strict=True)))
    spread = np.arange(num_envs) * env.options.max_cycles // num_envs
    start = dataclasses.replace(env.get_state(), elapsed=spread)
    work = Workload(
        task,
        simulation.model,
        actions[SETTLING:],
        start,
        ctrl=np.empty((steps, *simulation.ctrl.shape)),
        restarts={0: (np.arange(num_envs), start.physics)},
    )
    go_to_start(env, start)
    for step, action in enumerate(work.by_agent()):
        _, _, terminated, truncated, _ = env.step(action)
        work.ctrl[step] = simulation.ctrl
        over = terminated[AGENTS[0]] | truncated[AGENTS[0]]
        if over.any():
            env.reset(options={"reset_mask": over})
            work.restarts[step + 1] = np.flatnonzero(over), env.get_state(over).physics
    env.close()
    return work


def motion(model: mujoco.MjModel, num_envs: int, steps: int) -> np.ndarray:
    """(steps, 2, N, 7) actions: sines of 0.1 about ``home``, the grippers' about 0.1."""
    middle = np.full((len(SIDES), 1, ACTION_SIZE), 0.1)
    arms = model.key("home").ctrl.reshape(len(SIDES), 1, -1)
    middle[..., : len(JOINTS)] = arms[..., : len(JOINTS)]
    phases = np.random.default_rng(SEED).uniform(0, 6, (num_envs, len(SIDES), ACTION_SIZE))
    angles = 0.1 * np.arange(steps)[:, None, None, None] + phases.swapaxes(0, 1)
    return (middle + 0.1 * np.sin(angles)).astype(np.float32)


def go_to_start(env: Any, start: State) -> None:
    """Puts back the state, and the generators from which later starts are drawn."""
    env.reset(seed=SEED)
    env.unwrapped.set_state(start)


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to run a workload.

    Attributes:
        name: name in the tables.
        work: the workload.
        step: makes the step of that number, the only part that is timed.
        begin: goes to the start.
        prepare: called before each step with its number.
        close: ends threads and processes.
        threads: size of its thread pool.
    """

    name: str
    work: Workload
    step: Callable[[int], Any]
    begin: Callable[[], Any] = lambda: None
    prepare: Callable[[int], Any] = lambda step: None
    close: Callable[[], Any] = lambda: None
    threads: int | None = None

    def run(self) -> float:
        """Runs the workload; returns the seconds of all steps."""
        self.begin()
        spent = 0.0
        for step in range(len(self.work.actions)):
            self.prepare(step)
            start = time.perf_counter()
            self.step(step)
            spent += time.perf_counter() - start
        return spent


def mj_step(work: Workload) -> Contender:
    """MuJoCo alone, one simulation."""
    model, data, ctrl = work.model, mujoco.MjData(work.model), work.ctrl[:, 0]

    def prepare(step: int) -> None:
        if step in work.restarts:
            _, physics = work.restarts[step]
            mujoco.mj_setState(model, data, physics[0], mujoco.mjtState.mjSTATE_INTEGRATION)

    def advance(step: int) -> None:
        data.ctrl[:] = ctrl[step]
        mujoco.mj_step(model, data, SUBSTEPS)

    return Contender("mj_step", work, advance, prepare=prepare)


def batch(work: Workload, threads: int) -> Contender:
    """MuJoCo alone, many simulations on a thread pool."""
    simulations = Batch(work.model, work.num_envs, threads)
    ctrl = simulations.bind("ctrl")

    def prepare(step: int) -> None:
        if step in work.restarts:
            rows, physics = work.restarts[step]
            simulations.state[rows] = physics

    def advance(step: int) -> None:
        ctrl[:] = work.ctrl[step]
        simulations.step(nstep=SUBSTEPS)

    return Contender("Batch", work, advance, prepare=prepare, threads=threads)


def vector_env(work: Workload, threads: int) -> Contender:
    """The batch of environments."""
    env, actions = AlohaVectorEnv(work.task, work.num_envs, threads), work.by_agent()
    return Contender(
        "AlohaVectorEnv",
        work,
        lambda step: env.step(actions[step]),
        begin=lambda: go_to_start(env, work.start),
        close=env.close,
        threads=threads,
    )


def parallel_env(work: Workload) -> Contender:
    """The PettingZoo environment."""
    env = AlohaParallelEnv(work.task)
    actions = [{agent: rows[0] for agent, rows in pair.items()} for pair in work.by_agent()]

    def advance(step: int) -> None:
        env.step(actions[step])
        if not env.agents:
            env.reset()

    return Contender("AlohaParallelEnv", work, advance, lambda: go_to_start(env, work.start))


def aec_env(work: Workload) -> Contender:
    """PettingZoo's conversion to agents that take turns; a step is a turn of both."""
    env = importlib.import_module(f"aloha_marl.{work.task}_v0").raw_env()
    inner, actions = env.unwrapped, work.actions[:, :, 0]

    def advance(step: int) -> None:
        for action in actions[step]:
            env.last()
            env.step(action)
        if not inner.agents:
            env.reset()

    return Contender("AEC raw_env", work, advance, lambda: go_to_start(env, work.start))


class FromStart(AlohaSingleAgent):
    """Both arms as one agent. A reset with a seed goes to the start of a workload."""

    def __init__(self, task: str, start: State):
        super().__init__(AlohaParallelEnv(task), obs_type="state")
        self._start = start

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        result = super().reset(seed=seed, options=options)
        if seed is not None:
            self.base.set_state(self._start)
        return result


def single_agent(work: Workload) -> Contender:
    """The Gymnasium environment."""
    env, actions = FromStart(work.task, work.start), work.merged()[:, 0]

    def advance(step: int) -> None:
        _, _, terminated, truncated, _ = env.step(actions[step])
        if terminated or truncated:
            env.reset()

    return Contender("AlohaSingleAgent", work, advance, lambda: env.reset(seed=SEED))


def gymnasium_env(kind: type[SyncVectorEnv | AsyncVectorEnv], work: Workload) -> Contender:
    """Gymnasium's vector environments: one after another, or each in a process."""
    rows = np.arange(work.num_envs)[:, None]
    make = [functools.partial(FromStart, work.task, work.start.take(row)) for row in rows]
    env, actions = kind(make, autoreset_mode=AutoresetMode.SAME_STEP), work.merged()
    return Contender(
        kind.__name__,
        work,
        lambda step: env.step(actions[step]),
        begin=lambda: env.reset(seed=SEED),
        close=env.close,
    )
