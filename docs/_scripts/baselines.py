"""Makes the page on baselines, and its pictures, from docs/results."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from pages import IMAGES, PAGES, PROCESSORS, RESULTS, bounds, interval, marked, plain, times

from aloha_marl.arms import SIDES
from aloha_marl.control.modes import CONTROLS
from aloha_marl.policies.one_arm import ATTEMPTS
from aloha_marl.tasks import SUCCESS, TASKS

AUDIT = RESULTS / "audit.json"
CHUNKS = ("chunks_both", "chunks_per_arm")

METHODS = {
    "scripted": "the experts, a program per arm",
    "imitation": "networks that imitate the experts, one per arm ([how](imitation.md)); those of seed 0 "
    "come with the package and play in every control mode",
    "adaptive": "networks that imitate experts among strangers, one per arm "
    "([how](crossplay.md#arms-that-work-with-strangers)); those of seed 0 come with the package",
    "chunks_both": "one network of both arms that learned chunks of actions from recordings of the experts "
    "([how](imitation.md#action-chunks))",
    "chunks_per_arm": "the same with a network per arm, each of which sees its own arm's observation only",
    "ippo": "networks that learned from rewards alone, by independent PPO ([how](from_scratch.md)); those "
    "of seed 0 come with the package",
    "random": "actions drawn uniformly between the bounds of the control mode",
    **{
        f"{side} alone": f"the {side} arm plays as `scripted`, its partner is frozen where it started"
        for side in SIDES
    },
}
"""Methods in the order of the tables -> description."""

JUDGED = {"gym-aloha": "by gym-aloha's rules", "ours": "by the strict rules"}
"""Rules, as the names in the audit begin -> heading of a column."""

AMOUNTS = {"updates": "updates", "steps": "environment steps", "samples_per_arm": "samples per arm"}
"""Key of a learning curve that counts experience -> the same in words."""

SHARES = ("stage_1", "stage_2", "lifted", "stage_3", "stage_4", "success")
"""Keys of a learning curve that are shares of episodes."""

PARTS = ("physics", "policy", "learning")
"""Keys of a learning curve that are seconds spent in a part of the training."""

FORMER = {"examples/": "examples/learning/", "docs/": "docs/_scripts/"}
"""Folder of a script in commands recorded before it moved -> its folder now."""

PAGE = """# Baselines

What policies reach on every task. Every row is {episodes} episodes from the same random starts, which no
training has used (seeds {first} to {last}, `start="random"`, `rules="strict"`, at most {cycles} steps of
0.02 s). Every policy controls one arm and reads that arm's observation only, of scope {scopes};
`chunks_both` controls both arms and reads both observations.

{methods}
| column | meaning |
|---|---|
| interval | Wilson's 95 % interval of the success rate |
| steps | mean length of the successful episodes |
| stages | share of the episodes that reached stage 1 / 2 / 3 or a higher one [%] |
| handover | how long both arms touched the object that changed hands |
| drops | how often per episode a lifted object fell back on the table |
| idle | share of the steps in which the left / right arm stood still [%] |

{processors}
{tasks}
## One network of both arms, or one per arm

Both learned chunks of actions from the same recordings, in as many updates. Successes with each training
seed, and of all together:

{decentralised}
On `transfer_cube`, decentralisation costs three of a hundred starts. On `insertion` it costs nothing:
networks that see one arm's observation only succeed more often, and differ less between seeds. The joint
network is not too small: one with more weights than those of both arms reached 55 of 80 starts with seed
0, where the one in the table reached 68.

## Training

Each row is one training from random weights. Wall time includes time in which other programs used the
machine; CPU time is the training's own, over all threads. The shares of physics, policy and learning
leave out the episodes that were played for the learning curve. Physics is the whole step of the
environments: observations, rewards and new starts included.

{trainings}{curves}
## Repeat it

```sh
{commands}
```

A training writes its JSON to `out/`. `python docs/_scripts/baselines.py` makes this page from the files
in `docs/results/`. Versions: {versions}.
"""

TASK = """
## {task}

{results}
### {task}: one arm alone

One arm plays ([how](../aloha_marl/policies/one_arm.py)), the other is frozen, with `start="gym_aloha"`;
[more rules and partners](audit.md).

{attempts}"""

CURVE = """
### {method} on {task}, {control}

![Shares of episodes while learning](images/{method}_{task}_{control}.png)

