"""Rows of nested results: taking, stacking and replacing them, and infos in Gymnasium's vector form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aloha_marl.core.state import replaced


def row_of(batch: Any, row: Any) -> Any:
    """One simulation's part of nested dicts of arrays with a leading n, or several's, a copy."""
    if isinstance(batch, dict):
        return {key: row_of(value, row) for key, value in batch.items()}
    return batch[row]


def batch_of(rows: Sequence[Any], axis: int = 0) -> Any:
    """Nested dicts of arrays, stacked along a new axis, by default the leading one; copies."""
    first = rows[0]
    if isinstance(first, dict):
        return {key: batch_of([row[key] for row in rows], axis) for key in first}
    return np.stack(rows, axis)


def with_rows(batch: Any, rows: np.ndarray, new: Any) -> Any:
    """A copy of nested dicts of arrays with a leading n, with other values in those rows."""
    if isinstance(batch, dict):
        return {key: with_rows(value, rows, new[key]) for key, value in batch.items()}
    return replaced(batch, rows, new)


def vector_infos(infos: Mapping[str, np.ndarray], mask: np.ndarray) -> dict[str, Any]:
    """Infos in the form of Gymnasium's vector environments: each with a mask of the rows that have it."""
    result: dict[str, Any] = {}
    for name, values in infos.items():
        result[name] = np.where(mask, values, np.zeros_like(values))
        result[f"_{name}"] = mask.copy()
    return result


def final_infos(
    rows: np.ndarray, observations: Any, infos: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """``final_obs`` and ``final_info`` of the rows that ended.

    Args:
        rows: (n,) bool, which rows ended.
        observations: of all rows when they ended.
        infos: name -> (n,) of all rows then.
    """
    final = np.full(len(rows), None, object)
    for row in np.flatnonzero(rows).tolist():
        final[row] = row_of(observations, row)
    return {
        "final_obs": final,
        "_final_obs": rows.copy(),
        "final_info": vector_infos(infos, rows),
        "_final_info": rows.copy(),
    }


def chosen_rows(rows: Any, n: int) -> np.ndarray:
    """(m,) distinct ints in the order given, from ints, a mask of the n rows, or None for all.

    Raises:
        ValueError: there are no such rows.
    """
    if rows is None:
        return np.arange(n)
    chosen = np.asarray(rows)
    if chosen.dtype == bool and chosen.shape == (n,):
        chosen = np.flatnonzero(chosen)
    whole = chosen.dtype.kind in "iu" and chosen.ndim == 1 and chosen.size
    if not whole or chosen.min() < 0 or chosen.max() >= n:
        raise ValueError(f"rows must be ints from 0 to {n - 1}, or {n} bools, got {rows!r}")
    if len(np.unique(chosen)) < len(chosen):
        raise ValueError(f"rows must differ from one another, got {rows!r}")
    return chosen.astype(int)
