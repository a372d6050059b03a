"""Stable-Baselines3: its view of the environments is theirs, bit for bit."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import numpy as np
import pytest
import smoke
from doors import spoil
from helpers import SMALL, assert_alike
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.evaluation import evaluate_policy
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import (
    DummyVecEnv,
    SubprocVecEnv,
    VecEnv,
    VecMonitor,
    VecNormalize,
)

import aloha_marl
from aloha_marl import (
    AGENTS,
    AlohaSingleAgent,
    AlohaSingleAgentVector,
    AlohaVectorEnv,
    policies,
    with_partner,
)
from aloha_marl.arms import ACTION_SIZE
from aloha_marl.envs.rows import row_of
from aloha_marl.integrations.stable_baselines3 import ArmsVecEnv, MergedVecEnv
from aloha_marl.wrappers import Freeze, ObservationNoise

N = 3
STEPS = 20
SHORT: dict[str, Any] = {"max_cycles": 7, "reward": "dense", "credit": "individual", **SMALL}


def arms(task: str = "transfer_cube", **options: Any) -> ArmsVecEnv:
    """Short episodes of both arms."""
    return ArmsVecEnv(AlohaVectorEnv(task, N, **(SHORT | options)))


def merged(task: str = "transfer_cube", obs_type: str = "state", **options: Any) -> MergedVecEnv:
    """Short episodes of both arms as one."""
    env = AlohaVectorEnv(task, N, **(SHORT | options))
    return MergedVecEnv(AlohaSingleAgentVector(env, obs_type))


def level(observation: Any) -> Any:
    """Pictures beside numbers, not in a dict of their own."""
    if isinstance(observation, dict) and "pixels" in observation:
        return {"agent_pos": observation["agent_pos"], **observation["pixels"]}
    return observation


both_views = pytest.mark.parametrize("make", [arms, merged])


@pytest.mark.parametrize("obs_type", ["state", "pixels", "pixels_agent_pos"])
def test_rows_are_the_arms(task: str, obs_type: str, rng: np.random.Generator) -> None:
    """Over several episodes every row is, bit for bit, an arm of the batch."""
    options = SHORT | {"obs_type": obs_type, "metrics": True}
    rows, batch = arms(task, **options), AlohaVectorEnv(task, N, **options)
    rows.seed(4)
    got = rows.reset()
    observations, _ = batch.reset(seed=4)
    ended = 0
    for _ in range(STEPS):
        for row in range(rows.num_envs):
            i, arm = divmod(row, len(AGENTS))
            assert_alike(row_of(got, row), level(row_of(observations[AGENTS[arm]], i)))
        actions = rng.uniform(-1, 1, (N, len(AGENTS), ACTION_SIZE)).astype(np.float32)
        got, rewards, dones, infos = rows.step(actions.reshape(rows.num_envs, ACTION_SIZE))
        by_agent = dict(zip(AGENTS, actions.swapaxes(0, 1), strict=True))
        observations, paid, terminated, truncated, told = batch.step(by_agent)
        for row in range(rows.num_envs):
            i, arm = divmod(row, len(AGENTS))
            agent, info, want = AGENTS[arm], infos[row], told[AGENTS[arm]]
            assert rewards[row] == paid[agent][i]
            assert dones[row] == (terminated[agent][i] or truncated[agent][i])
            assert info.pop("TimeLimit.truncated") == truncated[agent][i]
            if dones[row]:
                assert_alike(info.pop("terminal_observation"), level(want["final_obs"][i]))
                want = want["final_info"]
                ended += 1
            assert info.keys() == {name for name in want if f"_{name}" in want} - {
                "final_obs",
                "final_info",
            }
            assert_alike(info, {name: want[name][i] for name in info})
    assert ended == len(AGENTS) * N * (STEPS // SHORT["max_cycles"])
    rows.close()
    batch.close()


@pytest.mark.parametrize("obs_type", ["state", "environment_state_agent_pos"])
def test_merged_is_what_sb3_makes(task: str, obs_type: str, rng: np.random.Generator) -> None:
    """The merged rows are what SB3's own vector of the single environments gives, in all respects."""
    ours = merged(task, obs_type)
    theirs = DummyVecEnv([lambda: single(task, obs_type)] * N)
    for env in (ours, theirs):
        env.seed(4)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert_alike(ours.reset(), theirs.reset())
    for _ in range(STEPS):
        assert_alike(ours.reset_infos, theirs.reset_infos)
        actions = rng.uniform(-1, 1, (N, 2 * ACTION_SIZE)).astype(np.float32)
        (*got, got_infos), (*want, want_infos) = ours.step(actions), theirs.step(actions)
        got[1] = got[1].astype(np.float32)
        assert_alike(got, want)
        assert_alike(got_infos, want_infos)


def single(task: str, obs_type: str, **options: Any) -> AlohaSingleAgent:
    """Both arms as one, once."""
    return AlohaSingleAgent(aloha_marl.parallel_env(task, **SHORT, **options), obs_type)


