"""From a task's MJCF to a compiled model: finds the assets and adds the sensors.

The XML says what the scene is; this module adds, in loops over sides, objects and geoms, the sensors
that observations and stages read. :mod:`aloha_marl.simulation.readings` reads them in that order.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import mujoco

from aloha_marl.arms import AGENTS, FINGERS, JOINTS, SIDES
from aloha_marl.scene.visuals import merge_visuals

_SENSOR = mujoco.mjtSensor
_OBJECT = mujoco.mjtObj

TCP_SENSORS = (
    _SENSOR.mjSENS_FRAMEPOS,
    _SENSOR.mjSENS_FRAMEXAXIS,
    _SENSOR.mjSENS_FRAMEZAXIS,
)
OBJECT_SENSORS = (
    *TCP_SENSORS,
    _SENSOR.mjSENS_FRAMELINVEL,
    _SENSOR.mjSENS_FRAMEANGVEL,
)


def assets_directory() -> Path:
    """The folder of the MJCF files: in the wheel, or beside the package in a checkout.

    Raises:
        FileNotFoundError: neither place has them.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "assets", package.parent / "assets")
    for place in places:
        if (place / "arm.xml").is_file():
            return place
    raise FileNotFoundError(f"no MJCF assets in {' or '.join(map(str, places))}")


@dataclasses.dataclass(frozen=True)
class SceneSpec:
    """What a task asks of its scene.

    Attributes:
        xml: the task's MJCF file.
        objects: body name -> names of its geoms whose contact counts as touching it.
        contacts: pairs of further geoms or objects whose contact the task wants to read. Each object
            with each finger, and each object with the table, are always there.
        groups: further names -> geoms, which ``contacts`` may use.
    """

    xml: Path
    objects: tuple[tuple[str, tuple[str, ...]], ...]
    contacts: tuple[tuple[str, str], ...] = ()
    groups: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def finger_pairs(self) -> Iterator[tuple[str, str]]:
        """(geom of a finger, object), ordered by side, object, finger."""
        for side in SIDES:
            for name, _ in self.objects:
                for finger in FINGERS:
                    yield f"{side}/{finger}", name

    def other_pairs(self) -> Iterator[tuple[str, str]]:
        """(table, object) for every object, then the task's own pairs."""
        for name, _ in self.objects:
            yield "table", name
        yield from self.contacts

    def geoms(self, name: str) -> tuple[str, ...]:
        """The geoms of an object or group, or the geom of that name itself."""
        return dict(self.objects + self.groups).get(name, (name,))

    def contact_sizes(self) -> list[int]:
        """How many geom pairs stand behind each pair of :meth:`finger_pairs` and `other_pairs`."""
        return [
            len(self.geoms(first)) * len(self.geoms(second))
            for first, second in (*self.finger_pairs(), *self.other_pairs())
        ]


@functools.lru_cache
def _compile(scene: SceneSpec, version: int) -> mujoco.MjModel:
    """Compiles a scene; ``version`` tells an edited file from the one compiled before."""
    spec = _read(scene.xml)
    merge_visuals(spec)
    for side in SIDES:
        base = (_OBJECT.mjOBJ_BODY, f"{side}/base")
        tcp = (_OBJECT.mjOBJ_SITE, f"{side}/tcp")
        partner_tcp = (_OBJECT.mjOBJ_SITE, f"{_other(side)}/tcp")
        _add_joints(spec, side, JOINTS)
        for kind in TCP_SENSORS:
            _add(spec, kind, tcp, base)
        for name, _ in scene.objects:
            body = (_OBJECT.mjOBJ_BODY, name)
            for kind in OBJECT_SENSORS:
                _add(spec, kind, body, base)
            _add(spec, _SENSOR.mjSENS_FRAMEPOS, body, tcp)
        for kind in TCP_SENSORS:
            _add(spec, kind, partner_tcp, base)
        _add_joints(spec, side, FINGERS)
    # Contacts are matched geom to geom: bodies and subtrees are not supported by every backend.
    for first, second in (*scene.finger_pairs(), *scene.other_pairs()):
        for geom in scene.geoms(first):
            for other in scene.geoms(second):
                sensor = _add(
                    spec,
                    _SENSOR.mjSENS_CONTACT,
                    (_OBJECT.mjOBJ_GEOM, geom),
                    (_OBJECT.mjOBJ_GEOM, other),
                )
                # data="found", reduce="none", num="1": the number of contacts of the pair.
                sensor.intprm[0], sensor.intprm[2] = 1, 1
    return spec.compile()


def _read(xml: Path) -> mujoco.MjSpec:
    """Reads a scene. Wherever it lies, it can include ``workcell.xml`` and attach ``arm.xml``."""
    assets = assets_directory()
    if xml.resolve().parent == assets:
        return mujoco.MjSpec.from_file(str(xml))
    files = {
        path.relative_to(assets).as_posix(): path.read_bytes()
        for path in assets.rglob("*")
        if path.is_file()
    }
    spec = mujoco.MjSpec.from_string(xml.read_text(), include=files, assets=files)
    spec.modelfiledir = str(xml.resolve().parent)  # the scene's own meshes and textures
    return spec


def _add_joints(spec: mujoco.MjSpec, side: str, names: tuple[str, ...]) -> None:
    for kind in (_SENSOR.mjSENS_JOINTPOS, _SENSOR.mjSENS_JOINTVEL):
        for name in names:
            _add(spec, kind, (_OBJECT.mjOBJ_JOINT, f"{side}/{name}"))


def _add(
    spec: mujoco.MjSpec,
    kind: mujoco.mjtSensor,
    of: tuple[mujoco.mjtObj, str],
    relative_to: tuple[mujoco.mjtObj, str] | None = None,
) -> mujoco.MjsSensor:
    name = f"{kind.name.removeprefix('mjSENS_').lower()}:{of[1]}"
    if relative_to is None:
        return spec.add_sensor(name=name, type=kind, objtype=of[0], objname=of[1])
    return spec.add_sensor(
        name=f"{name}:{relative_to[1]}",
        type=kind,
        objtype=of[0],
        objname=of[1],
        reftype=relative_to[0],
        refname=relative_to[1],
    )


def _other(side: str) -> str:
    return SIDES[1 - SIDES.index(side)]


def watched(scene: SceneSpec) -> SceneSpec:
    """The scene with sensors for the contacts of the arms, which are named as the agents are."""
    model = _compile(scene, scene.xml.stat().st_mtime_ns)
    touching = [model.geom(i) for i in range(model.ngeom) if model.geom_contype[i]]
    groups = tuple(
        (
            arm,
            tuple(g.name for g in touching if model.body(g.bodyid[0]).name.startswith(f"{side}/")),
        )
        for arm, side in zip(AGENTS, SIDES, strict=True)
    )
    contacts = (AGENTS, *(("table", arm) for arm in AGENTS))
    return dataclasses.replace(scene, contacts=scene.contacts + contacts, groups=groups)


def load_model(scene: SceneSpec) -> mujoco.MjModel:
    """Compiles the scene, once per process, and returns a copy of the model to own.

    Raises:
        FileNotFoundError: there is no such file.
    """
    return copy.copy(_compile(scene, scene.xml.stat().st_mtime_ns))
