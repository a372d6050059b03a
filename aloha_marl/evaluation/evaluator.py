"""Evaluation: one episode per seed, in the environment that the policies are made for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from aloha_marl.checks import seed_number
from aloha_marl.envs.acting import sight, stepped
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation.matching import Environment, actor, environment, phases
from aloha_marl.evaluation.perturbations import UNPERTURBED, Perturbations
from aloha_marl.evaluation.results import Episode, Evaluation, Interrupted, outcome
from aloha_marl.policies import Policies


def play_all(env: AlohaParallelEnv, policies: Policies, seeds: Iterable[int]) -> Iterator[Episode]:
    """Plays one episode per seed, one after the other, in this process."""
    return (play(env, policies, seed) for seed in seeds)


def evaluate(
    task: Environment,
    policies: Policies,
    seeds: Iterable[int],
    *,
    policy_name: str = "",
    perturbations: Perturbations = UNPERTURBED,
    on_episode: Callable[[Episode], None] | None = None,
    play_all: Callable[..., Iterable[Episode]] = play_all,
    **options: Any,
) -> Evaluation:
    """Plays one episode per seed.

    Args:
        task: a task, its class or its name, or a factory of environments, see :data:`Environment`.
        policies: agent -> policy, or one of both arms; they decide the options ``scope`` and
            ``control``.
        seeds: seeds of the resets.
        policy_name: kept with the result.
        perturbations: what makes the episodes harder; kept with the result, too.
        on_episode: called after every episode.
        play_all: plays the episodes, in the order of the seeds: :func:`play_all` in this process, that
            of :mod:`aloha_marl.integrations.ray_cluster` on a cluster.
        **options: further options of the environment; ``metrics`` is True unless it is given.

    Raises:
        ValueError: an unknown option or value, a bad seed, or policies that don't fit the environment.
        PolicyError: a policy raised an error, or its action is no action.
        Interrupted: Ctrl-C; its ``result`` has the episodes that are finished.
    """
    seeds = checked_seeds(seeds)
    options = perturbations.options({"metrics": True} | options)
    env = perturbations.wrap(environment(task, policies, **options))
    own = dataclasses.asdict(env.options)
    played = Evaluation(env.task.name, policy_name, own, (), perturbations=perturbations)
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


def play(
    env: AlohaParallelEnv,
    policies: Policies,
    seed: int,
    on_step: Callable[[], None] | None = None,
) -> Episode:
    """Plays one episode; each policy acts on its own agent's observation and nothing else.

    Args:
        env: the environment, wrapped or not.
        policies: agent -> policy, or one of both arms.
        seed: seed of the reset.
        on_step: called after the reset and after every step.

    Raises:
        ValueError: the policies don't fit the environment.
        PolicyError: a policy raised an error, or its action is no action.
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
    env: AlohaParallelEnv | AlohaVectorEnv, policies: Policies, seed: Any
) -> Iterator[tuple[dict[AgentID, Any], dict[AgentID, Any], Any]]:
    """Resets the policies and the environment, then makes a step per iteration.

    Yields:
        After the reset and after each step: observations, each cut down to its policy's scope, infos,
        and True if the episode ended in that step; in a vector environment (n,) bools, False at first.

    Raises:
        ValueError: the policies don't fit the environment.
        PolicyError: a policy raised an error, or its action is no action.
    """
    each = policies.values() if isinstance(policies, Mapping) else (policies,)
    for policy in each:
        policy.reset()
    restrict, act = sight(env, policies), actor(env, policies)
    first = env.possible_agents[0]
    observations, infos = env.reset(seed=seed)
    ended = False
    while True:
        observations = restrict(observations)
        yield observations, infos, ended
        observations, _, terminations, truncations, infos = stepped(env, act(observations))
        ended = terminations[first] | truncations[first]
