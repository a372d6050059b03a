"""Policies that come with the package: one per arm, each seeing only its own arm's observation."""

from aloha_marl.policies.library import NAMES, load
from aloha_marl.policies.policy import Policy
from aloha_marl.policies.styles import STYLES

__all__ = ["NAMES", "STYLES", "Policy", "load"]
