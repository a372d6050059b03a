"""Makes the page on imitation from the trainings in docs/results: imitation_TASK_SEED.json."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from pages import PAGES, RESULTS, interval, plain, times

from aloha_marl.arms import SIDES
from aloha_marl.policies.learned import WEIGHTS
from aloha_marl.policies.network import Network
from aloha_marl.tasks import TASKS

WIDTH = 108

PAGE = """# Imitation

`aloha_marl.policies.load("imitation", task)` gives two networks, one per arm, that learned to act from
the scripted experts. They run with NumPy alone, and like every policy each sees its own arm's
observation and nothing else.

```sh
aloha-marl eval --policy imitation --task insertion
```

## What comes with the package

{model}
The networks read the observation of the scope `partner` without velocity of the gripper and angular
velocity of the objects:

{inputs}

Positions of objects are multiplied by 20, because millimetres decide, and also given in the tool's frame;
an axis of an object is given so that all yaws at which it looks the same are alike. There is no time, no
memory and no previous action. `aloha_marl.policies.learned.features` is all of it. The networks say how far
each commanded joint turns in a step, as `control="joint_delta"`, and whether the gripper opens or closes;
the policies turn that into the actions of any control mode.

## How they were trained

```sh
python examples/learning/imitate.py --task transfer_cube --seed 0
```

needs the extra `torch`, and writes two files of weights, the learning curve and the evaluation. First the
experts play. Then the networks play, the experts label every state they get into with what they would have
done there, and the networks learn from all samples so far (DAgger):

{arguments}

Starts of the training come from other seeds than those of the evaluation.

Success while learning, of the episodes that ended in a round; those that get stuck end late, after 300
steps:

| | |
|---|---|
| {pictures} |

## Results

Each line is a training from nothing, evaluated on {episodes} starts (seeds {first} and following) that
no training has seen: `start="random"`, `rules="strict"`, {cycles} steps at most. The interval is
Wilson's at 95 %. Samples are per arm. Time is that of play, labels and gradient steps together, on {cpus}
CPUs with `OMP_NUM_THREADS=1`; wall time includes waiting for other programs of the machine, CPU time is the
sum over all threads of the training alone. How the arms worked together, and the experts beside them, is in
[baselines.md](baselines.md).

{results}
{failures}
Versions: {versions}.

## What they are not

They know these two tasks, this scope and the noise of these starts. Perturbed observations, other masses
or a partner that acts differently were not part of the training. A file for another task, arm or scope
is refused with the command that makes the right one; load your own with
`aloha_marl.policies.learned.load_file`.
"""


def runs() -> list[dict[str, Any]]:
    """The trainings of each task, by seed."""
    found = []
    for task in TASKS:
        files = sorted(RESULTS.glob(f"imitation_{task}_*.json"))
        found += [json.loads(file.read_text()) for file in files]
    return found


def model() -> tuple[str, str]:
    """A table of the networks in the package, and the names of their inputs."""
    rows: list[tuple[str, ...]] = []
    names: dict[str, int] = {}
    for task in TASKS:
        for side in SIDES:
            path = WEIGHTS / f"imitation_{task}_{side}.npz"
            network = Network.load(path, task, side)
            sizes = [len(network.layers[0][0]), *(len(bias) for _, bias in network.layers)]
            count = sum(weights.size + bias.size for weights, bias in network.layers)
            size = f"{path.stat().st_size / 1000:.0f} kB"
            with np.load(path) as content:
                names |= json.loads(str(content["header"]))["features"]
            layers = " - ".join(map(str, sizes))
            rows.append((f"`{path.name}`", layers, f"{count:,}", size, str(network.seed)))
    columns = ("file", "layers", "numbers", "size", "training seed")
    return plain(columns, rows), ", ".join(f"`{name}`" for name in names)


def line(run: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table of results."""
    arguments, end = run["arguments"], run["curve"][-1]
    return (
        arguments["task"],
        str(arguments["seed"]),
        *interval(run),
        f"{run['evaluation']['summary']['mean_steps_of_successes']:.0f}",
        f"{end['samples_per_arm']:,}",
        *times(run),
    )


def page() -> str:
    """The whole text."""
    done = runs()
    table, inputs = model()
    columns = ("task", "training seed", "successes", "rate", "interval", "steps")
    columns += ("samples", "wall time", "CPU time")
    results = plain(columns, [line(run) for run in done])
    failures = [
        f"- {run['arguments']['task']}, training seed {run['arguments']['seed']}, start {start}: {why}"
        for run in done
        for start, why in run["evaluation"]["failures"].items()
    ]
    first = done[0]
    how = first["arguments"]
    versions = first["evaluation"]["versions"] | {"torch": first["torch"]}
    return PAGE.format(
        model=table,
        inputs=textwrap.fill(inputs, WIDTH),
        arguments=f"- {how['expert_steps']} steps of the experts in {how['num_envs']} environments,\n"
        f"- {how['rounds']} rounds of {how['round_steps']} steps,\n"
        f"- {how['updates']} gradient steps after each, and {how['last_updates']} at the end with a "
        "falling learning rate.",
        episodes=how["episodes"],
        first=first["evaluation"]["first_seed"],
        cycles=first["evaluation"]["options"]["max_cycles"],
        cpus=first["cpus"],
        pictures=" | ".join(
            f"![{task}](images/imitation_{task}_joint_delta.png)" for task in TASKS
        ),
        results=results,
        failures="Episodes that failed:\n\n" + "\n".join(failures) + "\n" if failures else "",
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
    )


if __name__ == "__main__":
    (PAGES / "imitation.md").write_text(page())
