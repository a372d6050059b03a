"""Pictures: sizes, qualities, cameras, contexts."""

from __future__ import annotations

import subprocess
import sys

import mujoco
import numpy as np
import pytest
from helpers import free_joint, make, objects, put, sample

import aloha_marl
from aloha_marl.arms import SIDES
from aloha_marl.rendering import camera_names

CAMERAS = {
    "top",
    "angle",
    "vis",
    *(f"{side}_pillar" for side in SIDES),
    *(f"{side}_wrist" for side in SIDES),
}
WIDE = {"observation_width": 64, "observation_height": 48}


def red(picture: np.ndarray) -> np.ndarray:
    """Which pixels are red."""
    r, g, b = np.moveaxis(picture.astype(int), 2, 0)
    return (r > 100) & (r > 2 * g) & (r > 2 * b)


def test_cameras_exist(task: str) -> None:
    """The seven cameras, by the names observations use."""
    assert set(camera_names(make(task).model)) == CAMERAS


@pytest.mark.parametrize("size", [(31, 17), (64, 48), (700, 500)])
@pytest.mark.parametrize("quality", ["fast", "high"])
def test_observed_size(task: str, size: tuple[int, int], quality: str) -> None:
    """Observed pictures have the size asked for, also odd ones and large ones."""
    width, height = size
    env = make(
        task,
        obs_type="pixels",
        observation_width=width,
        observation_height=height,
        render_quality=quality,
        cameras=("top",),
    )
    observations, _ = env.reset(seed=0)
    for agent in env.possible_agents:
        picture = observations[agent]["top"]
        assert picture.shape == (height, width, 3)
        assert picture.dtype == np.uint8
        assert observations[agent] in env.observation_space(agent)
        assert np.ptp(picture) > 50
    env.close()


def test_render_size(task: str) -> None:
    """``render()`` has its own size, larger than MuJoCo's default buffer if need be."""
    env = make(task, render_mode="rgb_array", visualization_width=800, visualization_height=600)
    env.reset(seed=0)
    picture = env.render()
    assert picture.shape == (600, 800, 3)
    assert picture.dtype == np.uint8
    assert np.ptp(picture) > 100
    model = env.model.vis.global_
    assert (model.offwidth, model.offheight) == (
        make(task).model.vis.global_.offwidth,
        make(task).model.vis.global_.offheight,
    )
    env.close()


def test_qualities_differ(task: str) -> None:
    """Shadows and smooth edges are drawn in ``high`` only, of the same scene."""
    pictures = {}
    for quality in ("fast", "high"):
        env = make(task, render_quality=quality, observation_width=160, observation_height=120)
        env.reset(seed=0)
        pictures[quality] = env.picture("angle", observed=True).astype(int)
        env.close()
    difference = np.abs(pictures["fast"] - pictures["high"])
    assert difference.max() > 40
    assert difference.mean() < 20


def test_same_state_same_picture(task: str) -> None:
    """A state has one picture, in any environment, whatever was drawn before."""
    first, second = make(task, **WIDE), make(task, **WIDE)
    first.reset(seed=3)
    draw = np.random.default_rng(0)
    for _ in range(10):
        first.step(sample(first, draw))
    saved = first.get_state()
    pictures = {name: first.picture(name, observed=True) for name in CAMERAS}
    assert len({picture.tobytes() for picture in pictures.values()}) == len(CAMERAS)
    first.step(sample(first, draw))
    assert not np.array_equal(first.picture("vis", observed=True), pictures["vis"])
    second.reset(seed=8)
    for env in (first, second):
        env.set_state(saved)
        for name in sorted(CAMERAS, reverse=True):
            np.testing.assert_array_equal(env.picture(name, observed=True), pictures[name])
        env.close()


def test_drawing_changes_nothing(task: str) -> None:
    """An environment that draws steps exactly as one that does not."""
    seeing, blind = make(task, obs_type="pixels_agent_pos"), make(task)
    draws = [np.random.default_rng(0) for _ in range(2)]
    pixels, _ = seeing.reset(seed=0)
    states, _ = blind.reset(seed=0)
    for _ in range(5):
        for agent in blind.possible_agents:
            np.testing.assert_array_equal(pixels[agent]["agent_pos"], states[agent])
        pixels = seeing.step(sample(seeing, draws[0]))[0]
        states = blind.step(sample(blind, draws[1]))[0]
    seeing.close()


