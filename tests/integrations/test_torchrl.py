"""TorchRL: its view of the environments is theirs, and the example acts as it learned."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
import smoke
import torch
import train_torchrl
from helpers import SMALL
from tensordict import TensorDict, TensorDictBase
from torchrl.envs import PettingZooWrapper, step_mdp
from torchrl.envs.utils import ExplorationType, check_env_specs, set_exploration_type

import aloha_marl
from aloha_marl import AGENTS, AlohaVectorEnv, policies
from aloha_marl.arms import ACTION_SIZE
from aloha_marl.integrations.torchrl import AlohaEnv
from aloha_marl.wrappers import Freeze, ObservationNoise

N = 3
STEPS = 20
SHORT: dict[str, Any] = {"max_cycles": 7, "reward": "dense", "credit": "individual", **SMALL}


def batch(task: str = "transfer_cube", mode: str = "NextStep", **options: Any) -> AlohaVectorEnv:
    """Short episodes."""
    return AlohaVectorEnv(task, N, autoreset_mode=mode, **(SHORT | options))


def masked(now: TensorDictBase, rows: list[bool]) -> TensorDictBase:
    """The mask that tells TorchRL which rows to reset."""
    return now.clone().set("_reset", torch.tensor(rows)[:, None])


def numbers(tensor: torch.Tensor) -> bytes:
    """All bits."""
    return tensor.contiguous().numpy().tobytes()


def acting(now: TensorDictBase, actions: np.ndarray) -> TensorDictBase:
    """With (N, 2, 7) actions."""
    return now.set(("arms", "action"), torch.from_numpy(actions))


@pytest.mark.parametrize(
    "options",
    [{}, {"metrics": True, "reward": "sparse"}, {"control": "joint_delta", "scope": "full"}]
    + [{"obs_type": kind} for kind in ("pixels", "pixels_agent_pos")]
    + [{"agent_names": ("arm_0", "arm_1")}],
    ids=str,
)
def test_specs(task: str, options: dict[str, Any]) -> None:
    """TorchRL's own check: values are what the specs say, in rollouts that pass episodes' ends."""
    env = AlohaEnv(batch(task, **options))
    check_env_specs(env)
    played = env.rollout(STEPS, break_when_any_done=False)
    assert played.shape == (N, STEPS)
    assert played["arms"].shape == (N, STEPS, len(AGENTS))
    assert played["next", "arms", "reward"].shape == (N, STEPS, len(AGENTS), 1)
    assert played["state"].shape == (N, STEPS, *env.observation_spec["state"].shape[1:])
    assert env.observation_spec.is_in(played[:, 0].select(*env.observation_keys))
    env.close()


def test_rows_are_the_batch(task: str, rng: np.random.Generator) -> None:
    """Over several episodes all numbers are those of the batch, bit for bit."""
    ours, theirs = AlohaEnv(batch(task, metrics=True)), batch(task, "SameStep", metrics=True)
    ours.set_seed(4)
    now, (seen, _) = ours.reset(), theirs.reset(seed=4)
    ended = 0
    for _ in range(STEPS):
        for arm, agent in enumerate(AGENTS):
            assert numbers(now["arms", "observation"][:, arm]) == seen[agent].tobytes()
        assert numbers(now["state"]) == theirs.state().tobytes()
        actions = rng.uniform(-1, 1, (N, len(AGENTS), ACTION_SIZE)).astype(np.float32)
        done, now = ours.step_and_maybe_reset(acting(now, actions))
        halves = dict(zip(AGENTS, actions.swapaxes(0, 1), strict=True))
        seen, rewards, terminated, truncated, infos = theirs.step(halves)
        after = done["next"]
        np.testing.assert_array_equal(after["terminated"][:, 0], terminated[AGENTS[0]])
        np.testing.assert_array_equal(after["truncated"][:, 0], truncated[AGENTS[0]])
        over = terminated[AGENTS[0]] | truncated[AGENTS[0]]
        np.testing.assert_array_equal(after["done"][:, 0], over)
        for arm, agent in enumerate(AGENTS):
            paid = after["arms", "reward"][:, arm, 0]
            assert numbers(paid) == rewards[agent].astype(np.float32).tobytes()
            last = infos[agent]
            want = seen[agent].copy()
            for row in np.flatnonzero(over):
                want[row] = last["final_obs"][row]
                ended += 1
            assert numbers(after["arms", "observation"][:, arm]) == want.tobytes()
            told = last["final_info"] if over.all() else last
            for name in ("stage", "is_success", "diverged", "idle_share", "drops"):
                got = after["arms", "info", name][:, arm, 0]
                assert numbers(got) == told[name].astype(np.float32).tobytes()
    assert ended == len(AGENTS) * N * (STEPS // SHORT["max_cycles"])


def test_some_rows_start_again(task: str, rng: np.random.Generator) -> None:
    """A mask starts those rows only; the others go on as if nothing had happened."""
    env, undisturbed = AlohaEnv(batch(task)), AlohaEnv(batch(task))
    for each in (env, undisturbed):
        each.set_seed(4)
    now, reference = env.reset(), undisturbed.reset()
    ends = []
    for step in range(SHORT["max_cycles"] + 2):
        if step == 2:
            old = now
            now = env.reset(masked(now, [False, True, False]))
            for key in (("arms", "observation"), "state"):
                same = [now[key][row].equal(old[key][row]) for row in range(N)]
                assert same == [True, False, True]
            single = aloha_marl.parallel_env(task, **SHORT)
            single.reset(seed=4 + 1)
            second, _ = single.reset()
            assert numbers(now["arms", "observation"][1, 0]) == second[AGENTS[0]].tobytes()
        actions = rng.uniform(-1, 1, (N, len(AGENTS), ACTION_SIZE)).astype(np.float32)
        after, now = env.step_and_maybe_reset(acting(now, actions))
        expected, reference = undisturbed.step_and_maybe_reset(acting(reference, actions))
        for row in (0, 2):
            for key in (("arms", "observation"), ("arms", "reward"), "done"):
                assert after["next", key][row].equal(expected["next", key][row])
        ends.append(after["next", "done"][:, 0].tolist())
    last = SHORT["max_cycles"] - 1
    assert [step for step, (_, row, _) in enumerate(ends) if row] == [last + 2]
    assert [step for step, (row, _, _) in enumerate(ends) if row] == [last]


def test_rows_that_ended_are_left_out(task: str) -> None:
    """A rollout until the last row ends keeps what the first ones ended with."""
    env = AlohaEnv(batch(task))
    env.set_seed(0)
    now = env.reset()
    for _ in range(2):
        now = step_mdp(env.step(env.rand_action(now)))
    now = env.reset(masked(now, [False, True, False]))
    played = env.rollout(
        STEPS, tensordict=now, auto_reset=False, break_when_any_done=False, break_when_all_done=True
    )
    assert played.shape == (N, SHORT["max_cycles"])
    done = played["next", "done"][..., 0]
    assert done[1].tolist() == [False] * 6 + [True]
    assert done[0].tolist() == [False] * 4 + [True] * 3
    for step in (5, 6):
        assert played["next", "arms", "observation"][0, step].equal(
            played["next", "arms", "observation"][0, 4]
        )


def test_seeds(task: str) -> None:
    """Seed s starts row i as s + i does; the same seed repeats everything, later episodes too."""
    env = AlohaEnv(batch(task))
    rollouts = []
    for seed in (7, 7, 8):
        env.set_seed(seed)
        torch.manual_seed(0)
        rollouts.append(env.rollout(STEPS, break_when_any_done=False))
    first, again, other = (played["arms", "observation"] for played in rollouts)
    assert first.equal(again)
    assert not first.equal(other)
    assert first[1:, 0].equal(other[:-1, 0])
    single, _ = aloha_marl.parallel_env(task, **SHORT).reset(seed=7 + 2)
    assert numbers(first[2, 0, 0]) == single[AGENTS[0]].tobytes()
    env.set_seed(None)
    assert not env.reset()["arms", "observation"].equal(first[:, 0])


def test_success_is_terminated(task: str) -> None:
    """A success is no truncation."""
    env = AlohaEnv(AlohaVectorEnv(task, N, autoreset_mode="NextStep"))
    experts = policies.load("scripted", task)
    env.set_seed(0)
    last = env.reset()
    while not last["done"].any():
        seen = last["arms", "observation"].numpy()
        acted = [experts[agent](seen[:, arm]) for arm, agent in enumerate(AGENTS)]
        last = env.step(acting(last, np.stack(acted, axis=1).astype(np.float32)))["next"]
    rows = last["done"][:, 0]
    assert last["terminated"][:, 0].equal(rows)
    assert not last["truncated"].any()
    assert (last["arms", "info", "stage"][rows] == 4).all()
    assert last["arms", "info", "is_success"][rows].all()


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_other_modes_are_refused(mode: str) -> None:
    """The error names the one that fits."""
    with pytest.raises(ValueError, match="valid: 'NextStep'"):
        AlohaEnv(batch(mode=mode))


def test_imperfect_arms() -> None:
    """The package's wrappers work below."""
    noisy = AlohaEnv(Freeze(ObservationNoise(batch(), {"joint_pos": 0.1}), 1, (0, 3)))
    plain = AlohaEnv(batch())
    for env in (noisy, plain):
        env.set_seed(0)
    assert not noisy.reset()["arms", "observation"].equal(plain.reset()["arms", "observation"])
    check_env_specs(noisy)


