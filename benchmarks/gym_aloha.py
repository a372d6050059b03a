"""Measures how many times as fast as gym-aloha the environments step and draw.

gym-aloha is installed into a virtual environment of its own, since it needs an older MuJoCo. In each
round everything has its turn, in processes of its own. Prints medians beside their bars,
and writes all numbers to a JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import IO, Any, cast

import contenders
import numpy as np
from report import new_table
from rich.console import Console
from throughput import machine

from aloha_marl import AlohaParallelEnv
from aloha_marl.rendering.opengl import driver

ROOT = Path(__file__).parent.parent
STEPPING = Path(__file__).with_name("stepping.py")
REQUIREMENTS = ("gym-aloha==0.1.5", "mujoco==3.8.1")
EPISODE = 300
"""Steps, in both packages."""

GYM_ALOHA = "gym_aloha:gym_aloha/AlohaTransferCube-v0"
ALOHA_MARL = "aloha_marl:aloha_marl/TransferCube-v0"
DRAWN = {"obs_type": "pixels_agent_pos"}
SMALL = {**DRAWN, "observation_width": 84, "observation_height": 84}

Report = dict[str, Any]
"""The line that a process of ``stepping.py`` prints."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """An environment that is stepped.

    Attributes:
        name: name in the table.
        env: id of the environment, as module:id.
        options: options of the environment.
        bar: multiple of gym-aloha's speed to reach; with several processes their steps/s.
        processes: number of processes that step at the same time.
    """

    name: str
    env: str
    options: dict[str, Any]
    bar: float | None = None
    processes: int = 1


ENTRIES = (
    Entry("gym-aloha", GYM_ALOHA, DRAWN),  # 3 pictures of 640x480, whatever is asked for
    Entry("640x480 fast", ALOHA_MARL, DRAWN, 35),
    Entry("640x480 high", ALOHA_MARL, {**DRAWN, "render_quality": "high"}, 10),
    Entry("84x84 fast", ALOHA_MARL, SMALL, 75),
    Entry("state", ALOHA_MARL, {"obs_type": "state"}, 600),
    Entry("two of 84x84 fast", ALOHA_MARL, SMALL, 1000, processes=2),
)


@dataclasses.dataclass
class Result:
    """The speed of an entry.

    Attributes:
        entry: the entry.
        speeds: steps/s of its processes together, per round.
        ratios: multiples of gym-aloha's speed, per round.
        speed: median of the speeds.
        ratio: ratio of the medians.
        passed: True if the bar is reached, None if there is none.
    """

    entry: Entry
    speeds: list[float]
    ratios: list[float]
    speed: float
    ratio: float
    passed: bool | None


def main() -> None:
    """Installs, measures, prints and writes."""
    options = parse()
    os.environ.setdefault("MUJOCO_GL", "egl")
    os.environ["OMP_NUM_THREADS"] = "1"
    pythons = {GYM_ALOHA: install(Path(options.venv)), ALOHA_MARL: sys.executable}
    opengl, actions = prepare()
    before = os.getloadavg()
    rounds = []
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "actions.npy")
        np.save(file, actions)
        for number in range(options.rounds):
            print(f"round {number + 1} of {options.rounds}", flush=True)
            rounds.append(
                [take_turn(pythons[entry.env], entry, file, options.seconds) for entry in ENTRIES]
            )
    after = os.getloadavg()
    results = compare(rounds)
    print_table(results)
    print(f"load average {before[0]:.1f} before, {after[0]:.1f} after; drawn by {opengl}")
    record = {
        "machine": machine() | {"opengl": opengl},
        "load_average": {"before": before, "after": after},
        "options": vars(options),
        "results": [dataclasses.asdict(result) for result in results],
        "rounds": rounds,
    }
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(record, indent=1))
    print(f"written: {out}")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="turns of everything")
    add("--seconds", type=float, default=5, help="timed in each turn")
    add("--venv", default=str(ROOT / ".venv-gym-aloha"), help="where gym-aloha is, or will be")
    add("--out", default="out/gym_aloha.json", help="path of the file")
    return parser.parse_args()


def install(folder: Path) -> str:
    """Installs gym-aloha where it is missing; returns the interpreter that can import it."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {' '.join(REQUIREMENTS)} into {folder}", flush=True)
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
    return str(python)


def prepare() -> tuple[str, np.ndarray]:
    """The name of the OpenGL driver, and the (300, 14) actions of an episode."""
    env = AlohaParallelEnv("transfer_cube")
    env.reset(seed=0)
    env.picture("top")
    opengl = driver()["GL_RENDERER"]
    env.close()
    return opengl, contenders.motion(env.model, 1, EPISODE).reshape(EPISODE, -1)


def take_turn(python: str, entry: Entry, actions: Path, seconds: float) -> list[Report]:
    """Runs the processes of an entry; they begin together."""
    # -P: beside stepping.py there is a module with the name of the package gym_aloha.
    command = [python, "-P", str(STEPPING), entry.env, json.dumps(entry.options), str(actions)]
    command += ["--seconds", str(seconds)]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(entry.processes)
        ]
        outputs = [cast(IO[str], process.stdout) for process in processes]
        for output in outputs:
            if "ready\n" not in output:  # reads up to that line
                raise RuntimeError(f"{entry.name} failed: {' '.join(command)}")
        for process in processes:
            print(file=process.stdin, flush=True)
        return [json.loads(output.readlines()[-1]) for output in outputs]


def compare(rounds: list[list[list[Report]]]) -> list[Result]:
    """Speeds and ratios of each entry; ``rounds`` holds each round's turns."""
    speeds = [[sum(said["per_second"] for said in turn) for turn in turns] for turns in rounds]
    base, *_ = by_entry = [list(each) for each in zip(*speeds, strict=True)]
    results = []
    for entry, mine in zip(ENTRIES, by_entry, strict=True):
        speed, ratios = statistics.median(mine), [m / b for m, b in zip(mine, base, strict=True)]
        ratio = speed / statistics.median(base)
        reached = ratio if entry.processes == 1 else speed
        passed = None if entry.bar is None else reached >= entry.bar
        results.append(Result(entry, mine, ratios, speed, ratio, passed))
    return results


def print_table(results: list[Result]) -> None:
    """Prints the medians beside their bars."""
    table = new_table("steps/s, and times gym-aloha's", "steps/s", "times", "rounds", "bar", "")
    for result in results:
        bar, alone = result.entry.bar, result.entry.processes == 1
        table.add_row(
            result.entry.name,
            f"{result.speed:.3g}" if result.speed < 100 else f"{result.speed:.0f}",
            f"{result.ratio:.1f}",
            f"{min(result.ratios):.1f} .. {max(result.ratios):.1f}",
            "" if bar is None else f"{bar:.0f} {'times' if alone else 'steps/s'}",
            "" if bar is None else "passed" if result.passed else "missed",
        )
    Console().print(table)


if __name__ == "__main__":
    main()