def test_observed_pictures(task: str) -> None:
    """Each arm sees its own wrist camera, and both see the shared ones."""
    cameras = ("wrist", "top", "right_wrist")
    env = make(task, obs_type="pixels", cameras=cameras, **WIDE)
    observations, _ = env.reset(seed=0)
    for _ in range(2):
        for side, agent in zip(SIDES, env.possible_agents, strict=True):
            assert tuple(observations[agent]) == cameras
            own = env.picture(f"{side}_wrist", observed=True)
            np.testing.assert_array_equal(observations[agent]["wrist"], own)
            top = env.picture("top", observed=True)
            np.testing.assert_array_equal(observations[agent]["top"], top)
        left, right = (observations[agent] for agent in env.possible_agents)
        np.testing.assert_array_equal(right["wrist"], left["right_wrist"])
        assert not np.array_equal(left["wrist"], right["wrist"])
        observations, *_ = env.step(sample(env, np.random.default_rng(0)))
    env.close()


@pytest.mark.parametrize("place", [(0.0, 0.45), (0.1, 0.55), (-0.1, 0.6)])
def test_cube_is_where_it_is(place: tuple[float, float]) -> None:
    """The cube is a red square in the picture from above, at the place it has on the table."""
    env = make("transfer_cube", observation_width=320, observation_height=240)
    env.reset(seed=0)
    qpos = env.model.key("home").qpos.copy()
    qpos[free_joint(env, "cube")[0]] = [*place, 0.02, 1, 0, 0, 0]
    put(env, qpos)
    rows, columns = np.nonzero(red(env.picture("top", observed=True)))
    camera = env.model.camera("top")
    focal = 120 / np.tan(np.deg2rad(camera.fovy[0]) / 2)
    depth = camera.pos[2] - 0.04
    where = 160 + focal * (place[0] - camera.pos[0]) / depth
    down = 120 - focal * (place[1] - camera.pos[1]) / depth
    assert columns.mean() == pytest.approx(where, abs=1.5)
    assert rows.mean() == pytest.approx(down, abs=1.5)
    assert rows.size == pytest.approx((focal * 0.04 / depth) ** 2, rel=0.25)
    env.close()


def test_objects_are_seen(task: str) -> None:
    """Each object, put in the open, shows in the picture from above."""
    env = make(task, observation_width=160, observation_height=120)
    env.reset(seed=0)
    empty = env.model.key("home").qpos.copy()
    for name in objects(env):
        empty[free_joint(env, name)[0]] = [0, 0, -5, 1, 0, 0, 0]
    put(env, empty)
    background = env.picture("top", observed=True)
    for name in objects(env):
        qpos = empty.copy()
        qpos[free_joint(env, name)[0]] = [0, 0.7, 0.05, 1, 0, 0, 0]
        put(env, qpos)
        assert not np.array_equal(env.picture("top", observed=True), background)
    env.close()


def test_close_and_draw_again(task: str) -> None:
    """Closing frees the contexts; the environment goes on, and may draw again."""
    env = make(
        task,
        obs_type="pixels",
        render_mode="rgb_array",
        visualization_width=40,
        visualization_height=30,
    )
    first, _ = env.reset(seed=0)
    env.render()
    env.close()
    env.close()
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first["left_arm"]["wrist"], again["left_arm"]["wrist"])
    assert env.render().shape == (30, 40, 3)
    env.close()


def test_without_opengl(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without OpenGL a picture is a clear error, and states need none."""

    def broken(*_: object, **__: object) -> None:
        raise OSError("no such library: libFancyGL")

    monkeypatch.setattr(mujoco, "Renderer", broken)
    env = make(task, render_mode="rgb_array")
    env.reset(seed=0)
    env.step(sample(env, np.random.default_rng(0)))
    with pytest.raises(RuntimeError, match="libFancyGL") as error:
        env.render()
    assert "MUJOCO_GL" in str(error.value)
    pixels = make(task, obs_type="pixels")
    with pytest.raises(RuntimeError, match="OpenGL"):
        pixels.reset(seed=0)


def test_forgotten_close_is_silent(task: str) -> None:
    """A script that never calls ``close()`` ends without complaints."""
    code = (
        "import aloha_marl\n"
        f"env = aloha_marl.parallel_env({task!r}, obs_type='pixels', observation_width=24,"
        " observation_height=24)\n"
        "env.reset(seed=0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_unknown_camera_lists_the_valid_ones(task: str) -> None:
    """Both at construction and for a single picture the message lists the cameras."""
    with pytest.raises(ValueError, match="moon") as error:
        aloha_marl.parallel_env(task, obs_type="pixels", cameras=("moon",))
    assert all(name in str(error.value) for name in CAMERAS)
    env = make(task)
    env.reset(seed=0)
    with pytest.raises((ValueError, KeyError), match="moon"):
        env.picture("moon")
    env.close()
