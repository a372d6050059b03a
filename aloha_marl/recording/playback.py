"""Playback of episodes in a window, where a person can pause, repeat and move the objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

from aloha_marl.arms import CONTROL_TIMESTEP
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.evaluation import Episode, play
from aloha_marl.policies import Policies
from aloha_marl.rendering.viewer import Viewer
from aloha_marl.tasks import SUCCESS

SPACE, ENTER, BACKSPACE = 32, 257, 259  # GLFW's codes; MuJoCo's viewer uses nearly all the letters
KEYS = {
    "Space": "pause, go on",
    "Backspace": "the same seed again",
    "Enter": "the next seed",
    "double click": "select an object",
    "Ctrl + right mouse": "move it, also in a pause",
    "Ctrl + left mouse": "turn it",
    "F1": "all keys of MuJoCo's viewer",
}
"""Key or mouse action in the window -> its effect."""

_STAY = 1.0
"""Time for which the end of an episode is shown [s]."""


class _Cut(Exception):  # noqa: N818  (no error: a person's wish)
    """The episode is cut short, by a key or because the window is closed."""


class Playback:
    """Plays one episode after another, with rising seeds, until the window is closed.

    Args:
        env: environment with ``render_mode="human"``.
        policies: seed -> a policy per agent.

    Raises:
        ValueError: the environment has no window.
    """

    def __init__(self, env: AlohaParallelEnv, policies: Callable[[int], Policies]):
        if env.viewer is None:
            raise ValueError(f"render_mode={env.render_mode!r} must be 'human'")
        self.paused = False
        self._env = env
        self._policies = policies
        self._viewer: Viewer = env.viewer
        self._viewer.on_key = self.press
        self._increment: int | None = None  # of the seed, once a key cuts the episode short
        self._seed = 0

    def press(self, key: int) -> None:
        """Handles a pressed key, given GLFW's code, in any thread; other keys are ignored."""
        if key == SPACE:
            self.paused = not self.paused
        elif key in (ENTER, BACKSPACE):
            self._increment = int(key == ENTER)

    def episodes(self, seed: int) -> Iterator[Episode]:
        """Plays from this seed on; yields the results of episodes that are not cut short."""
        self._seed = seed
        while True:
            try:
                yield play(self._env, self._policies(self._seed), self._seed, self._attend)
                self._attend(_STAY)
                self._seed += 1
            except _Cut:
                if not self._viewer.is_open:
                    return
                self._seed += self._increment or 0
                self._increment = None

    def _attend(self, seconds: float = 0.0) -> None:
        """Waits while paused and for some seconds; raises if the episode is cut short."""
        until = time.monotonic() + seconds
        self._caption()
        while self._viewer.is_open and self._increment is None:
            if not self.paused and time.monotonic() >= until:
                return
            if self._viewer.place():
                self._env.set_state(self._env.get_state())
            self._viewer.redraw()
            self._caption()
        raise _Cut

    def _caption(self) -> None:
        progress = self._env.core.progress
        stage = int(progress.stage[0])
        reached = "success" if stage == SUCCESS else f"stage {stage} of {SUCCESS}"
        parts = [f"seed {self._seed}", f"{progress.elapsed[0] * CONTROL_TIMESTEP:.1f} s", reached]
        self._viewer.write("   ".join(parts + ["paused"] * self.paused))
