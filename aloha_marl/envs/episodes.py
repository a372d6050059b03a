"""Episodes side by side: their generators, their starts and Gymnasium's autoreset modes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding
from gymnasium.vector import AutoresetMode

from aloha_marl.checks import checked_seed, is_whole
from aloha_marl.core.core import Core
from aloha_marl.core.state import Infos
from aloha_marl.envs.rows import with_rows

Observe = Callable[[np.ndarray | None], Any]
"""Rows, or None for all, to observations: arrays with a leading m, or nested dicts of them."""


@dataclasses.dataclass(frozen=True)
class Final:
    """Last observations and infos of episodes that were reset in this step.

    Attributes:
        rows: (n,) bool, rows whose episode ended.
        observations: of all rows, with a leading n.
        infos: of all rows.
    """

    rows: np.ndarray
    observations: Any
    infos: Infos


@dataclasses.dataclass(frozen=True)
class Step:
    """Results of a step in all rows.

    Attributes:
        observations: with a leading n; of the new episode where one has started.
        rewards: (n, 2) of the left and the right arm.
        terminated, truncated: (n,) bool.
        infos: of all rows.
        final: with ``AutoresetMode.SAME_STEP``, of the episodes that ended, if any did.
    """

    observations: Any
    rewards: np.ndarray
    terminated: np.ndarray
    truncated: np.ndarray
    infos: Infos
    final: Final | None = None


class Episodes:
    """Steps the rows of a core and starts their episodes, each from a generator of its own.

    Args:
        core: the simulations.
        mode: when an episode that has ended starts again: in the same step, in the next one, whose
            action is ignored, or when it is reset.

    Attributes:
        generators, seeds: of each row.
    """

    def __init__(self, core: Core, mode: AutoresetMode):
        self._core = core
        self._mode = mode
        made = [seeding.np_random() for _ in range(core.num_envs)]
        self.generators, self.seeds = map(list, zip(*made, strict=True))
        self._begun = np.zeros(core.num_envs, bool)

    def reset(self, seed: Any, options: Mapping[str, Any] | None) -> np.ndarray:
        """Starts episodes.

        Args:
            seed: an int s reseeds row i with s + i; a sequence has a seed or None for each row;
                None lets all streams go on.
            options: ``reset_mask``, a (n,) bool array, says which rows; all without it. ``poses`` and
                ``joints`` give parts of the starts, see :meth:`aloha_marl.core.starts.Starts.given`.

        Returns:
            (n,) bool: which rows have started.

        Raises:
            ValueError: a bad seed, mask or start; nothing has changed.
        """
        seeds = self._seeds(seed)
        mask = self._mask(options)
        rows = np.flatnonzero(mask)
        given = self._core.starts.given(options, rows, len(mask))
        for row in rows:
            if seeds[row] is not None:
                self.generators[row], self.seeds[row] = seeding.np_random(seeds[row])
        self._start(rows, seeds, given)
        return mask

    def step(self, actions: np.ndarray, observe: Observe) -> Step:
        """Advances all rows by a control step and starts episodes as the mode says.

        Args:
            actions: (n, 2, 7) finite.
            observe: makes the observations.

        Raises:
            RuntimeError: a row has no running episode. Nothing has moved.
        """
        core = self._core
        over = self._over()
        core.step(actions)
        if self._mode is AutoresetMode.NEXT_STEP and over.any():
            # Their step was for nothing, once an episode: simpler than to step the others alone.
            self._start(np.flatnonzero(over))
            return self._result(observe(None), np.where(over[:, None], 0, core.rewards))
        observations = observe(None)
        if self._mode is not AutoresetMode.SAME_STEP:
            return self._result(observations, core.rewards)
        over = core.terminated | core.truncated
        if not over.any():
            return self._result(observations, core.rewards)
        outcome = core.rewards, core.terminated, core.truncated
        final = Final(over, observations, core.infos())
        rows = np.flatnonzero(over)
        self._start(rows)
        observations = with_rows(observations, rows, observe(rows))
        return Step(observations, *outcome, core.infos(), final)

    def resume(self, rows: np.ndarray) -> None:
        """Marks those rows as having an episode, whose state was set by hand."""
        self._begun[rows] = True

    def _start(
        self,
        rows: np.ndarray,
        seeds: Sequence[int | None] | None = None,
        given: np.ndarray | None = None,
    ) -> None:
        drawn_from = [self.generators[row] for row in rows]
        own = [None] * len(rows) if seeds is None else [seeds[row] for row in rows]
        self._core.reset(rows, drawn_from, own, given)
        self._begun[rows] = True

    def _result(self, observations: Any, rewards: np.ndarray) -> Step:
        core = self._core
        return Step(observations, rewards, core.terminated, core.truncated, core.infos())

    def _over(self) -> np.ndarray:
        """(n,) bool: rows whose episode has ended and will start again by itself."""
        if not self._begun.all():
            raise RuntimeError(
                f"no episode is running in {_named(~self._begun)}: call reset() first"
            )
        over = self._core.terminated | self._core.truncated
        if self._mode is not AutoresetMode.NEXT_STEP and over.any():
            raise RuntimeError(
                f"the episode is over in {_named(over)}: call reset(options={{'reset_mask': ...}})"
            )
        return over

    def _seeds(self, seed: Any) -> list[int | None]:
        n = self._core.num_envs
        if seed is None:
            return [None] * n
        if is_whole(seed):
            return [checked_seed(int(seed) + row) for row in range(n)]
        seeds = list(seed) if isinstance(seed, Sequence | np.ndarray) else []
        if len(seeds) != n:
            raise ValueError(f"seed={seed!r} must be an int, {n} seeds (one per row) or None")
        return [checked_seed(value) for value in seeds]

    def _mask(self, options: Mapping[str, Any] | None) -> np.ndarray:
        n = self._core.num_envs
        mask = None if options is None else options.get("reset_mask")
        if mask is None:
            return np.ones(n, bool)
        mask = np.asarray(mask)
        if mask.shape != (n,) or mask.dtype != bool or not mask.any():
            raise ValueError(
                f"reset_mask must be {n} bools (one per row), at least one of them true, got "
                f"{mask.dtype} of shape {mask.shape}: {mask}"
            )
        return mask.copy()


def _named(rows: np.ndarray) -> str:
    """Some rows for a message."""
    indices = np.flatnonzero(rows)
    listed = ", ".join(map(str, indices[:5])) + (", ..." if len(indices) > 5 else "")
    return f"row{'s' if len(indices) > 1 else ''} {listed}"
