"""Batches, and as many single environments that are stepped one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from helpers import SMALL, assert_alike, make

import aloha_marl


def make_batch(task: str, num_envs: int, **options: Any) -> aloha_marl.AlohaVectorEnv:
    """A batched environment whose pictures, if any, are small."""
    return aloha_marl.AlohaVectorEnv(task, num_envs, **({"num_threads": 2} | SMALL | options))


def random_actions(env: aloha_marl.AlohaVectorEnv, draw: np.random.Generator) -> dict[str, Any]:
    """Uniform actions from the whole action spaces."""
    actions = {}
    for agent in env.possible_agents:
        box = env.single_action_space(agent)
        actions[agent] = draw.uniform(box.low, box.high, (env.num_envs, *box.shape)).astype(
            np.float32
        )
    return actions


class OneByOne:
    """N ParallelEnvs, stepped one by one and started again as Gymnasium's modes say."""

    def __init__(self, task: str, num_envs: int, mode: AutoresetMode, **options: Any):
        self.envs = [make(task, **options) for _ in range(num_envs)]
        self.agents = self.envs[0].possible_agents
        self.mode = mode
        self.teller = VectorEnv()  # Gymnasium's own way to tell infos of many environments
        self.teller.num_envs = num_envs

    def reset(self, seeds: list[Any], mask: np.ndarray | None = None) -> tuple[Any, Any]:
        """Observations and infos of the rows in the mask."""
        infos: dict[str, Any] = {}
        for i, (env, seed) in enumerate(zip(self.envs, seeds, strict=True)):
            if mask is None or mask[i]:
                self.seen[i], info = env.reset(seed=seed)
                infos = self.teller._add_info(infos, info, i)
        return self.batch(self.seen), infos

    def step(self, actions: dict[str, np.ndarray]) -> tuple[Any, ...]:
        """What a batch of them should return."""
        infos: dict[str, Any] = {}
        results: list[Any] = []
        for i, env in enumerate(self.envs):
            if self.mode is AutoresetMode.NEXT_STEP and not env.agents:
                self.seen[i], info = env.reset()
                nothing = dict.fromkeys(self.agents, 0.0), *(dict.fromkeys(self.agents, False),) * 2
                results.append(nothing)
            else:
                self.seen[i], *result, info = env.step({a: actions[a][i] for a in self.agents})
                results.append(result)
                if self.mode is AutoresetMode.SAME_STEP and not env.agents:
                    last, final = self.seen[i], info
                    self.seen[i], info = env.reset()
                    for a in self.agents:
                        info[a] |= {"final_obs": last[a], "final_info": final[a]}
            infos = self.teller._add_info(infos, info, i)
        return (
            self.batch(self.seen),
            *(
                {a: np.array([result[part][a] for result in results]) for a in self.agents}
                for part in range(3)
            ),
            infos,
        )

    def state(self) -> np.ndarray:
        """(N, S)."""
        return np.stack([env.state() for env in self.envs])

    def close(self) -> None:
        """Frees what pictures need."""
        for env in self.envs:
            env.close()

    @property
    def seen(self) -> list[Any]:
        """The current observations."""
        return self.__dict__.setdefault("_seen", [None] * len(self.envs))

    def batch(self, rows: list[Any]) -> Any:
        """Nested arrays with a leading N."""
        if isinstance(rows[0], dict):
            return {key: self.batch([row[key] for row in rows]) for key in rows[0]}
        return np.stack(rows)


def play_both(
    batch: aloha_marl.AlohaVectorEnv, single: OneByOne, steps: int, act: Any
) -> dict[str, int]:
    """Steps both with the same actions and compares all that is returned; counts what happened."""
    n = batch.num_envs
    first = batch.possible_agents[0]
    count = {"ended": 0, "succeeded": 0, "diverged": 0}
    observations, infos = batch.reset(seed=5)
    assert_alike((observations, infos), single.reset([5 + i for i in range(n)]))
    for t in range(steps):
        actions = act(observations)
        result = batch.step(actions)
        observations, _, terminations, truncations, infos = result
        assert_alike(result, single.step(actions), f"step {t}")
        over = terminations[first] | truncations[first]
        count["ended"] += int(over.sum())
        count["succeeded"] += int(terminations[first].sum())
        told = infos[first].get("final_info", infos[first])
        count["diverged"] += int(told["diverged"][over].sum())
        if t % 7 == 0:
            assert_alike(batch.state(), single.state())
        if batch.autoreset_mode is AutoresetMode.DISABLED and over.any():
            seeds = [None if t % 2 else 100 + i for i in range(n)]
            observations, infos = batch.reset(seed=seeds, options={"reset_mask": over})
            assert_alike((observations, infos), single.reset(seeds, over))
    return count
