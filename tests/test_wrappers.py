"""Imperfect arms: each wrapper does what it says, alike round one environment and round many."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from helpers import OPTION_VALUES, assert_alike, every_mode, make, sample
from one_by_one import OneByOne, make_batch, play_both, random_actions
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test
from pettingzoo.utils import BaseParallelWrapper, parallel_to_aec

import aloha_marl
from aloha_marl.evaluation import PolicyError, evaluate
from aloha_marl.wrappers import (
    ActionDelay,
    ActionRepeat,
    Freeze,
    MessageChannel,
    ObservationDelay,
    ObservationNoise,
)

NOISE = {"joint_pos": 0.01, "gripper": 0.05, "tcp_pos": 0.005}
LEFT, RIGHT = aloha_marl.AGENTS

WRAPPERS: dict[str, Callable[[Any], Any]] = {
    "noise": lambda env: ObservationNoise(env, NOISE),
    "observation delay": lambda env: ObservationDelay(env, 3),
    "action delay": lambda env: ActionDelay(env, 2),
    "freeze": lambda env: Freeze(env, 0.7, (0, 12)),
    "action repeat": lambda env: ActionRepeat(env, 3, [LEFT]),
    "messages": lambda env: MessageChannel(env, 2, noise=0.2, dropout=0.3),
    "noise of one arm": lambda env: ObservationNoise(env, NOISE, [RIGHT]),
    "third repeat": lambda env: Freeze(
        ObservationNoise(env, NOISE, repeat=2), 0.6, (2, 9), repeat=2
    ),
    "all": lambda env: Freeze(
        ActionDelay(ObservationDelay(ObservationNoise(env, NOISE), 2, [LEFT]), 3), 0.6, (2, 9)
    ),
    "late, rare and talking": lambda env: ObservationDelay(
        ActionDelay(ActionRepeat(ActionDelay(MessageChannel(env, 1, 0.1), 1), 3), 2, [LEFT]), 1
    ),
    "all in another order": lambda env: ObservationNoise(
        ObservationDelay(ActionDelay(Freeze(Freeze(env, 0.9, (1, 9)), 0.5, (0, 5)), 1, [RIGHT]), 4),
        NOISE,
    ),
}
PERFECT: dict[str, Callable[[Any], Any]] = {
    "no noise": lambda env: ObservationNoise(env, {}),
    "zero noise": lambda env: ObservationNoise(env, dict.fromkeys(NOISE, 0)),
    "no observation delay": lambda env: ObservationDelay(env, 0),
    "no action delay": lambda env: ActionDelay(env, 0),
    "every action": lambda env: ActionRepeat(env, 1),
    "never frozen": lambda env: Freeze(env, 0, (0, 0)),
}
every_wrapper = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
every_perfect = pytest.mark.parametrize("wrap", PERFECT.values(), ids=PERFECT)
every_control = pytest.mark.parametrize("control", OPTION_VALUES["control"])
pettingzoo_hints = pytest.mark.filterwarnings(
    "ignore:We recommend agents to be named in the format"
)


def rollout(env: Any, steps: int, seed: int | None = 1) -> list[Any]:
    """All that a reset and some steps of random actions return; single episodes follow one another."""
    draw = np.random.default_rng(4)
    act = random_actions if hasattr(env, "num_envs") else sample
    results = [env.reset(seed=seed)]
    for _ in range(steps):
        if act is sample and not env.agents:
            results.append(env.reset())
        results.append(env.step(act(env, draw)))
    return results


def truth(env: Any) -> dict[str, np.ndarray]:
    """What both arms of a batch with scope "full" would observe by perfect sensors."""
    halves = np.split(env.state(), 2, axis=1)
    return {LEFT: np.hstack(halves), RIGHT: np.hstack(halves[::-1])}


# ---------------------------------------------------------------- the two front doors


@every_wrapper
@every_mode
@pytest.mark.tasks_in_turn
def test_wrapped_batch_equals_wrapped_environments(
    task: str, mode: AutoresetMode, wrap: Any
) -> None:
    """Row by row, through all that is returned of many episodes, starts of some rows among them."""
    options = {"max_cycles": 17}
    batch = wrap(make_batch(task, 3, autoreset_mode=mode, **options))
    single = OneByOne(task, 3, mode, **options)
    single.envs = [wrap(env) for env in single.envs]
    draw = np.random.default_rng(1)
    count = play_both(batch, single, 80, lambda _: random_actions(batch, draw))
    assert count["ended"] >= 12
    batch.close()


@pytest.mark.slow
@pytest.mark.parametrize("obs_type", ["pixels", "pixels_agent_pos"])
@every_mode
@pytest.mark.tasks_in_turn
def test_pictures_are_delayed(task: str, mode: AutoresetMode, obs_type: str) -> None:
    """Pictures come late as numbers do; beside them the numbers may be noisy."""

    def wrap(env: Any) -> Any:
        noisy = env if obs_type == "pixels" else MessageChannel(ObservationNoise(env, NOISE), 2)
        return ActionDelay(ObservationDelay(noisy, 2), 1)

    options = {"max_cycles": 4, "obs_type": obs_type}
    batch = wrap(make_batch(task, 2, autoreset_mode=mode, **options))
    single = OneByOne(task, 2, mode, **options)
    single.envs = [wrap(env) for env in single.envs]
    draw = np.random.default_rng(1)
    play_both(batch, single, 10, lambda _: random_actions(batch, draw))
    first, _ = single.envs[0].reset()
    late = [single.envs[0].step(sample(single.envs[0], draw))[0] for _ in range(3)]
    for agent in batch.possible_agents:
        pictures = [
            seen[agent] if obs_type == "pixels" else seen[agent]["pixels"]
            for seen in (first, *late)
        ]
        assert_alike(pictures[1:3], pictures[:1] * 2)
        assert any((pictures[3][camera] != pictures[0][camera]).any() for camera in pictures[0])
        assert first[agent] in batch.single_observation_space(agent)
    batch.close()
    single.close()


@every_mode
@pytest.mark.tasks_in_turn
def test_reset_of_some_rows_leaves_the_others(task: str, mode: AutoresetMode) -> None:
    """They see again what they saw, and go on as if nothing had happened."""
    env, other = (
        WRAPPERS["all"](make_batch(task, 4, autoreset_mode=mode, max_cycles=30)) for _ in range(2)
    )
    mask = np.array([False, True, False, True])
    results = rollout(env, 7), rollout(other, 7)
    assert_alike(*results)
    observations, infos = env.reset(options={"reset_mask": mask})
    for agent in env.possible_agents:
        assert_alike(observations[agent][~mask], results[0][-1][0][agent][~mask])
        assert (observations[agent] != results[0][-1][0][agent]).any(
            axis=1
        ).tolist() == mask.tolist()
        assert infos[agent]["_frozen"].tolist() == mask.tolist()
    draw = np.random.default_rng(2)
    for _ in range(15):
        actions = random_actions(env, draw)
        got, want = env.step(actions), other.step(actions)
        for agent in env.possible_agents:
            assert_alike(got[0][agent][~mask], want[0][agent][~mask])
            assert_alike(got[4][agent]["frozen"][~mask], want[4][agent]["frozen"][~mask])
    env.close()
    other.close()


@every_perfect
@pytest.mark.tasks_in_turn
def test_nothing_imperfect_is_nothing_changed(task: str, wrap: Any) -> None:
    """Zero noise, delay or probability leave everything as it is, bit for bit."""

    def without_frozen(results: Any) -> Any:
        for result in results:
            for info in result[-1].values():
                for told in (info, info.get("final_info", {})) if isinstance(info, dict) else ():
                    assert not np.any(told.pop("frozen", False))
                    told.pop("_frozen", None)
        return results

    options = {"max_cycles": 9}
    for bare, wrapped in (
        (make(task, **options), wrap(make(task, **options))),
        (make_batch(task, 3, **options), wrap(make_batch(task, 3, **options))),
    ):
        assert_alike(without_frozen(rollout(wrapped, 24)), rollout(bare, 24))
        assert_alike(wrapped.state(), bare.state())
        wrapped.close()
        bare.close()


@every_wrapper
@pettingzoo_hints
@pytest.mark.tasks_in_turn
def test_pettingzoo(task: str, wrap: Any) -> None:
    """PettingZoo's own tests, also of the environment turned into an AEC one."""

    def parallel() -> Any:
        return wrap(make(task, max_cycles=12))

    parallel_api_test(parallel(), num_cycles=30)
    parallel_seed_test(parallel)
    api_test(parallel_to_aec(parallel()), num_cycles=30)
    seed_test(lambda: parallel_to_aec(parallel()), num_cycles=20)


