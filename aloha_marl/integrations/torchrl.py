"""TorchRL's ``EnvBase``: N environments as one, with one group of agents and the state.

``PettingZooWrapper`` of TorchRL takes one environment as it is::

    PettingZooWrapper(aloha_marl.parallel_env(), group_map=aloha_marl.GROUP_MAP, return_state=True)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from aloha_marl.copies import Rebuilt
from aloha_marl.envs.rows import batch_of
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.integrations.requirements import library

with library("torchrl"):
    import torch
    from tensordict import TensorDict
    from torchrl.data import Bounded, Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase


class AlohaEnv(Rebuilt, EnvBase):
    """N environments with batch size ``[N]``.

    | key | shape | |
    |---|---|---|
    | ``("arms", "observation")`` | ``[N, 2, D]`` | with pictures nested, ``[N, 2, height, width, 3]`` |
    | ``("arms", "action")`` | ``[N, 2, 7]`` | |
    | ``("arms", "reward")`` | ``[N, 2, 1]`` | float32 |
    | ``("arms", "info", name)`` | ``[N, 2, 1]`` | float32; ``stage``, ``is_success``, ... |
    | ``"state"`` | ``[N, S]`` | for a central critic |
    | ``"done"``, ``"terminated"``, ``"truncated"`` | ``[N, 1]`` | both arms end together |

    The left arm comes first. Row i is the row of the given environment; ``set_seed(s)`` has it start
    like one environment with seed s + i. Rows are started again by TorchRL, by ``_reset`` masks. If a
    rollout stops reading a row when its episode is over, the row plays a new episode unobserved.

    A copy, by ``copy.deepcopy`` or ``pickle``, is a new one round a copy of the environments; it has no
    episodes.

    Args:
        env: the environments, wrapped or not, with ``autoreset_mode="NextStep"``.
        device: where the tensors are; the physics is on the CPU.

    Raises:
        ValueError: another ``autoreset_mode``.
    """

    def __init__(self, env: AlohaVectorEnv, device: Any = "cpu"):
        mode = env.metadata["autoreset_mode"].value
        if mode != "NextStep":
            raise ValueError(f"autoreset_mode={mode!r} does not fit TorchRL; valid: 'NextStep'")
        rows = env.num_envs
        super().__init__(device=device, batch_size=[rows])  # pyright: ignore[reportCallIssue]
        self.group_map: dict[str, list[str]] = env.GROUP_MAP
        (self._group, self._agents), *_ = self.group_map.items()
        self._env, self._core = env, env.unwrapped.core
        self._info_names = list(self._core.infos().of(0))
        self._seeds: list[int | None] = [None] * rows

        both = (rows, len(self._agents))
        number, flag = Unbounded((*both, 1)), Categorical(2, (rows, 1), dtype=torch.bool)
        observation = _spec(env.single_observation_space(self._agents[0]), both)
        action = _spec(env.single_action_space(self._agents[0]), both)
        infos = Composite(dict.fromkeys(self._info_names, number), shape=both)
        arms = {"observation": observation, "info": infos}
        self.observation_spec = self._grouped(arms, state=_spec(env.single_state_space, (rows,)))
        self.action_spec = self._grouped({"action": action})
        self.reward_spec = self._grouped({"reward": number})
        ends = ("done", "terminated", "truncated")
        self.done_spec = Composite(dict.fromkeys(ends, flag), shape=(rows,)).to(device)

    def close(self, **how: Any) -> None:
        super().close(**how)
        self._env.close()

    def _reset(self, tensordict: Any = None, **_: Any) -> Any:
        mask = None if tensordict is None else tensordict.get("_reset", None)
        started = np.ones(self.batch_size, bool)
        if mask is not None:
            started = mask.reshape(self.batch_size).cpu().numpy()
        observations, infos = self._env.reset(self._seeds, options={"reset_mask": started})
        self._seeds = [None if started[i] else seed for i, seed in enumerate(self._seeds)]
        return self._result(observations, infos)

    def _step(self, tensordict: Any) -> Any:
        actions = tensordict.get((self._group, "action")).cpu().numpy()
        halves = {agent: actions[:, arm] for arm, agent in enumerate(self._agents)}
        observations, rewards, *_, infos = self._env.step(halves)
        result = self._result(observations, infos)
        result.set((self._group, "reward"), self._numbers(rewards))
        return result

    def _set_seed(self, seed: int | None) -> None:
        rows = range(self.batch_size[0])
        self._seeds = [None if seed is None else seed + row for row in rows]

    def _result(self, observations: Mapping[str, Any], infos: Mapping[str, Any]) -> Any:
        names = self._info_names
        arms = {
            "observation": self._stacked(observations),
            "info": {n: self._numbers({a: infos[a][n] for a in self._agents}) for n in names},
        }
        ends = self._core.terminated, self._core.truncated
        terminated, truncated = (end[:, None].copy() for end in ends)
        result = {
            self._group: TensorDict(arms, (*self.batch_size, len(self._agents))),
            "state": self._env.state(),
            "done": terminated | truncated,
            "terminated": terminated,
            "truncated": truncated,
        }
        return TensorDict(result, self.batch_size).to(self.device)

    def _stacked(self, by_agent: Mapping[str, Any]) -> Any:
        """Stacks each agent's (N, ...) arrays to [N, 2, ...], nested if those are."""
        return batch_of([by_agent[agent] for agent in self._agents], axis=1)

    def _numbers(self, by_agent: Mapping[str, Any]) -> Any:
        """Stacks each agent's (N,) numbers to [N, 2, 1] of float32."""
        return self._stacked(by_agent)[..., None].astype(np.float32)

    def _grouped(self, arms: Mapping[str, Any], **others: Any) -> Any:
        """Specs of both arms and of the whole as one, on this device."""
        rows = self.batch_size
        group = Composite(arms, shape=(*rows, len(self._agents)))
        return Composite({self._group: group, **others}, shape=rows).to(self.device)


def _spec(space: spaces.Space[Any], lead: tuple[int, ...]) -> Any:
    """The TorchRL spec of a space, with leading dimensions."""
    if isinstance(space, spaces.Dict):
        return Composite({key: _spec(part, lead) for key, part in space.items()}, shape=lead)
    assert isinstance(space, spaces.Box)
    shape = (*lead, *space.shape)
    low, high = (torch.tensor(np.broadcast_to(b, shape).copy()) for b in (space.low, space.high))
    return Bounded(low, high, shape, dtype=low.dtype)
