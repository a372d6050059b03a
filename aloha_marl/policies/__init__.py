"""Policies: one per arm, each seeing only its own arm's observation, or one of both arms."""

from aloha_marl.policies.library import NAMES, announced_names, load
from aloha_marl.policies.policy import MergedPolicy, Policies, Policy
from aloha_marl.policies.styles import STYLES

__all__ = ["NAMES", "STYLES", "MergedPolicy", "Policies", "Policy", "announced_names", "load"]