@every_wrapper
def test_observations_of_the_present_state(wrap: Any) -> None:
    """They are those that the last call returned, as often as one asks."""
    for env in (wrap(make("insertion", max_cycles=5)), wrap(make_batch("insertion", 2))):
        for steps in (0, 3, 5):
            observed = rollout(env, steps)[-1][0]
            assert_alike([env.observations(), env.observations()], [observed] * 2)
        env.close()


# ---------------------------------------------------------------- seeds


@every_wrapper
@pytest.mark.tasks_in_turn
def test_seeds_decide(task: str, wrap: Any) -> None:
    """One seed, one story, over unseeded episodes too, and whatever came before; another, another."""
    env, other = wrap(make(task, max_cycles=14)), wrap(make(task, max_cycles=14))
    rollout(other, 9, seed=8)
    story = rollout(env, 40)
    assert_alike(rollout(other, 40), story)
    assert_alike(rollout(env, 40), story)
    starts = [result[0][RIGHT] for result in story if len(result) == 2]
    assert len(np.unique(starts, axis=0)) == len(starts) == 3
    again = rollout(env, 40, seed=None)
    assert not np.array_equal(again[0][0][RIGHT], starts[0])


@every_wrapper
@pytest.mark.tasks_in_turn
def test_starts_are_those_of_the_bare_environment(task: str, wrap: Any) -> None:
    """The wrappers' draws leave the environment's own alone."""
    bare, wrapped = make(task), wrap(make(task))
    for seed in (5, None, None, 6, None):
        bare.reset(seed=seed)
        wrapped.reset(seed=seed)
        assert_alike(wrapped.state(), bare.state())


