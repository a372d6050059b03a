"""Ray: an evaluation, or a training, on the machines of a running cluster."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.evaluation import Episode, play, versions
from aloha_marl.integrations.requirements import library
from aloha_marl.policies import Policies

with library("rllib"):
    import ray

CHUNK = 5
"""Episodes per task of Ray: some seconds of work, the cost of a lost machine."""
_RETRIES = 10
"""How many machines a task may lose."""
_TIMEOUT = 5
"""Seconds until the cluster's address must have answered."""


def connect(address: str) -> Any:
    """Connects this process to a running cluster, of which its machine must be a part.

    Args:
        address: "HOST:PORT" of the cluster's head, or "auto" for the one this machine is in.

    Returns:
        Ray's context: a ``with`` block of it ends with the connection.

    Raises:
        ValueError: it is no such address.
        ConnectionError: there is no cluster, or none that lets this process in; the message says how
            to start one.
    """
    found = re.fullmatch(r"\[?(?P<host>[^/\[\]]+)\]?:(?P<port>\d{1,5})|auto", address)
    if found is None:
        raise ValueError(f"address {address!r} is unknown; valid: 'HOST:PORT', 'auto'")
    try:
        if address != "auto":  # Ray itself would go on asking for a quarter of an hour
            socket.create_connection((found["host"], int(found["port"])), _TIMEOUT).close()
        return ray.init(address=address, log_to_driver=False)
    except (OSError, OverflowError, RuntimeError, ray.exceptions.RayError) as error:
        port = found["port"] or 6379
        raise ConnectionError(
            f"no Ray cluster at {address!r} ({error}): on its first machine run "
            f"'ray start --head --port={port}', on each other one 'ray start --address=HOST:{port}'; "
            "if one is running, 'export RAY_AUTH_MODE=token' with its ~/.ray/auth_token may be missing"
        ) from error


def play_all(env: AlohaParallelEnv, policies: Policies, seeds: Iterable[int]) -> Iterator[Episode]:
    """Plays one episode per seed on all processors of the cluster; see :func:`connect`.

    For :func:`aloha_marl.evaluation.evaluate`. All machines must have processors of one kind: the
    episodes then are, bit for bit, those that are played here, if a policy's actions depend on its
    arguments since its last reset alone, as they do with all of :func:`aloha_marl.policies.load`.
    Other machines redo the work of a lost one.

    Yields:
        The episodes, in the order of the seeds.

    Raises:
        RuntimeError: a machine has another kind of processor, or other versions of the libraries that
            results depend on.
    """
    seeds, ours = list(seeds), versions()
    task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_play_chunk)
    match = ray.put((env, policies))
    chunks = [task.remote(match, seeds[i : i + CHUNK]) for i in range(0, len(seeds), CHUNK)]
    for chunk in chunks:
        theirs, episodes = ray.get(chunk)
        if theirs != ours:
            raise RuntimeError(
                f"a machine of the cluster has {theirs}; install {ours} on all, with processors of one kind"
            )
        yield from episodes


def _play_chunk(
    match: tuple[AlohaParallelEnv, Policies], seeds: Sequence[int]
) -> tuple[dict[str, str], list[Episode]]:
    """The versions in the process of a task, and the episodes that it plays."""
    return versions(), [play(*match, seed) for seed in seeds]
