"""Policies that come with the package: one per arm, each seeing only its own arm's observation."""

from aloha_marl.policies.base import NAMES, Policy, load

__all__ = ["NAMES", "Policy", "load"]