def test_repeats_draw_anew(task: str) -> None:
    """The starts stay the same; noise and freezes of one repeat say nothing about another's."""
    starts, noise, frozen = [], [], []
    for repeat in range(3):
        env = ObservationNoise(make_batch(task, 64, scope="full"), NOISE, repeat=repeat)
        env = Freeze(env, 0.5, (0, 0), repeat=repeat)
        seen, _ = env.reset(seed=1)
        starts.append(env.state())
        noise.append((seen[LEFT] - truth(env)[LEFT])[:, env.layout["joint_pos"]].ravel())
        still = dict.fromkeys(env.possible_agents, np.zeros((64, 7)))
        infos = env.step(still)[-1]
        frozen.append(np.ravel([infos[agent]["frozen"] for agent in env.possible_agents]))
        env.close()
    assert_alike(starts, starts[:1] * 3)
    for draws in (noise, frozen):
        assert np.abs(np.corrcoef(draws) - np.eye(3)).max() < 0.3


# ---------------------------------------------------------------- observations


@pytest.mark.parametrize("agents", [None, [RIGHT]], ids=str)
@pytest.mark.tasks_in_turn
def test_noise(task: str, agents: list[str] | None) -> None:
    """Independent, of mean zero and the size asked for, in the quantities and arms asked for."""
    env = ObservationNoise(make_batch(task, 32, scope="full", max_cycles=20), NOISE, agents)
    still = dict.fromkeys(env.possible_agents, np.zeros((32, 7)))
    seen, _ = env.reset(seed=0)
    errors = [{agent: seen[agent] - truth(env)[agent] for agent in seen}]
    for _ in range(60):
        seen, *_ = env.step(still)
        errors.append({agent: seen[agent] - truth(env)[agent] for agent in seen})
    for agent in env.possible_agents:
        error = np.array([step[agent] for step in errors])
        assert error.dtype == np.float32
        for quantity in env.layout:
            part = error[..., env.layout[quantity.name]]
            if quantity.name not in NOISE or (agents and agent not in agents):
                assert not part.any()
                continue
            deviation = NOISE[quantity.name]
            np.testing.assert_allclose(part.std(axis=(0, 1)), deviation, rtol=0.1)
            np.testing.assert_allclose(part.mean(axis=(0, 1)), 0, atol=0.1 * deviation)
            for earlier, later in ((part[:-1], part[1:]), (part[:, :-1], part[:, 1:])):
                assert abs(np.corrcoef(earlier.ravel(), later.ravel())[0, 1]) < 0.05
    if agents is None:
        first, second = ([step[agent][:, :6] for step in errors] for agent in (LEFT, RIGHT))
        assert abs(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1]) < 0.05
    env.close()


