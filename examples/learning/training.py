"""Arguments, learning curve, checkpoints and ending that all training examples share."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn, Self

import learners
from results import HELD_OUT, Draw, draw_return, plot, summary, write_json

from aloha_marl import AGENTS, Options
from aloha_marl.arms import SIDES
from aloha_marl.checks import at_least
from aloha_marl.cli.console import print_table, progress, progress_bar, terminal
from aloha_marl.cli.reports import report
from aloha_marl.evaluation import Evaluation, Interrupted, evaluate
from aloha_marl.files import check_writable, part_of
from aloha_marl.policies.learned import LearnedPolicy
from aloha_marl.policies.network import NetworkPair
from aloha_marl.tasks import make_task

OPTIONS: dict[str, Any] = {"control": "joint_delta", "reward": "dense"}
"""Options of the environments that are trained in: small steps, and each arm's own progress."""

NOT_RECORDED = ("out", "resume", "tensorboard", "lost", "command")
"""Attributes of the arguments that a result does not depend on."""

MAY_CHANGE = ("episodes", "ray_address", "runners")
"""Arguments that may be others with ``--resume``."""


def natural(text: str) -> int:
    """A whole number from 0 on, for argparse."""
    return at_least(0, "number", int(text))


def positive(text: str) -> int:
    """A whole number from 1 on, for argparse."""
    return at_least(1, "number", int(text))


