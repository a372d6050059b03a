"""The environments of a training: what their last episodes earned and reached, and their whole state."""

from __future__ import annotations

import collections
from typing import Any

import numpy as np

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.core.state import State
from aloha_marl.tasks import SUCCESS


class Rows(AlohaVectorEnv):
    """Environments side by side that keep the return and the highest stage of their last episodes."""

    def __init__(self, *args: Any, **options: Any):
        super().__init__(*args, **options)
        self._earned = np.zeros(self.num_envs)
        self._highest = np.zeros(self.num_envs, int)
        self._ended: collections.deque[tuple[float, int]] = collections.deque(maxlen=100)

    def reset(self, *args: Any, **options: Any) -> Any:
        """Starts episodes."""
        results = super().reset(*args, **options)
        started = results[1][AGENTS[0]]["_stage"]
        self._earned[started], self._highest[started] = 0, 0
        return results

    def step(self, *args: Any) -> Any:
        """Advances all rows; see :meth:`figures` for what is kept of them."""
        _, rewards, terminations, truncations, infos = results = super().step(*args)
        seen, over = infos[AGENTS[0]], terminations[AGENTS[0]] | truncations[AGENTS[0]]
        stage = seen["stage"]
        if "final_info" in seen:  # the other infos of such a row are those of its next episode
            stage = np.where(over, seen["final_info"]["stage"], stage)
        self._highest = np.maximum(self._highest, stage)
        self._earned += np.mean([rewards[agent] for agent in AGENTS], axis=0)
        for row in np.flatnonzero(over):
            self._ended.append((float(self._earned[row]), int(self._highest[row])))
            self._earned[row] = self._highest[row] = 0
        return results

    def figures(self) -> dict[str, float]:
        """Figures of the last 100 episodes; none before the first has ended.

        Returns:
            ``episode_return``, the mean per arm, and ``stage_1`` to ``stage_4``, the shares of the episodes
            that reached each stage.
        """
        if not self._ended:
            return {}
        returns, stages = np.transpose(self._ended)
        shares = {f"stage_{i}": float((stages >= i).mean()) for i in range(1, SUCCESS + 1)}
        return {"episode_return": float(returns.mean()), **shares}

    def state_dict(self) -> dict[str, Any]:
        """The episodes, the generators of their starts, and the figures."""
        return {
            "state": vars(self.get_state()),
            "generators": [generator.bit_generator.state for generator in self.np_random],
            "episodes": (self._earned, self._highest, list(self._ended)),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state, bit for bit."""
        arrays = {name: np.asarray(values) for name, values in saved["state"].items()}
        self.set_state(State(**arrays))
        for generator, state in zip(self.np_random, saved["generators"], strict=True):
            generator.bit_generator.state = state
        earned, highest, ended = saved["episodes"]
        self._earned, self._highest = np.asarray(earned), np.asarray(highest)
        self._ended.extend(tuple(end) for end in ended)