def test_noisy_observations_stay_in_the_space(task: str) -> None:
    """However large the noise, what is observed is in the bounds, and reaches them."""
    layout = make(task).layout
    env = ObservationNoise(make(task), dict.fromkeys((q.name for q in layout), 1e3))
    box = env.observation_space(LEFT)
    seen = [result[0] for result in rollout(env, 30)]
    for agent in env.possible_agents:
        values = np.array([observations[agent] for observations in seen])
        assert all(observation in box for observation in values)
        assert ((values == box.low) | (values == box.high)).mean() > 0.9


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.tasks_in_turn
def test_observation_delay(task: str, steps: int) -> None:
    """At time t an arm sees what was at t - k, or the start before; the other arm sees t."""
    bare, env = (
        make(task, max_cycles=12),
        ObservationDelay(make(task, max_cycles=12), steps, [RIGHT]),
    )
    for _ in range(2):
        want, got = ([result[0] for result in rollout(e, 12, seed=3)] for e in (bare, env))
        for t in range(13):
            assert_alike(got[t][RIGHT], want[max(t - steps, 0)][RIGHT])
            assert_alike(got[t][LEFT], want[t][LEFT])


@every_wrapper
@pytest.mark.tasks_in_turn
def test_writing_into_observations_is_harmless(task: str, wrap: Any) -> None:
    """What was handed out is the caller's: overwriting it changes nothing that comes."""

    def story(spoil: bool, env: Any) -> list[Any]:
        draw, kept = np.random.default_rng(0), []
        observations, _ = env.reset(seed=0)
        for _ in range(12):
            kept.append({agent: seen.copy() for agent, seen in observations.items()})
            for seen in observations.values() if spoil else ():
                seen[:] = 0
            actions = random_actions(env, draw)
            observations, *_ = env.step(actions)
            for action in actions.values() if spoil else ():
                action[:] = 0
        env.close()
        return kept

    assert_alike(
        *(story(spoil, wrap(make_batch(task, 2, max_cycles=5))) for spoil in (True, False))
    )


# ---------------------------------------------------------------- actions


@every_control
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.tasks_in_turn
def test_action_delay(task: str, control: str, steps: int) -> None:
    """The commanded targets are those of an arm without delay, some steps later; first it holds."""
    bare, env = make(task, control=control), make(task, control=control)
    delayed = ActionDelay(env, steps, [LEFT])
    targets: list[list[np.ndarray]] = [[], []]
    for e, kept in zip((bare, delayed), targets, strict=True):
        for episode in range(2):
            draw = np.random.default_rng(7 + episode)
            e.reset(seed=episode)
            kept.append(e.data.ctrl.copy())
            for _ in range(20):
                e.step(sample(e, draw))
                kept.append(e.data.ctrl.copy())
    want, got = (np.array(kept).reshape(2, 21, 2, 8) for kept in targets)
    assert_alike(got[:, :, 1], want[:, :, 1])
    assert_alike(got[:, : steps + 1, 0], want[:, :1, 0].repeat(steps + 1, axis=1))
    assert_alike(got[:, steps:, 0], want[:, :-steps, 0])
    assert len(np.unique(want[:, :, 0, 0])) > 10


@every_control
@pytest.mark.parametrize("agents", [None, [RIGHT]], ids=str)
def test_action_repeat(task: str, control: str, agents: list[str] | None) -> None:
    """As without it, given every third action three times; in each episode from its start on."""
    env = ActionRepeat(make(task, control=control, max_cycles=8), 3, agents)
    bare = make(task, control=control, max_cycles=8)
    for seed in range(2):
        assert_alike(env.reset(seed=seed), bare.reset(seed=seed))
        draw = np.random.default_rng(seed)
        for step in range(8):
            given = sample(bare, draw)
            if step % 3 == 0:
                last = given
            taken = given | {agent: last[agent] for agent in agents or given}
            assert_alike(env.step(given), bare.step(taken))
            assert_alike(env.data.ctrl, bare.data.ctrl)


