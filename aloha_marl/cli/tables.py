"""What a task's observations, actions, stages and cameras are: tables made from the code itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from aloha_marl.checks import choose
from aloha_marl.control.modes import CONTROLS
from aloha_marl.core.observations import SCOPES, Layout
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.evaluation.table import Table
from aloha_marl.rendering.pictures import camera_names
from aloha_marl.scene.randomization import RANGES
from aloha_marl.tasks import TASKS


def tables(task: str, scope: str) -> Iterator[Table]:
    """Stages, scopes, observation, actions, what may be randomised, and cameras of a task.

    Args:
        task: its name.
        scope: of the observation whose every number is listed.

    Raises:
        ValueError: an unknown task or scope; the message lists the valid ones.
    """
    choose("scope", scope, SCOPES)
    env = AlohaParallelEnv(task)
    objects = tuple(env.task.objects)
    stages = enumerate(env.task.stages, start=1)
    yield Table("Stages", ("stage", "meaning"), [(str(i), text) for i, text in stages])

    sizes = {name: Layout(objects, name).size for name in SCOPES}
    yield Table(
        "Scopes",
        ("scope", "indices", "numbers"),
        [
            (name, f"0 .. {size - 1}", str(size))
            for name, size in sorted(sizes.items(), key=lambda item: item[1])
        ],
    )
    yield Table(
        f"Observation of one arm, scope {scope}",
        ("index", "name", "unit", "low", "high", "frame"),
        [(str(row[0]), *row[1:]) for row in Layout(objects, scope).rows()],
    )
    yield from _actions(task)
    yield Table(
        "Ranges of the option randomization",
        ("name", "a number drawn is"),
        [(name, kind.meaning) for name, kind in RANGES.items()],
    )
    yield Table(
        "Cameras",
        ("camera", "fixed to", "field of view"),
        [
            (name, env.model.body(env.model.cam_bodyid[i]).name, f"{env.model.cam_fovy[i]:g} deg")
            for name, i in camera_names(env.model).items()
        ],
    )


def as_markdown(parts: Mapping[str, Iterable[Table]]) -> str:
    """The page of documentation with the tables of these tasks."""
    text = "# Observations and actions\n\nMade by `aloha-marl show " + " ".join(parts)
    text += " --markdown`.\n\nEach scope is a prefix of `full`; both arms observe the same "
    text += "quantities, each in its own base frame.\n"
    for name, content in parts.items():
        text += f"\n## {name}\n\n{TASKS[name].summary[0].upper()}{TASKS[name].summary[1:]}.\n"
        text += "".join(f"\n{part.markdown()}" for part in content)
    return text


def _actions(task: str) -> Iterator[Table]:
    for name in CONTROLS:
        env = AlohaParallelEnv(task, control=name)
        control = env.core.control
        numbers = zip(control.names, control.units, control.low, control.high, strict=True)
        rows = [
            (str(i), part, unit, f"{low:.6g}", f"{high:.6g}")
            for i, (part, unit, low, high) in enumerate(numbers)
        ]
        title = f"Action of one arm, control {name}"
        yield Table(title, ("index", "name", "unit", "low", "high"), rows)
