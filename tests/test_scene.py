"""From MJCF to model: what is merged, what is kept, and where files are found."""

from __future__ import annotations

import os
from pathlib import Path

import mujoco
import numpy as np
import pytest
from helpers import TASK_NAMES

import aloha_marl
from aloha_marl.scene import assets_directory, load_model
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


def test_every_environment_has_its_own_model() -> None:
    """Writing into one environment's model leaves the others alone."""
    first, second = (aloha_marl.parallel_env("insertion") for _ in range(2))
    first.model.body_mass[:] = 1
    assert second.model.body("peg").mass[0] == 0.05
