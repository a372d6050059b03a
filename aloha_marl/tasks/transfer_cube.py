"""TransferCube: the right arm picks the cube up and hands it to the left arm."""

from __future__ import annotations

import numpy as np

from aloha_marl.simulation.readings import Readings
from aloha_marl.tasks.base import CLEARANCE, PUT_DOWN, GymAlohaTask, ShapedTask, asset
from aloha_marl.tasks.stages import closeness, highest_stage, memory_of


class TransferCube(GymAlohaTask, ShapedTask):
    """A 4 cm cube goes from the table through the right gripper to the left one.

    Strict rules: stages 3 and 4 need the right arm to have carried the cube for ``CARRY_STEPS`` since
    it last lay on the table, and stage 4 needs the left arm to have held it alone for
    ``HOLD_STEPS``. So neither arm can succeed without the other.

    Dense terms, with the weights of the left and the right arm:

    | term | left | right | 0..1 |
    |---|---|---|---|
    | reach | 0 | 0.1 | closeness of the right tool to the cube, within ``REACH``; 1 once gripped |
    | grip | 0 | 0.1 | 1 if the right arm grips the cube |
    | lift | 0 | 0.1 | closeness of its lowest corner to ``LIFT`` above the table, while gripped so |
    | meet | 0.3 | 0.2 | closeness of the left tool to the cube, while the right arm carries it |
    | take | 0.3 | 0.25 | 1 in stages 3 and 4 |
    | hold | 0.4 | 0.25 | share of ``HOLD_STEPS`` for which the left arm has held it alone |

    The left arm earns nothing before the right arm carries the cube, so it does not learn to take the
    cube off the table itself.
    """

    CARRY_STEPS = 5
    HOLD_STEPS = 10

    name = "transfer_cube"
    summary = "the right arm picks the cube up and hands it to the left arm"
    xml = asset("transfer_cube.xml")
    objects = {"cube": ("cube",)}
    placement = {"cube": ((0.0, 0.2), (0.4, 0.6))}
    memory_size = 2
    REACH, LIFT = 0.3, 0.05  # [m]
    terms = {
        "reach": (0, 0.1),
        "grip": (0, 0.1),
        "lift": (0, 0.1),
        "meet": (0.3, 0.2),
        "take": (0.3, 0.25),
        "hold": (0.4, 0.25),
    }
    stages = (
        "the right arm grips the cube",
        "the right arm has it off the table",
        "the left arm grips it too",
        "the left arm alone holds it off the table",
    )

    def stage(self, readings: Readings, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory: steps the right arm has carried the cube, steps the left arm has held it alone."""
        right = readings.grips("right", "cube")
        left = readings.grips("left", "cube")
        clearance = readings.clearance("cube")
        lifted = clearance > CLEARANCE
        put_down = (clearance < PUT_DOWN) | readings.contact("table", "cube")

        carries = right & lifted
        carried = (memory[:, 0] + carries) * ~put_down
        handed_over = (carried >= self.CARRY_STEPS) & lifted & left
        alone = handed_over & ~readings.touches("right", "cube")
        held = (memory[:, 1] + 1) * alone
        stage = highest_stage(right, carries, handed_over, held >= self.HOLD_STEPS)
        return stage, memory_of(carried, held)

    def progress(self, readings: Readings, stage: np.ndarray, memory: np.ndarray) -> np.ndarray:
        distance = readings.distances()[:, :, 0].T / self.REACH
        if not readings.any_touch:  # nothing else can be above 0
            progress = np.zeros((len(stage), 1, len(self.terms)))
            progress[:, 0, 0] = closeness(distance[1])
            return progress
        clearance = readings.clearance("cube")
        far = np.empty((3, len(stage)))
        far[:2] = distance
        far[2] = np.maximum(1 - clearance / self.LIFT, 0)
        left, right, up = closeness(far)

        gripped = readings.grips("right", "cube")
        progress = np.empty((len(stage), 1, len(self.terms)))
        reach, grip, lift, meet, take, hold = progress[:, 0].T
        np.maximum(right, gripped, out=reach)
        grip[:] = gripped
        np.multiply(up, gripped, out=lift)
        np.multiply(left, gripped & (clearance > CLEARANCE), out=meet)
        np.greater_equal(stage, 3, out=take)
        np.minimum(memory[:, 1] / self.HOLD_STEPS, 1, out=hold)
        return progress

    def gym_aloha_stage(self, readings: Readings) -> np.ndarray:
        """gym-aloha's reward: one finger of each hand counts, the first contact decides."""
        left = readings.finger_touches("left", "cube", "left_finger")
        right = readings.finger_touches("right", "cube", "right_finger")
        table = readings.contact("table", "cube")
        return highest_stage(right, right & ~table, left, left & ~table)