@pytest.mark.parametrize("delays", [(0, 2), (2, 0), (1, 3), (2, 2)], ids=str)
def test_rare_actions_that_are_late(task: str, delays: tuple[int, int]) -> None:
    """An arm that reads late actions rarely holds still until it reads the first that is due."""
    inside, outside = delays
    env, bare = (make(task, control="joint_delta", max_cycles=14) for _ in range(2))
    env = ActionDelay(ActionRepeat(ActionDelay(env, inside), 3), outside)
    draw = np.random.default_rng(0)
    for seed in range(2):
        given: list[Any] = [sample(env, draw) for _ in range(14)]
        env.reset(seed=seed)
        bare.reset(seed=seed)
        for step in range(14):
            reads = (step - inside) // 3 * 3 - outside
            due = given[reads] if reads >= 0 else dict.fromkeys(given[0], np.zeros(7))
            assert_alike(env.step(given[step]), bare.step(due))
    base = make(task)  # of joint angles, where no action says "hold still"
    env = ActionDelay(ActionRepeat(ActionDelay(base, inside), 3), outside)
    for seed in range(2):
        env.reset(seed=seed)
        start, step = base.data.ctrl.copy(), 0
        while (step - inside) // 3 * 3 < outside:
            assert_alike(base.data.ctrl, start)
            env.step(sample(env, draw))
            step += 1
        assert_alike(base.data.ctrl, start)
        env.step(sample(env, draw))
        assert (base.data.ctrl != start).any()


@every_mode
@pytest.mark.parametrize("arms", [(None, None), ([LEFT], None), ([RIGHT], [LEFT])], ids=str)
@pytest.mark.parametrize("delay", [ActionDelay, ObservationDelay])
def test_delays_add_up(mode: AutoresetMode, arms: Any, delay: Any) -> None:
    """One round the other is one of the sum, for each arm, whatever is between; one and many."""
    first, second = arms

    def nested(env: Any) -> Any:
        return delay(BaseParallelWrapper(ObservationNoise(delay(env, 2, first), NOISE)), 3, second)

    def summed(env: Any) -> Any:
        env = ObservationNoise(env, NOISE)
        for agent in aloha_marl.AGENTS:
            late = [
                steps for steps, names in ((2, first), (3, second)) if agent in (names or agent)
            ]
            env = delay(env, sum(late), [agent])
        return env

    if delay is ObservationDelay:  # noise that is delayed, too, is not the noise of now
        nested = lambda env: delay(delay(ObservationNoise(env, NOISE), 2, first), 3, second)  # noqa: E731
    for make_one in (
        lambda: make("insertion", max_cycles=9),
        lambda: make_batch("insertion", 3, autoreset_mode=mode, max_cycles=9),
    ):
        stories = []
        for wrap in (nested, summed):
            env = wrap(make_one())
            stories.append(rollout(env, 9 if mode is AutoresetMode.DISABLED else 24))
            env.close()
        assert_alike(*stories)


def test_numpy_numbers() -> None:
    """They are taken wherever plain ones are."""
    delayed, plain = (
        Freeze(ActionDelay(ObservationNoise(make("insertion"), {"gripper": size}), steps), p, span)
        for size, steps, p, span in (
            (np.float32(0.5), np.uint8(2), np.float16(0.5), (np.int8(1), np.int8(127))),
            (0.5, 2, 0.5, (1, 127)),
        )
    )
    for seed in range(4):
        assert_alike(rollout(delayed, 9, np.int64(seed)), rollout(plain, 9, seed))


