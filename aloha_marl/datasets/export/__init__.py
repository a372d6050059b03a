"""Exports of recorded episodes: sets for ACT, act-plus-plus, Minari and LeRobot."""

from __future__ import annotations

from pathlib import Path

from aloha_marl.checks import choose
from aloha_marl.datasets.dataset import Dataset
from aloha_marl.datasets.export.act import Act, ActPlusPlus
from aloha_marl.datasets.export.exporter import Exporter
from aloha_marl.datasets.export.lerobot import LeRobot
from aloha_marl.datasets.export.minari import Minari
from aloha_marl.datasets.export.recordings import Recordings

FORMATS: dict[str, type[Exporter]] = {
    "act": Act,
    "act++": ActPlusPlus,
    "minari": Minari,
    "lerobot": LeRobot,
}
"""Format -> what writes it."""

__all__ = ["FORMATS", "export", "exporter"]


def exporter(
    episodes: Dataset, target: str | Path, format: str, length: int | None = None
) -> Exporter:
    """Checks an export, and writes nothing yet.

    Args:
        episodes: the recordings, see :func:`aloha_marl.datasets.open`.
        target: folder of the new set.
        format: one of ``FORMATS``.
        length: steps of every episode in ACT's format; by default those of the longest.

    Raises:
        ValueError: a bad value, or episodes that the format can't hold.
        OSError: the target exists, or a recording can't be read.
        ImportError: a library is missing.
    """
    made = FORMATS[choose("format", format, FORMATS)]
    return made(Recordings(episodes), Path(target), length)


def export(episodes: Dataset, target: str | Path, format: str, length: int | None = None) -> str:
    """Exports recorded episodes; after an interrupt, the same call goes on.

    Args:
        episodes: see :func:`exporter`, as the other arguments.
        target: folder of the new set.
        format: one of ``FORMATS``.
        length: steps of every episode in ACT's format.

    Returns:
        How the set is loaded.

    Raises:
        ValueError, OSError, ImportError: as of :func:`exporter`, or a recording is damaged, or a file
            can't be written. The target does not exist then.
    """
    writer = exporter(episodes, target, format, length)
    for _ in writer.write():
        pass
    return writer.usage