{ends}"""


def runs() -> list[dict[str, Any]]:
    """All results in the order of the tables: methods, control modes as the package lists them, seeds."""
    found = []
    others = {AUDIT, *RESULTS.glob("crossplay_*.json")}
    for path in sorted({*RESULTS.glob("*.json")} - others):
        content = json.loads(path.read_text())
        found += content if isinstance(content, list) else [content]
    return sorted(
        found,
        key=lambda run: (
            list(METHODS).index(run["method"]),
            list(TASKS).index(run["evaluation"]["task"]),
            list(CONTROLS).index(run["evaluation"]["options"]["control"]),
            run["arguments"].get("seed", 0),
        ),
    )


def reached(run: Mapping[str, Any]) -> str:
    """Shares of the episodes [%] that reached stage 1, 2 and 3."""
    counts = [int(number) for number in run["evaluation"]["summary"]["stage_counts"].values()]
    return " / ".join(f"{100 * sum(counts[i:]) / sum(counts):.0f}" for i in range(1, SUCCESS))


def results(done: Sequence[Mapping[str, Any]]) -> str:
    """The table of a task's results."""
    columns = ("method", "control", "training seed", "successes", "rate", "interval", "steps")
    columns += ("stages", "handover [s]", "drops", "idle")
    rows = []
    for run in done:
        options, summary = run["evaluation"]["options"], run["evaluation"]["summary"]
        steps, metrics = summary["mean_steps_of_successes"], summary["metrics"]
        idle = (f"{100 * metrics[f'{side}_idle_share']:.0f}" for side in SIDES)
        row = (
            marked(run["method"]),
            options["control"],
            str(run["arguments"].get("seed", "-")),
            *interval(run),
            "-" if steps is None else f"{steps:.0f}",
            reached(run),
            f"{metrics['handover_time']:.2f}" if "handover_time" in metrics else "-",
            f"{metrics['drops']:.2f}",
            " / ".join(idle),
        )
        rows.append(row)
    return plain(columns, rows)


def attempts(task: str) -> str:
    """The table of one arm alone, judged by all rules of the task; the audit has played them."""
    audit = json.loads(AUDIT.read_text())
    columns, rows = [], []
    for attempt in (name for name, (of, *_) in ATTEMPTS.items() if of == task):
        counts = audit["cases"][task][attempt]["successes"]
        judged = {
            rules: n for rules in JUDGED for name, n in counts.items() if name.startswith(rules)
        }
        columns = [JUDGED[rules] for rules in judged]
        rows.append((attempt, *(share(won, audit["episodes"]) for won in judged.values())))
    return plain(("attempt", *columns), rows)


def share(won: int, episodes: int) -> str:
    """Successes with their Wilson interval."""
    return f"{won} of {episodes} ({bounds(won, episodes)})"


def decentralised(done: Sequence[Mapping[str, Any]]) -> str:
    """The table of chunks for both arms, and per arm."""
    rows = []
    for (method, task, _), group in groups(done).items():
        if method in CHUNKS:
            counts = [run["evaluation"]["summary"]["successes"] for run in group]
            episodes = sum(run["evaluation"]["summary"]["episodes"] for run in group)
            won = share(sum(counts), episodes)
            rows.append((task, marked(method), " / ".join(map(str, counts)), won))
    return plain(("task", "method", "successes", "all together"), sorted(rows))


def amount(run: Mapping[str, Any]) -> str:
    """The key of the learning curve that counts experience, one of ``AMOUNTS``."""
    return next(name for name in AMOUNTS if name in run["curve"][-1])


def experience(run: Mapping[str, Any]) -> str:
    """What a training learned from."""
    end = run["curve"][-1]
    if "demonstrations" in end:
        return f"{end['demonstrations']:,} recorded episodes"
    return f"{end[amount(run)]:,.0f} {AMOUNTS[amount(run)]}"


def training(run: Mapping[str, Any]) -> tuple[str, ...]:
    """A row of the table of trainings."""
    end, evaluation = run["curve"][-1], run["evaluation"]
    return (
        marked(run["method"]),
        evaluation["task"],
        evaluation["options"]["control"],
        str(run["arguments"]["seed"]),
        experience(run),
        *times(run),
        str(run["cpus"]),
        split(end),
        interval(run)[1],
    )


def split(end: Mapping[str, float]) -> str:
    """Shares of ``PARTS`` in a training's time [%], if the curve has them."""
    if not all(part in end for part in PARTS):
        return "-"
    total = sum(end[part] for part in PARTS)
    return " / ".join(f"{100 * end[part] / total:.0f}" for part in PARTS)


def groups(trained: Sequence[Mapping[str, Any]]) -> dict[tuple[str, ...], list[Mapping[str, Any]]]:
    """Method, task and control mode -> its trainings."""
    found: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for run in trained:
        evaluation = run["evaluation"]
        name = run["method"], evaluation["task"], evaluation["options"]["control"]
        found.setdefault(name, []).append(run)
    return found


def shares(run: Mapping[str, Any]) -> dict[str, tuple[list[float], list[float]]]:
    """Name -> amounts and shares [%] of a learning curve.

    A point without shares counts the episodes that ended since the last one, and their successes.
    """
    curves: dict[str, tuple[list[float], list[float]]] = {}
    for point in run["curve"]:
        found = {name: point[name] for name in SHARES if name in point}
        if not found and point.get("episodes"):
            found = {"success": point["successes"] / point["episodes"]}
        for name, share in found.items():
            xs, ys = curves.setdefault(name, ([], []))
            xs.append(point[amount(run)])
            ys.append(100 * share)
    return curves


