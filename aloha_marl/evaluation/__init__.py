"""Seeded episodes, alone or in pairs of policies, and their results."""

from aloha_marl.evaluation.evaluator import (
    Episode,
    Evaluation,
    environment,
    evaluate,
    fitting,
    outcome,
    phases,
    play,
    play_all,
    sight,
    versions,
    wilson,
)
from aloha_marl.evaluation.pairs import Crossplay, crossplay

__all__ = [
    "Crossplay",
    "Episode",
    "Evaluation",
    "crossplay",
    "environment",
    "evaluate",
    "fitting",
    "outcome",
    "phases",
    "play",
    "play_all",
    "sight",
    "versions",
    "wilson",
]
