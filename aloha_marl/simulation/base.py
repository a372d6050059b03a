"""MuJoCo behind one small interface, on arrays with a leading ``num_envs``."""

from __future__ import annotations

import abc
import warnings
from collections.abc import Iterable

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
    _none: np.ndarray  # (n,) false

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
    def show(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        """A model and data to draw one simulation from, valid until the next call."""

    def diverged(self) -> np.ndarray:
        """(n,) bool: since the last reset MuJoCo met a bad number, or raised an error."""
        return np.any(self._warnings, axis=1) if np.count_nonzero(self._warnings) else self._none


def nowhere(num_envs: int) -> np.ndarray:
    """(n,) false, not to be written to."""
    none = np.zeros(num_envs, bool)
    none.flags.writeable = False
    return none


def pose(model: mujoco.MjModel, data: mujoco.MjData, qpos: np.ndarray) -> None:
    """Puts everything that is drawn where those (nq,) positions have it."""
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    mujoco.mj_comPos(model, data)
    mujoco.mj_camlight(model, data)


def report(row: int, message: str) -> None:
    """Warns of an error MuJoCo raised; the episode goes on to be truncated as diverged."""
    warnings.warn(f"MuJoCo gave up simulation {row}: {message}", RuntimeWarning, stacklevel=2)


class OneSimulation(Simulation):
    """A single MjData, seen as a batch of one.

    Args:
        model: the compiled scene.
        varied: names of the model's fields that may be written between episodes.

    Attributes:
        data: the MjData.
    """

    num_envs = 1

    def __init__(self, model: mujoco.MjModel, varied: Iterable[str] = ()):
        self.model = model
        self.data = mujoco.MjData(model)
        self._option = model.opt
        self.qpos, self.qvel = self.data.qpos[None], self.data.qvel[None]
        self.ctrl = self.data.ctrl[None]
        self.sensordata = self.data.sensordata[None]
        self.fields = {name: getattr(model, name)[None] for name in varied}
        self._warnings = self.data.warning.number[None, DIVERGED]
        self._none = nowhere(1)
        self._state_size = mujoco.mj_stateSize(model, STATE)

    def reset(self, rows: np.ndarray, qpos: np.ndarray, ctrl: np.ndarray) -> None:
        model, data = self.model, self.data
        mujoco.mj_resetData(model, data)
        data.qpos[:] = qpos[0]
        data.ctrl[:] = ctrl[0]
        # Without actuation, as dm_control starts an episode: it sets the solver's warm start.
        flags = model.opt.disableflags
        model.opt.disableflags = flags | NO_ACTUATION
        mujoco.mj_forward(model, data)
        model.opt.disableflags = flags

    def step(self, substeps: int) -> None:
        # Each substep's first half is done at the end of the one before: nothing is done twice.
        model, data, option = self.model, self.data, self._option
        flags = option.disableflags
        option.disableflags = flags | NO_SENSORS
        try:
            mujoco.mj_step2(model, data)
            if substeps > 1:
                mujoco.mj_step(model, data, substeps - 1)
        except mujoco.FatalError as error:
            self._give_up(error)
        option.disableflags = flags
        try:
            mujoco.mj_step1(model, data)
        except mujoco.FatalError as error:
            self._give_up(error)

    def _give_up(self, error: mujoco.FatalError) -> None:
        # Half a step may be done: start from zero, as MuJoCo itself does on a bad number.
        mujoco.mj_resetData(self.model, self.data)
        self._warnings[:] = 1
        report(0, str(error))

    def get_state(self, rows: np.ndarray) -> np.ndarray:
        state = np.empty((1, self._state_size))
        mujoco.mj_getState(self.model, self.data, state[0], STATE)
        return state

    def set_state(self, rows: np.ndarray, state: np.ndarray, diverged: np.ndarray) -> None:
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state[0], STATE)
        mujoco.mj_step1(self.model, self.data)
        self._warnings[:] = diverged[:, None]

    def show(self, row: int) -> tuple[mujoco.MjModel, mujoco.MjData]:
        return self.model, self.data
