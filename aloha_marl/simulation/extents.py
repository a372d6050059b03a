"""Boxes round objects: how high they are above the table, and how far apart pads that hold them are."""

from __future__ import annotations

from collections.abc import Iterable

import mujoco
import numpy as np

from aloha_marl.arms import GRIPPER_CLOSED, GRIPPER_SPAN, PADS_MEET
from aloha_marl.scene.contacts import SceneSpec


class Extents:
    """Sizes of k objects in n simulations; domain randomisation may scale them row by row.

    Attributes:
        boxes: (k, 3) half sizes [m] of a box round each of the model's objects, centred on its body.
        half: (n, k, 3) the same of the simulations' objects.
        least_opening: (n, 1, k) gripper opening above which pads that touch an object are round it.
    """

    def __init__(self, model: mujoco.MjModel, scene: SceneSpec, num_envs: int):
        k = len(scene.objects)
        graspable = [[model.geom(geom).id for geom in geoms] for _, geoms in scene.objects]
        self._widths = np.array([2 * _half_extents(model, geoms).min() for geoms in graspable])
        self.boxes = np.stack(
            [_half_extents(model, _geoms_of(model, name)) for name, _ in scene.objects]
        )
        self._by_axis = np.empty((3, num_envs, k))  # an axis at a time is faster to use
        self.half = np.moveaxis(self._by_axis, 0, 2)
        self.least_opening = np.empty((num_envs, 1, k))
        self.rescale(np.arange(num_envs), np.ones((num_envs, k)))

    def rescale(self, rows: np.ndarray, scale: np.ndarray) -> None:
        """Makes the objects of those rows (m, k) times as large as the model's."""
        self.half[rows] = scale[:, :, None] * self.boxes
        # An object is held between the pads, not balanced on closed finger tips: the pads are at
        # least half as far apart as what they touch is wide.
        apart = PADS_MEET + scale * self._widths / 4
        self.least_opening[rows, 0] = (apart - GRIPPER_CLOSED) / GRIPPER_SPAN

    def clearances(self, height: np.ndarray, x_axis: np.ndarray, z_axis: np.ndarray) -> np.ndarray:
        """(n, k) heights [m] of the lowest corners above the table top.

        Args:
            height: (n, k) of the objects' middles [m].
            x_axis: (n, k) vertical components of their x axes.
            z_axis: (n, k) the same of their z axes.
        """
        x_axis, z_axis = np.abs(x_axis), np.abs(z_axis)
        y_axis = 1 - x_axis * x_axis
        y_axis -= z_axis * z_axis
        np.sqrt(np.maximum(y_axis, 0, out=y_axis), out=y_axis)
        lowest = height.copy()
        for axis, half in zip((x_axis, y_axis, z_axis), self._by_axis, strict=True):
            lowest -= np.multiply(axis, half, out=axis)
        return lowest


def _geoms_of(model: mujoco.MjModel, body: str) -> range:
    first = model.body(body).geomadr[0]
    return range(first, first + model.body(body).geomnum[0])


def _half_extents(model: mujoco.MjModel, geoms: Iterable[int]) -> np.ndarray:
    """(3,) half sizes [m] of a box around geoms of a body, centred on the body."""
    bounds = []
    for geom in geoms:
        rotation = np.empty(9)
        mujoco.mju_quat2Mat(rotation, model.geom_quat[geom])
        rotation = rotation.reshape(3, 3)
        centre, half = model.geom_aabb[geom, :3], model.geom_aabb[geom, 3:]
        bounds.append(np.abs(model.geom_pos[geom] + rotation @ centre) + np.abs(rotation) @ half)
    return np.max(bounds, axis=0)
