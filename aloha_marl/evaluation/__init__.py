"""Seeded episodes, alone or in pairs of policies, and their results."""

from aloha_marl.envs.acting import PolicyError, sight
from aloha_marl.evaluation.comparison import Comparison, compare, pass_rates
from aloha_marl.evaluation.evaluator import evaluate, play, play_all
from aloha_marl.evaluation.matching import environment, fitting, phases
from aloha_marl.evaluation.pairs import Crossplay, crossplay
from aloha_marl.evaluation.perturbations import Perturbations
from aloha_marl.evaluation.results import (
    Episode,
    Evaluation,
    Interrupted,
    outcome,
    versions,
    wilson,
)

__all__ = ["Comparison", "Crossplay", "Episode", "Evaluation", "Interrupted"]
__all__ += ["Perturbations", "PolicyError", "compare", "crossplay", "environment", "evaluate"]
__all__ += ["fitting", "outcome", "pass_rates", "phases", "play", "play_all", "sight", "versions"]
__all__ += ["wilson"]
