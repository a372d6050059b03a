"""How policies and an environment fit together: options, observations, actions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from pettingzoo.utils import BaseParallelWrapper

from aloha_marl.arms import ACTION_SIZE, AGENTS
from aloha_marl.checks import choose
from aloha_marl.core.observations import SCOPES, WIDENING
from aloha_marl.envs.acting import PolicyError, asked, check_control
from aloha_marl.envs.merged import MergedView
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.rows import row_of
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.policies import Policies
from aloha_marl.tasks import Task, TaskLike
from aloha_marl.wrappers import ObservationDelay, ObservationNoise

Environment = TaskLike | Callable[..., Any]
"""A task, its class or its name, or a factory: called with the options that the policies decide, and all
others, it returns an :class:`AlohaParallelEnv`, wrapped or not."""


def environment(task: Environment, policies: Policies, **options: Any) -> AlohaParallelEnv:
    """An environment that these policies can act in, see :func:`fitting`.

    Raises:
        ValueError: an unknown option or value, policies that don't fit, or a factory that makes
            another kind of environment.
    """
    fitted = fitting(policies, options)
    if isinstance(task, str | Task) or (isinstance(task, type) and issubclass(task, Task)):
        return AlohaParallelEnv(task, **fitted)
    env = task(**fitted)
    if not isinstance(getattr(env, "unwrapped", None), AlohaParallelEnv):
        raise ValueError(
            f"the factory made a {type(env).__name__}; valid: an AlohaParallelEnv, wrapped or not"
        )
    return cast(AlohaParallelEnv, env)  # a wrapper has its attributes


def fitting(policies: Policies, options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an environment that these policies can act in.

    Its ``control`` is the policies' own. Its ``scope`` is the widest of theirs, which contains the
    others. A policy of both arms observes by itself, so its environment has ``obs_type="state"``.

    Raises:
        ValueError: the policies differ in ``control`` or from the given options, they differ in
            ``scope`` and observe pictures, or there isn't one per agent.
    """
    if not isinstance(policies, Mapping):
        choose("obs_type", options.get("obs_type", "state"), ("state",))
        return _agreeing(options, control={policies.control})
    agents = options.get("agent_names", AGENTS)
    if policies.keys() != set(agents):
        raise ValueError(f"policies for {sorted(policies)}; agents: {', '.join(agents)}")
    scopes = {choose("scope", policy.scope, SCOPES) for policy in policies.values()}
    if len(scopes) > 1 and options.get("obs_type", "state") != "state":
        raise ValueError(
            f"policies of the scopes {', '.join(map(repr, sorted(scopes)))} can't share an "
            f"environment with obs_type={options['obs_type']!r}; valid: 'state'"
        )
    return _agreeing(
        options,
        scope={max(scopes, key=WIDENING.index)},
        control={policy.control for policy in policies.values()},
    )


def _agreeing(options: Mapping[str, Any], **wanted: set[str]) -> dict[str, Any]:
    """The options with the one value of each that the policies want.

    Raises:
        ValueError: there are two values.
    """
    for name, values in wanted.items():
        values |= {options[name]} if name in options else set()
        if len(values) > 1:
            raise ValueError(
                f"{name} of the policies and of the environment must be one, got "
                f"{', '.join(map(repr, sorted(values)))}"
            )
    return {**options, **{name: values.pop() for name, values in wanted.items()}}


def actor(
    env: AlohaParallelEnv | AlohaVectorEnv, policies: Policies
) -> Callable[[Mapping[AgentID, Any]], dict[AgentID, Any]]:
    """A function from the agents' observations to their actions.

    A policy of both arms observes what the single-agent environment does.

    Raises:
        ValueError: a policy is made for another control mode, or it looks past a wrapper.
    """
    check_control(env, policies)
    if isinstance(policies, Mapping):
        return lambda observations: {
            agent: asked(agent, policy, observations[agent]) for agent, policy in policies.items()
        }
    layer: Any = env
    while isinstance(layer, BaseParallelWrapper):
        if isinstance(layer, ObservationNoise | ObservationDelay):
            raise ValueError(
                f"a policy of both arms looks past {type(layer).__name__}; valid: one policy per arm"
            )
        layer = layer.env
    base = env.unwrapped
    view = MergedView(base.core, base.pictures, policies.obs_type, policies.cameras)

    def act(_: Mapping[AgentID, Any]) -> dict[AgentID, Any]:
        action = np.asarray(asked("both arms", policies, row_of(view.observations(), 0)))
        if action.shape != view.action_space.shape:
            raise PolicyError(
                f"the policy of both arms gave an action of shape {action.shape}; valid: "
                f"{view.action_space.shape}"
            )
        parts = (action[:ACTION_SIZE], action[ACTION_SIZE:])
        return dict(zip(env.possible_agents, parts, strict=True))

    return act


def phases(policies: Policies, observations: Mapping[AgentID, Any]) -> dict[AgentID, str]:
    """Agent -> phase of its policy, given its observation; policies without phases are left out."""
    each = policies.items() if isinstance(policies, Mapping) else ()
    return {
        agent: str(phase(observations[agent]))
        for agent, policy in each
        if (phase := getattr(policy, "phase", None))
    }
