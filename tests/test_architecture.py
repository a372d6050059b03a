"""The modules import one another in one direction, and nothing heavy before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import aloha_marl

PACKAGE = Path(aloha_marl.__file__).parent
LAYERS = (
    ("arms",),
    ("visuals", "scene"),
    ("simulation", "readings", "kinematics", "randomization"),
    ("batch_simulation",),
    ("observations", "control", "tasks"),
    ("rewards", "metrics"),
    ("options",),
    ("core",),
    ("gym_aloha_scene", "rendering"),
    ("agents", "viewer"),
    ("merged", "episodes", "parallel_env"),
    ("vector_env", "pettingzoo_module"),
    ("wrappers",),
    ("single_agent", "transfer_cube_v0", "insertion_v0"),
    ("single_agent_vector",),
    ("registration", "dm_environment", "policies"),
    ("evaluation", "tables"),
    ("integrations",),
    ("recording", "overlay", "strips", "playback", "remedies", "doctor", "crossplay"),
    ("heat_map",),
    ("commands",),
    ("cli",),
)
HEAVY = ("gym_aloha", "OpenGL", "dm_control", "dm_env", "scipy")
HEAVY += ("torch", "tensordict", "torchrl", "benchmarl", "ray", "stable_baselines3")
HEAVY += ("imageio", "matplotlib", "PIL", "rich", "typer")


def unit(module: str) -> str:
    """The first name below the package: a module, or a folder of modules."""
    return module.removeprefix("aloha_marl.").split(".")[0]


def modules() -> dict[str, set[str]]:
    """Dotted module name -> the package's modules it imports anywhere in it."""
    trees = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        trees[".".join(parts).removesuffix(".__init__")] = ast.parse(path.read_text())
    graph = {}
    for name, tree in trees.items():
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name} imports relatively"
                for alias in node.names:  # a module of a package, or a name in a module
                    inner = f"{node.module}.{alias.name}"
                    imported.add(inner if inner in trees else node.module)
        graph[name] = {module for module in imported if module.startswith("aloha_marl.")}
    return graph


def test_no_cycles() -> None:
    """No module needs itself, not even through a function's import."""
    order = list(TopologicalSorter(modules()).static_order())
    assert order.index("aloha_marl.arms") < order.index("aloha_marl.core")
    assert order.index("aloha_marl.core") < order.index("aloha_marl.parallel_env")


def test_order() -> None:
    """Modules import from their own layer and those before it only."""
    rank = {name: i for i, layer in enumerate(LAYERS) for name in layer}
    for module, imported in modules().items():
        own = unit(module)
        if module == "aloha_marl":
            continue
        assert own in rank, f"{own} has no place in LAYERS"
        for other in map(unit, imported):
            assert rank.get(other, 0) <= rank[own], f"{module} imports {other}"


def test_arms_import_nothing() -> None:
    """The vocabulary stands alone."""
    assert modules()["aloha_marl.arms"] == set()


def loaded(code: str) -> set[str]:
    """The top-level modules a fresh interpreter has loaded after some code."""
    code += "\nimport sys\nprint(' '.join({name.split('.')[0] for name in sys.modules}))"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return set(done.stdout.split())


STEPPING = """
import aloha_marl
env = aloha_marl.parallel_env("{task}")
env.reset(seed=0)
env.step({{agent: env.action_space(agent).sample() for agent in env.agents}})
env.state()
env.close()
"""


def test_import_is_light() -> None:
    """Importing the package loads no renderer and no learning library, and is silent."""
    names = loaded("import aloha_marl")
    assert "mujoco" in names
    assert names.isdisjoint(HEAVY)


def test_stepping_is_light(task: str) -> None:
    """A state environment needs no renderer either."""
    assert loaded(STEPPING.format(task=task)).isdisjoint(HEAVY)


@pytest.mark.parametrize("name", aloha_marl.__all__)
def test_public_names_exist(name: str) -> None:
    """Everything the package declares is there."""
    assert hasattr(aloha_marl, name)
