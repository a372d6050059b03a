"""From MJCF to model: what is merged, what is kept, and where files are found."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import mujoco
import numpy as np
import pytest
from helpers import TASK_NAMES, assert_alike, touching

import aloha_marl
from aloha_marl.arms import AGENTS, FINGERS, SIDES
from aloha_marl.scene import SceneSpec, assets_directory, load_model, sensors
from aloha_marl.scene import model as scene_model
from aloha_marl.scene.visuals import merge_visuals

VISUAL = """
<mujoco>
  <worldbody>
    <body name="thing" pos="0 0 1">
      <joint name="hinge"/>
      <inertial mass="1" pos="0 0 0" diaginertia="1 1 1"/>
      <geom name="solid" type="sphere" size="0.1"/>
      <geom name="marker" type="box" size="0.1 0.1 0.1" contype="0" conaffinity="0"/>
      <geom type="box" size="0.1 0.1 0.1" rgba="1 0 0 0.5" contype="0" conaffinity="0"/>
      {boxes}
    </body>
  </worldbody>
</mujoco>
"""
BOX = '<geom type="box" size="0.1 0.2 0.3" pos="{x} 0 0" contype="0" conaffinity="0"/>'


@pytest.mark.parametrize("name", TASK_NAMES)
@pytest.mark.parametrize("relative", [False, True])
def test_scenes_load_by_themselves(
    name: str, relative: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A viewer opens the files as they are, from their folder and from anywhere."""
    path = assets_directory() / f"{name}.xml"
    if relative:
        monkeypatch.chdir(path.parent.parent)
        path = path.relative_to(path.parent.parent)
    model = mujoco.MjModel.from_xml_path(str(path))
    assert model.nu == 16
    assert model.key("home").id == 0


@pytest.mark.parametrize("name", TASK_NAMES)
def test_merging_keeps_what_acts(name: str) -> None:
    """Every geom that can touch something is the same before and after, in the same order."""
    task = aloha_marl.TASKS[name]()
    plain, merged = mujoco.MjModel.from_xml_path(str(task.xml)), load_model(task.scene())
    acting = [np.flatnonzero(model.geom_contype) for model in (plain, merged)]
    for field in ("geom_type", "geom_size", "geom_pos", "geom_friction", "geom_solimp"):
        first, second = (
            getattr(m, field)[rows] for m, rows in zip((plain, merged), acting, strict=True)
        )
        np.testing.assert_array_equal(first, second)
    assert merged.ngeom < plain.ngeom / 2


def test_merging_keeps_the_look() -> None:
    """The drawn surface is the same: as many triangles' worth of area, in the same places."""
    spec = mujoco.MjSpec.from_string(VISUAL.format(boxes=BOX.format(x=0) + BOX.format(x=1)))
    merge_visuals(spec)
    model = spec.compile()
    assert model.ngeom == 4  # solid, marker, the transparent one, and two boxes in one
    merged = model.geom("visual:thing").id
    mesh = model.geom_dataid[merged]
    corners = model.mesh_vert[model.mesh_vertadr[mesh] :][: model.mesh_vertnum[mesh]]
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[merged])
    placed = corners @ rotation.reshape(3, 3).T + model.geom_pos[merged]
    np.testing.assert_allclose(placed.min(axis=0), (-0.1, -0.2, -0.3), atol=1e-6)
    np.testing.assert_allclose(placed.max(axis=0), (1.1, 0.2, 0.3), atol=1e-6)
    assert model.mesh_facenum[mesh] == 24
    assert not model.geom_contype[merged]


def test_nothing_to_merge() -> None:
    """A scene without visual geoms stays as it is."""
    spec = mujoco.MjSpec.from_string(VISUAL.format(boxes=""))
    merge_visuals(spec)
    assert spec.compile().ngeom == 3


def test_an_edited_scene_is_compiled_again(tmp_path: Path) -> None:
    """The model follows the file, also within one process."""
    source = aloha_marl.TASKS["transfer_cube"].xml
    scene = tmp_path / "scene.xml"
    scene.write_text(source.read_text())

    class Edited(aloha_marl.TASKS["transfer_cube"]):
        xml = scene

    assert aloha_marl.parallel_env(Edited()).model.body("cube").mass[0] == 0.05
    scene.write_text(source.read_text().replace('mass="0.05"', 'mass="0.06"'))
    os.utime(scene, ns=(0, 0))
    assert aloha_marl.parallel_env(Edited()).model.body("cube").mass[0] == 0.06


