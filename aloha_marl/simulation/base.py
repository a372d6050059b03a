"""MuJoCo behind one small interface, on arrays with a leading ``num_envs``."""

from __future__ import annotations

import abc
import warnings

import mujoco
import numpy as np

STATE = mujoco.mjtState.mjSTATE_INTEGRATION
NO_ACTUATION = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
NO_SENSORS = int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
# BADQPOS, BADQVEL and BADQACC follow one another in mjtWarning.
DIVERGED = slice(int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQACC) + 1)


class Simulation(abc.ABC):
    """``num_envs`` simulations of one scene. ``rows`` are their numbers: ints, rising.

    Attributes:
        num_envs: how many.
        model: the compiled scene.
        qpos, qvel: (n, nq), (n, nv) live views of positions and velocities.
        ctrl: (n, nu) live view of the controls [rad, m].
        sensordata: (n, nsensordata) live view; current after every method of this class.
        fields: name -> (n, ...) live view of each field of the model that may differ between rows.
    """

    num_envs: int
    model: mujoco.MjModel
    qpos: np.ndarray
    qvel: np.ndarray
    ctrl: np.ndarray
    sensordata: np.ndarray
    fields: dict[str, np.ndarray]
    _warnings: np.ndarray  # (n, 3) counts of the bad numbers met since the last reset

    @abc.abstractmethod
    def reset(self, rows: np.ndarray, qpos: np.ndarray, ctrl: np.ndarray) -> None:
        """Starts episodes at rest.

        Args:
            rows: (m,) which simulations.
            qpos: (m, nq) positions [m, rad, quaternions].
            ctrl: (m, nu) controls held at the start [rad, m].
        """

    @abc.abstractmethod
    def step(self, substeps: int) -> None:
        """Advances the physics and leaves positions, velocities, contacts and sensors current.

        mj_step alone leaves them one substep old. Sensors influence nothing and are read once, so
        they are computed at the end only.
        """

    @abc.abstractmethod
    def get_state(self, rows: np.ndarray) -> np.ndarray:
        """(m, S) the whole integration state of those simulations, a copy."""

    @abc.abstractmethod
    def set_state(self, rows: np.ndarray, state: np.ndarray, diverged: np.ndarray) -> None:
        """Restores what :meth:`get_state` and :meth:`diverged` returned, bit for bit."""

    @abc.abstractmethod
    def drawable(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """A model and data to draw one simulation from, valid until the next call."""

    def diverged(self) -> np.ndarray:
        """(n,) bool: since the last reset MuJoCo met a bad number, or raised an error."""
        if not np.count_nonzero(self._warnings):  # a third of what any() takes
            return np.zeros(self.num_envs, bool)
        return np.any(self._warnings, axis=1)


def update_geometry(model: mujoco.MjModel, data: mujoco.MjData, qpos: np.ndarray) -> None:
    """Sets qpos (nq,) and what a renderer reads: bodies, geoms, cameras, lights."""
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)


def warn_of_failure(row: int, message: str) -> None:
    """Warns that MuJoCo gave up a simulation, whose episode is then truncated as diverged."""
    warnings.warn(f"MuJoCo gave up simulation {row}: {message}", RuntimeWarning, stacklevel=2)
