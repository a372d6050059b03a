"""Bad seeds, states and options are refused in words at every front door, and nothing has changed."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from helpers import OPTION_VALUES, assert_alike, same

import aloha_marl
from aloha_marl import transfer_cube_v0, wrappers
from aloha_marl.core.options import Options
from aloha_marl.envs.dm_env import AlohaDmEnv

GYM_ALOHA = {"start": "gym_aloha", "metrics": True}


@dataclasses.dataclass
class Door:
    """A front door: how it is reset, and what holds the core and the generators."""

    reset: Callable[[Any], Any]
    base: Any

    def everything(self) -> list[Any]:
        """The whole state of the episodes and of the generators."""
        rngs = self.base.np_random
        rngs = rngs if isinstance(rngs, tuple) else (rngs,)
        states = [rng.bit_generator.state for rng in rngs]
        return [vars(self.base.get_state()), states, self.base.np_random_seed]


def parallel(wrapped: bool = False) -> Door:
    """The PettingZoo environment."""
    base = aloha_marl.parallel_env(**GYM_ALOHA)
    env: Any = wrappers.ActionDelay(base, 1) if wrapped else base
    return Door(lambda seed: env.reset(seed=seed), base)


def aec() -> Door:
    """The environment of turns."""
    env = transfer_cube_v0.env(**GYM_ALOHA)

    def reset(seed: Any) -> Any:
        env.reset(seed=seed)
        return env.last()[0]

    return Door(reset, env.unwrapped)


def merged() -> Door:
    """Both arms as one agent, behind its id."""
    env = gymnasium.make("aloha_marl/TransferCube-v0", obs_type="state", **GYM_ALOHA)
    return Door(lambda seed: env.reset(seed=seed), env.unwrapped.base)


def dm_env() -> Door:
    """The dm_env adapter, whose seed is an argument."""
    single = aloha_marl.AlohaSingleAgent(aloha_marl.parallel_env(**GYM_ALOHA))
    return Door(lambda seed: AlohaDmEnv(single, seed).reset(), single.base)


def batch(wrapped: bool = False) -> Door:
    """The batch."""
    base = aloha_marl.AlohaVectorEnv(num_envs=2, **GYM_ALOHA)
    env: Any = wrappers.ActionDelay(base, 1) if wrapped else base
    return Door(lambda seed: env.reset(seed=seed), base)


def merged_batch() -> Door:
    """Both arms as one agent, many times at once."""
    options: Any = {"num_envs": 2, "obs_type": "state", **GYM_ALOHA}
    env: Any = gymnasium.make_vec("aloha_marl/TransferCube-v0", **options)
    return Door(lambda seed: env.reset(seed=seed), env.env)


DOORS: dict[str, Callable[..., Door]] = {"parallel": parallel, "batch": batch}
DOORS |= {f"wrapped {name}": functools.partial(DOORS[name], wrapped=True) for name in DOORS}
DOORS |= {"aec": aec, "gymnasium": merged, "dm_env": dm_env, "make_vec": merged_batch}


@pytest.mark.parametrize("door", DOORS)
def test_bad_seeds(door: str) -> None:
    """One range with one message, and neither episode nor generator has moved."""
    env = DOORS[door]()
    env.reset(3)
    before = env.everything()
    bad: tuple[Any, ...] = (-1, 2**32, 1.5, True, "0", np.float64(2))
    if "batch" in door or door == "make_vec":
        bad += ([7, 2**32], [7, -1], [7], 2**32 - 1)
    for seed in bad:
        with pytest.raises(ValueError, match=r"seed=.* must be"):
            env.reset(seed)
        assert repr(env.everything()[1:]) == repr(before[1:])
        assert same(env.everything()[0], before[0])


@pytest.mark.parametrize("door", DOORS)
def test_seeds_of_numpy(door: str) -> None:
    """NumPy's integers are seeds like Python's, and are kept as plain numbers."""
    env = DOORS[door]()
    want = env.reset(5)
    for kind in (np.int64, np.uint8, np.uint32):
        assert_alike(env.reset(kind(5)), want)
    seeds = env.base.np_random_seed
    assert seeds == ((5, 6) if isinstance(seeds, tuple) else 5)
    for seed in seeds if isinstance(seeds, tuple) else (seeds,):
        assert type(seed) is int


@pytest.mark.parametrize("door", DOORS)
def test_np_random_draws_the_starts(door: str) -> None:
    """Where its state is put back, the same starts follow."""
    env = DOORS[door]()
    env.reset(1)
    rngs = env.base.np_random
    rngs = rngs if isinstance(rngs, tuple) else (rngs,)
    saved = [rng.bit_generator.state for rng in rngs]
    want, other = env.reset(None), env.reset(None)
    assert not same(want, other)
    for rng, state in zip(rngs, saved, strict=True):
        rng.bit_generator.state = state
    assert_alike(env.reset(None), want)


def test_np_random_of_gymnasium() -> None:
    """The property is the generator of the starts, and can be replaced."""
    env = gymnasium.make("aloha_marl/TransferCube-v0", obs_type="state")
    want = env.reset(seed=9)
    assert env.unwrapped.np_random is env.unwrapped.base.np_random
    assert env.unwrapped.np_random_seed == 9
    env.unwrapped.np_random = np.random.Generator(np.random.PCG64(9))
    assert env.unwrapped.np_random_seed == -1
    assert_alike(env.reset(), want)


OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "task": ("insertion", {}),
    "reward": ("transfer_cube", {"reward": "dense"}),
    "metrics": ("transfer_cube", {"metrics": True}),
    "numbers": ("transfer_cube", {"randomization": {"friction": (1, 1), "object_mass": (1, 1)}}),
    "names": ("transfer_cube", {"randomization": {"object_size": (0.9, 0.95)}}),
}
MASS = {"randomization": {"object_mass": (0.5, 2)}}


def bad_states(good: Any) -> dict[str, Any]:
    """States that don't fit an environment of ``MASS``."""
    nan = good.physics.copy()
    nan[0, 3] = np.nan
    bad = {"nan": good.but(physics=nan), "dtype": good.but(stage=good.stage.astype(float))}
    bad |= {"rows": good.take(np.array([0, 0, 0])), "none": None, "dict": vars(good)}
    bad["ragged"] = good.but(stage=np.zeros(2, int))
    for name, (task, options) in OTHERS.items():
        env = aloha_marl.parallel_env(task, **options)
        env.reset(seed=0)
        bad[name] = env.get_state()
    return bad


