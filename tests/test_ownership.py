"""What is handed out belongs to the caller: overwriting all of it changes nothing that comes later."""

from __future__ import annotations

import copy

import pytest
from doors import DOORS, calls, spaces_of, spoil
from helpers import assert_alike

import aloha_marl


@pytest.mark.parametrize("door", DOORS)
def test_overwriting_all_that_is_returned(door: str) -> None:
    """After every call; what was passed in, too. And nothing returned changes by itself."""
    env, twin = DOORS[door](), DOORS[door]()
    spoiled, kept = 0, []
    for seed in (1, 2):
        for result, expected in zip(calls(env, seed), calls(twin, seed), strict=True):
            assert_alike(result, expected, f"result {spoiled}")
            kept.append((expected, copy.deepcopy(expected)))
            spoil(result)
            spoiled += 1
    for result, expected in kept:
        assert_alike(result, expected)
    assert spoiled > 15
    env.close()
    twin.close()


@pytest.mark.parametrize("door", DOORS)
def test_overwriting_spaces_and_metadata(door: str) -> None:
    """It changes neither episodes nor other environments, made before or later."""
    env, twin = DOORS[door](), DOORS[door]()
    expected = copy.deepcopy((spaces_of(twin), getattr(twin, "metadata", None)))
    spoil(spaces_of(env))
    if not door.startswith("batch Disabled"):  # by it the test knows the mode
        mode = getattr(env, "metadata", {}).get("autoreset_mode")
        spoil(getattr(env, "metadata", {}))
        if mode is not None:
            env.metadata["autoreset_mode"] = mode
    for result, wanted in zip(calls(env), calls(twin), strict=True):
        assert_alike(result, wanted)
    for each in (twin, DOORS[door]()):
        assert (spaces_of(each), getattr(each, "metadata", None)) == expected
        each.close()
    env.close()


def test_classes_share_no_metadata() -> None:
    """Not even what it holds."""
    kinds = [
        aloha_marl.AlohaParallelEnv,
        aloha_marl.AlohaVectorEnv,
        aloha_marl.AlohaSingleAgent,
        aloha_marl.AlohaSingleAgentVector,
    ]
    held = [kind.metadata for kind in kinds]
    held += [kind.metadata.get("render_modes", []) for kind in kinds]
    held += [aloha_marl.parallel_env().metadata]
    held += [held[-1]["render_modes"]]
    assert len({id(part) for part in held}) == len(held)
