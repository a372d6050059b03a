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
from aloha_marl.parallel_env import AlohaParallelEnv
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
    """

    seed: int
    success: bool
    steps: int
    stage: int
    diverged: bool
    first_steps: tuple[int | None, ...]
    reason: str = ""


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
    observations, infos = env.reset(seed=seed)
    first = env.possible_agents[0]
    stages = [infos[first]["stage"]]
    while True:
        if on_step is not None:
            on_step()
        if not env.agents:
            break
        actions = {agent: policies[agent](observations[agent]) for agent in env.agents}
        observations, _, _, _, infos = env.step(actions)
        stages.append(infos[first]["stage"])
    success, diverged = bool(infos[first]["is_success"]), bool(infos[first]["diverged"])
    phases = {
        agent: str(tell(observations[agent]))
        for agent, policy in policies.items()
        if (tell := getattr(policy, "phase", None))
    }
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
        reason="" if success else _reason(env.task, stages, diverged, phases),
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
    """The environment those policies are for: with their ``scope`` and ``control``.

    Raises:
        ValueError: the policies differ in one of them, or there isn't one per agent.
    """
    for name in ("scope", "control"):
        values = {getattr(policy, name) for policy in policies.values()}
        values |= {options[name]} if name in options else set()
        if len(values) != 1:
            raise ValueError(
                f"{name} of the policies and of the environment must be one, got "
                f"{', '.join(map(repr, sorted(values))) or 'no policy'}"
            )
        options[name] = values.pop()
    env = AlohaParallelEnv(task, **options)
    if policies.keys() != set(env.possible_agents):
        raise ValueError(
            f"policies for {sorted(policies)}; agents: {', '.join(env.possible_agents)}"
        )
    return env
