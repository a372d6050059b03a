"""Evaluation: one episode per seed, in the environment that the policies are made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aloha_marl.arms import AGENTS
from aloha_marl.checks import choose
from aloha_marl.core.observations import SCOPES, WIDENING
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.evaluation.results import Episode, Evaluation
from aloha_marl.evaluation.rollout import play
from aloha_marl.policies import Policy
from aloha_marl.tasks import Task


def play_all(
    env: AlohaParallelEnv, policies: Mapping[str, Policy], seeds: Iterable[int]
) -> Iterator[Episode]:
    """Plays one episode per seed, one after the other, in this process."""
    return (play(env, policies, seed) for seed in seeds)


def evaluate(
    task: str | Task,
    policies: Mapping[str, Policy],
    seeds: Iterable[int],
    *,
    policy_name: str = "",
    on_episode: Callable[[Episode], None] | None = None,
    play_all: Callable[..., Iterable[Episode]] = play_all,
    **options: Any,
) -> Evaluation:
    """Plays one episode per seed.

    Args:
        task: a task or its name.
        policies: agent -> policy; they decide the options ``scope`` and ``control``.
        seeds: seeds of the resets.
        policy_name: kept with the result.
        on_episode: called after every episode.
        play_all: plays the episodes, in the order of the seeds: :func:`play_all` in this process, that
            of :mod:`aloha_marl.integrations.ray_cluster` on a cluster.
        **options: further options of the environment; ``metrics`` is True unless it is given.

    Raises:
        ValueError: an unknown option or value, or policies that don't fit the environment.
    """
    env = environment(task, policies, **({"metrics": True} | options))
    episodes = []
    for episode in play_all(env, policies, seeds):
        episodes.append(episode)
        if on_episode is not None:
            on_episode(episode)
    env.close()
    return Evaluation(env.task.name, policy_name, dataclasses.asdict(env.options), tuple(episodes))


def environment(
    task: str | Task, policies: Mapping[str, Policy], **options: Any
) -> AlohaParallelEnv:
    """An environment that these policies can act in, see :func:`fitting`."""
    return AlohaParallelEnv(task, **fitting(policies, options))


def fitting(policies: Mapping[str, Policy], options: Mapping[str, Any]) -> dict[str, Any]:
    """Options of an environment that these policies can act in.

    Its ``control`` is the policies' own. Its ``scope`` is the widest of theirs, which contains the
    others.

    Raises:
        ValueError: the policies differ in ``control`` or from the given options, they differ in
            ``scope`` and observe pictures, or there isn't one per agent.
    """
    agents = options.get("agent_names", AGENTS)
    if policies.keys() != set(agents):
        raise ValueError(f"policies for {sorted(policies)}; agents: {', '.join(agents)}")
    scopes = {choose("scope", policy.scope, SCOPES) for policy in policies.values()}
    if len(scopes) > 1 and options.get("obs_type", "state") != "state":
        raise ValueError(
            f"policies of the scopes {', '.join(map(repr, sorted(scopes)))} can't share an "
            f"environment with obs_type={options['obs_type']!r}; valid: 'state'"
        )
    wanted = {
        "scope": {max(scopes, key=WIDENING.index)},
        "control": {policy.control for policy in policies.values()},
    }
    for name, values in wanted.items():
        values |= {options[name]} if name in options else set()
        if len(values) > 1:
            raise ValueError(
                f"{name} of the policies and of the environment must be one, got "
                f"{', '.join(map(repr, sorted(values)))}"
            )
    return {**options, **{name: values.pop() for name, values in wanted.items()}}
