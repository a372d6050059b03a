"""Tasks of other packages and of one's own: by name at every front door, registered or announced."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import lift_tray
import pettingzoo
import pytest
from helpers import announce
from lift_tray import LiftTray

import aloha_marl
from aloha_marl import plugins
from aloha_marl.tasks import TASKS, Task, TransferCube, make_task, task_names

MODULE = """
from aloha_marl.tasks import TransferCube

class Own(TransferCube):
    name = "own"
class Sized(TransferCube):
    name = "sized"
    def __init__(self, size):
        self.size = size
class Broken(TransferCube):
    name = "broken"
    def __init__(self):
        raise OSError("no mesh")
class Unstaged(TransferCube):
    name = "unstaged"
    stages = ()
number = 3
"""
ENTRIES = {name.lower(): f"mine:{name}" for name in ("Own", "Sized", "Broken", "Unstaged")} | {
    "number": "mine:number",
    "renamed": "mine:Own",
    "lost": "gone:Task",
    "absent": "mine:Absent",
    "insertion": "mine:Own",
}


_PETTINGZOO = [
    getattr(pettingzoo, name)
    for name in ("parallel_registry", "aec_registry")
    if hasattr(pettingzoo, name)  # not in 1.26
]


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module ``mine`` in the working folder, and two packages that announce its tasks."""
    (tmp_path / "mine.py").write_text(MODULE)
    announce(tmp_path, "one", plugins.TASKS, **ENTRIES, twice="mine:Own")
    announce(tmp_path, "two", plugins.TASKS, twice="mine:Sized")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)


@pytest.mark.usefixtures("module")
def test_announced_tasks() -> None:
    """They are named before anything is imported, and made by name."""
    assert {*TASKS, "own", "lost"} <= {*task_names()}
    assert "mine" not in sys.modules
    assert type(make_task("own")).__name__ == "Own"
    assert type(make_task("own")) is type(make_task("mine:Own"))
    assert aloha_marl.parallel_env("own").metadata["name"] == "own_v0"


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("sized", r"task='sized' can't be made: TypeError: .*'size'"),
        ("mine:Sized", r"task='mine:Sized' can't be made: TypeError: .*'size'"),
        ("broken", r"task='broken' can't be made: OSError: no mesh"),
        ("unstaged", r"Unstaged\.stages=\(\) must be a tuple of texts"),
        ("number", r"task='number' is 3, which is no subclass of aloha_marl\.Task"),
        ("mine:number", "task='mine:number' is 3, which is no subclass"),
        ("renamed", "task='renamed' is mine:Own, whose name is 'own'"),
        ("lost", r"task='lost' \(one 1.5, gone:Task\) can't be imported: ModuleNotFoundError"),
        ("absent", r"task='absent' \(one 1.5, mine:Absent\): mine has no 'Absent'"),
        ("twice", "'twice' is announced by two packages: .*mine:Own; .*mine:Sized"),
        ("insertion", "task='insertion' stands for two: aloha_marl.tasks.insertion:Insertion and "),
        ("juggle", "task='juggle' is unknown; valid: 'transfer_cube', .*'own'.* or 'module:Class'"),
        (3, "task=3 is unknown; valid: 'transfer_cube'"),
        (TransferCube.__mro__[-1], "is <class 'object'>, which is no subclass"),
        (Task, "can't be made: TypeError: .*abstract"),
    ],
)
def test_tasks_that_are_none(name: Any, message: str) -> None:
    """One line that names them, by every front door."""
    for door in (make_task, aloha_marl.parallel_env, aloha_marl.AlohaVectorEnv):
        with pytest.raises(ValueError, match=message) as error:
            door(name)
        assert "\n" not in str(error.value)