def test_sb3_accepts_the_single_environment(task: str) -> None:
    """SB3's own check; it warns of actions that are not from -1 to 1."""
    check_env(single(task, "state", control="joint_delta"))


def test_success_is_not_cut_off(task: str) -> None:
    """A success is no time limit: its value is not carried on. It is told as SB3 reads it."""
    env = ArmsVecEnv(AlohaVectorEnv(task, N))
    experts = policies.load("scripted", task)
    env.seed(0)
    seen, done = env.reset(), np.zeros(env.num_envs, bool)
    while not done.any():
        acted = [experts[agent](seen[arm :: len(AGENTS)]) for arm, agent in enumerate(AGENTS)]
        seen, _, done, infos = env.step(np.stack(acted, axis=1).reshape(env.num_envs, -1))
    for info in np.array(infos)[done]:
        assert info["is_success"] is True
        assert info["stage"] == 4
        assert info["TimeLimit.truncated"] is False


@both_views
def test_seeds(make: Callable[..., VecEnv], task: str) -> None:
    """Seed s starts environment i as s + i does, whether there are two rows of it or one."""
    env = make(task)
    agents = env.num_envs // N
    assert env.seed(7) == [7 + row // agents for row in range(env.num_envs)]
    first, second = env.reset(), env.reset()
    assert not np.array_equal(first, second)
    env.seed(8)
    np.testing.assert_array_equal(env.reset()[:-agents], first[agents:])
    env.seed()
    assert not np.array_equal(env.reset(), first)


def test_monitor_and_normalize(rng: np.random.Generator) -> None:
    """SB3's wrappers see whole episodes and their returns."""
    env = VecNormalize(VecMonitor(arms()))
    plain = arms()
    for each in (env, plain):
        each.seed(0)
    seen = env.reset()
    plain.reset()
    total = np.zeros(plain.num_envs)
    for _ in range(SHORT["max_cycles"]):
        actions = rng.uniform(-1, 1, (plain.num_envs, ACTION_SIZE))
        seen, _, dones, infos = env.step(actions)
        total += plain.step(actions)[1]
    assert dones.all()
    assert np.isfinite(seen).all()
    for info, earned in zip(infos, total, strict=True):
        assert info["episode"]["l"] == SHORT["max_cycles"]
        assert info["episode"]["r"] == pytest.approx(earned, abs=1e-5)


@both_views
@pytest.mark.filterwarnings("ignore:Evaluation environment is not wrapped:UserWarning")
def test_evaluate_policy(make: Callable[..., VecEnv]) -> None:
    """SB3's evaluation plays as many episodes as it is asked for."""
    env = make()
    returns, lengths = evaluate_policy(
        PPO("MlpPolicy", env, device="cpu"), env, n_eval_episodes=7, return_episode_rewards=True
    )
    assert lengths == [SHORT["max_cycles"]] * 7
    assert all(0 <= earned <= 1 for earned in returns)


@both_views
def test_attributes_and_methods(make: Callable[..., VecEnv]) -> None:
    """They are those of the one environment behind all rows."""
    env = make()
    everywhere = range(env.num_envs)
    assert env.get_attr("num_envs") == [N for _ in everywhere]
    assert env.get_attr("num_envs", [0, 1]) == [N, N]
    assert env.has_attr("possible_agents") == (make is arms)
    env.set_attr("mark", 3)
    assert env.get_attr("mark", indices=0) == [3]
    with pytest.warns(UserWarning, match="without a render_mode"):
        assert env.env_method("render") == [None for _ in everywhere]
    assert env.env_is_wrapped(Monitor) == [False for _ in everywhere]
    for ask in (
        lambda: env.set_attr("mark", 4, indices=[0]),
        lambda: env.env_method("render", indices=0),
    ):
        with pytest.raises(ValueError, match=r"rows \[0\] share"):
            ask()
    assert env.get_attr("mark", indices=0) == [3]


@both_views
def test_pictures_of_all(make: Callable[..., VecEnv]) -> None:
    """SB3 lays a picture of each environment side by side."""
    size = {"visualization_width": 32, "visualization_height": 24}
    env = make(render_mode="rgb_array", **size)
    env.reset()
    tiled = env.render()
    assert tiled is not None
    assert tiled.shape == (48, 64, 3)
    np.testing.assert_array_equal(tiled[:24, :32], env.env_method("render")[0][0])


@both_views
@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_other_modes_are_refused(make: Callable[..., VecEnv], mode: str) -> None:
    """SB3 expects rows to start again by themselves."""
    env = AlohaVectorEnv(num_envs=N, autoreset_mode=mode)
    with pytest.raises(ValueError, match="valid: 'SameStep'"):
        ArmsVecEnv(env) if make is arms else MergedVecEnv(AlohaSingleAgentVector(env))


@both_views
def test_bad_actions(make: Callable[..., VecEnv]) -> None:
    """Another shape is refused with both shapes."""
    env = make()
    env.reset()
    with pytest.raises(ValueError, match=rf"shape \({env.num_envs}, .*got \(7, 2\)"):
        env.step(np.zeros((7, 2)))


@both_views
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda it: pickle.loads(cloudpickle.dumps(it))])
def test_copies(make: Callable[..., VecEnv], copied: Any) -> None:
    """A copy is a new one with the same options, whatever the original has done."""
    env, fresh = make("insertion", metrics=True), make("insertion", metrics=True)
    env.reset()
    env.step(np.zeros((env.num_envs, *env.action_space.shape)))
    again = copied(env)
    env.close()
    for results in zip(story(again), story(fresh), strict=True):
        assert_alike(*results)


