"""One arm as the agent of a Gymnasium environment, a policy in the other one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from doors import imperfect, talking
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import ClipAction, RecordEpisodeStatistics
from helpers import assert_alike, every_mode, make, sample
from one_by_one import make_batch, random_actions

import aloha_marl
from aloha_marl import policies, with_partner
from aloha_marl.evaluation import PolicyError
from aloha_marl.policies import Policy

every_agent = pytest.mark.parametrize("agent", aloha_marl.AGENTS)
WRAPS: dict[str, Callable[[Any], Any]] = {"bare": lambda env: env, "imperfect": imperfect}
every_wrap = pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)


def other(agent: str) -> str:
    """The partner's name."""
    return next(name for name in aloha_marl.AGENTS if name != agent)


def drawn(env: Any, draw: np.random.Generator) -> np.ndarray:
    """A uniform action, of all rows if there are rows."""
    return draw.uniform(env.action_space.low, env.action_space.high).astype(np.float32)


class Counts:
    """Closes the gripper a little more in every step, so that it depends on its episode."""

    scope, control = "local", "joint_delta"

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.calls = 0

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        self.calls, self.seen = self.calls + 1, observation
        return np.full((*observation.shape[:-1], 7), -0.01 * self.calls, np.float32)


@every_agent
@every_wrap
def test_equals_the_environment_of_both(task: str, agent: str, wrap: Any) -> None:
    """Results are the agent's own when the policy plays the other arm by hand; one and many."""
    for both, pair, act in (
        (*(wrap(make(task, control="joint_delta", max_cycles=7)) for _ in range(2)), sample),
        (
            *(wrap(make_batch(task, 2, control="joint_delta", max_cycles=7)) for _ in range(2)),
            random_actions,
        ),
    ):
        policy, env = Counts(), with_partner(pair, agent, Counts())
        assert env.observation_space == both.observation_space(agent)
        assert env.action_space == both.action_space(agent)
        size = aloha_marl.parallel_env(task, scope="local").layout.size
        draw = np.random.default_rng(0)
        for seed in (0, None):
            observations, infos = both.reset(seed=seed)
            assert_alike(env.reset(seed=seed), (observations[agent], infos[agent]))
            policy.reset()
            for _ in range(7):
                action = act(both, draw)[agent]
                seen = observations[other(agent)][..., :size]
                result = both.step({agent: action, other(agent): policy(seen)})
                assert_alike(env.step(action), tuple(part[agent] for part in result))
                observations = result[0]
        env.close()
        both.close()


@every_wrap
@every_mode
def test_batch_equals_gymnasiums_loop(task: str, mode: AutoresetMode, wrap: Any) -> None:
    """Spaces and all that ``reset`` and ``step`` return, infos included, over many episodes."""
    n, agent, options = 3, aloha_marl.AGENTS[1], {"max_cycles": 9, "metrics": True}
    batch = wrap(make_batch(task, n, autoreset_mode=mode, **options))
    ours = with_partner(batch, agent, "scripted:novice")
    single = lambda: with_partner(wrap(make(task, **options)), agent, "scripted:novice")  # noqa: E731
    loop = SyncVectorEnv([single] * n, autoreset_mode=mode)
    for name in ("single_observation_space", "single_action_space", "observation_space"):
        assert getattr(ours, name) == getattr(loop, name)
    assert ours.action_space == loop.action_space
    envs = [RecordEpisodeStatistics(ClipAction(env)) for env in (ours, loop)]
    assert_alike(*(env.reset(seed=3) for env in envs))
    draw, ended = np.random.default_rng(0), 0
    for t in range(30):
        actions = drawn(ours, draw)
        (*ours_result, told), (*loop_result, want) = (env.step(actions) for env in envs)
        assert_alike(ours_result, loop_result, f"step {t}")
        for infos in (told, want):  # how long it took
            infos.get("episode", {}).pop("t", None)
        assert_alike(told, want, f"infos of step {t}")
        over = ours_result[2] | ours_result[3]
        ended += int(over.sum())
        if mode is AutoresetMode.DISABLED and over.any():
            assert_alike(*(env.reset(options={"reset_mask": over.copy()}) for env in envs))
    assert ended >= 6
    for env in envs:
        env.close()


@every_agent
@every_wrap
def test_check_env(agent: str, wrap: Any) -> None:
    """Gymnasium's own checks pass without a warning."""
    env = with_partner(wrap(make("insertion", control="joint_delta")), agent, "scripted:still")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env, skip_render_check=True)  # which needs an id


def test_a_partner_acts_from_the_state_put_in(task: str) -> None:
    """Put into the environment below, it goes on as it did: in another one, and in its own."""
    for base in (make, lambda name: make_batch(name, 2)):
        env, fresh = (with_partner(base(task), "left_arm", "random") for _ in range(2))
        draw = np.random.default_rng(0)
        actions = [drawn(env, draw) for _ in range(6)]
        env.reset(seed=0)
        for action in actions[:3]:
            env.step(action)
        saved, seen = env.env.get_state(), env.env.observations()
        want = [env.step(action) for action in actions[3:]]
        for other_env in (fresh, env):
            other_env.env.set_state(saved)
            assert_alike(other_env.env.observations(), seen)
            assert_alike([other_env.step(action) for action in actions[3:]], want)
            other_env.close()


