"""Plays seeded episodes with one policy per arm and counts what came of them."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any

from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.core.metrics import BOTH, NEVER, OWN
from aloha_marl.core.observations import SCOPES, WIDENING, Layout
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.policies import Policy
from aloha_marl.tasks import SUCCESS, Task


@dataclasses.dataclass(frozen=True)
class Episode:
    """What came of one episode.

    Attributes:
        seed: of its reset.
        success: whether it ended in stage 4.
        steps: control steps it took.
        stage: the highest stage it reached, 0..4.
        diverged: whether the simulation blew up.
        first_steps: per stage 1..4 the step in which it or a higher one was first reached; 0 is the
            reset, None is never.
        reason: why it failed, in words: what was not reached, what was lost again, and what the
            policies that can tell were doing at the end. Empty if it succeeded.
        metrics: how the arms worked together, if the environment tells: ``BOTH`` of
            :mod:`aloha_marl.core.metrics` and ``OWN`` with ``left_`` and ``right_`` before them.
    """

    seed: int
    success: bool
    steps: int
    stage: int
    diverged: bool
    first_steps: tuple[int | None, ...]
    reason: str = ""
    metrics: dict[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """Episodes, and what is needed to repeat them.

    Attributes:
        task: its name.
        policy: its name.
        options: of the environment, all of them.
        episodes: in the order of the seeds.
    """

    task: str
    policy: str
    options: dict[str, Any]
    episodes: tuple[Episode, ...]

    @property
    def successes(self) -> int:
        """How many episodes succeeded."""
        return sum(episode.success for episode in self.episodes)

    @property
    def success_rate(self) -> float:
        """Their share, NaN without episodes."""
        return self.successes / len(self.episodes) if self.episodes else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """The Wilson 95 % interval of the success rate."""
        return wilson(self.successes, len(self.episodes))

    @property
    def success_steps(self) -> list[int]:
        """Control steps of each success."""
        return [episode.steps for episode in self.episodes if episode.success]

    @property
    def stage_counts(self) -> dict[int, int]:
        """Stage 0..4 -> how many episodes got that far and no further."""
        counts = Counter(episode.stage for episode in self.episodes)
        return {stage: counts[stage] for stage in range(SUCCESS + 1)}

    @property
    def metrics(self) -> dict[str, float]:
        """Mean of each figure over the episodes in which it is defined, if the environment told any."""
        means = {}
        for name in dict.fromkeys(name for episode in self.episodes for name in episode.metrics):
            values = [episode.metrics[name] for episode in self.episodes]
            values = [value for value in values if value != NEVER]
            if values:
                means[name] = sum(values) / len(values)
        return means

    def summary(self) -> dict[str, Any]:
        """The figures of all episodes together."""
        steps = self.success_steps
        return {
            "episodes": len(self.episodes),
            "successes": self.successes,
            "success_rate": self.success_rate if self.episodes else None,
            "success_rate_wilson_95": self.interval,
            "mean_steps_of_successes": sum(steps) / len(steps) if steps else None,
            "worst_steps_of_successes": max(steps, default=None),
            "stage_counts": self.stage_counts,
            "diverged": sum(episode.diverged for episode in self.episodes),
            "metrics": self.metrics,
        }

    def to_json(self) -> str:
        """Everything as JSON; the same on every run with the same versions."""
        content = {
            "task": self.task,
            "policy": self.policy,
            "options": self.options,
            "versions": versions(),
            "summary": self.summary(),
            "seeds": [episode.seed for episode in self.episodes],
            "episodes": [dataclasses.asdict(episode) for episode in self.episodes],
        }
        return json.dumps(content, indent=1) + "\n"


def versions() -> dict[str, str]:
    """The versions a result depends on."""
    packages = ("aloha_marl", "mujoco", "numpy", "pettingzoo")
    return {name: metadata.version(name) for name in packages} | {
        "python": platform.python_version()
    }


def wilson(successes: int, trials: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson score interval of a proportion; (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    share, scale = successes / trials, 1 + z * z / trials
    middle = (share + z * z / (2 * trials)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    return max(middle - half, 0.0), min(middle + half, 1.0)


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
        seed: of the reset.
        on_step: called after the reset and after every step.
    """
    for policy in policies.values():
        policy.reset()
    see = sight(env, policies)
    observations, infos = env.reset(seed=seed)
    first = env.possible_agents[0]
    stages = [infos[first]["stage"]]
    while True:
        if on_step is not None:
            on_step()
        if not env.agents:
            break
        seen = see(observations)
        actions = {agent: policies[agent](seen[agent]) for agent in env.agents}
        observations, _, _, _, infos = env.step(actions)
        stages.append(infos[first]["stage"])
    doing = phases(policies, see(observations))
    return outcome(env.task, seed, stages, list(infos.values()), doing)


def sight(
    env: AlohaParallelEnv | AlohaVectorEnv, policies: Mapping[str, Policy]
) -> Callable[[Mapping[AgentID, Any]], dict[AgentID, Any]]:
    """What turns the agents' observations into those that their policies read.

    A policy whose scope is narrower than the environment's sees only the part that is in its scope.
    """
    objects = tuple(env.task.objects)
    parts = {
        agent: slice(Layout(objects, policy.scope).size)
        for agent, policy in policies.items()
        if policy.scope != env.options.scope
    }
    return lambda observations: {
        agent: seen[..., parts[agent]] if agent in parts else seen
        for agent, seen in observations.items()
    }


def phases(policies: Mapping[str, Policy], seen: Mapping[AgentID, Any]) -> dict[AgentID, str]:
    """What each policy that can tell is doing, given what it sees."""
    return {
        agent: str(tell(seen[agent]))
        for agent, policy in policies.items()
        if (tell := getattr(policy, "phase", None))
    }


def outcome(
    task: Task,
    seed: int,
    stages: Sequence[int],
    told: Sequence[Mapping[str, Any]],
    doing: Mapping[AgentID, str],
) -> Episode:
    """What came of an episode.

    Args:
        task: that was played.
        seed: of its reset.
        stages: after the reset and after every step.
        told: the last infos, of the left and of the right arm.
        doing: agent -> what its policy was doing at the end.
    """
    success, diverged = bool(told[0]["is_success"]), bool(told[0]["diverged"])
    metrics = {}
    if "drops" in told[0]:
        metrics = {name: float(told[0][name]) for name in BOTH}
        for name in OWN:
            for side, infos in zip(SIDES, told, strict=True):
                metrics[f"{side}_{name}"] = float(infos[name])
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
        reason="" if success else _reason(task, stages, diverged, doing),
        metrics=metrics,
    )


def _reason(task: Task, stages: Sequence[int], diverged: bool, phases: Mapping[str, str]) -> str:
    """Why an episode failed.

    Args:
        task: whose stages they are.
        stages: after the reset and after every step.
        diverged: whether the simulation blew up in the last step.
        phases: agent -> what its policy was doing at the end.
    """
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
        seeds: of the resets.
        policy_name: kept with the result.
        on_episode: called after every episode.
        play_all: plays them, in the order of the seeds: here, or on a cluster with that of
            :mod:`aloha_marl.integrations.ray_cluster`.
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
    """The environment those policies are for, see :func:`fitting`."""
    return AlohaParallelEnv(task, **fitting(policies, options))


def fitting(policies: Mapping[str, Policy], options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with which an environment is for those policies.

    Its ``control`` is theirs. Its ``scope`` is the widest of theirs, of which each other is a part.

    Raises:
        ValueError: the policies differ in ``control`` or in what the options say, they differ in
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
