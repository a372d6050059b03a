"""How two arms worked together: figures of an episode, from the sensors, with a leading ``num_envs``."""

from __future__ import annotations

import numpy as np

from aloha_marl.arms import AGENTS, CONTROL_TIMESTEP, FINGERS, SIDES
from aloha_marl.simulation.base import Simulation
from aloha_marl.simulation.readings import Readings
from aloha_marl.tasks import SUCCESS
from aloha_marl.tasks.base import CLEARANCE, PUT_DOWN

IDLE_SPEED = 0.05
"""Below this speed of all its joints [rad/s] an arm is idle: it settles from a move within some steps."""

NEVER = -1.0
"""Stands for the time and the height of what did not happen."""

BOTH = {
    **{f"time_to_stage_{i}": f"time until stage {i} or a higher one [s]" for i in (1, 2, 3, 4)},
    "arm_contact_time": "time for which the arms touched each other [s]",
    "drops": "how often an object that had been lifted came down on the table out of no gripper",
    "handover_time": "time for which both arms touched the object that then changed hands [s]",
    "handover_height": "height of its lowest corner above the table when one of them had let go [m]",
}
"""Figure of both arms together -> what it is; -1 stands for never."""

OWN = {
    "idle_share": f"share of the steps in which no joint was faster than {IDLE_SPEED} rad/s",
    "motion_share": "share of both arms' joint travel that was this arm's",
    "reward_share": "share of what both earned, before credit is given, that was this arm's",
    "table_contact_time": "time for which the arm touched the table [s]",
    "peak_grip_force": "most that a finger pressed while the arm touched an object [N]",
}
"""Figure of one arm -> what it is. Where both are 0, either has half."""

_NOBODY = -1.0


