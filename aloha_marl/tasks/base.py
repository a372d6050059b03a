"""What a task is: a scene, where its objects start, and how far an episode has got."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import cast

import numpy as np

from aloha_marl.scene.scene import SceneSpec, assets_directory
from aloha_marl.simulation.readings import Readings

SUCCESS = 4
"""The stage that ends an episode."""

CLEARANCE = 0.01
"""Height [m] of an object's lowest corner from which it counts as off the table. More than an object
rises when it is gripped or tipped, so contact that flickers can't be mistaken for a lift."""

PUT_DOWN = 0.002
"""Height [m] below which a lifted object counts as put down again."""

START_HEIGHT = 0.05
"""Height [m] at which objects appear; they fall on the table within ten steps."""


class Task(abc.ABC):
    """A two-arm task. Stateless: what an episode must remember lives in ``memory``.

    A new task is an MJCF file that includes ``workcell.xml`` and a subclass that names the file and
    the objects and implements :meth:`stage`.

    Attributes:
        name: snake_case, as in ``parallel_env(name)``.
        summary: one sentence for tables.
        xml: path of the MJCF file, anywhere; the package's ``workcell.xml`` and ``arm.xml`` are
            found by their names. Objects have a free joint each, come after the arms in the order
            of ``objects``, and their frame is at their middle. A keyframe ``home`` holds the start.
        objects: body name -> geoms whose contact counts as touching the object.
        placement: body name -> ((x low, high), (y low, high)) [m] where it may start.
        contacts: pairs of geoms or objects whose contact :meth:`stage` reads, beside the fingers'
            and the table's with every object.
        memory_size: how many integers an episode remembers.
        rules: by which it can be judged.
        visuals: as which it can be drawn.
        rewards: that can be earned.
        stages: what stages 1 to 4 mean.
    """

    name: str
    summary: str
    xml: Path
    objects: Mapping[str, tuple[str, ...]]
    placement: Mapping[str, tuple[tuple[float, float], tuple[float, float]]]
    contacts: tuple[tuple[str, str], ...] = ()
    memory_size: int = 0
    rules: tuple[str, ...] = ("strict",)
    visuals: tuple[str, ...] = ("own",)
    rewards: tuple[str, ...] = ("staged", "sparse")
    stages: tuple[str, str, str, str]

    @abc.abstractmethod
    def stage(self, readings: Readings, memory: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Judges the state by the ``strict`` rules.

        Called while a finger touches an object or the memory is not zero; the stage is 0 otherwise.

        Args:
            readings: of n simulations.
            memory: (n, memory_size) int, zero at the start of an episode; not to be written.

        Returns:
            (n,) int stage 0..4, and the (n, memory_size) memory for the next step.
        """

    def scene(self) -> SceneSpec:
        """The scene and the contacts to sense."""
        return SceneSpec(
            Path(self.xml), tuple((k, tuple(v)) for k, v in self.objects.items()), self.contacts
        )

    def place(self, rng: np.random.Generator) -> np.ndarray:
        """(k, 7) poses [m, quaternion] for ``start="random"``: anywhere allowed, any yaw."""
        poses = np.zeros((len(self.objects), 7))
        for pose, name in zip(poses, self.objects, strict=True):
            pose[:2] = [rng.uniform(low, high) for low, high in self.placement[name]]
            pose[2] = START_HEIGHT
            yaw = rng.uniform(-np.pi, np.pi)
            pose[3], pose[6] = np.cos(yaw / 2), np.sin(yaw / 2)
        return poses

    def place_as_gym_aloha(self, seed: int) -> np.ndarray:
        """(k, 7) poses [m, quaternion] for ``start="gym_aloha"``: gym-aloha's draws, no yaw."""
        rng = np.random.RandomState(seed)
        poses = np.zeros((len(self.objects), 7))
        for pose, name in zip(poses, self.objects, strict=True):
            low, high = np.transpose([*self.placement[name], (START_HEIGHT, START_HEIGHT)])
            pose[:3] = rng.uniform(low, high)
            pose[3] = 1
        return poses


class GymAlohaTask(Task):
    """A task that gym-aloha has too, and can be judged by its rules and drawn by its files."""

    rules = ("strict", "gym_aloha")
    visuals = ("own", "gym_aloha")

    @abc.abstractmethod
    def gym_aloha_stage(self, readings: Readings) -> np.ndarray:
        """(n,) int stage 0..4, equal to gym-aloha's reward."""


class ShapedTask(Task):
    """A task that offers a dense reward.

    Attributes:
        terms: name -> weights for the left and for the right arm. Each arm's weigh 1 together.
    """

    rewards = ("staged", "sparse", "dense")
    terms: Mapping[str, tuple[float, float]]

    @abc.abstractmethod
    def progress(self, readings: Readings, stage: np.ndarray, memory: np.ndarray) -> np.ndarray:
        """How far each arm has got.

        Only rises are paid, so a term that falls again costs nothing. A term is 0 until what comes
        before it has been reached, so that nobody is paid for a short cut.

        Args:
            readings: of n simulations.
            stage: (n,) 0..4 by the strict rules.
            memory: (n, memory_size) that :meth:`stage` returned with it.

        Returns:
            (n, 2, T) 0..1, by simulation, side and term; (n, 1, T) if both sides' are the same.
        """


def closeness(distance: np.ndarray) -> np.ndarray:
    """1 at distance 0, 0.1 at 1, and falling ever more slowly: dm_control's ``long_tail``."""
    return _tolerance()(distance, margin=1.0, sigmoid="long_tail")


@functools.cache
def _tolerance() -> Callable[..., np.ndarray]:
    # Imported when it is needed, as nothing else that steps needs it.
    from dm_control.utils.rewards import tolerance

    return cast(Callable[..., np.ndarray], tolerance)


def first_of(
    fourth: np.ndarray, third: np.ndarray, second: np.ndarray, first: np.ndarray
) -> np.ndarray:
    """(n,) int: the highest stage 4..1 whose (n,) bool condition holds, else 0."""
    stage = np.zeros(len(first), int)
    for reached, condition in enumerate((first, second, third, fourth), start=1):
        np.putmask(stage, condition, reached)
    return stage


def columns(*values: np.ndarray) -> np.ndarray:
    """(n, m) int memory from m arrays (n,)."""
    memory = np.empty((len(values[0]), len(values)), int)
    for i, column in enumerate(values):
        memory[:, i] = column
    return memory


def asset(name: str) -> Path:
    """The path of one of the MJCF files that come with the package."""
    return assets_directory() / name