ANNOUNCED = """
import sys, warnings
warnings.simplefilter("error")
import gymnasium, pettingzoo, aloha_marl
assert "lift_tray" not in sys.modules
env = gymnasium.make("aloha_marl/LiftTray-v0", obs_type="state")
assert "lift_tray" in sys.modules
env.reset(seed=0)
env = gymnasium.make_vec("aloha_marl/LiftTray-v0", num_envs=2, obs_type="state")
env.reset(seed=0)
if hasattr(pettingzoo, "make"):
    for kind in ("parallel", "aec"):
        pettingzoo.make(kind, "aloha_marl/lift_tray-v0").reset(seed=0)
assert "aloha_marl/GymAlohaLiftTray-v0" not in gymnasium.registry
"""


def test_announced_ids(tmp_path: Path) -> None:
    """Importing aloha_marl registers them, and does not import the packages; odd names do no harm."""
    entries = {"lift_tray": "lift_tray:LiftTray", "no task": "nowhere:x", "A/b-v1": "nowhere:y"}
    announce(tmp_path, "tray", plugins.TASKS, **entries)
    path = os.pathsep.join([str(tmp_path), str(Path(lift_tray.__file__).parents[1])])
    environ = os.environ | {"PYTHONPATH": path}
    subprocess.run([sys.executable, "-c", ANNOUNCED], env=environ, check=True)


@pytest.fixture
def registries() -> Iterator[None]:
    """Puts back afterwards what tests register."""
    with contextlib.ExitStack() as stack:
        for registry in (TASKS, gymnasium.registry, *_PETTINGZOO):
            stack.enter_context(mock.patch.dict(registry))
        yield


class OtherCube(TransferCube):
    """A task that gym-aloha's interface fits, too."""

    name = "other_cube"


class Rival(LiftTray):
    """Has a name that is taken."""


@pytest.mark.usefixtures("registries")
@pytest.mark.parametrize("task", [LiftTray, OtherCube])
def test_registered_task(task: type[Task]) -> None:
    """Its name and ids make it, also in copies and in processes that have registered nothing."""
    aloha_marl.register_task(task)
    aloha_marl.register_task(task)  # in silence: warnings are errors
    title = task.__name__
    ids = [name for name in gymnasium.registry if name.endswith(f"{title}-v0")]
    assert ids == [f"aloha_marl/{title}-v0"] + [f"aloha_marl/GymAloha{title}-v0"] * (
        task is OtherCube
    )
    made = [gymnasium.make(name, obs_type="state").unwrapped for name in ids]
    made += [gymnasium.make_vec(name, 2, obs_type="state").unwrapped for name in ids]
    made += [aloha_marl.parallel_env(task.name), aloha_marl.AlohaVectorEnv(task.name, 2)]
    if _PETTINGZOO:
        made += [pettingzoo.make(k, f"aloha_marl/{task.name}-v0") for k in ("parallel", "aec")]
    for env in made:
        for each in (env, copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
            each.reset(seed=0)
            each.close()
    assert {*aloha_marl.policies.load("random", task.name)} == {*aloha_marl.AGENTS}
    workers = gymnasium.make_vec(
        ids[0], 2, "async", vector_kwargs={"context": "spawn"}, obs_type="state"
    )
    workers.reset(seed=0)
    workers.close()


@pytest.mark.usefixtures("registries")
def test_register_task_refuses() -> None:
    """One line says why; nothing is registered."""
    aloha_marl.register_task(LiftTray)
    known, ids = dict(TASKS), {*gymnasium.registry}

    class Local(LiftTray):
        name = "local"

    for task, message in (
        (Rival, "Rival has name='lift_tray', which lift_tray.task:LiftTray has already"),
        (Local, r"Local can't be imported by name: define it at the top of a module"),
        (Task, "abstract"),
        (dict, "no subclass of aloha_marl.Task"),
        ("lift_tray.task", "task='lift_tray.task' is unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            aloha_marl.register_task(task)  # type: ignore[arg-type]
    assert (TASKS, {*gymnasium.registry}) == (known, ids)
