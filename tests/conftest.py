"""Fixtures of the whole suite."""

from __future__ import annotations

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


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs every test in an empty folder: MuJoCo writes its warnings to the working directory."""
    monkeypatch.chdir(tmp_path)
