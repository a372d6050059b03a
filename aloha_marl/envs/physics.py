"""dm_control's view of a simulation, and the errors where dm_control can't give it."""

from __future__ import annotations

import warnings
from importlib import metadata
from typing import Any

import mujoco


def physics(model: mujoco.MjModel, data: mujoco.MjData) -> Any:
    """A ``dm_control.mujoco.Physics`` on the same model and data.

    Raises:
        ImportError: dm_control is missing.
        RuntimeError: it can't read models of the installed MuJoCo.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its window library, where there is no screen
            from dm_control import mujoco as dm_mujoco
            from dm_control.mujoco import wrapper
    except ImportError as error:
        raise ImportError(
            f"env.physics needs dm_control ({error}): pip install dm_control, for Python below 3.13"
        ) from error
    view = wrapper.MjData(wrapper.MjModel(model))
    view._data = data  # dm_control offers no constructor for data that exists
    try:
        return dm_mujoco.Physics(view)
    except AttributeError as error:
        raise RuntimeError(
            f"dm_control {metadata.version('dm_control')} can't read a model of mujoco "
            f"{mujoco.__version__} ({error}): env.physics needs a newer dm_control or mujoco<4"
        ) from error
