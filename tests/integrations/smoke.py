"""Runs the training examples."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

EXAMPLES = Path(__file__).parent.parent.parent / "examples"


def _file(name: str) -> Path:
    (found,) = EXAMPLES.glob(f"*{name}.py")
    return found


def example(name: str) -> ModuleType:
    """The module of a training example: ``imitate.py`` or ``train_*.py``."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(_file(name).stem)


def run(name: str, out: Path, *arguments: str) -> dict[str, Any]:
    """Runs an example as its user does; returns what it has written.

    Args:
        name: of the file, or its end.
        out: the folder it shall write to.
        *arguments: others.
    """
    command = [sys.executable, str(_file(name)), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout  # the table of `aloha-marl eval`
    (result,) = out.glob("*.json")
    assert result.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    return json.loads(result.read_text())