@every_control
@pytest.mark.tasks_in_turn
def test_freeze(task: str, control: str) -> None:
    """The targets of one arm stay from a step on; the other moves as if nothing had happened."""
    bare, env = (make(task, control=control, max_cycles=14) for _ in range(2))
    wrapped = Freeze(env, 1, (3, 8))
    happened = set()
    for seed in range(30):
        targets: list[np.ndarray] = []
        told: list[list[bool]] = []
        for e in (bare, wrapped):
            draw = np.random.default_rng(seed)
            e.reset(seed=seed)
            for _ in range(14):
                *_, infos = e.step(sample(e, draw))
                targets.append(e.data.ctrl.copy())
                told.append([infos[agent].get("frozen") for agent in e.possible_agents])
        want, got = np.array(targets).reshape(2, 14, 2, 8)
        frozen = np.array(told[14:])
        arm = int(frozen.any(axis=0).argmax())
        since = int(frozen[:, arm].argmax())
        assert not frozen[:, 1 - arm].any()
        assert frozen[since:, arm].all()
        assert not frozen[:since].any()
        assert_alike(got[:, 1 - arm], want[:, 1 - arm])
        assert_alike(got[:since, arm], want[:since, arm])
        assert_alike(got[since:, arm], np.repeat(want[since - 1 : since, arm], 14 - since, axis=0))
        assert not np.array_equal(got[since:, arm], want[since:, arm])
        happened.add((arm, since))
    assert {arm for arm, _ in happened} == {0, 1}
    assert {since for _, since in happened} == set(range(3, 9))


def test_how_often_an_arm_freezes(task: str) -> None:
    """With the probability asked for, and only the arms asked for."""
    env = Freeze(make_batch(task, 500, max_cycles=1), 0.3, (0, 0), [RIGHT])
    env.reset(seed=0)
    still = dict.fromkeys(env.possible_agents, np.zeros((500, 7)))
    for _ in range(2):
        *_, infos = env.step(still)
        assert not infos[LEFT]["final_info"]["frozen"].any()
        assert infos[RIGHT]["final_info"]["frozen"].mean() == pytest.approx(0.3, abs=0.06)
        assert not infos[RIGHT]["frozen"].any()
    env.close()


def test_a_frozen_arm_is_frozen_whatever_is_between(task: str) -> None:
    """Outside or inside a delay of the actions: the arm stops at once."""
    inside, outside = make(task), make(task)
    first, second = (
        ActionDelay(Freeze(inside, 1, (4, 9)), 3),
        Freeze(ActionDelay(outside, 3), 1, (4, 9)),
    )
    assert_alike(rollout(first, 20), rollout(second, 20))
    assert_alike(inside.data.ctrl, outside.data.ctrl)


def test_both_arms_may_freeze(task: str) -> None:
    """By one wrapper each; both are told of, at the end of an episode too."""
    wrap = lambda env: Freeze(Freeze(env, 1, (1, 1), [LEFT]), 1, (2, 2), [RIGHT])  # noqa: E731
    env, batch = wrap(make(task, max_cycles=3)), wrap(make_batch(task, 2, max_cycles=3))
    told = [[info["frozen"] for info in result[-1].values()] for result in rollout(env, 3)]
    assert told == [[False, False], [False, False], [True, False], [True, True]]
    infos = rollout(batch, 3)[-1][-1]
    for agent in batch.possible_agents:
        assert infos[agent]["final_info"]["frozen"].all()
        assert not infos[agent]["frozen"].any()
    batch.close()


@pytest.mark.parametrize("batched", [False, True], ids=["one", "batch"])
@pytest.mark.tasks_in_turn
def test_bad_actions_are_refused_when_they_are_given(task: str, batched: bool) -> None:
    """Not when they are due; and the delay goes on as if they had not been given."""
    env, other = (WRAPPERS["all"](make_batch(task, 2) if batched else make(task)) for _ in range(2))
    act = random_actions if batched else sample
    draw = np.random.default_rng(0)
    env.reset(seed=0)
    other.reset(seed=0)
    for _ in range(12):
        actions = act(env, draw)
        for bad in ({RIGHT: actions[RIGHT] * np.nan}, {"third": actions[LEFT]}, {LEFT: "left"}):
            with pytest.raises(ValueError, match=next(iter(bad))):
                env.step(actions | bad)
        assert_alike(env.step(actions), other.step(actions))
    with pytest.raises(ValueError, match="no action for"):
        env.step({LEFT: actions[LEFT]})
    env.close()
    other.close()


def test_stepping_an_episode_that_is_over(task: str) -> None:
    """Is refused as by the bare environment; what runs next is not affected, a saved state either."""
    env, other = (Freeze(make(task, max_cycles=5), 1, (3, 4)) for _ in range(2))
    actions = sample(env, np.random.default_rng(0))
    env.reset(seed=0)
    saved = env.get_state()
    futures = []
    for played in (0, 5, 5):
        if played:
            rollout(env, played)
            with pytest.raises(RuntimeError, match="reset"):
                env.step(actions)
        env.set_state(saved)
        env.step(actions)
        futures.append(env.state())
    assert_alike(futures[1:], futures[:1] * 2)
    rollout(env, 5)
    with pytest.raises(RuntimeError, match="reset"):
        env.step(actions)
    assert_alike(rollout(env, 15), rollout(other, 15))


