"""Every front door, and what its calls return, for tests that go through all of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from helpers import SMALL

import aloha_marl
from aloha_marl import AlohaSingleAgent, AlohaSingleAgentVector, AlohaVectorEnv, insertion_v0
from aloha_marl.envs.dm_env import AlohaDmEnv
from aloha_marl.wrappers import (
    ActionDelay,
    ActionRepeat,
    Freeze,
    MessageChannel,
    ObservationDelay,
    ObservationNoise,
)

STEPS = 9
OPTIONS: dict[str, Any] = {
    "max_cycles": 4,
    "metrics": True,
    "reward": "dense",
    "randomization": {"object_mass": (0.5, 2), "object_size": (0.9, 1.1)},
}
PICTURES: dict[str, Any] = {
    **OPTIONS,
    **SMALL,
    "visualization_width": 24,
    "visualization_height": 24,
    "render_mode": "rgb_array",
}


def single(**options: Any) -> aloha_marl.AlohaParallelEnv:
    """The PettingZoo environment."""
    return aloha_marl.parallel_env("insertion", **(OPTIONS | options))


def batch(mode: str = "SameStep", **options: Any) -> AlohaVectorEnv:
    """Three of them at once."""
    return AlohaVectorEnv("insertion", 3, 2, autoreset_mode=mode, **(OPTIONS | options))


def imperfect(env: Any) -> Any:
    """All wrappers that leave the spaces as they are, one round the other."""
    env = ObservationDelay(ObservationNoise(env, {"joint_pos": 0.1}), steps=2)
    env = ActionRepeat(ActionDelay(env, 2, [aloha_marl.AGENTS[0]]), 2)
    return Freeze(env, 0.5, (1, 3))


def talking(env: Any) -> Any:
    """A channel of two numbers, one of them round the other."""
    return MessageChannel(MessageChannel(env, 1, noise=0.1, dropout=0.1), 1)


def one_arm(env: Any) -> Any:
    """The right arm as the agent; the partner acts at random."""
    return aloha_marl.with_partner(imperfect(env), aloha_marl.AGENTS[1], "random")


DOORS: dict[str, Callable[[], Any]] = {
    "parallel": single,
    "pictures": lambda: single(obs_type="pixels_agent_pos", **PICTURES),
    "wrapped": lambda: imperfect(single()),
    "talking": lambda: talking(single()),
    "one arm": lambda: one_arm(single()),
    "aec": lambda: insertion_v0.env(**OPTIONS),
    "merged": lambda: AlohaSingleAgent(single(), "environment_state_agent_pos"),
    "merged, wrapped": lambda: AlohaSingleAgent(imperfect(single())),
    "id": lambda: gymnasium.make(
        "aloha_marl/Insertion-v0", obs_type="full", disable_env_checker=True, **PICTURES
    ),
    "gym-aloha's id": lambda: gymnasium.make(
        "aloha_marl/GymAlohaInsertion-v0", obs_type="state", disable_env_checker=True
    ),
    "dm_env": lambda: AlohaDmEnv(AlohaSingleAgent(single()), seed=1),
    "batch": batch,
    "batch NextStep": lambda: batch("NextStep"),
    "batch Disabled": lambda: batch("Disabled"),
    "batch of pictures": lambda: batch(obs_type="pixels", **PICTURES),
    "wrapped batch": lambda: imperfect(batch()),
    "wrapped batch NextStep": lambda: imperfect(batch("NextStep")),
    "talking batch": lambda: talking(batch()),
    "batch of one arm": lambda: one_arm(batch()),
    "batch of one arm NextStep": lambda: one_arm(batch("NextStep")),
    "merged batch": lambda: AlohaSingleAgentVector(batch()),
    "batch of the id": lambda: gymnasium.make_vec(
        "aloha_marl/Insertion-v0", num_envs=3, obs_type="pixels_agent_pos", **PICTURES
    ),
}
"""Name -> function that makes an environment with short episodes."""


def calls(env: Any, seed: int = 1) -> Iterator[Any]:
    """All that some episodes return, and what was passed to it: a result per call."""
    draw = np.random.default_rng(seed)
    if isinstance(env, AlohaDmEnv):
        yield env.reset()
        for _ in range(STEPS):
            yield env.step(draw.uniform(-1, 1, 14)), env.observation_spec(), env.action_spec()
    elif hasattr(env, "agent_iter"):
        yield from _turns(env, seed, draw)
    else:
        yield env.reset(seed=seed)
        rows = () if not hasattr(env, "num_envs") else (env.num_envs,)
        for step in range(STEPS):
            yield from _call(env, rows, draw, step)


def _turns(env: Any, seed: int, draw: np.random.Generator) -> Iterator[Any]:
    env.reset(seed=seed)
    for agent in env.agent_iter():
        yield env.observe(agent)
        yield env.last()
        *_, terminated, truncated, _ = env.last()
        action = None if terminated or truncated else draw.uniform(-1, 1, 7).astype(np.float32)
        env.step(action)
        yield action, env.state()


def _call(env: Any, rows: tuple[int, ...], draw: np.random.Generator, step: int) -> Iterator[Any]:
    agents = getattr(env, "possible_agents", None)
    size = (env.action_space(agents[0]) if agents else env.action_space).shape[-1]
    actions = draw.uniform(-1, 1, (2, *rows, size)).astype(np.float32)
    action = dict(zip(agents, actions, strict=True)) if agents else actions[0]
    result = env.step(action)
    ends = [np.array(list(end.values())) if agents else np.array(end) for end in result[2:4]]
    over = np.logical_or(*ends).reshape(-1, *rows)[0]
    waits = rows and str(env.metadata["autoreset_mode"]).endswith("DISABLED")
    yield action, result
    if env.render_mode and step < 2:
        yield env.render()
    if agents:
        yield env.state()
        state = env.get_state()
        if step == 1:
            env.set_state(state)
        yield vars(state)
    if over.any() and not rows:
        yield env.reset()
    elif waits and over.any():
        mask = over.copy()
        yield env.reset(options={"reset_mask": mask}), mask


def spaces_of(env: Any) -> list[gymnasium.Space[Any]]:
    """All spaces of an environment."""
    if isinstance(env, AlohaDmEnv):
        return []
    names = ["observation_space", "action_space", "single_observation_space", "single_action_space"]
    found = [getattr(env, name) for name in names if hasattr(env, name)]
    agents = getattr(env, "possible_agents", ())
    given = [space for space in found if isinstance(space, gymnasium.Space)]
    asked = [space(agent) for space, agent in itertools.product(found, agents) if callable(space)]
    states = [getattr(env, name, None) for name in ("state_space", "single_state_space")]
    return given + asked + [space for space in states if space is not None]


def spoil(value: Any) -> None:
    """Overwrites all arrays, and empties all dicts and lists, of nested results."""
    if isinstance(value, np.ndarray):
        if value.dtype == object:
            spoil(value.tolist())
        if value.flags.writeable:
            value[...] = None if value.dtype == object else np.logical_not(value) * 111
    elif isinstance(value, dict | list):
        for part in list(value.values() if isinstance(value, dict) else value):
            spoil(part)
        value.clear()
    elif isinstance(value, tuple):
        for part in value:
            spoil(part)
    elif isinstance(value, spaces.Dict):
        spoil(list(value.spaces.values()))
        value.spaces.clear()
    elif isinstance(value, spaces.Box):
        spoil([value.low, value.high])
