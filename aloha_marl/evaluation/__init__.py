"""Seeded episodes, alone or in pairs of policies, and their results."""

from aloha_marl.evaluation.evaluator import (
    environment,
    evaluate,
    fitting,
    phases,
    play,
    play_all,
    sight,
)
from aloha_marl.evaluation.pairs import Crossplay, crossplay
from aloha_marl.evaluation.results import (
    Episode,
    Evaluation,
    Interrupted,
    outcome,
    versions,
    wilson,
)

__all__ = ["Crossplay", "Episode", "Evaluation", "crossplay", "environment", "evaluate", "fitting"]
__all__ += ["Interrupted", "outcome", "phases", "play", "play_all", "sight", "versions", "wilson"]