# ---------------------------------------------------------------- messages


def test_messages(task: str) -> None:
    """The partner observes one a step later, clipped; all else is as without the channel."""
    env, bare = MessageChannel(make(task, max_cycles=6), 3), make(task, max_cycles=6)
    draw = np.random.default_rng(0)
    for seed in range(2):
        sent = dict.fromkeys(env.possible_agents, np.zeros(3))
        got, want = env.reset(seed=seed), bare.reset(seed=seed)
        for step in range(7):
            for agent, other in ((LEFT, RIGHT), (RIGHT, LEFT)):
                assert got[0][agent] in env.observation_space(agent)
                assert_alike(got[0][agent][:-3], want[0][agent])
                assert_alike(got[0][agent][-3:], np.clip(sent[other], -1, 1).astype(np.float32))
            assert_alike(got[1:], want[1:])
            if step < 6:
                actions = sample(bare, draw)
                sent = {agent: draw.uniform(-2, 2, 3) for agent in actions}
                both = {agent: np.append(actions[agent], sent[agent]) for agent in actions}
                got, want = env.step(both), bare.step(actions)


def test_lost_and_noisy_messages() -> None:
    """Lost as a whole and as often as asked for; noise has the size asked for and stays in bounds."""
    env = MessageChannel(make_batch("insertion", 200, max_cycles=3), 3, noise=0.1, dropout=0.25)
    env.reset(seed=0)
    for sent, low, high in ((0.5, -np.inf, 0.999), (1.0, 0.4, 1)):
        actions = dict.fromkeys(env.possible_agents, np.full((200, 10), sent))
        heard = np.array([seen[:, -3:] for seen in env.step(actions)[0].values()])
        lost = (heard == 0).all(axis=2)
        assert lost.mean() == pytest.approx(0.25, abs=0.07)
        assert ((low < heard[~lost]) & (heard[~lost] <= high)).all()
        if sent == 0.5:
            assert heard[~lost].std() == pytest.approx(0.1, rel=0.1)
            assert heard[~lost].mean() == pytest.approx(sent, abs=0.02)
            assert abs(np.corrcoef(heard[~lost].T)[0, 1]) < 0.2
    env.close()


def test_policies_that_talk() -> None:
    """Evaluations play them, and name a policy whose message is missing."""

    class Talks:
        scope, control, size = "partner", "joint_delta", 9

        def __call__(self, observation: np.ndarray) -> np.ndarray:
            self.heard = observation[..., -2:]
            return np.full(self.size, 0.5)

        def reset(self) -> None: ...

    arms = {agent: Talks() for agent in aloha_marl.AGENTS}
    factory = lambda **options: MessageChannel(make("insertion", max_cycles=3, **options), 2)  # noqa: E731
    assert evaluate(factory, arms, [1]).episodes[0].steps == 3
    for policy in arms.values():
        assert policy.heard.tolist() == [0.5, 0.5]
    arms[RIGHT].size = 7
    with pytest.raises(
        PolicyError, match=r"right_arm: action must be numbers of shape \(9,\), got"
    ):
        evaluate(factory, arms, [1])


# ---------------------------------------------------------------- beside the wrappers


def test_states_are_the_environments(task: str) -> None:
    """A saved state can be put into a wrapped environment, also into one that was never reset."""
    env, other = (WRAPPERS["all"](make(task)) for _ in range(2))
    rollout(env, 8)
    other.set_state(env.get_state())
    assert_alike(other.state(), env.state())
    observations, *_ = other.step(sample(other, np.random.default_rng(0)))
    assert all(observations[agent] in other.observation_space(agent) for agent in observations)