@pytest.mark.parametrize("many", [False, True])
def test_bad_states(many: bool) -> None:
    """States of another scene or other options, of other rows or types, or not finite."""
    env = aloha_marl.AlohaVectorEnv(num_envs=2, **MASS) if many else aloha_marl.parallel_env(**MASS)
    env.reset(seed=0)
    good = env.get_state([1]) if isinstance(env, aloha_marl.AlohaVectorEnv) else env.get_state()
    env.reset(seed=5)
    before = env.get_state()
    mass = np.array(env.core.simulation.fields["body_mass"])
    for name, bad in bad_states(good).items():
        with pytest.raises(ValueError, match="state"):
            env.set_state(bad)
        assert same(vars(env.get_state()), vars(before)), name
        np.testing.assert_array_equal(env.core.simulation.fields["body_mass"], mass)
    env.set_state(good)
    assert not same(vars(env.get_state()), vars(before))


ODD = (
    None,
    True,
    3,
    -1,
    0,
    1.5,
    np.nan,
    np.inf,
    "",
    "x",
    b"x",
    10**30,
    10**400,
    -(10**400),
    1e-300,
)
ODD += ((), (0, 1), ("a",), ("a", "a"), ("a", ""), {"a", "b"}, {}, {"x": 1}, [[1]], np.zeros(2))
ODD += (object(), np.int64(7), np.float32(2), {"object_mass": (1e-300, 1)}, range(2))
ODD += ({"object_mass": 3}, {"object_mass": ("a", "b")}, {"object_mass": (1, 10**400)}, {1: (1, 2)})


@pytest.mark.parametrize("option", [field.name for field in dataclasses.fields(Options)])
def test_odd_options(option: str) -> None:
    """An odd value is valid, or a ValueError that names the option; no door says anything else."""
    doors = (
        lambda **options: aloha_marl.parallel_env(**options),
        lambda **options: aloha_marl.AlohaVectorEnv(num_envs=1, num_threads=1, **options),
        lambda **options: gymnasium.make("aloha_marl/Insertion-v0", **options).unwrapped.base,
    )
    told = 0
    for value in ODD:
        outcomes = set()
        for make in doors:
            if option in ("obs_type", "render_mode") and make is doors[2]:
                continue  # another option of that name; Gymnasium's own errors
            try:
                env = make(**{option: value})
                kept = getattr(env.options, option)
                assert not isinstance(kept, np.generic)
                outcomes.add("fine")
            except ValueError as error:
                named = option in str(error) or (option == "cameras" and "camera" in str(error))
                outcomes.add("told" if named else str(error))
        assert outcomes in ({"fine"}, {"told"}), value
        told += "told" in outcomes
    assert told > len(ODD) / 2


def test_keys_of_reset_options() -> None:
    """PettingZoo's own tests pass keys that mean nothing; elsewhere they are refused."""
    single = gymnasium.make("aloha_marl/TransferCube-v0", obs_type="state")
    many = gymnasium.make_vec("aloha_marl/TransferCube-v0", num_envs=2, obs_type="state")
    for env in (single, many, aloha_marl.AlohaVectorEnv()):
        env.reset(seed=0, options={})
        with pytest.raises(ValueError, match="'mask' is unknown"):
            env.reset(options={"mask": np.array([True, False])})


@pytest.mark.parametrize("actions", [[np.zeros(7)] * 2, np.zeros((2, 7)), None, "ab"])
def test_actions_that_are_no_dict(actions: Any) -> None:
    """A list or an array in place of the dict is told as such, single and many."""
    for env in (aloha_marl.parallel_env(), aloha_marl.AlohaVectorEnv(num_envs=2)):
        env.reset(seed=0)
        with pytest.raises(ValueError, match="must be a dict agent -> array"):
            env.step(actions)


def test_variants_hold_every_option() -> None:
    """The table of the other tests' variants knows all options but sizes and the render mode."""
    sizes = {
        f"{use}_{side}" for use in ("observation", "visualization") for side in ("width", "height")
    }
    names = {field.name for field in dataclasses.fields(Options)}
    assert names - sizes - {"render_mode"} == set(OPTION_VALUES)
