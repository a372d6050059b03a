"""Without its library, or with another version of it, an adapter says what to do.

tests/integrations tests the adapters with their libraries.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest

from aloha_marl.integrations.requirements import SUPPORTED, library

ROOT = Path(__file__).parent.parent
ADAPTERS = {
    "stable_baselines3": "sb3",
    "torchrl": "torchrl",
    "benchmarl": "benchmarl",
    "rllib": "rllib",
    "ray_cluster": "rllib",
}
"""Module -> the extra it needs."""


def pretend(monkeypatch: pytest.MonkeyPatch, version: str | None) -> None:
    """Every library has that version, or none is installed."""

    def answer(name: str) -> str:
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", answer)


@pytest.mark.parametrize(("module", "extra"), ADAPTERS.items())
def test_missing_library(module: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command that installs it is in the message."""
    pretend(monkeypatch, None)
    with pytest.raises(ImportError, match=rf"not installed: pip install 'aloha_marl\[{extra}\]'$"):
        importlib.import_module(f"aloha_marl.integrations.{module}")


@pytest.mark.parametrize(
    ("package", "use"),
    [
        ("dm_control", "aloha_marl.parallel_env('insertion').physics"),
        ("dm_env", "import aloha_marl.envs.dm_env"),
    ],
)
def test_missing_dm_control(package: str, use: str) -> None:
    """The two features that need dm_control's packages name them; all else works without."""
    code = f"""
import sys
sys.modules.update(dm_control=None, dm_env=None)
import aloha_marl
env = aloha_marl.AlohaSingleAgent(aloha_marl.parallel_env("insertion"))
env.reset(seed=0)
env.step(env.action_space.sample())
try:
    {use}
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.fullmatch(rf".* needs {package} \(.*\): pip install {package}.*\n", done.stdout)


def test_all_adapters_are_tested() -> None:
    """The table above knows every module, and every extra has one."""
    folder = ROOT / "aloha_marl" / "integrations"
    modules = {path.stem for path in folder.glob("*.py")} - {"__init__", "requirements"}
    assert modules == ADAPTERS.keys()
    assert set(ADAPTERS.values()) == SUPPORTED.keys()


@pytest.mark.parametrize("extra", SUPPORTED)
def test_versions(extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions from the oldest to below the first too new one will do, whatever their suffix."""
    name, oldest, too_new = SUPPORTED[extra]
    for good in (oldest, f"{oldest}.1", f"{oldest}.0rc1", f"{oldest}.7+cpu"):
        pretend(monkeypatch, good)
        with library(extra):
            pass
    for bad in ("0.1", too_new, f"{too_new}.1", "99.0.0", "?"):
        pretend(monkeypatch, bad)
        message = (
            rf"needs {name}>={oldest},<{too_new}, but {bad.replace('?', '.')} is installed: pip"
        )
        with pytest.raises(ImportError, match=message), library(extra):
            pass


def test_extras_agree() -> None:
    """The extras ask pip for the versions that are supported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for extra, (name, oldest, too_new) in SUPPORTED.items():
        asked = [line.replace("[rllib]", "") for line in extras[extra]]
        assert f"{name}>={oldest},<{too_new}" in asked