def test_a_scene_has_its_own_meshes(tmp_path: Path) -> None:
    """Files that a scene outside the package names are looked for beside it."""
    corners = ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1))
    faces = ("1 3 2", "1 2 4", "1 4 3", "2 3 4")
    lines = [f"v {x} {y} {z}" for x, y, z in corners] + [f"f {face}" for face in faces]
    folder = tmp_path / "scenes"  # tests run in tmp_path itself
    folder.mkdir()
    (folder / "own.obj").write_text("\n".join(lines))
    text = aloha_marl.TASKS["transfer_cube"].xml.read_text()
    mesh = '<mesh name="own" file="own.obj"/>'
    geom = '<geom name="shape" type="mesh" mesh="own" pos="0 0 5"/>'
    text = text.replace("<worldbody>", f"<asset>{mesh}</asset><worldbody>{geom}", 1)
    (folder / "scene.xml").write_text(text)

    class Own(aloha_marl.TASKS["transfer_cube"]):
        xml = folder / "scene.xml"

    assert aloha_marl.parallel_env(Own()).model.mesh("own").facenum[0] == 4


def test_every_environment_has_its_own_model() -> None:
    """Writing into one environment's model leaves the others alone."""
    first, second = (aloha_marl.parallel_env("insertion") for _ in range(2))
    first.model.body_mass[:] = 1
    assert second.model.body("peg").mass[0] == 0.05


class Padded(aloha_marl.TASKS["transfer_cube"]):
    """The scene has a group of its own: the undersides of the fingers, sensed against the table."""

    def scene(self) -> SceneSpec:
        fingers = tuple(f"{side}/{finger}" for side in SIDES for finger in FINGERS)
        contacts = (("table", "fingers"), ("fingers", "cube"))
        return dataclasses.replace(
            super().scene(), contacts=contacts, groups=(("fingers", fingers),)
        )


@pytest.mark.parametrize("metrics", [False, True])
def test_groups_and_metrics(metrics: bool) -> None:
    """A scene's own groups are sensed with the contacts of the arms and without them."""
    policies = aloha_marl.policies.load("scripted", "transfer_cube")
    padded, plain = (
        aloha_marl.parallel_env(task, metrics=metrics) for task in (Padded(), "transfer_cube")
    )
    seen, _ = padded.reset(seed=0)
    plain.reset(seed=0)
    held = 0
    while padded.agents:
        actions = {agent: policies[agent](seen[agent]) for agent in padded.agents}
        results = padded.step(actions)
        assert_alike(results, plain.step(actions))
        seen = results[0]
        readings = padded.core.readings
        touch = readings.finger_touch.any()
        assert readings.contact("fingers", "cube")[0] == touch
        held += touch
        pairs = touching(padded.model, padded.data)
        on_table = any("table" in pair and any("finger" in geom for geom in pair) for pair in pairs)
        assert readings.contact("table", "fingers")[0] == on_table
    assert held > 50


def test_names_of_groups_are_their_own() -> None:
    """A group that is called as an arm is refused, not mixed up with the arm."""
    scene = aloha_marl.TASKS["insertion"]().scene()
    with pytest.raises(ValueError, match="names of their own"):
        dataclasses.replace(scene, groups=(("peg", ("table",)),))
    named = dataclasses.replace(scene, groups=((AGENTS[0], ("table",)),))
    with pytest.raises(ValueError, match="names of their own"):
        scene_model.with_arm_contacts(named)


QUANTITY = sensors.Quantity(
    "{object}_y_axis",
    ("x", "y", "z"),
    "",
    -1,
    1,
    "own base",
    "local",
    mujoco.mjtSensor.mjSENS_FRAMEYAXIS,
)
"""The one line by which the objects' y axes become observed."""


def test_a_quantity_is_one_line(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is sensed, observed, bounded and documented, and the other numbers stay what they are."""
    plain = aloha_marl.parallel_env(task)
    before, _ = plain.reset(seed=3)
    monkeypatch.setattr(sensors, "OBJECT", (*sensors.OBJECT, QUANTITY))
    scene_model._compile.cache_clear()
    try:
        env = aloha_marl.parallel_env(task)
        observations, _ = env.reset(seed=3)
        rows = [name for _, name, *_ in env.layout.rows()]
    finally:
        scene_model._compile.cache_clear()
    for side, agent in zip(SIDES, AGENTS, strict=True):
        base = env.data.body(f"{side}/base").xmat.reshape(3, 3)
        for name in env.task.objects:
            axis = base.T @ env.data.body(name).xmat.reshape(3, 3)[:, 1]
            columns = env.layout[f"{name}_y_axis"]
            np.testing.assert_allclose(observations[agent][columns], axis, atol=1e-6)
            np.testing.assert_array_equal(env.observation_space(agent).high[columns], 1)
            assert f"{name}_y_axis.z" in rows
        for quantity in plain.layout:
            np.testing.assert_array_equal(
                observations[agent][env.layout[quantity.name]],
                before[agent][plain.layout[quantity.name]],
            )
    assert env.state().size == plain.state().size + 2 * 3 * len(env.task.objects)