# What PettingZooWrapper says of every environment with a PettingZoo newer than its own tests'.
@pytest.mark.filterwarnings("ignore:PettingZoo in TorchRL is tested using version:UserWarning")
@pytest.mark.parametrize("metrics", [False, True])
def test_pettingzoo_wrapper(task: str, metrics: bool, rng: np.random.Generator) -> None:
    """TorchRL's own wrapper takes one environment as it is, and sees what a row of ours is."""
    options = SHORT | {"metrics": metrics}
    theirs = PettingZooWrapper(
        aloha_marl.parallel_env(task, **options),
        group_map=aloha_marl.GROUP_MAP,
        return_state=True,
        categorical_actions=False,
    )
    check_env_specs(theirs)
    ours = AlohaEnv(AlohaVectorEnv(task, 1, autoreset_mode="NextStep", **options))
    for env in (ours, theirs):
        env.set_seed(3)
    ours.reset()  # as theirs has done already, when it got the seed
    one, row = theirs.reset(), ours.reset()
    for _ in range(SHORT["max_cycles"]):
        actions = rng.uniform(-1, 1, (1, len(AGENTS), ACTION_SIZE)).astype(np.float32)
        one = theirs.step(acting(one, actions[0]))["next"]
        row = ours.step(acting(row, actions))["next"]
        for key in (("arms", "observation"), ("arms", "reward"), "state", "done", "truncated"):
            assert one[key].equal(row[key][0])
    assert row["truncated"].all()