def test_the_merged_environment_acts_through_them_and_looks_past_them(task: str) -> None:
    """``AlohaSingleAgent`` observes the truth; its actions come late."""
    bare = make(task)
    env = aloha_marl.AlohaSingleAgent(ObservationNoise(ActionDelay(bare, 2), NOISE))
    observation, _ = env.reset(seed=0)
    start = bare.data.ctrl.copy()
    for t in range(4):
        assert_alike(observation, bare.state())
        observation, *_ = env.step(np.full(14, 0.4, np.float32))
        assert np.array_equal(bare.data.ctrl, start) == (t < 2)


BAD: dict[str, tuple[Callable[[Any], Any], tuple[str, ...]]] = {
    "unknown quantity": (
        lambda env: ObservationNoise(env, {"objects": 0.1}),
        ("objects", "joint_pos", "partner_gripper"),
    ),
    "negative noise": (lambda env: ObservationNoise(env, {"joint_pos": -1}), ("joint_pos", "-1")),
    "infinite noise": (lambda env: ObservationNoise(env, {"gripper": np.inf}), ("gripper", "inf")),
    "true noise": (lambda env: ObservationNoise(env, {"gripper": True}), ("gripper", "True")),
    "truly": (lambda env: Freeze(env, True, (0, 1)), ("probability", "True")),
    "never": (lambda env: Freeze(env, 1, (0, 2**70)), (str(2**70),)),
    "no number": (lambda env: ObservationNoise(env, {"gripper": "0.1"}), ("gripper", "'0.1'")),
    "unknown agent": (lambda env: ObservationNoise(env, NOISE, ["third"]), ("third", LEFT, RIGHT)),
    "negative repeat": (lambda env: ObservationNoise(env, NOISE, repeat=-1), ("repeat", "-1")),
    "half a repeat": (lambda env: Freeze(env, 1, (0, 1), repeat=0.5), ("repeat", "0.5")),
    "one name": (lambda env: ObservationDelay(env, 1, LEFT), ("agents", LEFT)),
    "no agent": (lambda env: ActionDelay(env, 1, []), ("agents",)),
    "negative delay": (lambda env: ObservationDelay(env, -1), ("steps", "-1")),
    "half a delay": (lambda env: ActionDelay(env, 1.5), ("steps", "1.5")),
    "no repeat": (lambda env: ActionRepeat(env, 0), ("steps", "0")),
    "no message": (lambda env: MessageChannel(env, 0), ("size", "0")),
    "half a number": (lambda env: MessageChannel(env, 1.5), ("size", "1.5")),
    "negative noise of messages": (lambda env: MessageChannel(env, 1, -1), ("noise", "-1")),
    "noise that is no number": (lambda env: MessageChannel(env, 1, math.nan), ("noise", "nan")),
    "more than all lost": (lambda env: MessageChannel(env, 1, 0, 1.1), ("dropout", "1.1")),
    "likely": (lambda env: Freeze(env, 1.2, (0, 1)), ("probability", "1.2")),
    "no probability": (lambda env: Freeze(env, None, (0, 1)), ("probability", "None")),
    "one step": (lambda env: Freeze(env, 1, 3), ("steps", "3", "first")),
    "steps backwards": (lambda env: Freeze(env, 1, (5, 4)), ("(5, 4)", "first <= last")),
    "steps before the start": (lambda env: Freeze(env, 1, (-1, 4)), ("(-1, 4)",)),
    "three steps": (lambda env: Freeze(env, 1, (1, 2, 3)), ("(1, 2, 3)",)),
}


@pytest.fixture(scope="module")
def front_doors() -> Iterator[tuple[Any, Any]]:
    """One environment and many."""
    batch = make_batch("transfer_cube", 2)
    yield make("transfer_cube"), batch
    batch.close()


@pytest.mark.parametrize(("wrap", "named"), BAD.values(), ids=BAD)
def test_bad_arguments(front_doors: Any, wrap: Any, named: tuple[str, ...]) -> None:
    """Both front doors refuse them; the message names the bad value and what would be valid."""
    for env in front_doors:
        with pytest.raises(ValueError, match=r".") as error:
            wrap(env)
        for text in named:
            assert text in str(error.value)


def test_pictures_alone_have_no_place_for_numbers(task: str) -> None:
    """The message names the option."""
    for wrap in (lambda env: ObservationNoise(env, NOISE), lambda env: MessageChannel(env, 1)):
        with pytest.raises(ValueError, match=r"obs_type='pixels'.*pixels_agent_pos"):
            wrap(make(task, obs_type="pixels"))
