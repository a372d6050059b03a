"""gym-aloha's own scene, drawn in place of ours from the files of an installed gym-aloha.

For policies that were trained on its pictures: meshes, cameras, lights and shadows are those that the
installed package has; nothing of it is part of this one, and it is not imported.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import mujoco

from aloha_marl.tasks import Task


def load_gym_aloha(task: Task, ours: mujoco.MjModel) -> mujoco.MjModel:
    """gym-aloha's model of a task, with all cameras of ours; its qpos has the same order.

    Raises:
        ModuleNotFoundError: gym-aloha is not installed.
        FileNotFoundError: it has no scene of that name.
    """
    package = importlib.util.find_spec("gym_aloha")
    if package is None or package.origin is None:
        raise ModuleNotFoundError(
            "visuals='gym_aloha' draws the files of gym-aloha, which is not installed: "
            "pip install --no-deps gym-aloha",
            name="gym_aloha",
        )
    path = Path(package.origin).parent / "assets" / f"bimanual_viperx_{task.name}.xml"
    if not path.is_file():
        raise FileNotFoundError(f"gym-aloha has no scene for the task {task.name!r}: no {path}")
    spec = mujoco.MjSpec.from_file(str(path))
    for camera in spec.cameras:
        camera.name = camera.name.replace("front_close", "vis")  # our name of it
    for geom in spec.geoms:
        geom.group = 0  # there 1 is no mere scenery
    have = {camera.name for camera in spec.cameras}
    for camera in map(ours.camera, range(ours.ncam)):
        name = camera.name.replace("/", "_")
        if name not in have:
            link = spec.body(f"vx300s_{ours.body(camera.bodyid[0]).name}")
            link.add_camera(name=name, pos=camera.pos, quat=camera.quat, fovy=camera.fovy[0])
    return spec.compile()
