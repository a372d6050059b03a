"""Runs the training examples."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "learning"
PPO = ("--steps", "2048", "--num-envs", "4", "--episodes", "1", "--rollout", "128")
RLLIB = ("--steps", "2000", "--num-envs", "2", "--runners", "0", "--episodes", "1")
RLLIB += ("--batch", "1000", "--batch-size", "500")
CLEANRL = ("--num-envs", "8", "--steps", "2048", "--rollout", "8", "--batch-size", "32")
CLEANRL += ("--points", "2", "--held-out", "3", "--episodes", "1")
IMITATE = ("--num-envs", "4", "--expert-steps", "150", "--rounds", "2", "--round-steps", "20")
IMITATE += ("--updates", "30", "--last-updates", "30", "--batch-size", "64", "--episodes", "1")
"""Arguments of quick trainings: of every PPO, and of the examples that take others."""

TIMES = {"wall_seconds", "cpu_seconds", "policy", "physics", "learning", "assessment"}
"""Figures of a learning curve that differ between runs with the same seed."""


def run(name: str, out: Path, *arguments: str) -> dict[str, Any]:
    """Runs an example as its user does; returns its JSON file.

    Args:
        name: name of the example, such as "train_sb3".
        out: folder it writes to.
        *arguments: further arguments.
    """
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "95 % interval" in done.stdout  # the table of `aloha-marl eval`
    (result,) = out.glob("*.json")
    assert result.with_suffix(".png").read_bytes().startswith(b"\x89PNG")
    return json.loads(result.read_text())


def without_times(result: dict[str, Any]) -> dict[str, Any]:
    """The result without the times of its learning curve, after a check that they are there."""
    curve = []
    for point in result["curve"]:
        assert point["wall_seconds"] > 0
        assert all(point[name] >= 0 for name in TIMES & point.keys())
        curve.append({name: value for name, value in point.items() if name not in TIMES})
    return {**result, "curve": curve}
