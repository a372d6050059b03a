"""Evaluation: one episode per seed, in the environment that the policies are made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aloha_marl.arms import AGENTS
from aloha_marl.checks import choose, seed_number
from aloha_marl.core.observations import SCOPES, WIDENING, Layout
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation.results import Episode, Evaluation, Interrupted, outcome
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
        ValueError: an unknown option or value, a bad seed, or policies that don't fit the environment.
        Interrupted: Ctrl-C; its ``result`` has the episodes that are finished.
    """
    seeds = checked_seeds(seeds)
    env = environment(task, policies, **({"metrics": True} | options))
    played = Evaluation(env.task.name, policy_name, dataclasses.asdict(env.options), ())
    episodes: list[Episode] = []
    try:
        for episode in play_all(env, policies, seeds):
            episodes.append(episode)
            if on_episode is not None:
                on_episode(episode)
    except KeyboardInterrupt as stop:
        part = {"episodes": tuple(episodes), "unplayed": seeds[len(episodes) :]}
        raise Interrupted(dataclasses.replace(played, **part)) from stop
    finally:
        env.close()
    return dataclasses.replace(played, episodes=tuple(episodes))


def checked_seeds(seeds: Iterable[int]) -> tuple[int, ...]:
    """Returns seeds as plain numbers.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(map(seed_number, seeds))


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


def play(
    env: AlohaParallelEnv,
    policies: Mapping[str, Policy],
    seed: int,
    on_step: Callable[[], None] | None = None,
) -> Episode:
    """Plays one episode; each policy acts on its own agent's observation and nothing else.

    Args:
        env: the environment.
        policies: agent -> policy.
        seed: seed of the reset.
        on_step: called after the reset and after every step.
    """
    steps = rollout(env, policies, seed)
    stages = []
    while True:
        observations, infos, _ = next(steps)
        stages.append(infos[env.possible_agents[0]]["stage"])
        if on_step is not None:
            on_step()
        if not env.agents:
            doing = phases(policies, observations)
            return outcome(env.task, seed, stages, list(infos.values()), doing)


def rollout(
    env: AlohaParallelEnv | AlohaVectorEnv, policies: Mapping[str, Policy], seed: Any
) -> Iterator[tuple[dict[AgentID, Any], dict[AgentID, Any], Any]]:
    """Resets the policies and the environment, then makes a step per iteration.

    Yields:
        After the reset and after each step: observations, each cut down to its policy's scope, infos,
        and True if the episode ended in that step; in a vector environment (n,) bools, False at first.
    """
    for policy in policies.values():
        policy.reset()
    restrict, agents = sight(env, policies), env.possible_agents
    observations, infos = env.reset(seed=seed)
    ended = False
    while True:
        observations = restrict(observations)
        yield observations, infos, ended
        actions = {agent: policies[agent](observations[agent]) for agent in agents}
        observations, _, terminations, truncations, infos = env.step(actions)
        ended = terminations[agents[0]] | truncations[agents[0]]


def sight(
    env: AlohaParallelEnv | AlohaVectorEnv, policies: Mapping[str, Policy]
) -> Callable[[Mapping[AgentID, Any]], dict[AgentID, Any]]:
    """A function that cuts each agent's observation down to the scope of its policy."""
    objects = tuple(env.task.objects)
    parts = {
        agent: slice(Layout(objects, policy.scope).size)
        for agent, policy in policies.items()
        if policy.scope != env.options.scope
    }
    return lambda observations: {
        agent: observation[..., parts[agent]] if agent in parts else observation
        for agent, observation in observations.items()
    }


def phases(
    policies: Mapping[str, Policy], observations: Mapping[AgentID, Any]
) -> dict[AgentID, str]:
    """Agent -> phase of its policy, given its observation; policies without phases are left out."""
    return {
        agent: str(phase(observations[agent]))
        for agent, policy in policies.items()
        if (phase := getattr(policy, "phase", None))
    }
