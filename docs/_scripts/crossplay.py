"""Makes the page on cross-play, and its heat maps, from docs/results.

With ``--learned`` it first plays every pair of the expert and the learned policies, with ``--strangers``
every learned arm with partners that it has not met in training.
"""

from __future__ import annotations

import argparse
import functools
import json
import math

from pages import IMAGES, PAGES, PROCESSORS, RESULTS, bounds, learned, plain

from aloha_marl.arms import SIDES
from aloha_marl.cli.tables import Table, success_matrix
from aloha_marl.evaluation import Crossplay, crossplay, evaluate, versions
from aloha_marl.policies import STYLES, load
from aloha_marl.recording.plots import draw_heat_map
from aloha_marl.tasks import TASKS

SEEDS = range(10_000, 10_050)
STRANGERS = RESULTS / "crossplay_strangers.json"

PAGE = """# Cross-play

Two arms that were trained or written together may fail with any other partner. Cross-play tests that:
every policy as the left arm plays with every policy as the right arm, over the same seeds. On the
diagonal of a matrix both arms play the same policy; everywhere else the partners are strangers.

## Scripted policies

{styles}
`height` moves the point where the arms meet, `pitch` turns the tool further down when it grasps, and
`noise` is the standard deviation of an error that is added to each joint's target at every step. `scope`
is what an arm observes: `local` leaves out the partner. In everything else the policies are the same.

In `carry_tray` `height` is the height at which the tray begins to move sideways, in `spring_box` the one at
which the right arm waits with the cube.

`still` stands for people. As the giver of a cube it does not turn the cube straight and does not let go
by itself: it holds the cube still, turned as it gripped it, until the taker has it. As the taker it holds
the cube where it gripped it. In tasks in which nothing changes hands it plays as `scripted`.

```sh
aloha-marl crossplay --out docs/results && python docs/_scripts/crossplay.py
```

plays all pairs, {episodes} episodes each, and makes this page. `--policy A --policy B` plays other
policies, also [your own](custom_policy.md); in Python it is `aloha_marl.evaluation.crossplay`.

## What it shows

{findings}
{results}
## Learned policies as partners

The same with the plain expert, with the one that stands for people, and with the package's learned
policies. Networks that imitate the experts play well with the plain expert and with each other, in every
task. The arms of `ippo` learned only with each other, and hardly any other partner can play with them.

`imitation` and `ippo` have only seen cubes that are held straight. In `transfer_cube` the experts take
the cube from `still`, who leaves it turned as it was gripped, in 50 of 50 episodes, `imitation` in 11 and
`ippo` in 3. In `pass_cube`, where `still` is the giver in about half the episodes, `imitation` and `still`
succeed in 26 or 27 of 50. The turn matters, not the stillness: from a scripted person who turns the cube
straight first, `imitation` took it in 20 of 20. So play a learned arm with `scripted:still` before you give
it to people.

```sh
python docs/_scripts/crossplay.py --learned
```
{learned}
{strangers}
{processors}
"""

STRANGERS_TEXT = """## Arms that work with strangers

`adaptive` learned among partners whose styles were drawn at random, on `{task}` only. In half of the rows
the left arm learned, in the others the right one. Its partner was an expert whose speed, noise, pitch,
meeting point and way of holding the cube changed in every round. The labels came from an expert who knew
where the partner would meet it; the networks had to see it
([`imitate_strangers.py`](../examples/learning/imitate_strangers.py)).

All partners in the table are strangers. `adaptive` has met none of these styles, though its partners'
speeds, heights and pitches were drawn between bounds that hold most of them; it has met nobody who stands
still, and no network. `imitation` has met the plain expert and itself, `ippo` only itself. Each entry is
{episodes} episodes (seeds {first} and following); the rules are strict.

{table}
The arms of `adaptive` differ from those of `imitation` in three ways. The giver does not go to a fixed
point: it raises the cube slowly in front of the partner, and lets go when it sees that the partner has it.
The taker has seen cubes at many heights, turned in many ways. And both have seen partners who are slower,
faster or less steady than themselves.

What is left are networks that were trained with one partner. The left arm of `imitation` takes a cube only
where its own partner holds it, so it leaves three of four that `adaptive` raises in front of it; the other
way round, `adaptive` takes all but one. The right arm of `ippo` lets go in time for nobody but its own
partner.

```sh
python examples/learning/imitate_strangers.py --task {task} --seed 0
{command}
```
"""

FINDINGS = """\
- What partners must agree on differs between the tasks. Where they meet in the air, in `transfer_cube`,
  `insertion` and `pass_cube`, it is the meeting point. `high` succeeds with itself and with almost nobody
  else. `low` meets only 2 cm lower. It fails with others where it leads, as the giver of the cube and as
  the holder of the socket; where it follows, it adapts to most partners. In `pass_cube` it leads in about
  half the episodes, and succeeds in 32 to 62 % with all but `high` and `novice`.
- In `carry_tray` it is the speed, as both arms hold one body: `slow` and `fast` succeed in 26 and 38 %,
  `slow` and `scripted` in 62 and 70 %. The height at which the tray moves sideways does not matter.
- In `spring_box` there is nothing to agree on. Each arm waits until the lid or the cube is where it should
  be, and every pair succeeds in at least 96 %.
- The pitch of the grasp and seeing the partner hardly matter, nor does the speed in the other tasks: the
  poses of the objects tell an arm all it needs.
- `still`, the giver who neither turns the cube straight nor lets go by itself, is as good a partner as the
  plain one for nearly every expert.
- A novice does most harm where it carries alone: the cube as the right arm, the socket as the left one. In
  the other role it succeeds nearly as often as an expert. In `carry_tray` it costs about a tenth of the
  episodes, in `pass_cube` a quarter, in `spring_box` hardly any.
"""


