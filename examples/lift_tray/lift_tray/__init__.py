"""A task for aloha_marl, both arms lift a tray, with an expert."""

from lift_tray.policies import Expert, slow
from lift_tray.task import LiftTray

__all__ = ["Expert", "LiftTray", "slow"]
