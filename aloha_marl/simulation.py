"""One MuJoCo simulation behind arrays with a leading ``num_envs``."""

from __future__ import annotations

import mujoco
import numpy as np

_STATE = mujoco.mjtState.mjSTATE_INTEGRATION
_NO_ACTUATION = int(mujoco.mjtDisableBit.mjDSBL_ACTUATION)
_NO_SENSORS = int(mujoco.mjtDisableBit.mjDSBL_SENSOR)
# BADQPOS, BADQVEL and BADQACC follow one another in mjtWarning.
_DIVERGED = slice(int(mujoco.mjtWarning.mjWARN_BADQPOS), int(mujoco.mjtWarning.mjWARN_BADQACC) + 1)


class Simulation:
    """A single MjData, seen as a batch of one.

    Attributes:
        model: the compiled scene.
        data: its MjData.
        ctrl: (1, nu) live view of the controls [rad, m].
        sensordata: (1, nsensordata) live view; current after every method of this class.
    """

    num_envs = 1

    def __init__(self, model: mujoco.MjModel):
        self.model = model
        self.data = mujoco.MjData(model)
        self._option = model.opt
        self.ctrl = self.data.ctrl[None]
        self.sensordata = self.data.sensordata[None]
        self._warnings = self.data.warning.number[None, _DIVERGED]
        self._none = np.zeros(1, bool)
        self._none.flags.writeable = False
        self._state_size = mujoco.mj_stateSize(model, _STATE)

    def reset(self, qpos: np.ndarray, ctrl: np.ndarray) -> None:
        """Starts an episode at rest.

        Args:
            qpos: (1, nq) positions [m, rad, quaternions].
            ctrl: (1, nu) controls held at the start [rad, m].
        """
        model, data = self.model, self.data
        mujoco.mj_resetData(model, data)
        data.qpos[:] = qpos[0]
        data.ctrl[:] = ctrl[0]
        # Without actuation, as dm_control starts an episode: it sets the solver's warm start.
        flags = model.opt.disableflags
        model.opt.disableflags = flags | _NO_ACTUATION
        mujoco.mj_forward(model, data)
        model.opt.disableflags = flags

    def step(self, substeps: int) -> None:
        """Advances the physics and leaves positions, velocities, contacts and sensors current.

        mj_step alone leaves them one substep old; here each substep's first half is done at the end
        of the one before, so nothing is computed twice. Sensors influence nothing and are read once,
        so only the last substep computes them.
        """
        model, data, option = self.model, self.data, self._option
        flags = option.disableflags
        option.disableflags = flags | _NO_SENSORS
        mujoco.mj_step2(model, data)
        if substeps > 1:
            mujoco.mj_step(model, data, substeps - 1)
        option.disableflags = flags
        mujoco.mj_step1(model, data)

    def diverged(self) -> np.ndarray:
        """(1,) bool: MuJoCo met a bad number since the last reset and put the model at qpos0."""
        return self._warnings.any(axis=1) if np.count_nonzero(self._warnings) else self._none

    def get_state(self) -> np.ndarray:
        """(1, S) the whole integration state, a copy."""
        state = np.empty((1, self._state_size))
        mujoco.mj_getState(self.model, self.data, state[0], _STATE)
        return state

    def set_state(self, state: np.ndarray) -> None:
        """Restores what :meth:`get_state` returned; stepping goes on bit for bit."""
        mujoco.mj_resetData(self.model, self.data)
        mujoco.mj_setState(self.model, self.data, state[0], _STATE)
        mujoco.mj_step1(self.model, self.data)
