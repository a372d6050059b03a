"""LeRobot itself: it reads an exported set as it was recorded, trains on it, and evaluates the expert."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.policies.pretrained import PreTrainedPolicy
from lerobot.scripts.lerobot_eval import eval_policy

from aloha_marl import AGENTS, TASKS, datasets, policies
from aloha_marl.datasets.export import export

QUALITIES = ("lossless", "none")


@pytest.fixture(scope="module", params=QUALITIES)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[datasets.Dataset, Path]:
    """Three recorded episodes, with and without pictures, and their set."""
    folder = tmp_path_factory.mktemp(request.param)
    plan = datasets.Plan(
        "transfer_cube",
        folder / "recorded",
        cameras=("top", "wrist"),
        size=(96, 128),
        quality=request.param,
    )
    recorder = datasets.Recorder(plan, 3)
    list(recorder.record(iter(range(3))))
    recorder.close()
    episodes = datasets.open(plan.folder)
    export(episodes, folder / "set", "lerobot")
    return episodes, folder / "set"


def test_read(exported: tuple[datasets.Dataset, Path]) -> None:
    """Every number and every picture is equal."""
    episodes, folder = exported
    loaded = LeRobotDataset("set", root=folder, video_backend="pyav")
    assert (loaded.num_episodes, len(loaded)) == (3, sum(map(len, episodes)))
    index = 0
    for episode in episodes:
        arrays = {"observation.state": episode["qpos"], "action": episode["action"]}
        pictures = {camera: list(episode.pictures(camera)) for camera in episode.cameras}
        for step in range(len(episode)):
            item = loaded[index]
            index += 1
            assert item["task"] == TASKS["transfer_cube"].summary
            for name, values in arrays.items():
                np.testing.assert_array_equal(item[name], values[step])
            for camera, shown in pictures.items():
                colours = item[f"observation.images.{camera}"].numpy() * 255
                np.testing.assert_array_equal(colours.round().transpose(1, 2, 0), shown[step])


def test_train(exported: tuple[datasets.Dataset, Path], tmp_path: Path) -> None:
    """Its training command takes a few steps."""
    folder = exported[1]
    small = {"dim_model": 32, "n_heads": 2, "dim_feedforward": 32, "n_encoder_layers": 1}
    small |= {"chunk_size": 5, "n_action_steps": 5, "use_vae": "false"}
    options = {f"policy.{name}": value for name, value in small.items()} | {
        "dataset.repo_id": "set",
        "dataset.root": folder,
        "policy.type": "act",
        "policy.device": "cpu",
        "policy.push_to_hub": "false",
        "policy.pretrained_backbone_weights": "null",
        "batch_size": 2,
        "steps": 3,
        "num_workers": 0,
        "output_dir": tmp_path / "trained",
    }
    command = [Path(sys.executable).with_name("lerobot-train")]
    subprocess.run(
        [*command, *(f"--{name}={value}" for name, value in options.items())], check=True
    )
    assert list((tmp_path / "trained" / "checkpoints").iterdir())


class Expert(PreTrainedPolicy):
    """The scripted experts of both arms, which look past LeRobot into the environments."""

    config_class, name = object, "expert"

    def __init__(self, env: Any, task: str):
        torch.nn.Module.__init__(self)
        self._env, self._arms, self._task = env, policies.load("scripted", task), task

    def reset(self) -> None:
        """The experts remember nothing."""

    def select_action(self, batch: dict[str, Any], **_: Any) -> torch.Tensor:
        assert batch["task"] == [TASKS[self._task].summary] * self._env.num_envs
        seen = self._env.unwrapped.env.core.observer.observations()
        actions = [self._arms[agent](seen[:, arm]) for arm, agent in enumerate(AGENTS)]
        return torch.from_numpy(np.concatenate(actions, axis=1))

    def get_optim_params(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: dict[str, Any]) -> Any:
        raise RuntimeError("it does not learn")

    def predict_action_chunk(self, batch: dict[str, Any], **_: Any) -> Any:
        raise RuntimeError("it has no chunks")


@pytest.mark.parametrize("task", TASKS)
def test_evaluate(task: str) -> None:
    """Its evaluation of the expert: four of four."""
    env_id = f"aloha_marl/{task.title().replace('_', '')}-v0"
    env = gymnasium.make_vec(env_id, 2, obs_type="environment_state_agent_pos")
    plain = (lambda value: value,) * 4
    result = eval_policy(env, Expert(env, task), *plain, n_episodes=4, start_seed=0)
    assert result["aggregated"]["pc_success"] == 100
    env.close()
