"""A recorded episode, read from its file when it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from aloha_marl.arms import ACTION_SIZE, AGENTS, SIDES
from aloha_marl.checks import choose
from aloha_marl.core.state import State
from aloha_marl.datasets import encoders, layout
from aloha_marl.datasets.layout import ARRAYS, Metadata
from aloha_marl.tasks import SUCCESS


class Episode:
    """An episode of T steps: ``episode["rewards"]`` reads the array of that name in ``ARRAYS``.

    Nothing is kept but what :attr:`metadata` and ``len`` say. Files of ACT and other programs have no
    metadata and only the arrays ``qpos``, ``qvel``, ``action`` and ``actions``.

    Args:
        path: of the file.

    Raises:
        OSError: there is no such file, or it must not be read.
        ValueError: it is damaged, no recording, or of a newer version.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with layout.opened(self.path) as file:
            self._length = layout.length(file)
            self._metadata = layout.metadata(file)
            self.cameras = encoders.cameras(file)

    def __repr__(self) -> str:
        return f"<Episode {self.path}: {len(self)} steps>"

    def __len__(self) -> int:
        return self._length

    @property
    def is_foreign(self) -> bool:
        """True for files of other programs."""
        return self._metadata is None

    @property
    def metadata(self) -> Metadata:
        """What it was played with.

        Raises:
            ValueError: the file is of another program.
        """
        if self._metadata is None:
            raise ValueError(f"{self.path} was not written by aloha_marl: it has no metadata")
        return self._metadata

    def __getitem__(self, name: str) -> np.ndarray:
        choose("array", name, ARRAYS)
        with layout.opened(self.path) as file:
            if name == "actions" and self.is_foreign:
                return layout.array(file, "action").reshape(-1, len(SIDES), ACTION_SIZE)
            return layout.array(file, name)

    @functools.cached_property
    def stage(self) -> int:
        """The highest stage."""
        return int(self["stage"].max())

    @property
    def success(self) -> bool:
        """True if it succeeded."""
        return self.stage == SUCCESS

    def start(self) -> State:
        """The state after the reset, of one row.

        Raises:
            ValueError: the file has none.
        """
        arrays = {}
        with layout.opened(self.path) as file:
            for name in State.__dataclass_fields__:
                arrays[name] = values = layout.whole(file, f"{layout.START}/{name}")
                if values.shape[:1] != (1,):
                    raise ValueError(f"{self.path}: the start's {name} is not of one row")
        return State(**arrays)

    def per_arm(self) -> dict[str, dict[str, np.ndarray]]:
        """Agent -> its ``observations`` (T + 1, D), ``actions`` (T, 7) and ``rewards`` (T,)."""
        arrays = {name: self[name] for name in ("observations", "actions", "rewards")}
        return {
            agent: {name: values[:, arm] for name, values in arrays.items()}
            for arm, agent in enumerate(AGENTS)
        }

    def merged(self) -> dict[str, np.ndarray]:
        """Both arms as one agent, as the single-agent environment has them.

        ``agent_pos`` (T + 1, 14), ``environment_state`` (T + 1, 7 k), ``actions`` (T, 14) and
        ``rewards`` (T,).
        """
        observed = {name: self[name] for name in ("agent_pos", "environment_state")}
        actions = self["actions"].reshape(len(self), -1)
        return observed | {"actions": actions, "rewards": self["rewards"].mean(axis=1)}

    def last_picture(self, camera: str) -> np.ndarray:
        """(height, width, 3) uint8 picture after the last step.

        Raises:
            ValueError: there is no such camera.
        """
        with layout.opened(self.path) as file:
            return layout.whole(file, f"{layout.LAST_IMAGES}/{camera}")

    def pictures(
        self, camera: str, start: int = 0, stop: int | None = None
    ) -> Iterator[np.ndarray]:
        """Reads the pictures before each step, from step ``start`` to before ``stop``.

        Args:
            camera: one of :attr:`cameras`.
            start: first step, at least 0.
            stop: step after the last one; T without it.

        Yields:
            (height, width, 3) uint8.

        Raises:
            ValueError: no such camera or steps, or the file is damaged.
        """
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"steps {start} to {stop} are not in 0 to {len(self)} of {self.path}")
        with layout.opened(self.path) as file:
            yield from encoders.pictures(file, camera, start, stop)
