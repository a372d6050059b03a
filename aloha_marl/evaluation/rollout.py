"""Policies that act in an environment, each on its own agent's observation, until episodes end."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from aloha_marl.arms import SIDES
from aloha_marl.core.metrics import BOTH, OWN
from aloha_marl.core.observations import Layout
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.evaluation.results import Episode
from aloha_marl.policies import Policy
from aloha_marl.tasks import SUCCESS, Task


def play(
    env: AlohaParallelEnv,
    policies: Mapping[str, Policy],
    seed: int,
    on_step: Callable[[], None] | None = None,
) -> Episode:
    """Plays one episode; each policy sees its own agent's observation and nothing else.

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
    """Resets policies and environment, one or many at once, and makes a step per iteration.

    Yields:
        After the reset and after each step: observations, each cut down to its policy's scope, infos,
        and True where an episode ended in that step, (n,) bools for n at once.
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


def outcome(
    task: Task,
    seed: int,
    stages: Sequence[int],
    infos: Sequence[Mapping[str, Any]],
    phases: Mapping[AgentID, str],
) -> Episode:
    """The result of an episode.

    Args:
        task: the task that was played.
        seed: seed of the reset.
        stages: the stage after the reset and after every step.
        infos: the last infos of the left and of the right arm.
        phases: agent -> phase of its policy at the end.
    """
    success, diverged = bool(infos[0]["is_success"]), bool(infos[0]["diverged"])
    metrics = {}
    if BOTH.keys() <= infos[0].keys():
        metrics = {name: float(infos[0][name]) for name in BOTH}
        for name in OWN:
            for side, info in zip(SIDES, infos, strict=True):
                metrics[f"{side}_{name}"] = float(info[name])
    return Episode(
        seed=seed,
        success=success,
        steps=len(stages) - 1,
        stage=max(stages),
        diverged=diverged,
        first_steps=tuple(
            next((step for step, stage in enumerate(stages) if stage >= wanted), None)
            for wanted in range(1, SUCCESS + 1)
        ),
        reason="" if success else _reason(task, stages, diverged, phases),
        metrics=metrics,
    )


def _reason(task: Task, stages: Sequence[int], diverged: bool, phases: Mapping[str, str]) -> str:
    """Why an episode failed; arguments as of :func:`outcome`."""
    last = len(stages) - 1
    if diverged:
        return f"the simulation diverged in step {last}, from stage {stages[-2]}"
    best = max(stages)
    parts = [f"stage {best + 1} was not reached: {task.stages[best]}"]
    losses = [step for step in range(1, last + 1) if stages[step] < best == stages[step - 1]]
    if losses:
        often = f"{len(losses)} times, first " if losses[1:] else ""
        parts.append(f"stage {best} was lost {often}in step {losses[0]}")
    doing = ", ".join(f"{agent} {phase}" for agent, phase in phases.items() if phase)
    if doing:
        parts.append(f"at the end {doing}")
    return "; ".join(parts)
