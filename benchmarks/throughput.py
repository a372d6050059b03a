"""Measures how fast the environments are, beside MuJoCo alone and Gymnasium's vector environments.

Everything runs the same motion, in turns, --repeats times. Prints medians, and writes all numbers to
a JSON file and a picture.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import importlib.metadata
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import contenders
import psutil
from contenders import Contender
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from report import Measurement, plot, print_tables

from aloha_marl import AGENTS, TASKS, AlohaParallelEnv, AlohaVectorEnv, policies
from aloha_marl.core.core import Core
from aloha_marl.core.state import State

STEPS = 2000
"""Steps of a timing, of all rows together: some 0.4 s. A batch makes at least ``LEAST_STEPS``."""
LEAST_STEPS = 8
CALLS = 500
"""Calls of a timing of something that takes microseconds."""
PACKAGES = ("mujoco", "numpy", "gymnasium", "pettingzoo", "aloha_marl")

Job = tuple[str, int, Callable[[], float]]
"""Name, N, and the function that measures the seconds per row."""


def main() -> None:
    """Measures, prints and writes."""
    options = parse()
    before = os.getloadavg()
    speeds = {task: measure_speeds(task, options) for task in options.task}
    details = {task: measure_details(task, options) for task in options.task}
    for task in options.task:
        print_tables(task, speeds[task], details[task])
    out = Path(options.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    results = {
        "machine": machine(),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "load_average": {"before": before, "after": os.getloadavg()},
        "options": vars(options),
        "speeds": {task: [dataclasses.asdict(s) for s in speeds[task]] for task in speeds},
        "details": {task: [dataclasses.asdict(d) for d in details[task]] for task in details},
    }
    Path(f"{out}.json").write_text(json.dumps(results, indent=1))
    plot(speeds, Path(f"{out}.png"))
    print(f"written: {out}.json, {out}.png")


def parse() -> argparse.Namespace:
    """The command line."""
    cores = os.cpu_count() or 1
    doublings = sorted({*(2**k for k in range(cores.bit_length())), cores})
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = parser.add_argument
    add("--task", action="append", choices=TASKS, help="may be repeated; all if not given")
    add("--num-envs", type=int, nargs="+", default=[1, 16, 64, 256, 1024], help="N, several")
    add("--threads", type=int, nargs="+", default=doublings, help="of a pool, several")
    add("--repeats", type=int, default=7, help="timings of everything")
    add("--gymnasium-limit", type=int, default=64, help="largest N for a model per environment")
    add("--out", default="out/throughput", help="path of the files, without .json and .png")
    options = parser.parse_args()
    options.task = options.task or list(TASKS)
    return options


def machine() -> dict[str, Any]:
    """The machine: with the versions all that the numbers depend on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "physical_cores": psutil.cpu_count(logical=False),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS"),
    }


def measure_speeds(task: str, options: argparse.Namespace) -> list[Measurement]:
    """Runs everything in turns, and compares it within each repeat."""
    rivals = make_contenders(task, options)
    seconds = in_turns(f"{task}: speed", [rival.run for rival in rivals], options.repeats)
    speeds = {
        (rival.name, rival.work.num_envs, rival.threads): Measurement(
            rival.name, rival.work.num_envs, rival.threads, rival.work.total_steps, spent
        )
        for rival, spent in zip(rivals, seconds, strict=True)
    }
    for rival in rivals:
        rival.close()
    del rivals[:]
    gc.collect()  # the next task's processes are forked from this one
    for (_, n, threads), speed in speeds.items():
        references = {
            "mj_step": ("mj_step", 1, None),
            "Batch": ("Batch", n, threads),
            "one by one": ("AlohaParallelEnv", 1, None),
            "Async": ("AsyncVectorEnv", n, None),
        }
        for ratio, reference in references.items():
            if reference in speeds and speeds[reference] is not speed:
                speed.compare(ratio, speeds[reference])
    return list(speeds.values())