class Metrics:
    """Adds up an episode's figures step by step.

    Args:
        readings: of n simulations whose arms are watched, see ``scene.watched``.
        simulation: of the same.

    Attributes:
        values: (n, M) what has been added up, written in place.
    """

    def __init__(self, readings: Readings, simulation: Simulation):
        self._readings = readings
        field, varied = "actuator_gainprm", simulation.fields
        gains = varied[field] if field in varied else getattr(simulation.model, field)[None]
        per_arm = gains.reshape(len(gains), len(SIDES), -1, gains.shape[2])
        self._stiffness = per_arm[:, :, -len(FINGERS) :, 0]  # [N/m]
        n, arms, k = readings.gripped.shape
        widths = {"first": SUCCESS, "idle": arms, "travel": arms, "earned": arms, "table": arms}
        widths |= {"together": 1, "drops": 1, "force": arms, "handover": 2}
        widths |= {"lifted": k, "holder": k, "shared": k}  # per object
        self.values = np.zeros((n, sum(widths.values())))
        ends = np.cumsum(list(widths.values()))[:-1]
        self._sums = dict(zip(widths, np.split(self.values, ends, axis=1), strict=True))
        for name in ("first", "handover"):
            self._sums[name][:] = NEVER
        self._sums["holder"][:] = _NOBODY
        self._initial = self.values[0].copy()
        self._stages = np.arange(1, SUCCESS + 1)
        self._none = self._figures(np.zeros(n, int))

    def reset(self, rows: np.ndarray, stage: np.ndarray) -> None:
        """Begins the episodes of those rows, which are in (n,) stages."""
        self.values[rows] = self._initial
        first = self._sums["first"]
        first[rows] = np.where(stage[rows, None] >= self._stages, 0.0, first[rows])

    def update(self, elapsed: np.ndarray, stage: np.ndarray, shares: np.ndarray) -> None:
        """Adds a step.

        Args:
            elapsed: (n,) steps of the episode.
            stage: (n,) the stage it has reached.
            shares: (2, n) what the arms earned.
        """
        sums, readings = self._sums, self._readings
        speed = np.abs(readings.joint_vel)
        sums["idle"] += np.maximum.reduce(speed, axis=2) < IDLE_SPEED
        sums["travel"] += np.add.reduce(speed, axis=2)
        sums["earned"] += shares.T
        if np.count_nonzero(stage):
            reached = (stage[:, None] >= self._stages) & (sums["first"] == NEVER)
            np.copyto(sums["first"], elapsed[:, None], where=reached)
        if readings.arms_touch():
            for arm, name in enumerate(AGENTS):
                sums["table"][:, arm] += readings.contact("table", name)
            sums["together"][:, 0] += readings.contact(*AGENTS)
        if readings.touching or np.count_nonzero(sums["lifted"]):
            self._follow_objects()

    def _follow_objects(self) -> None:
        """Adds what became of the objects in a step."""
        sums, readings = self._sums, self._readings
        gripped, touched = readings.gripped, readings.touched
        clearance = readings.clearances()
        force = np.abs(readings.finger_gap() * self._stiffness).max(axis=2)
        force *= touched.any(axis=2)
        np.maximum(sums["force"], force, out=sums["force"])

        lifted, holder, shared = sums["lifted"], sums["holder"], sums["shared"]
        in_air = clearance > CLEARANCE
        np.copyto(lifted, 1, where=gripped.any(axis=1) & in_air)
        landed = (lifted > 0) & (clearance < PUT_DOWN)
        sums["drops"][:, 0] += (landed & ~touched.any(axis=1)).sum(axis=1)

        shared += touched[:, 0] & touched[:, 1] & in_air
        for arm in range(len(SIDES)):
            alone = gripped[:, arm] & ~touched[:, 1 - arm] & in_air
            # The first object that changes hands is the one that is told of.
            new = alone & (holder == 1 - arm) & (sums["handover"][:, :1] == NEVER)
            told = np.stack(
                [np.where(new, values, 0).max(axis=1) for values in (shared, clearance)]
            )
            np.copyto(sums["handover"], told.T, where=new.any(axis=1, keepdims=True))
            np.copyto(holder, arm, where=alone)
            np.copyto(shared, 0, where=alone)
        for values, nothing in ((lifted, 0), (holder, _NOBODY), (shared, 0)):
            np.copyto(values, nothing, where=landed)

    def told(
        self, over: np.ndarray, elapsed: np.ndarray
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """The figures ``BOTH`` and ``OWN``: those of episodes that are over, 0, -1 or half for others.

        Args:
            over: (n,) bool, which are.
            elapsed: (n,) their steps.

        Returns:
            name -> (n,), and name -> (2, n) for the left and the right arm.
        """
        if not np.count_nonzero(over):
            return self._none
        both, own = (
            {name: np.where(over, values, none[name]) for name, values in figures.items()}
            for figures, none in zip(self._figures(elapsed), self._none, strict=True)
        )
        return both, own

    def _figures(self, elapsed: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        sums = {name: values.T.copy() for name, values in self._sums.items()}
        first, (steps, height) = sums["first"], sums["handover"]
        both = {
            **{f"time_to_stage_{i}": _seconds(first[i - 1]) for i in self._stages},
            "arm_contact_time": _seconds(sums["together"][0]),
            "drops": sums["drops"][0],
            "handover_time": _seconds(steps),
            "handover_height": height,
        }
        own = {
            "idle_share": sums["idle"] / np.maximum(elapsed, 1),
            "motion_share": _share(sums["travel"]),
            "reward_share": _share(sums["earned"]),
            "table_contact_time": _seconds(sums["table"]),
            "peak_grip_force": sums["force"],
        }
        return both, own


def _seconds(steps: np.ndarray) -> np.ndarray:
    return np.where(steps == NEVER, NEVER, steps * CONTROL_TIMESTEP)


def _share(amounts: np.ndarray) -> np.ndarray:
    """(2, n) shares of (2, n) amounts; half where there is nothing to share."""
    total = amounts[0] + amounts[1]
    return np.where(total > 0, amounts / np.where(total > 0, total, 1), 0.5)
