"""Rewards: what the dense one pays for, to whom, and what it does not."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from helpers import make, sample

import aloha_marl
from aloha_marl.arms import AGENTS, SIDES
from aloha_marl.policies.one_arm import ATTEMPTS, OneArm
from aloha_marl.tasks import TASKS, Task, TransferCube

DENSE: dict[str, Any] = {"reward": "dense", "credit": "individual"}


def earn(env: aloha_marl.AlohaParallelEnv, act: Any, seed: int) -> tuple[np.ndarray, list[Counter]]:
    """Plays an episode: both arms' returns, and what each term paid each arm.

    Args:
        env: the environment.
        act: agent -> policy of its observation; the other arms hold their start.
        seed: of the reset.
    """
    observations, infos = env.reset(seed=seed)
    holds = dict(zip(AGENTS, env.data.ctrl.reshape(2, -1)[:, :6].copy(), strict=True))
    returns, terms = np.zeros(2), [Counter(), Counter()]
    while env.agents:
        actions = {
            agent: act[agent](observations[agent]) if agent in act else np.append(holds[agent], 0.0)
            for agent in AGENTS
        }
        observations, rewards, _, _, infos = env.step(actions)
        for arm, agent in enumerate(AGENTS):
            paid = {k.removeprefix("reward_"): v for k, v in infos[agent].items() if "reward_" in k}
            assert min(rewards[agent], *paid.values()) >= 0  # nothing that was earned is taken back
            if env.options.credit == "individual":
                assert rewards[agent] == pytest.approx(sum(paid.values()), abs=1e-12)
            returns[arm] += rewards[agent]
            terms[arm].update(paid)
    return returns, terms


def experts(task: str) -> Any:
    """The scripted arms."""
    return aloha_marl.policies.load("scripted", task)


def test_weights(task: str) -> None:
    """Each arm's terms weigh 1 together, so no episode earns more."""
    weights = np.array(list(TASKS[task].terms.values()))
    assert (weights >= 0).all()
    np.testing.assert_allclose(weights.sum(axis=0), 1)


def test_experts_earn_nearly_all(task: str) -> None:
    """Every term is paid to the experts, to each arm its weight."""
    env = make(task, **DENSE)
    for seed in range(900, 906):
        returns, terms = earn(env, experts(task), seed)
        assert (returns > 0.97).all()
        assert (returns <= 1).all()
        for name, weights in TASKS[task].terms.items():
            for arm, weight in enumerate(weights):
                least = 0.7 if name == "reach" else 0.97  # a start near the object is not paid for
                assert least * weight <= terms[arm][name] <= weight + 1e-12, (name, arm)


def test_front_doors_pay_alike(task: str) -> None:
    """The team's reward is the mean of the shares, step by step, also for both arms as one agent."""
    own, team = make(task, **DENSE), make(task, reward="dense")
    wrapped = BaseParallelWrapper(make(task, **DENSE))
    singles = [aloha_marl.AlohaSingleAgent(env) for env in (make(task, **DENSE), wrapped)]
    batch = aloha_marl.AlohaVectorEnv(task, 2, **DENSE, autoreset_mode="NextStep")
    both = aloha_marl.AlohaSingleAgentVector(batch)
    arms = experts(task)
    observations, _ = own.reset(seed=4)
    for env in (team, *singles):
        env.reset(seed=4)
    both.reset(seed=[4, 4])
    while own.agents:
        actions = {agent: arms[agent](observations[agent]) for agent in AGENTS}
        observations, shares, *_, told = own.step(actions)
        _, rewards, *_, also_told = team.step(actions)
        mean = (shares["left_arm"] + shares["right_arm"]) / 2
        assert rewards["left_arm"] == rewards["right_arm"] == mean
        assert told == also_told
        joint = np.concatenate([actions[agent] for agent in AGENTS])
        _, rows, *_, all_merged = both.step(np.tile(joint, (2, 1)))
        assert rows.tolist() == [mean, mean]
        for merged in (*(single.step(joint) for single in singles), None):
            if merged is not None:
                assert merged[1] == mean
            infos = {k: v[1] for k, v in all_merged.items()} if merged is None else merged[-1]
            for side, agent in zip(SIDES, AGENTS, strict=True):
                for term in TASKS[task].terms:
                    assert infos[f"{side}_reward_{term}"] == told[agent][f"reward_{term}"]
    assert team.agents == []
    both.close()


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_one_arm_earns_little(attempt: str) -> None:
    """What one arm does alone earns the team less than half of what both do together."""
    policy = OneArm(attempt)
    env = make(policy.task, reward="dense", start="gym_aloha")
    acting = AGENTS[SIDES.index(policy.side)]
    for seed in range(500, 504):
        assert earn(env, {acting: policy}, seed)[0].mean() < 0.45


