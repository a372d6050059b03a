"""The wheel and a package with a task and its policies, outside the checkout: everything by name."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The ``bin`` of an environment with both; all that they need is lent by this one."""
    folder = tmp_path_factory.mktemp("installed")

    def python(*arguments: str | Path) -> None:
        subprocess.run([sys.executable, "-m", *arguments], check=True, capture_output=True)

    python("build", "--wheel", "--no-isolation", "--outdir", folder, ROOT)
    python("venv", "--without-pip", folder / "venv")
    names = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
    packages = Path(sysconfig.get_path("purelib", "venv", names))
    (packages / "lent.pth").write_text(sysconfig.get_path("purelib"))
    shutil.copytree(ROOT / "examples" / "lift_tray", folder / "lift_tray")
    (wheel,) = folder.glob("*.whl")
    scripts = Path(sysconfig.get_path("scripts", "venv", names))
    offline = ("--no-index", "--no-deps", "--no-build-isolation")
    python("pip", "--python", scripts / "python", "install", *offline, wheel, folder / "lift_tray")
    return scripts


def run(program: Path, *arguments: str) -> str:
    """What a program prints, standard error included; it must end well, in a folder of its own."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [program, *arguments], env=environ, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_list_and_show(installed: Path) -> None:
    """Both say what the package brings along, and from where."""
    text = run(installed / "aloha-marl", "list")
    for name, value in (
        ("lift_tray", "LiftTray"),
        ("lift_tray_expert", "Expert"),
        ("lift_tray_slow", "slow"),
    ):
        assert re.search(rf"^ *{name} +lift_tray 0\.1\.0, lift_tray:{value}", text, re.MULTILINE)
    text = run(installed / "aloha-marl", "show", "lift_tray")
    assert "tray_in_tool.x" in text
    assert "both so hold it level, 10 cm high" in text


def test_commands(installed: Path, tmp_path: Path) -> None:
    """They play and film the task by the announced names."""
    command, expert = installed / "aloha-marl", ("--policy", "lift_tray_expert")
    run(command, "eval", "lift_tray", *expert, "--episodes", "3", "--json", "result.json")
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["task"], result["summary"]["successes"]) == ("lift_tray", 3)
    run(command, "record-video", "lift_tray", *expert)
    assert len(list(tmp_path.glob("out/lift_tray*.mp4"))) == 1
    pair = (*expert, "--policy", "lift_tray_slow", "--episodes", "1")
    text = run(command, "crossplay", "lift_tray", *pair)
    assert "mean success: with itself 100.0%, strangers 100.0%" in text


MINE = """
from lift_tray import Expert, LiftTray

class Tray(LiftTray):
    name = "tray"

class Mine(Expert):
    pass
"""


def test_a_module_of_the_working_folder(installed: Path, tmp_path: Path) -> None:
    """Its task and policies are named ``module:attribute``, which is said to import it."""
    (tmp_path / "mine.py").write_text(MINE)
    arms = ("--left", "mine:Mine", "--right", "lift_tray_slow", "--episodes", "1")
    text = run(installed / "aloha-marl", "eval", "mine:Tray", *arms, "--json", "result.json")
    assert "task='mine:Tray': importing module mine" in text
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["task"], result["summary"]["successes"]) == ("tray", 1)


def test_view(installed: Path, display: str) -> None:
    """It plays in a window."""
    environ = os.environ | {"DISPLAY": display, "PYTHONUNBUFFERED": "1", "LP_NUM_THREADS": "1"}
    command = [installed / "aloha-marl", "view", "lift_tray", "--policy", "lift_tray_expert"]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("seed 0"))
        process.send_signal(signal.SIGINT)
    assert line.endswith("success yes\n")
    assert process.returncode == 130


SCRIPT = """
import gymnasium
import pettingzoo
import aloha_marl

env = aloha_marl.parallel_env("lift_tray")
arms = aloha_marl.policies.load("lift_tray_expert", "lift_tray")
observations, infos = env.reset(seed=0)
while env.agents:
    actions = {agent: arms[agent](observations[agent]) for agent in env.agents}
    observations, rewards, terminations, truncations, infos = env.step(actions)
assert infos["left_arm"]["is_success"]

env = gymnasium.make("aloha_marl/LiftTray-v0")
env.reset(seed=0)
envs = gymnasium.make_vec("aloha_marl/LiftTray-v0", num_envs=2, obs_type="state")
envs.reset(seed=0)
if hasattr(pettingzoo, "make"):
    for kind in ("parallel", "aec"):
        pettingzoo.make(kind, "aloha_marl/lift_tray-v0").reset(seed=0)
aloha_marl.policies.load("random", "lift_tray")
aloha_marl.check_task("lift_tray")
print(aloha_marl.__file__)
"""


def test_script(installed: Path, tmp_path: Path) -> None:
    """A user's script makes and plays the task without registering anything."""
    (tmp_path / "script.py").write_text(SCRIPT)
    package = Path(run(installed / "python", "-W", "error", "script.py").strip()).parent
    assert package.is_relative_to(installed.parent)
