"""One arm alone can't succeed under the strict rules; under gym-aloha's it can."""

from __future__ import annotations

import numpy as np
import pytest

import aloha_marl
from aloha_marl.arms import AGENTS
from aloha_marl.evaluation import evaluate
from aloha_marl.policies.one_arm import ATTEMPTS, alone

SEEDS = range(500, 508)


def best_stages(attempt: str, rules: str) -> list[int]:
    """The highest stage one arm reaches while the other is frozen, per seed."""
    task, *_ = ATTEMPTS[attempt]
    result = evaluate(task, alone(attempt), SEEDS, rules=rules, start="gym_aloha")
    return [episode.stage for episode in result.episodes]


@pytest.mark.parametrize("attempt", list(ATTEMPTS)[:3])
def test_gym_aloha_rules_reward_one_arm(attempt: str) -> None:
    """The stock predicate pays for what no second arm took part in."""
    stages = best_stages(attempt, "gym_aloha")
    assert stages.count(4) >= len(SEEDS) - 1, stages


@pytest.mark.slow
@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_strict_rules_need_both_arms(attempt: str) -> None:
    """The same behaviour gets nowhere near success, nor does it lift or meet anything together."""
    stages = best_stages(attempt, "strict")
    assert max(stages) < 3, stages


@pytest.mark.slow
@pytest.mark.parametrize("frozen", AGENTS)
@pytest.mark.parametrize("task", aloha_marl.TASKS)
def test_expert_fails_with_a_frozen_partner(task: str, frozen: str) -> None:
    """An expert without its partner never succeeds."""
    env = aloha_marl.parallel_env(task)
    arms = aloha_marl.policies.load("scripted", task)
    for seed in range(600, 605):
        observations, infos = env.reset(seed=seed)
        hold = np.append(env.data.ctrl.reshape(2, -1)[AGENTS.index(frozen), :6], 0.0)
        while env.agents:
            actions = {a: hold if a == frozen else arms[a](observations[a]) for a in env.agents}
            observations, *_, infos = env.step(actions)
        assert not infos[frozen]["is_success"]
