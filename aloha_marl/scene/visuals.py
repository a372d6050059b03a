"""Merges the visual geoms of each body into one mesh.

MuJoCo computes the pose of every geom in every substep, also of those that are only looked at: the
MJCF's two hundred visual geoms would cost a quarter of the physics speed. Merged, there is one per
body; its colours come from a palette texture.
"""

from __future__ import annotations

import itertools
from collections import defaultdict

import mujoco
import numpy as np

_BOX = mujoco.mjtGeom.mjGEOM_BOX
_MESH = mujoco.mjtGeom.mjGEOM_MESH

_SWATCH = 4
"""Edge [pixels] of a colour in the palette."""


def merge_visuals(spec: mujoco.MjSpec) -> None:
    """Replaces, in place, what can be merged: unnamed boxes and meshes that collide with nothing.

    Geoms with a name, a texture or transparency stay as they are.
    """
    model = spec.compile()
    geoms: dict[int, list[mujoco.MjsGeom]] = defaultdict(list)
    for geom in spec.geoms:
        if _mergeable(model, geom):
            geoms[model.geom_bodyid[geom.id]].append(geom)
    geoms = {body: group for body, group in geoms.items() if len(group) > 1}
    if not geoms:
        return
    by_body = {body: [geom.id for geom in group] for body, group in geoms.items()}
    names = {body: model.body(body).name for body in by_body}
    for geom in itertools.chain(*geoms.values()):
        spec.delete(geom)
    used = {geom.meshname for geom in spec.geoms}
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)

    colours, swatches = np.unique(
        [_rgba(model, geom)[:3] for geom in itertools.chain(*by_body.values())],
        axis=0,
        return_inverse=True,
    )
    row = np.repeat((colours * 255).round().astype(np.uint8), _SWATCH, axis=0)
    palette = np.tile(row, (_SWATCH, 1, 1))
    spec.add_texture(
        name="palette",
        type=mujoco.mjtTexture.mjTEXTURE_2D,
        width=palette.shape[1],
        height=palette.shape[0],
        nchannel=3,
        data=palette.ravel().tolist(),
    )
    material = spec.add_material(name="palette", specular=0.45, shininess=0.3)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = "palette"

    swatch = iter(swatches.ravel())
    meshes: dict[bytes, str] = {}  # both arms share theirs
    for body, ids in by_body.items():
        vertices, normals, texture = [], [], []
        for geom in ids:
            corners, directions = _triangles(model, geom)
            vertices.append(corners.reshape(-1, 3))
            normals.append(directions.reshape(-1, 3))
            middle = (next(swatch) + 0.5) / len(colours)
            texture.append(np.tile((middle, 0.5), (len(vertices[-1]), 1)))
        points = np.concatenate(vertices)
        key = points.round(9).tobytes()
        if key not in meshes:
            meshes[key] = f"merged:{names[body]}"
            spec.add_mesh(
                name=meshes[key],
                uservert=points.ravel(),
                usernormal=np.concatenate(normals).ravel(),
                usertexcoord=np.concatenate(texture).ravel(),
                userface=np.arange(len(points)),
                inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            )
        parent = spec.worldbody if body == 0 else spec.body(names[body])
        parent.add_geom(
            name=f"visual:{names[body]}",
            type=_MESH,
            meshname=meshes[key],
            material="palette",
            contype=0,
            conaffinity=0,
            group=2,
            mass=0,
        )


def _mergeable(model: mujoco.MjModel, geom: mujoco.MjsGeom) -> bool:
    i = geom.id
    material = model.geom_matid[i]
    textured = material >= 0 and (model.mat_texid[material] >= 0).any()
    known = int(model.geom_type[i]) in map(int, (_BOX, _MESH))
    silent = not (model.geom_contype[i] or model.geom_conaffinity[i])
    opaque = _rgba(model, i)[3] == 1
    return bool(silent and known and opaque and not textured and not geom.name)


def _rgba(model: mujoco.MjModel, geom: int) -> np.ndarray:
    material = model.geom_matid[geom]
    return model.mat_rgba[material] if material >= 0 else model.geom_rgba[geom]


def _triangles(model: mujoco.MjModel, geom: int) -> tuple[np.ndarray, np.ndarray]:
    """(t, 3, 3) corners and normals of a geom's triangles in its body's frame."""
    if model.geom_type[geom] == _BOX:
        corners, normals = _box_triangles(model.geom_size[geom])
    else:
        mesh = model.geom_dataid[geom]
        first = model.mesh_faceadr[mesh]
        rows = slice(first, first + model.mesh_facenum[mesh])
        corners = model.mesh_vert[model.mesh_vertadr[mesh] + model.mesh_face[rows]]
        normals = model.mesh_normal[model.mesh_normaladr[mesh] + model.mesh_facenormal[rows]]
    rotation = np.empty(9)
    mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
    rotation = rotation.reshape(3, 3)
    return corners @ rotation.T + model.geom_pos[geom], normals @ rotation.T


def _box_triangles(size: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(12, 3, 3) corners and normals of a box's triangles."""
    corners, normals = [], []
    for axis, sign in itertools.product(range(3), (-1.0, 1.0)):
        normal, first, second = sign * np.roll(np.eye(3), -axis, axis=0)
        square = (
            normal - first - second,
            normal + first - second,
            normal + first + second,
            normal - first + second,
        )
        # Counter-clockwise seen from outside: a mirrored frame turns the other way round.
        turn = (0, 1, 2, 0, 2, 3) if sign > 0 else (0, 2, 1, 0, 3, 2)
        corners += [square[i] for i in turn]
        normals += [normal] * len(turn)
    return np.reshape(corners, (12, 3, 3)) * size, np.reshape(normals, (12, 3, 3))