def results(name: str = "crossplay") -> dict[str, Crossplay]:
    """Task -> result, of all styles or, as "crossplay_learned", of the learned policies."""
    tasks = [task for task in TASKS if name == "crossplay" or learned(task)]
    files = {task: RESULTS / f"{name}_{task}.json" for task in tasks}
    return {task: Crossplay.from_json(file.read_text()) for task, file in files.items()}


def learners(task: str) -> tuple[str, ...]:
    """The expert and the learned policies of a task."""
    return ("scripted", "scripted:still", *learned(task))


def play_learned() -> None:
    """Plays the expert and the learned policies, and writes the results."""
    for task in filter(learned, TASKS):
        result = crossplay(task, {name: load(name, task) for name in learners(task)}, SEEDS)
        (RESULTS / f"crossplay_learned_{task}.json").write_text(result.to_json())


def play_strangers() -> None:
    """Plays each learned arm of a task with all styles and all other learned policies."""
    task, episodes = "transfer_cube", 100
    seeds = range(SEEDS[0], SEEDS[0] + episodes)

    @functools.cache  # two learned arms are each other's strangers
    def won(left: str, right: str) -> int:
        pair = load(task=task, left=left, right=right)
        return evaluate(task, pair, seeds).summary()["successes"]

    successes: dict[str, dict[str, int]] = {}
    for name in learned(task):
        partners = [partner for partner in (*STYLES, *learned(task)) if partner != name]
        left, right = (f"{name} {side}" for side in SIDES)
        successes[left] = {partner: won(name, partner) for partner in partners}
        successes[right] = {partner: won(partner, name) for partner in partners}
    content = {
        "command": "python docs/_scripts/crossplay.py --strangers",
        "task": task,
        "first_seed": SEEDS[0],
        "episodes": episodes,
        "successes": successes,
        "versions": versions(),
    }
    STRANGERS.write_text(json.dumps(content, indent=1) + "\n")


def strangers() -> str:
    """The section on arms that work with strangers."""
    content = json.loads(STRANGERS.read_text())
    successes, episodes = content["successes"], content["episodes"]
    arms = list(successes)
    partners = dict.fromkeys(name for row in successes.values() for name in row)
    rows = []
    for partner in partners:
        counts = [successes[arm].get(partner) for arm in arms]
        cells = ("-" if n is None else f"{n} ({bounds(n, episodes, 0)})" for n in counts)
        rows.append((f"`{partner}`", *cells))
    means = (sum(row.values()) / len(row) for row in successes.values())
    rows.append(("mean", *(f"{mean:.1f}" for mean in means)))
    return STRANGERS_TEXT.format(
        task=content["task"],
        episodes=episodes,
        first=content["first_seed"],
        command=content["command"],
        table=plain(("partner", *arms), rows),
    )


def styles() -> Table:
    """The parameters of the scripted policies."""
    rows = []
    for name, style in STYLES.items():
        pitch, noise = (f"{math.degrees(angle):.3g}" for angle in (style.pitch, style.noise))
        still = "yes" if style.still else ""
        row = (
            f"`{name}`",
            f"{style.speed:g}",
            f"{100 * style.height:g}",
            pitch,
            style.scope,
            noise,
            still,
        )
        rows.append(row)
    columns = ("policy", "speed", "height [cm]", "pitch [deg]", "scope", "noise [deg]", "still")
    return Table("", columns, rows)


def matrix(result: Crossplay, name: str = "crossplay", level: str = "##") -> str:
    """A task's heat map and its table, in which the diagonal is bold.

    Args:
        result: result of the task.
        name: name of the picture, but for the task.
        level: marks of the heading.
    """
    table = success_matrix(result, "{rate} ({interval})", "**{rate}** ({interval})")
    text = f"\n{level} {result.task}\n\n![The matrix as a heat map](images/{name}_{result.task}.png)\n\n"
    text += "Successes in per cent and their 95 % intervals (Wilson); "
    return f"{text}{result.summary()}.\n\n{table.markdown()}"


def page() -> str:
    """The whole page."""
    made = results()
    (episodes,) = {len(result.seeds) for result in made.values()}
    return PAGE.format(
        styles=styles().markdown(),
        episodes=episodes,
        findings=FINDINGS,
        results="".join(map(matrix, made.values())),
        learned="".join(
            matrix(result, "crossplay_learned", "###")
            for result in results("crossplay_learned").values()
        ),
        strangers=strangers(),
        processors=PROCESSORS,
    )


def main() -> None:
    """Writes the page and the heat maps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--learned", action="store_true", help="play the learned policies again")
    parser.add_argument("--strangers", action="store_true", help="play the strangers again")
    arguments = parser.parse_args()
    if arguments.learned:
        play_learned()
    if arguments.strangers:
        play_strangers()
    (PAGES / "crossplay.md").write_text(page())
    for name in ("crossplay", "crossplay_learned"):
        for task, result in results(name).items():
            draw_heat_map(result, IMAGES / f"{name}_{task}.png")


if __name__ == "__main__":
    main()
