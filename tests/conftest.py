"""Fixtures of the whole suite."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import TASK_NAMES


@pytest.fixture(params=TASK_NAMES)
def task(request: pytest.FixtureRequest) -> str:
    """Every task, by name."""
    return request.param


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator that is the same in every test."""
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """A virtual screen, as the variable DISPLAY names it; for processes of their own only."""
    if shutil.which("Xvfb") is None:
        pytest.fail("windows are tested on a virtual screen: apt-get install xvfb")
    command = ("Xvfb", "-displayfd", "1", "-screen", "0", "480x360x24", "-nolisten", "tcp")
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        assert server.stdout is not None
        number = server.stdout.readline().decode().strip()  # once it is ready
        try:
            assert number, "Xvfb has not started"
            yield f":{number}"
        finally:
            server.terminate()


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every test in an empty folder: MuJoCo writes its warnings to the working directory."""
    monkeypatch.chdir(tmp_path)