def test_the_left_arm_is_not_paid_for_the_cube_on_the_table() -> None:
    """Whatever it does before the right arm carries the cube earns it nothing."""
    policy = OneArm("the left arm picks the cube up")
    env = make(policy.task, **DENSE, start="gym_aloha")
    returns, _ = earn(env, {"left_arm": policy}, 500)
    assert returns[0] == 0


def test_random_actions_earn_little(task: str) -> None:
    """Less than a twentieth of the experts' return, and not nothing: there is something to learn from."""
    returns = []
    env = make(task, reward="dense")
    for seed in range(10):
        act = aloha_marl.policies.load("random", task, seed=seed)
        returns.append(earn(env, act, seed)[0].mean())
    assert 0 < np.mean(returns) < 0.05


def test_nothing_is_paid_twice(task: str) -> None:
    """Objects that are put back where they were and lifted again earn nothing more."""
    env, arms = make(task, **DENSE, max_cycles=600), experts(task)
    observations, _ = env.reset(seed=2)
    first = env.get_state().physics.copy()

    def until_lifted() -> dict[str, float]:
        nonlocal observations
        paid: Counter = Counter()
        infos = {AGENTS[0]: {"stage": 0}}
        while infos[AGENTS[0]]["stage"] < 2:
            actions = {agent: arms[agent](observations[agent]) for agent in AGENTS}
            observations, *_, infos = env.step(actions)
            for agent in AGENTS:
                paid.update({k: v for k, v in infos[agent].items() if k.startswith("reward_")})
        return paid

    lifted = until_lifted()
    for term in ("reach", "grip", "lift"):
        assert lifted[f"reward_{term}"] > 0
    env.set_state(dataclasses.replace(env.get_state(), physics=first))
    again = until_lifted()
    assert again["reward_grip"] == 0
    assert again["reward_reach"] < 0.02  # the second approach may come a little nearer


def test_rules_do_not_change_it(task: str) -> None:
    """gym-aloha's rules decide the stage and the end; progress is always judged strictly."""
    strict, stock = (make(task, **DENSE, rules=rules) for rules in ("strict", "gym_aloha"))
    arms = experts(task)
    observations, _ = strict.reset(seed=6)
    stock.reset(seed=6)
    steps = 0
    while strict.agents and stock.agents:
        actions = {agent: arms[agent](observations[agent]) for agent in AGENTS}
        observations, rewards, *_ = strict.step(actions)
        assert stock.step(actions)[1] == rewards
        steps += 1
    assert steps > 50


def test_saved_states_remember_what_was_paid(task: str) -> None:
    """A state restored elsewhere earns on as the original does."""
    env, other, arms = make(task, **DENSE), make(task, **DENSE), experts(task)
    observations, _ = env.reset(seed=3)
    other.reset(seed=8)
    for _ in range(60):
        observations, *_ = env.step({agent: arms[agent](observations[agent]) for agent in AGENTS})
    other.set_state(env.get_state())
    for _ in range(40):
        actions = {agent: arms[agent](observations[agent]) for agent in AGENTS}
        observations, rewards, *_, infos = env.step(actions)
        _, also, *_, told = other.step(actions)
        assert also == rewards
        assert told == infos


def test_credit_changes_only_dense(task: str) -> None:
    """The stage is both arms' own share."""
    for reward in ("staged", "sparse"):
        envs = [make(task, reward=reward, credit=credit) for credit in ("team", "individual")]
        draw = np.random.default_rng(0)
        for env in envs:
            env.reset(seed=0)
        for _ in range(5):
            actions = sample(envs[0], draw)
            results = [env.step(actions)[1] for env in envs]
            assert results[0] == results[1]


def test_bad_options(task: str) -> None:
    """What is not there is refused, with what is; a task without terms has no dense reward."""
    with pytest.raises(ValueError, match="credit='mine' is unknown; valid: 'team', 'individual'"):
        make(task, credit="mine")

    class Plain(TransferCube):
        rewards = Task.rewards

    with pytest.raises(ValueError, match="reward='dense' is unknown; valid: 'staged', 'sparse'"):
        make(Plain(), reward="dense")
