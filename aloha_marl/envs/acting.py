"""Policies at work in an environment: what each observes, and the actions it gives."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aloha_marl.checks import choose
from aloha_marl.core.observations import WIDENING, Layout
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.policies import Policies


class PolicyError(ValueError):
    """A policy raised an error, or its action is no action."""


def check_control(env: AlohaParallelEnv | AlohaVectorEnv, policies: Policies) -> None:
    """Raises ValueError if a policy is made for another control mode."""
    each = policies if isinstance(policies, Mapping) else {"both arms": policies}
    for agent, policy in each.items():
        if policy.control != env.options.control:
            raise ValueError(
                f"the policy of {agent} acts in control={policy.control!r}, the environment has "
                f"control={env.options.control!r}"
            )


def asked(agent: str, policy: Any, observation: Any) -> Any:
    """The action of a policy.

    Raises:
        PolicyError: it raised an error.
    """
    try:
        return policy(observation)
    except Exception as error:  # anything may go wrong in a policy
        raise PolicyError(
            f"the policy of {agent} raised {type(error).__name__}: {error}"
        ) from error


def stepped(env: AlohaParallelEnv | AlohaVectorEnv, actions: Mapping[AgentID, Any]) -> Any:
    """What ``env.step`` returns for the actions of policies.

    Raises:
        PolicyError: one of them is no action.
    """
    try:
        return env.step(actions)
    except ValueError:
        try:
            env.check_actions(actions)
        except ValueError as error:
            raise PolicyError(f"a policy's action is no action: {error}") from error
        raise


def sight(
    env: AlohaParallelEnv | AlohaVectorEnv, policies: Policies
) -> Callable[[Mapping[AgentID, Any]], dict[AgentID, Any]]:
    """A function that cuts each agent's observation down to the scope of its policy.

    Raises:
        ValueError: a policy reads a wider scope than the environment's, or another one with pictures.
    """
    scene, own = env.task.scene(), env.options.scope
    parts = {}
    for agent, policy in policies.items() if isinstance(policies, Mapping) else ():
        if WIDENING.index(policy.scope) > WIDENING.index(own):
            raise ValueError(
                f"the policy of {agent} reads scope={policy.scope!r}, the environment has scope={own!r}"
            )
        if policy.scope != own:
            choose("obs_type", env.options.obs_type, ("state",))
            parts[agent] = slice(Layout(scene, policy.scope).size)
    return lambda observations: {
        agent: observation[..., parts[agent]] if agent in parts else observation
        for agent, observation in observations.items()
    }
