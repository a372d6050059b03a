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


def example(library: str) -> ModuleType:
    """The module of a training example."""
    if str(EXAMPLES) not in sys.path:
        sys.path.append(str(EXAMPLES))
    return importlib.import_module(f"train_{library}")


def run(library: str, out: Path, *arguments: str) -> dict[str, Any]:
    """Runs an example as its user does; returns what it has written.

    Args:
        library: in the name of the file.
        out: the folder it shall write to.
        *arguments: others.
    """
    command = [sys.executable, str(EXAMPLES / f"train_{library}.py"), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout  # the table of `aloha-marl eval`
    (result,) = out.glob("*.json")
    assert result.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    return json.loads(result.read_text())
