"""The environment itself, on arrays with a leading ``num_envs``: no dicts, no autoreset.

A step goes one way: actions -> targets -> ctrl -> physics -> readings -> stage, reward, observation.
Every front door is a thin layer over :class:`Core`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import cast

import mujoco
import numpy as np

from aloha_marl.arms import CONTROL_TIMESTEP, SIDES
from aloha_marl.control import CONTROLS
from aloha_marl.control.limits import Limits
from aloha_marl.copies import Uncopied
from aloha_marl.core.metrics import Metrics
from aloha_marl.core.observations import Observer
from aloha_marl.core.options import UNLIMITED, Options
from aloha_marl.core.rewards import Reward
from aloha_marl.core.starts import Starts
from aloha_marl.core.state import Infos, Progress, State, replaced
from aloha_marl.scene.model import load_model, with_arm_contacts
from aloha_marl.scene.randomization import Randomization
from aloha_marl.simulation.base import Simulation
from aloha_marl.simulation.readings import Readings
from aloha_marl.simulation.single import SingleSimulation
from aloha_marl.tasks import SUCCESS, GymAlohaTask, Task


class Core(Uncopied):
    """Runs a task: simulation, control mode, observer, stage and reward.

    Args:
        task: judges the episodes.
        options: of the front door.
        simulate: makes the simulations of a model, given the names of its fields that may vary.

    Attributes:
        prepare: called before anything moves; raises if the results could not be observed.
        goes_on: True lets episodes go on after they would be terminated, until they are truncated.
        starts: draws the starts.
        held: (n, 2) bool, arms that :meth:`hold` holds in the next step.

    Attributes, new arrays after every :meth:`reset`, :meth:`step` and :meth:`set_state`:
        progress: stage, elapsed steps and all else that the episodes remember.
        gained: (n, 2, T) by side and term what a dense reward paid in the last step.
        shares: (n, 2) what the left and the right arm earned in the last step.
        rewards: (n, 2) what they get for it, by the option ``credit``.
        terminated: (n,) bool, success, or nothing can be won any more.
        truncated: (n,) bool, out of time or diverged.
    """

    def __init__(
        self,
        task: Task,
        options: Options,
        simulate: Callable[[mujoco.MjModel, tuple[str, ...]], Simulation] = SingleSimulation,
    ):
        self.task = task
        self.options = options
        self.prepare: Callable[[], object] = lambda: None
        self.goes_on = False
        scene = with_arm_contacts(task.scene()) if options.metrics else task.scene()
        self.model = load_model(scene)
        self._substeps = round(CONTROL_TIMESTEP / self.model.opt.timestep)
        objects = [name for name, _ in scene.objects]
        self.randomization = Randomization(options.randomization, self.model, objects)
        names = (task.name, self.model.names, self.randomization.names)
        digest = hashlib.blake2b(repr(names).encode(), digest_size=8).digest()
        self._scene = int.from_bytes(digest, "little")
        self.simulation = simulate(self.model, self.randomization.fields)
        self.num_envs = n = self.simulation.num_envs

        self._ctrl = self.simulation.ctrl.reshape(n, len(SIDES), -1)  # a live view
        self._limits = limits = Limits(self.model, n, options.max_joint_speed)
        self.control = CONTROLS[options.control](limits.low, limits.high, limits.most_step)
        self.held = self._free = np.zeros((n, len(SIDES)), bool)

        self.readings = Readings(
            self.model, scene, self.simulation.sensordata, self.simulation.ctrl
        )
        boxes = self.readings.extents.boxes
        self.starts = Starts(task, options.start, self.model, self.randomization, boxes)
        self.observer = Observer(self.readings, scene, options.scope)
        self._reward = Reward(task, options.reward, options.credit, n)
        self.terms = self._reward.terms
        self._metrics = Metrics(task, self.readings, self.simulation) if options.metrics else None
        self.progress = self._begun(n)
        self.gained = self.progress.earned
        self._conclude()

    def reset(
        self,
        rows: np.ndarray,
        rngs: Sequence[np.random.Generator],
        seeds: Sequence[int | None],
        given: np.ndarray | None = None,
    ) -> None:
        """Starts new episodes.

        Args:
            rows: (m,) which simulations: ints, rising.
            rngs: m generators that draw the starts.
            seeds: m gym-aloha's seeds for ``start="gym_aloha"``; drawn from the generator if None.
            given: (m, nq) parts of the starts, as :meth:`Starts.given` returns them.
        """
        self.prepare()
        qpos, ctrl, goals, drawn = self.starts.draw(rngs, seeds, given)
        self._vary(rows, drawn)
        self.simulation.reset(rows, qpos, ctrl, goals)
        self.held = self._free
        self.readings.update()
        begun = self.progress.put(rows, self._begun(len(rows)).but(drawn=drawn))
        # The rows that go on have been judged already; judging them again would count their step twice.
        self.progress = begun.put(rows, self.judged(begun).take(rows))
        self.gained = replaced(self.gained, rows, 0)
        self._conclude()
        if self._metrics:
            self._metrics.reset(rows, self.progress.stage)

    def step(self, actions: np.ndarray) -> None:
        """Advances all simulations by one control step of 0.02 s.

        Args:
            actions: (n, 2, 7) finite; values outside the control mode's bounds are clipped.
        """
        self.prepare()
        self._limits.write(self._targets(actions), self._ctrl)
        self.simulation.step(self._substeps)
        self.readings.update()
        before = self.progress
        self.progress = self.judged(before, elapsed=before.elapsed + 1)
        if self.terms:
            self.gained = self.progress.earned - before.earned
        self._conclude()
        if self._metrics:
            self._metrics.update(self.progress, self.shares)

    def hold(self, arms: np.ndarray) -> None:
        """In the next step, and in no other, these arms keep their targets, whatever their actions.

        Args:
            arms: (n, 2) bool; they add to those that are held already.
        """
        self.held = self.held | arms

    def judged(self, progress: Progress, **changes: np.ndarray) -> Progress:
        """The progress with stage, memory and earnings by the current readings, and other changes."""
        readings, memory, earned = self.readings, progress.memory, progress.earned
        diverged = self.simulation.diverged()
        strict = self.options.rules == "strict"
        stage = np.zeros(self.num_envs, int)
        # A fifth of a step is saved where nothing is touched and nothing remembered.
        if (strict or self.terms) and (readings.any_touch or np.count_nonzero(memory)):
            stage, memory = self.task.stage(readings, memory)
        if self.terms:
            earned = np.maximum(earned, self._reward.level(readings, stage, memory))
        if not strict:
            stage = cast(GymAlohaTask, self.task).gym_aloha_stage(readings)
        if np.count_nonzero(diverged):
            # It has been put back to zero: nothing is reached there.
            stage = np.where(diverged, 0, stage)
            earned = np.where(diverged[:, None, None], progress.earned, earned)
        return progress.but(memory=memory, stage=stage, diverged=diverged, earned=earned, **changes)

    def infos(self) -> Infos:
        """Infos of the last step or reset."""
        progress = self.progress
        shared = {
            "is_success": progress.stage == SUCCESS,
            "stage": progress.stage,
            "diverged": progress.diverged,
        }
        per_arm = {f"reward_{term}": self.gained[:, :, i] for i, term in enumerate(self.terms)}
        if self._metrics:
            unlimited = self.options.max_cycles == UNLIMITED  # any step may be the last one
            ended = self.terminated | self.truncated | unlimited
            figures = self._metrics.figures(ended, progress.elapsed)
            shared, per_arm = shared | figures.shared, per_arm | figures.per_arm
        return Infos(shared, per_arm)

    def get_state(self, rows: np.ndarray) -> State:
        """A copy of the whole state of those simulations."""
        return State(
            **vars(self.progress.take(rows)),
            physics=self.simulation.get_state(rows),
            metrics=self._metrics.values[rows] if self._metrics else np.empty((len(rows), 0)),
            scene=np.full(len(rows), self._scene, np.uint64),
        )

    def fitted(self, state: State, rows: int) -> State:
        """The state, checked, with that many rows; one of a single row is repeated.

        Raises:
            ValueError: it is no state of such an environment; nothing has changed.
        """
        if not isinstance(state, State) or len(state) not in (1, rows):
            kind = f"{len(state)} rows" if isinstance(state, State) else type(state).__name__
            raise ValueError(f"a state of {kind} can't be put into {rows} rows")
        self.get_state(np.arange(1)).check_fits(state)
        return state if len(state) == rows else state.take(np.zeros(rows, int))

    def set_state(self, rows: np.ndarray, state: State) -> None:
        """Goes back to a state; the same actions then give the same results bit for bit."""
        self._vary(rows, state.drawn)
        self.simulation.set_state(rows, state.physics, state.diverged)
        self.held = self._free
        if self._metrics:
            self._metrics.values[rows] = state.metrics
        self.readings.update()
        self.progress = self.progress.put(rows, state)
        self.gained = replaced(self.gained, rows, 0)
        self._conclude()

    def _begun(self, num_envs: int) -> Progress:
        sizes = {"memory": self.task.memory_size, "drawn": len(self.randomization.names)}
        return Progress.begun(num_envs, sides=len(SIDES), terms=len(self.terms), **sizes)

    def _vary(self, rows: np.ndarray, drawn: np.ndarray) -> None:
        """Applies the (m, P) numbers of the domain randomisation."""
        if not drawn.size:
            return
        self.randomization.apply(drawn, self.simulation.fields, rows)
        scale = self.randomization.object_scale(drawn)
        if scale is not None:
            self.readings.extents.rescale(rows, scale)

    def _targets(self, actions: np.ndarray) -> np.ndarray:
        """(n, 2, 8) targets by the control mode; those of arms that are held stay."""
        targets = self.control.targets(actions, self._ctrl)
        if self.held is not self._free:
            np.copyto(targets, self._ctrl, where=self.held[:, :, None])
            self.held = self._free
        return targets

    def _conclude(self) -> None:
        """Pays the arms and ends episodes, by progress and gains."""
        progress = self.progress
        self.shares = self._reward.shares(progress.stage, self.gained)
        self.rewards = self._reward.credited(self.shares)
        lost = self.task.lost(self.readings) & ~progress.diverged
        self.terminated = ((progress.stage == SUCCESS) | lost) & (not self.goes_on)
        self.truncated = (progress.elapsed >= self.options.max_cycles) | progress.diverged