def task_name(text: str) -> str:
    """The name of a task, also ``module:Class``, for argparse."""
    try:
        make_task(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def dense_task(text: str) -> str:
    """The name of a task that pays the rewards of ``OPTIONS``, for argparse."""
    try:
        Options.of(OPTIONS, make_task(task_name(text)))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error
    return text


def parser(
    description: str | None, num_envs: int | None, steps: int | None = None, lost: str = ""
) -> argparse.ArgumentParser:
    """Arguments of every training example.

    Args:
        description: what the example does.
        num_envs: default of the number of environments; without it there is no such argument.
        steps: default of the number of steps; without it there is no such argument.
        lost: what ``--resume`` can't restore; empty if it continues bit for bit.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    add = made.add_argument
    kind = task_name if steps is None else dense_task
    add("--task", type=kind, default="transfer_cube", help="task to learn, or module:Class")
    if steps is not None:
        add("--steps", type=positive, default=steps, help="control steps, over all environments")
    if num_envs is not None:
        add("--num-envs", type=positive, default=num_envs, help="number of environments")
    add("--seed", type=natural, default=0, help="seed of networks, actions and starts")
    add("--episodes", type=positive, default=100, help="number of evaluation episodes")
    add("--out", type=Path, default=Path("out"), help="folder of the results")
    exactness = f"not restored: {lost}" if lost else "the results are those of an uninterrupted run"
    text = f"continue from the last checkpoint in --out; {exactness}"
    add("--resume", action="store_true", help=text)
    add("--tensorboard", action="store_true", help="write the learning curve for TensorBoard, too")
    made.set_defaults(lost=lost)
    return made


def ppo_parser(
    description: str | None,
    num_envs: int = 64,
    steps: int = 2_000_000,
    rollout: int | None = 64,
    lost: str = "",
) -> argparse.ArgumentParser:
    """:func:`parser` with the arguments of every PPO; the description's first line is shown."""
    made = parser((description or "").partition("\n")[0], num_envs, steps, lost)
    if rollout is not None:
        text = "steps per environment and update"
        made.add_argument("--rollout", type=positive, default=rollout, help=text)
    made.add_argument("--batch-size", type=positive, default=512, help="samples per gradient step")
    made.add_argument("--epochs", type=positive, default=5, help="passes over each rollout")
    made.add_argument("--learning-rate", type=float, default=3e-4, help="step size of Adam")
    made.add_argument("--gamma", type=float, default=0.99, help="discount per step")
    return made


def parse(made: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, by default of the command line; their ``command`` repeats the training."""
    arguments = made.parse_args(argv)
    try:
        check_writable(arguments.out / "curve.json")
    except OSError as error:
        made.error(f"{error.filename} {error.strerror}")
    words = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in _recorded(arguments).items()
        if name in ("task", "seed") or value != made.get_default(name)
    ]
    arguments.command = " ".join((f"python examples/learning/{made.prog}", *words))
    return arguments


def _recorded(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that a result depends on."""
    return {name: value for name, value in vars(arguments).items() if name not in NOT_RECORDED}


class Run:
    """Progress, checkpoints, learning curve and ending of a training, in a ``with`` block.

    Until :meth:`finish` has written the results, what there is of them is in files named ``.part``: the
    policy, the curve and, for ``--resume``, the whole state at the last point of the curve.

    Args:
        method: name of the method.
        arguments: result of :func:`parse`.
        learner: what is trained; with ``--resume`` it gets the state of the last checkpoint.
        total: steps of the whole training; by default those of the arguments.
        features: True if the networks read features and give joint steps, False if they read
            observations and give actions; see :class:`~aloha_marl.policies.network.NetworkPair`.

    Attributes:
        learner: what is trained.
        files: of the policies.
        curve: a dict of figures per point, with the seconds since the start.
        steps: steps that were done before, with ``--resume``.
    """

    def __init__(
        self,
        method: str,
        arguments: argparse.Namespace,
        learner: learners.Trained,
        total: int | None = None,
        features: bool = False,
    ):
        self.method, self.arguments = method, arguments
        self.curve: list[dict[str, float]] = []
        self.steps = 0
        self.learner: Any = learner
        self._features = features
        self._total = total or arguments.steps
        self._console = terminal()
        self._bar = progress_bar(self._console)
        name = f"{method}_{make_task(arguments.task).name}_{arguments.seed}"
        self._json, self._state = (arguments.out / f"{name}.{suffix}" for suffix in ("json", "pt"))
        self.files = [arguments.out / f"{name}{suffix}" for suffix in self.suffixes()]
        if arguments.resume:
            self._resume()
        self._writer: Any = None
        if arguments.tensorboard:
            self._writer = _writer(arguments.out / "tensorboard" / name, self.steps)
        self._row = self._bar.add_task("", total=self._total, completed=self.steps)
        spent = self.curve[-1] if self.curve else {}
        self._start = {name: now - spent.get(name, 0) for name, now in _clocks().items()}
        self._begun = self._shown = time.monotonic()

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._bar.stop()
        if self._writer:
            self._writer.close()
        while error and not isinstance(error, KeyboardInterrupt):
            error = error.__context__  # TensorDict raises another error where Ctrl-C meets it
        if error:
            kept = ", ".join(map(str, self._parts())) if self.curve else "nothing yet"
            self.say(f"Interrupted; kept: {kept}")
            sys.exit(130)

    def point(self, steps: int, episodes: Mapping[str, float], **figures: float) -> None:
        """Adds a point to the curve, writes a checkpoint and shows progress.

        Args:
            steps: steps so far.
            episodes: figures of the last episodes, see :meth:`rows.Rows.figures`; before the first has
                ended there are none, and no point.
            **figures: others, such as a loss.
        """
        if episodes:
            times = {name: now - self._start[name] for name, now in _clocks().items()}
            figures = {**episodes, **figures, **times}
            figures = {name: v if type(v) is int else float(v) for name, v in figures.items()}
            self.curve.append({"steps": steps, **figures})
            with contextlib.suppress(OSError):  # a full disk may have room again at the end
                self._checkpoint(steps)
            for name, value in figures.items() if self._writer else ():
                self._writer.add_scalar(name.replace("_", "/", 1), value, steps)
        self.show(steps, summary(episodes))

    def show(self, steps: int, text: str = "") -> None:
        """Moves the progress bar; where there is no terminal, prints a line every ten seconds."""
        self._bar.update(self._row, completed=steps, description=f"{self.method}: {text}")
        now = time.monotonic()
        if self._console.is_terminal or now < self._shown + 10:
            return
        self._shown = now
        left = (now - self._begun) * (self._total - steps) / max(1, steps - self.steps)
        text = f"{text}, " if text else ""
        left = timedelta(seconds=round(left))
        self.say(f"{steps:,} of {self._total:,} steps, {text}{left} left")

    def say(self, text: str) -> None:
        """Prints a line above the progress bar."""
        self._console.print(text, markup=False, soft_wrap=True)

    def finish(self, draw: Draw = draw_return) -> None:
        """Saves the policy, evaluates it, prints the table of `aloha-marl eval`, writes JSON and PNG.

        Args:
            draw: draws the learning curve.
        """
        self._bar.stop()
        task, episodes = self.arguments.task, self.arguments.episodes
        self.save(self.files)
        try:
            with progress(self._console, task, episodes) as done:
                seeds = range(HELD_OUT, HELD_OUT + episodes)
                result = evaluate(
                    task, self.policies(), seeds, policy_name=self.method, on_episode=done
                )
        except Interrupted as stop:
            self._write(part_of(self._json), stop.result)
            raise
        self._write(self._json, result)
        picture = self._json.with_suffix(".png")
        title = f"{self.method} on {task}, seed {self.arguments.seed}"
        plot(picture, title, self.curve, draw)
        for path in self._parts():
            path.unlink()
        print_table(self._console, report(result))
        for file in (self._json, picture, *self.files):
            self.say(str(file))

    def suffixes(self) -> Sequence[str]:
        """Ends of the names of the policies' files."""
        return (".npz",)

    def save(self, paths: Sequence[Path]) -> None:
        """Writes the policies as they are now."""
        (path,) = paths
        self._pair().save(path)

    def policies(self) -> Any:
        """Agent -> policy as it is now, without PyTorch; or one policy of both arms."""
        pair = self._pair()
        return {
            agent: LearnedPolicy(pair, side, OPTIONS["control"])
            for agent, side in zip(AGENTS, SIDES, strict=True)
        }

    def _pair(self) -> NetworkPair:
        """The policy as it is now."""
        arguments, made = self.arguments, self.learner.networks()
        return NetworkPair(
            make_task(arguments.task),
            getattr(arguments, "scope", "partner"),
            dict(zip(SIDES, made if len(made) > 1 else (*made, *made), strict=True)),
            self._features,
            None if self._features else OPTIONS["control"],
            self.method,
            arguments.seed,
        )

    def _parts(self) -> list[Path]:
        """The files of the last checkpoint."""
        parts = map(part_of, (*self.files, self._json, self._state))
        return [path for path in parts if path.exists()]

    def _checkpoint(self, steps: int) -> None:
        """Writes state, policy and curve."""
        learners.save(
            part_of(self._state),
            arguments=_recorded(self.arguments),
            steps=steps,
            curve=self.curve,
            learner=self.learner.state_dict(),
        )
        self.save([part_of(path) for path in self.files])
        self._write(part_of(self._json))

    def _resume(self) -> None:
        """Restores the last checkpoint."""
        path, given = part_of(self._state), _recorded(self.arguments)
        try:
            saved = learners.load(path)
        except ValueError as error:
            refuse(f"--resume: {error}")
        others = [
            f"{name}={value!r}, not {given.get(name)!r}"
            for name, value in saved["arguments"].items()
            if name not in MAY_CHANGE and value != given.get(name)
        ]
        if others:
            refuse(f"--resume: {path} has {'; '.join(others)}")
        self.steps, self.curve = saved["steps"], saved["curve"]
        self.learner.load_state_dict(saved["learner"])
        learners.restore_generators(saved["generators"])
        lost = f"; not restored: {self.arguments.lost}" if self.arguments.lost else ""
        self.say(f"resumed {path} at step {self.steps:,}{lost}")

    def _write(self, path: Path, result: Evaluation | None = None) -> None:
        """Writes the curve so far, and an evaluation."""
        content = {
            "method": self.method,
            "command": self.arguments.command,
            "arguments": _recorded(self.arguments),
            "curve": self.curve,
        }
        write_json(path, content, result)


def _clocks() -> dict[str, float]:
    """Wall time and CPU time [s] of this process."""
    return {"wall_seconds": time.perf_counter(), "cpu_seconds": time.process_time()}


def refuse(text: str) -> NoReturn:
    """Ends with a line and the exit code of a bad argument."""
    print(f"Error: {text}", file=sys.stderr)
    sys.exit(2)


def _writer(folder: Path, steps: int) -> Any:
    """A writer for TensorBoard, which forgets what an earlier training wrote after those steps."""
    try:
        from tensorboardX import SummaryWriter
    except ModuleNotFoundError:
        refuse("--tensorboard needs tensorboardX: pip install tensorboardX")
    return SummaryWriter(str(folder), purge_step=steps + 1 if steps else 0)