@both_views
def test_what_is_returned_is_the_callers(make: Callable[..., VecEnv]) -> None:
    """Overwriting all of it, and what was passed in, changes nothing."""
    for result, expected in zip(story(make("insertion")), story(make("insertion")), strict=True):
        assert_alike(result, expected)
        spoil(result)


def story(env: VecEnv) -> Iterator[Any]:
    """All that some episodes return, and what was passed in."""
    draw = np.random.default_rng(0)
    yield env.seed(4)
    yield env.reset()
    for _ in range(STEPS):
        actions = draw.uniform(-1, 1, (env.num_envs, *env.action_space.shape))
        yield actions, env.step(actions)


@pytest.mark.parametrize("method", ["fork", "forkserver"])
def test_processes(method: str) -> None:
    """SB3's processes take environments that were made, and played, before them."""
    made = [single("insertion", "state") for _ in range(2)]
    fresh = SubprocVecEnv([lambda: single("insertion", "state")] * 2, start_method=method)
    for env in made:
        env.reset(seed=1)
        env.step(np.zeros(2 * ACTION_SIZE))
    many = SubprocVecEnv([lambda env=env: env for env in made], start_method=method)
    for results in zip(story(many), story(fresh), strict=True):
        assert_alike(*results)
    many.close()
    fresh.close()


def test_imperfect_arms(rng: np.random.Generator) -> None:
    """The package's wrappers work below the rows, at the end of episodes too."""
    noise = {"joint_pos": 0.1}
    batch = AlohaVectorEnv(num_envs=N, **SHORT)
    rows = ArmsVecEnv(
        Freeze(ObservationNoise(AlohaVectorEnv(num_envs=N, **SHORT), noise), 1, (0, 3))
    )
    rows.seed(0)
    seen, (true, _) = rows.reset(), batch.reset(seed=0)
    assert not np.array_equal(seen[0], true["left_arm"][0])
    for _ in range(SHORT["max_cycles"]):
        seen, _, dones, infos = rows.step(rng.uniform(-1, 1, (rows.num_envs, ACTION_SIZE)))
    assert dones.all()
    assert any(info["frozen"] for info in infos)
    assert all(info["terminal_observation"].shape == seen[0].shape for info in infos)


def test_one_arm_learns_with_a_partner() -> None:
    """PPO trains it in one environment and in many."""
    options: dict[str, Any] = {**SHORT, "control": "joint_delta"}
    batch: Any = with_partner(AlohaVectorEnv(num_envs=N, **options), AGENTS[1], "scripted")
    one: Any = with_partner(aloha_marl.parallel_env(**options), AGENTS[1], "scripted")
    check_env(one)
    for env, rows in ((MergedVecEnv(batch), N), (one, 1)):
        model = PPO("MlpPolicy", env, n_steps=16, batch_size=8, n_epochs=1, device="cpu")
        model.learn(16 * rows)
        lengths = [episode["l"] for episode in model.ep_info_buffer or ()]
        assert model.num_timesteps == 16 * rows
        assert lengths == ([] if rows == N else [SHORT["max_cycles"]] * 2)  # SB3's monitor of one
        model.env.close()


def test_pictures_can_be_learned_from() -> None:
    """SB3's networks for dicts take pictures beside numbers."""
    size = {"observation_width": 36, "observation_height": 36}
    env = arms(obs_type="pixels_agent_pos", cameras=("wrist_wide",), **size)
    model = PPO("MultiInputPolicy", env, n_steps=4, batch_size=8, n_epochs=1, device="cpu")
    model.learn(4 * env.num_envs)
    assert model.num_timesteps == 4 * env.num_envs


def test_networks() -> None:
    """They act as SB3's policy does, on normalised observations."""
    learner, _ = smoke.trained("train_sb3", *smoke.PPO)
    (network,) = learner.networks()
    for seen in learner.rows.observations().values():
        normalized = learner.model.get_vec_normalize_env().normalize_obs(seen)
        acted, _ = learner.model.predict(normalized, deterministic=True)
        np.testing.assert_allclose(np.clip(network(seen), -1, 1), acted, atol=1e-5)
    learner.rows.close()


def test_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is paid is done more."""
    arguments = ("--steps", "12288", "--num-envs", "16", "--learning-rate", "0.001")
    assert smoke.learned("train_sb3", monkeypatch, *arguments, "--batch-size", "256") > 0.1