def test_partners() -> None:
    """A name, all that ``load`` returns, or an object, which stays the caller's; any agent names."""
    names = {"agent_names": ("a", "b")}
    arms = policies.load("scripted:slow", "insertion")
    mine = dict(zip(names["agent_names"], arms.values(), strict=True))
    results = []
    for partner in ("scripted:slow", mine, mine["b"]):
        env = with_partner(make("insertion", **names), "a", partner)
        env.reset(seed=0)
        results += [env.step(np.zeros(7)), env.step(np.zeros(7))]
    assert_alike(results[2:], results[:2] * 2)
    live = Counts()
    env = with_partner(make("insertion", control="joint_delta"), aloha_marl.AGENTS[0], live)
    env.reset(seed=0)
    env.step(np.zeros(7))
    assert live.calls == 1


def test_a_partner_that_talks() -> None:
    """Below a channel the agent's action has a message, and the partner's too."""
    agent = aloha_marl.AGENTS[0]

    class Talks(Counts):
        def __call__(self, observation: np.ndarray) -> np.ndarray:
            return np.append(super().__call__(observation), (0.5, -0.5))

    policy = Talks()
    policy.scope = "partner"
    env = with_partner(talking(make("insertion", control="joint_delta")), agent, policy)
    env.reset(seed=0)
    action = np.append(np.zeros(7), (1, -1))
    observation, *_ = env.step(action)
    env.step(action)
    assert observation[-1] == -0.5  # the outer channel, without noise
    assert policy.seen[-1] == -1


class Bad(Counts):
    """Gives or raises what it was made with."""

    def __init__(self, outcome: Any) -> None:
        self.outcome = outcome

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return np.broadcast_to(self.outcome, (*observation.shape[:-1], *np.shape(self.outcome)))


@pytest.mark.parametrize(
    ("outcome", "error"),
    [
        (ZeroDivisionError("oh"), r"the policy of right_arm raised ZeroDivisionError: oh"),
        (np.full(7, np.nan), r"right_arm: action.* must be finite, got nan"),
        (np.zeros(6), r"right_arm: action must be numbers of shape \(.*7,?\), got shape \(.*6,?\)"),
    ],
    ids=["raises", "nan", "shape"],
)
def test_partners_that_fail(outcome: Any, error: str) -> None:
    """The error names the arm, and nothing has moved."""
    for base in (
        make("insertion", control="joint_delta"),
        make_batch("insertion", 2, control="joint_delta"),
    ):
        env = with_partner(base, "left_arm", Bad(outcome))
        env.reset(seed=0)
        before = vars(base.get_state())
        with pytest.raises(PolicyError, match=error):
            env.step(np.zeros(env.action_space.shape))
        assert_alike(vars(base.get_state()), before)
        base.close()


@pytest.mark.parametrize("bad", [np.full(7, np.nan), np.zeros(6), "left", None])
def test_bad_actions(bad: Any) -> None:
    """The agent's own are a plain error, and the partner has not been asked."""
    partner = Counts()
    env = with_partner(make("insertion", control="joint_delta"), "right_arm", partner)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"right_arm: action") as error:
        env.step(bad)
    assert not isinstance(error.value, PolicyError)
    assert partner.calls == 0


class Both:
    """A policy of both arms."""

    obs_type, cameras, control = "state", ("top",), "joint_position"


@pytest.mark.parametrize(
    ("partner", "error"),
    [
        ("nobody", r"policy='nobody' is unknown; valid: 'scripted'"),
        (Both(), r"partner=<.*Both.*> acts for both arms; valid: a policy of one arm"),
        (Counts(), r"the policy of right_arm acts in control='joint_delta', the environment has"),
        (
            "scripted",
            r"policy of right_arm reads scope='partner', the environment has scope='local",
        ),
        ({"third": Counts()}, r"agent of the partner='right_arm' is unknown; valid: 'third'"),
        (len, r"partner=.*without reset, control, scope; a policy has"),
    ],
    ids=["name", "both", "control", "scope", "dict", "function"],
)
def test_partners_that_do_not_fit(partner: Policy | str, error: str) -> None:
    """They are refused at once, in a line."""
    with pytest.raises(ValueError, match=error) as told:
        with_partner(make("insertion", scope="local"), "left_arm", partner)
    assert "\n" not in str(told.value)


def test_other_arguments() -> None:
    """An unknown agent, and an environment of another kind."""
    with pytest.raises(ValueError, match=r"agent='arm' is unknown; valid: 'left_arm', 'right_arm'"):
        with_partner(make("insertion"), "arm", "scripted")
    merged: Any = aloha_marl.AlohaSingleAgent(make("insertion"))
    with pytest.raises(ValueError, match=r"env is a AlohaSingleAgent; valid: AlohaParallelEnv, Al"):
        with_partner(merged, "left_arm", "scripted")
