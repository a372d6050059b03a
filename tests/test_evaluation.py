"""Episodes are counted right and can be repeated."""

from __future__ import annotations

import itertools
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

import aloha_marl
from aloha_marl import policies
from aloha_marl.core.metrics import BOTH, OWN
from aloha_marl.core.observations import SCOPES, WIDENING
from aloha_marl.evaluation import Episode, Evaluation, evaluate, play, wilson
from aloha_marl.recording import video as recording


class Still:
    """Never moves; remembers what it was given."""

    control = "joint_delta"

    def __init__(self, scope: str = "local") -> None:
        self.scope = scope
        self.seen: list[np.ndarray] = []
        self.resets = 0

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        self.seen.append(observation)
        return np.zeros(7, np.float32)

    def reset(self) -> None:
        self.resets += 1


@pytest.fixture
def still() -> dict[str, Still]:
    """One per arm."""
    return {agent: Still() for agent in aloha_marl.AGENTS}


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        (0, 10, 0.0, 0.27753),
        (10, 10, 0.72247, 1.0),
        (5, 10, 0.23659, 0.76341),
        (81, 263, 0.25528, 0.36620),
        (0, 0, 0.0, 1.0),
    ],
)
def test_wilson(successes: int, trials: int, low: float, high: float) -> None:
    """Values of the score interval without continuity correction (Newcombe 1998 has 81 of 263)."""
    assert wilson(successes, trials) == pytest.approx((low, high), abs=2e-5)


def test_own_observation_only(still: dict[str, Still]) -> None:
    """Each policy is given its own agent's observation, in its scope, and is reset once."""
    result = evaluate("transfer_cube", still, [3], max_cycles=4)
    assert result.options["scope"] == "local"
    assert result.options["control"] == "joint_delta"
    env = aloha_marl.parallel_env("transfer_cube", scope="local", control="joint_delta")
    observations, _ = env.reset(seed=3)
    for agent, policy in still.items():
        assert policy.resets == 1
        assert len(policy.seen) == 4
        np.testing.assert_array_equal(policy.seen[0], observations[agent])


@pytest.mark.parametrize("scopes", [*itertools.permutations(SCOPES, 2)])
def test_scopes_may_differ(task: str, scopes: tuple[str, str]) -> None:
    """The environment has the wider scope; each policy is given what is in its own."""
    arms = {agent: Still(scope) for agent, scope in zip(aloha_marl.AGENTS, scopes, strict=True)}
    result = evaluate(task, arms, [3], max_cycles=2)
    assert result.options["scope"] == max(scopes, key=WIDENING.index)
    for agent, policy in arms.items():
        env = aloha_marl.parallel_env(task, scope=policy.scope, control="joint_delta")
        observations, _ = env.reset(seed=3)
        np.testing.assert_array_equal(policy.seen[0], observations[agent])
    with pytest.raises(ValueError, match=r"can't share .*obs_type='pixels'; valid: 'state'"):
        evaluate(task, arms, [3], obs_type="pixels")


def test_failure_is_counted(still: dict[str, Still]) -> None:
    """An episode in which nothing happens."""
    result = evaluate("transfer_cube", still, range(2), max_cycles=5, metrics=False)
    assert [episode.seed for episode in result.episodes] == [0, 1]
    for episode in result.episodes:
        reason = "stage 1 was not reached: the right arm grips the cube"
        assert episode == Episode(episode.seed, False, 5, 0, False, (None,) * 4, reason)
    assert result.success_rate == 0
    assert result.summary()["mean_steps_of_successes"] is None
    assert result.stage_counts == {0: 2, 1: 0, 2: 0, 3: 0, 4: 0}


def test_metrics_are_kept(task: str) -> None:
    """What the environment tells at the end is in the episode, and its mean in the summary."""
    arms = policies.load("scripted", task)
    result = evaluate(task, arms, [3, 4])
    env = aloha_marl.parallel_env(task, metrics=True)
    for episode in result.episodes:
        observations, infos = env.reset(seed=episode.seed)
        while env.agents:
            actions = {agent: arms[agent](observations[agent]) for agent in arms}
            observations, *_, infos = env.step(actions)
        told = {name: infos["left_arm"][name] for name in BOTH}
        for name in OWN:
            told |= {f"{side}_{name}": infos[f"{side}_arm"][name] for side in ("left", "right")}
        assert episode.metrics == told
    means = json.loads(result.to_json())["summary"]["metrics"]
    forces = [episode.metrics["right_peak_grip_force"] for episode in result.episodes]
    assert means["right_peak_grip_force"] == pytest.approx(np.mean(forces))
    assert ("handover_time" in means) == (task == "transfer_cube")  # never happens in the other


