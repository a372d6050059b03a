"""A task of one's own: an MJCF file and a subclass of Task; everything else works as it is.

Both arms grip a handle of a tray and lift it level. The tray starts anywhere in ``placement`` but
keeps its yaw, since each arm must reach its own end.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import aloha_marl
from aloha_marl.arms import SIDES
from aloha_marl.simulation.readings import Readings
from aloha_marl.tasks import SUCCESS
from aloha_marl.tasks.base import CLEARANCE, START_HEIGHT

HEIGHT = 0.1  # lowest corner of the tray [m]
LEVEL = np.cos(np.radians(10))  # tilt of the tray's z axis
HOLD_STEPS = 10


class LiftTray(aloha_marl.Task):
    """The tray counts as lifted once it was held, level, ``HEIGHT`` high for ``HOLD_STEPS``."""

    name = "lift_tray"
    summary = "both arms grip a handle of the tray and lift it level"
    xml = Path(__file__).with_name("custom_task.xml")
    objects = {"tray": ("handle_0", "handle_1")}
    placement = {"tray": ((-0.03, 0.03), (0.45, 0.55))}
    memory_size = 1
    stages = (
        "both arms touch a handle",
        "both arms grip a handle",
        "both so hold the tray off the table",
        "both so hold it level, 10 cm high",
    )

    def place(self, rng: np.random.Generator) -> np.ndarray:
        """(1, 7) pose of the tray."""
        xy = [rng.uniform(low, high) for low, high in self.placement["tray"]]
        return np.array([[*xy, START_HEIGHT, 1, 0, 0, 0]])

    def stage(self, readings: Readings, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Memory: steps for which the tray has been held level and high."""
        touch = np.all([readings.touches(side, "tray") for side in SIDES], axis=0)
        grip = np.all([readings.grips(side, "tray") for side in SIDES], axis=0)
        clearance = readings.clearance("tray")
        upright = readings.axis("tray", "z")[:, 2]
        high = grip & (clearance > HEIGHT) & (upright > LEVEL)
        steps = np.where(high, memory[:, 0] + 1, 0)
        reached = (steps >= HOLD_STEPS, grip & (clearance > CLEARANCE), grip, touch)
        return np.select(reached, (SUCCESS, 3, 2, 1), 0), steps[:, None]


def main() -> None:
    """Plays an episode of random actions."""
    env = aloha_marl.parallel_env(LiftTray())
    observations, infos = env.reset(seed=0)
    print({agent: observation.shape for agent, observation in observations.items()})
    highest = 0
    while env.agents:
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        _, _, _, _, infos = env.step(actions)
        highest = max(highest, infos[env.possible_agents[0]]["stage"])
    print(f"random actions reached stage {highest} of {SUCCESS}")


if __name__ == "__main__":
    main()
