"""Records episodes in several processes; the parent hands out seeds and counts."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

from aloha_marl.checks import at_least, seed_number
from aloha_marl.datasets.episode import Episode
from aloha_marl.datasets.layout import Metadata
from aloha_marl.datasets.recorder import Plan, Recorder, Result
from aloha_marl.datasets.writer import episode_path, remove_parts

ROWS, ROWS_WITH_PICTURES = 16, 8
"""Episodes that a worker plays at once: more make policies cheaper, and more is lost by a kill."""


class RecordingError(RuntimeError):
    """A worker ended before its time; the episodes that are whole are kept."""


def record(
    plan: Plan,
    seeds: Iterable[int],
    workers: int = 1,
    on_result: Callable[[Result], None] | None = None,
) -> list[Result]:
    """Records the episodes of seeds whose files are not in the folder yet.

    Workers are spawned, so a script that calls this needs ``if __name__ == "__main__":``.

    Args:
        plan: what to record.
        seeds: seeds of the resets.
        workers: number of processes, each with a batch, a renderer and files of its own.
        on_result: called when an episode has ended.

    Returns:
        What became of each seed that was played, in the order in which the episodes ended.

    Raises:
        ValueError: a bad seed, a plan that can't be played, or a file there of another plan.
        OSError: the folder can't be written.
        RecordingError: a worker failed, as with a full disk, or was killed.
    """
    at_least(1, "workers", workers)
    wanted = dict.fromkeys(map(seed_number, seeds))
    recorder = Recorder(plan, 1)  # what can't be played is found here
    recorder.close()
    plan.folder.mkdir(parents=True, exist_ok=True)
    remove_parts(plan.folder)
    left = []
    for seed in wanted:
        path = episode_path(plan.folder, seed)
        if path.exists():
            check_alike(path, recorder.metadata)
        else:
            left.append(seed)
    workers = min(workers, len(left))
    rows = ROWS if plan.quality == "none" else ROWS_WITH_PICTURES
    rows = min(rows, -(-len(left) // max(workers, 1)))
    results: list[Result] = []
    with _started(plan, rows, workers) as connections:
        for result in _handed_out(connections, iter(left)):
            results.append(result)
            if on_result is not None:
                on_result(result)
    return results


def check_alike(path: Path, metadata: Metadata) -> None:
    """Raises ValueError if an episode was not played with what this metadata says."""
    there, mine = (
        {**kept.options, **vars(kept), "seed": None, "versions": None, "options": None}
        for kept in (Episode(path).metadata, Metadata.of_json(metadata.to_json()))
    )
    for name, value in mine.items():
        if there.get(name) != value:
            raise ValueError(
                f"{path} was recorded with {name}={there.get(name)!r}, not {value!r}: choose another "
                "folder"
            )


@contextlib.contextmanager
def _started(plan: Plan, rows: int, workers: int) -> Iterator[list[Connection]]:
    """Starts the workers; waits for them at the end of the block, or ends them if it fails."""
    context = multiprocessing.get_context("spawn")  # a fork can't draw nor step a batch
    processes, connections = [], []
    try:
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(plan, rows, theirs), daemon=True)
            with _no_interrupts():
                process.start()
            theirs.close()
            processes.append(process)
            connections.append(ours)
        yield connections
    except BaseException:
        for process in processes:
            process.terminate()
        raise
    finally:
        for process in processes:
            process.join()
        for connection in connections:
            connection.close()
        remove_parts(plan.folder)  # of workers that were ended


@contextlib.contextmanager
def _no_interrupts() -> Iterator[None]:
    """Holds Ctrl-C back in the block, and for good in processes that start in it."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _handed_out(connections: list[Connection], seeds: Iterator[int]) -> Iterator[Result]:
    """Answers the workers' requests until all have ended; yields their results."""
    running = list(connections)
    while running:
        for connection in wait(running):
            assert isinstance(connection, Connection)
            try:
                message = connection.recv()
                if message == "seed":
                    connection.send(next(seeds, None))
            except (EOFError, ConnectionError):
                raise RecordingError("a worker ended unexpectedly") from None
            match message:
                case Result():
                    yield message
                case "end":
                    running.remove(connection)
                case str() if message != "seed":
                    raise RecordingError(message)


def _work(plan: Plan, rows: int, connection: Connection) -> None:
    """Records in this process, a worker, until there are no more seeds."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it ends the parent, which ends the workers

    def request() -> int | None:
        connection.send("seed")
        return connection.recv()

    with contextlib.suppress(EOFError, BrokenPipeError):
        try:
            for result in Recorder(plan, rows).record(iter(request, None)):
                connection.send(result)
            connection.send("end")
        except (OSError, RuntimeError, ValueError) as error:
            if not isinstance(error, BrokenPipeError):  # the parent is gone
                connection.send(" ".join(str(error).split()))
