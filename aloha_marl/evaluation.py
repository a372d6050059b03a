"""Plays seeded episodes with one policy per arm and counts what came of them."""

from __future__ import annotations

import dataclasses
import json
import math
import platform
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any

import aloha_marl
from aloha_marl.agents import AgentID
from aloha_marl.arms import AGENTS
from aloha_marl.observations import SCOPES, WIDENING, Layout
from aloha_marl.options import choose
from aloha_marl.parallel_env import AlohaParallelEnv
from aloha_marl.policies import Policy
from aloha_marl.tasks import SUCCESS, Task
from aloha_marl.vector_env import AlohaVectorEnv


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
    """

    seed: int
    success: bool
    steps: int
    stage: int
    diverged: bool
    first_steps: tuple[int | None, ...]


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
    packages = {name: metadata.version(name) for name in ("mujoco", "numpy", "pettingzoo")}
    return {
        "aloha_marl": aloha_marl.__version__,
        **packages,
        "python": platform.python_version(),
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
    told = [infos[first]]
    while True:
        if on_step is not None:
            on_step()
        if not env.agents:
            break
        seen = see(observations)
        actions = {agent: policies[agent](seen[agent]) for agent in env.agents}
        observations, _, _, _, infos = env.step(actions)
        told.append(infos[first])
    return outcome(seed, told)


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


def outcome(seed: int, told: Sequence[Mapping[str, Any]]) -> Episode:
    """What came of an episode.

    Args:
        seed: of its reset.
        told: an agent's infos of the reset and of every step.
    """
    stages = [int(infos["stage"]) for infos in told]
    return Episode(
        seed=seed,
        success=bool(told[-1]["is_success"]),
        steps=len(stages) - 1,
        stage=max(stages),
        diverged=bool(told[-1]["diverged"]),
        first_steps=tuple(
            next((step for step, stage in enumerate(stages) if stage >= wanted), None)
            for wanted in range(1, SUCCESS + 1)
        ),
    )


def evaluate(
    task: str | Task,
    policies: Mapping[str, Policy],
    seeds: Iterable[int],
    *,
    policy_name: str = "",
    on_episode: Callable[[Episode], None] | None = None,
    **options: Any,
) -> Evaluation:
    """Plays one episode per seed.

    Args:
        task: a task or its name.
        policies: agent -> policy; they decide the options ``scope`` and ``control``.
        seeds: of the resets.
        policy_name: kept with the result.
        on_episode: called after every episode.
        **options: further options of the environment.

    Raises:
        ValueError: an unknown option or value, or policies that don't fit the environment.
    """
    env = environment(task, policies, **options)
    episodes = []
    for seed in seeds:
        episodes.append(play(env, policies, seed))
        if on_episode is not None:
            on_episode(episodes[-1])
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