def test_example_explores() -> None:
    """TorchRL's policies act at random only when asked to; the one that is trained does."""
    learner = train_torchrl.Learner(train_torchrl.parse(["--num-envs", "4"]))
    first, second = (learner.policy(learner.now.clone())["arms", "action"] for _ in range(2))
    assert (first - second).abs().mean() > 0.3


def test_networks() -> None:
    """They act as TorchRL's policy does."""
    learner, _ = smoke.trained("train_torchrl", *smoke.PPO)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        acted = learner.policy(learner.now.clone())["arms", "action"]
    for arm, (agent, network) in enumerate(zip(AGENTS, learner.networks(), strict=True)):
        np.testing.assert_allclose(
            network(learner.rows.observations()[agent]), acted[:, arm], atol=1e-5
        )


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "8192", "--num-envs", "16", "--rollout", "32")
    arguments += ("--batch-size", "256", "--learning-rate", "1e-3")
    assert smoke.learned("train_torchrl", monkeypatch, *arguments) > 0.1


def story(env: AlohaEnv) -> Iterator[TensorDictBase]:
    """All that some episodes return; what was passed in is part of it."""
    draw = np.random.default_rng(0)
    env.set_seed(4)
    now = env.reset()
    yield now.clone()
    for _ in range(STEPS):
        now = env.step(acting(now, draw.uniform(-1, 1, (N, 2, 7)).astype(np.float32)))
        yield now
        now = step_mdp(now.clone())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(cloudpickle.dumps(it))])
def test_copies(copied: Callable[[Any], Any]) -> None:
    """A copy is a new one with the same options, whatever the original has done."""
    options = {"metrics": True, "scope": "full"}
    env, fresh = AlohaEnv(batch(**options)), AlohaEnv(batch(**options))
    env.rollout(3)
    again = copied(env)
    env.close()
    for got, want in zip(story(again), story(fresh), strict=True):
        assert (got == want).all()


def test_what_is_returned_is_the_callers() -> None:
    """Overwriting all of it changes nothing that the environments do next."""
    ours, theirs = AlohaEnv(batch()), AlohaEnv(batch())
    draw = np.random.default_rng(0)
    for env in (ours, theirs):
        env.set_seed(4)
        env._reset().apply_(lambda values: values.fill_(1))
    for _ in range(STEPS):
        actions = torch.from_numpy(draw.uniform(-1, 1, (N, 2, 7)).astype(np.float32))
        steps = []
        for env in (ours, theirs):
            now = TensorDict({"arms": TensorDict({"action": actions.clone()}, (N, 2))}, (N,))
            steps.append(env._step(now))
        assert (steps[0] == steps[1]).all()
        steps[0].apply_(lambda values: values.fill_(1))