def test_success_is_counted(task: str) -> None:
    """An expert's episode, step by step."""
    arms = policies.load("scripted", task)
    seen: list[Episode] = []
    result = evaluate(task, arms, [10_000], policy_name="scripted", on_episode=seen.append)
    (episode,) = result.episodes
    assert seen == [episode]
    assert episode.success
    assert episode.reason == ""
    assert episode.stage == 4
    first = [step for step in episode.first_steps if step is not None]
    assert first == sorted(first)
    assert episode.first_steps[-1] == episode.steps
    assert result.success_steps == [episode.steps]


class Gone:
    """An arm that never moves; what it does is anybody's guess."""

    scope, control = "partner", "ee_delta"

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        return np.zeros(7, np.float32)

    def reset(self) -> None: ...


def test_reasons_of_a_loss() -> None:
    """Without a taker the giver ends up dropping the cube: what was lost, when, and what it does."""
    arms = policies.load("scripted", "transfer_cube", control="ee_delta") | {"left_arm": Gone()}
    (episode,) = evaluate("transfer_cube", arms, [0]).episodes
    assert (episode.success, episode.stage) == (False, 2)
    first, second, last = episode.reason.split("; ")
    assert first == "stage 3 was not reached: the left arm grips it too"
    assert second.startswith("stage 2 was lost ")
    lost, reached = int(second.split()[-1]), episode.first_steps[1]
    assert reached is not None
    assert reached < lost <= episode.steps
    assert last.startswith("at the end right_arm ")


def test_reason_of_a_divergence() -> None:
    """An episode whose physics blew up says so."""
    arms = policies.load("random", "insertion", seed=1)
    episodes = evaluate("insertion", arms, range(4), max_joint_speed=None).episodes
    diverged = [episode for episode in episodes if episode.diverged]
    assert diverged
    for episode in diverged:
        assert episode.reason == f"the simulation diverged in step {episode.steps}, from stage 0"


def test_json_repeats(task: str) -> None:
    """The JSON is the same every time and names what it takes to repeat it."""
    arms = policies.load("scripted", task)
    first, second = (
        evaluate(task, arms, range(2), policy_name="scripted", max_cycles=30).to_json()
        for _ in range(2)
    )
    assert first == second
    content = json.loads(first)
    assert content["task"] == task
    assert content["policy"] == "scripted"
    assert content["seeds"] == [0, 1]
    assert content["options"]["max_cycles"] == 30
    assert content["versions"].keys() == {"aloha_marl", "mujoco", "numpy", "pettingzoo", "python"}
    assert [episode["seed"] for episode in content["episodes"]] == [0, 1]
    # The options are keywords: they make the same environment.
    env = aloha_marl.parallel_env(task, **content["options"])
    assert play(env, arms, 0).stage == content["episodes"][0]["stage"]


def test_no_episodes() -> None:
    """Nothing to count is not an error."""
    result = Evaluation("transfer_cube", "", {}, ())
    assert math.isnan(result.success_rate)
    assert json.loads(result.to_json())["summary"]["success_rate"] is None


def test_policies_must_fit(still: dict[str, Still]) -> None:
    """Scope and control come from the policies, one per agent."""
    with pytest.raises(ValueError, match=r"scope .*'full', 'local'"):
        evaluate("transfer_cube", still, [0], scope="full")
    still["left_arm"].control = "joint_position"
    with pytest.raises(ValueError, match=r"control .*'joint_delta', 'joint_position'"):
        evaluate("transfer_cube", still, [0])
    with pytest.raises(ValueError, match="left_arm, right_arm"):
        evaluate("transfer_cube", {"left_arm": Still()}, [0])
    with pytest.raises(ValueError, match=r"policies for \[\]; agents: left_arm, right_arm"):
        evaluate("transfer_cube", {}, [0])


@pytest.mark.parametrize("suffix", recording.FORMATS)
def test_video(suffix: str, still: dict[str, Still], tmp_path: Path) -> None:
    """A video has the pictures it should; with OpenGL and imageio only."""
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    image = pytest.importorskip("PIL.Image")
    small = {"visualization_width": 64, "visualization_height": 48}
    path = tmp_path / "new" / f"video{suffix}"
    episode = recording.record("transfer_cube", still, 0, path, max_cycles=10, **small)
    assert episode.steps == 10
    every = recording.FORMATS[suffix]["every"]
    expected = 10 // every + 1
    if suffix == ".gif":
        with image.open(path) as film:
            assert (film.size, film.n_frames) == ((64, 48), expected)
            assert film.info["duration"] == 1000 * every / 50
    else:
        frames, seconds = imageio_ffmpeg.count_frames_and_secs(path)
        assert frames == expected
        assert seconds == pytest.approx(frames / 50, abs=0.011)


def test_video_errors(
    still: dict[str, Still], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong ending and a missing library are said plainly."""
    with pytest.raises(ValueError, match=r"'\.avi'.*'\.mp4', '\.gif'"):
        recording.record("transfer_cube", still, 0, tmp_path / "video.avi")
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(RuntimeError, match=r"pip install 'aloha_marl\[cli\]'"):
        recording.record("transfer_cube", still, 0, tmp_path / "video.mp4")