def make_contenders(task: str, options: argparse.Namespace) -> list[Contender]:
    """All contenders, in the order of their turns."""
    counts = options.num_envs
    works = {n: contenders.record(task, n, max(LEAST_STEPS, STEPS // n)) for n in {1, *counts}}
    # Gymnasium's vectors hold a model and data per environment: a thousand would take 6 GB. They come
    # first, since one forks, and a fork should find no threads.
    own_models = [
        contenders.gymnasium_env(kind, works[n])
        for kind in (AsyncVectorEnv, SyncVectorEnv)
        for n in counts
        if n <= options.gymnasium_limit
    ]
    return [
        contenders.mj_step(works[1]),
        contenders.parallel_env(works[1]),
        contenders.single_agent(works[1]),
        contenders.aec_env(works[1]),
        *own_models,
        *(
            make(works[n], threads)
            for n in counts
            for threads in options.threads
            for make in (contenders.batch, contenders.vector_env)
        ),
    ]


def measure_details(task: str, options: argparse.Namespace) -> list[Measurement]:
    """Resets, rewards and pictures."""
    jobs = [
        *reset_jobs(task, options.num_envs),
        *judge_jobs(task, options.num_envs),
        *picture_jobs(task),
    ]
    names, counts, measures = zip(*jobs, strict=True)
    seconds = in_turns(f"{task}: details", measures, options.repeats)
    return [
        Measurement(name, n, None, 1, spent)
        for name, n, spent in zip(names, counts, seconds, strict=True)
    ]


def in_turns(what: str, measures: Sequence[Callable[[], float]], repeats: int) -> list[list[float]]:
    """Results of each function, called ``repeats`` times alternating with the others."""
    rounds = []
    for repeat in range(repeats):
        print(f"{what}, repeat {repeat + 1} of {repeats}", flush=True)
        rounds.append([measure() for measure in measures])
    return [list(results) for results in zip(*rounds, strict=True)]


def reset_jobs(task: str, counts: list[int]) -> Iterator[Job]:
    """Resets of all rows."""
    for env, n in ((AlohaParallelEnv(task), 1), *((AlohaVectorEnv(task, n), n) for n in counts)):
        calls = max(1, 200 // n)
        yield f"reset, {type(env).__name__}", n, partial(seconds_per_row, env.reset, n, calls)


def judge_jobs(task: str, counts: list[int]) -> Iterator[Job]:
    """Readings and judging, between physics and observations: the least and the most they cost."""
    held = held_state(task)
    for n in counts:
        for name, state in (("nothing touched", None), ("objects held", held)):
            env = AlohaVectorEnv(task, n, num_threads=1)
            env.reset(seed=0)
            if state is not None:
                env.set_state(state)
            update = env.core.readings.update
            yield f"readings, {name}", n, partial(seconds_per_row, update, n, CALLS)
            yield f"stage and earnings, {name}", n, partial(judging_seconds, env.core)


def held_state(task: str) -> State:
    """The first state that the experts reach in which the task has something to remember."""
    env = AlohaParallelEnv(task)
    arms = policies.load("scripted", task)
    observations, _ = env.reset(seed=0)
    while not env.get_state().memory.any():
        observations, *_ = env.step({arm: arms[arm](observations[arm]) for arm in env.agents})
    return env.get_state()


def judging_seconds(core: Core) -> float:
    """Seconds per row of stage, memory and earnings."""
    spent = 0.0
    for _ in range(CALLS):
        core.readings.update()  # drops the values that the last judgement cached
        start = time.perf_counter()
        core.progress = core.judged(core.progress)
        spent += time.perf_counter() - start
    return spent / CALLS / core.num_envs


def picture_jobs(task: str) -> Iterator[Job]:
    """Steps with a picture of one camera in each row."""
    n = 16
    for width, height in ((84, 84), (640, 480)):
        options: dict[str, Any] = {
            "obs_type": "pixels",
            "cameras": ("top",),
            "observation_width": width,
            "observation_height": height,
            "max_cycles": 10**6,
        }
        one, many = AlohaParallelEnv(task, **options), AlohaVectorEnv(task, n, **options)
        action = contenders.motion(one.model, n, 1)[0]
        for env, rows, actions in ((one, 1, action[:, 0]), (many, n, action)):
            try:
                env.reset(seed=0)
            except RuntimeError as error:  # without OpenGL the other numbers are still worth it
                print(error)
                return
            step = partial(env.step, dict(zip(AGENTS, actions, strict=True)))
            name = f"step with picture {width}x{height}, {type(env).__name__}"
            yield name, rows, partial(seconds_per_row, step, rows, n // rows)


def seconds_per_row(call: Callable[[], Any], num_envs: int, calls: int) -> float:
    """Calls something that does N rows."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls / num_envs


if __name__ == "__main__":
    main()