def ends(group: Sequence[Mapping[str, Any]]) -> str:
    """The episodes that a picture counts, and a table of the points if they have several shares."""
    curves = [shares(run) for run in group]
    names = [name for name in SHARES if all(name in curve for curve in curves)]
    if names == ["success"] and "held_out" in group[0]["arguments"]:
        return "Success rate of {held_out} held-out episodes.\n".format(**group[0]["arguments"])
    if names == ["success"]:
        return (
            "Success rate of the episodes that ended in each round. In the first round the experts play. "
            "An episode that gets stuck runs to its time limit, so it counts in a later round.\n"
        )
    rows = [
        (
            str(run["arguments"]["seed"]),
            f"{point['steps'] / 1e6:.2f} M",
            f"{point['wall_seconds'] / 60:.1f} min",
            *(f"{100 * point[name]:.1f} %" for name in names),
        )
        for run in group
        for point in run["curve"]
    ]
    text = (
        "Shares of {held_out} held-out episodes, played without exploration noise, that reach each stage. "
        "Lifted: every object to lift was 5 cm above the table at some time.\n\n"
    ).format(**group[0]["arguments"])
    columns = ("seed", "steps", "wall time", *(name.replace("_", " ") for name in names))
    return text + plain(columns, rows)


def draw(name: tuple[str, ...], group: Sequence[Mapping[str, Any]]) -> None:
    """Writes the learning curves of a method, task and control mode: a line per seed and share."""
    figure = Figure(figsize=(6, 3.6), layout="constrained")
    axes = figure.add_subplot()
    for run in group:
        for share, curve in shares(run).items():
            label = None if run is not group[0] else share.replace("_", " ")
            axes.plot(*curve, ".-", color=f"C{SHARES.index(share)}", alpha=0.7, label=label)
    axes.set(xlabel=AMOUNTS[amount(group[0])], ylabel="episodes [%]", ylim=(-2, 102))
    axes.set_title("{} on {}, {}: a line per seed".format(*name))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(IMAGES / f"{'_'.join(name)}.png", dpi=120)


def page() -> str:
    """The whole text."""
    done = runs()
    trained = [run for run in done if "curve" in run]
    asked = [run["evaluation"] for run in done]
    (first,) = {evaluation["first_seed"] for evaluation in asked}
    (episodes,) = {evaluation["summary"]["episodes"] for evaluation in asked}
    (cycles,) = {evaluation["options"]["max_cycles"] for evaluation in asked}
    scopes = dict.fromkeys(f"`{evaluation['options']['scope']}`" for evaluation in asked)
    used = [evaluation["versions"] for evaluation in asked]
    used += [{"torch": run["torch"]} for run in trained]
    columns = ("method", "task", "control", "seed", "learned from", "wall time", "CPU time", "CPUs")
    columns += (" / ".join(PARTS) + " [%]", "success")
    return PAGE.format(
        episodes=episodes,
        first=first,
        last=first + episodes - 1,
        cycles=cycles,
        scopes=", ".join(scopes),
        processors=PROCESSORS,
        methods="".join(
            f"- `{name}`: {text}\n"
            for name, text in METHODS.items()
            if any(run["method"] == name for run in done)
        ),
        tasks="".join(
            TASK.format(task=task, results=results(of_task(done, task)), attempts=attempts(task))
            for task in TASKS
        ),
        decentralised=decentralised(done),
        trainings=plain(columns, [training(run) for run in trained]),
        curves="".join(
            CURVE.format(method=method, task=task, control=control, ends=ends(group))
            for (method, task, control), group in groups(trained).items()
        ),
        commands="\n".join(dict.fromkeys(command(run) for run in [*trained, *done])),
        versions=", ".join(
            dict.fromkeys(
                f"{name} {number}"
                for some in used
                for name, number in some.items()
                if name != "processor"
            )
        ),
    )


def of_task(done: Sequence[Mapping[str, Any]], task: str) -> list[Mapping[str, Any]]:
    """The results of a task."""
    return [run for run in done if run["evaluation"]["task"] == task]


def command(run: Mapping[str, Any]) -> str:
    """The recorded command, with the script where it is now."""
    return re.sub(r"(?<=^python )\w+/(?=\w+\.py)", lambda old: FORMER[old[0]], run["command"])


def main() -> None:
    """Writes the page and the pictures."""
    for name, group in groups([run for run in runs() if "curve" in run]).items():
        draw(name, group)
    (PAGES / "baselines.md").write_text(page())


if __name__ == "__main__":
    main()
