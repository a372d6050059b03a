"""PPO of Stable-Baselines3, one policy for both arms. Needs the extra ``sb3``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
import torch
import training
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from aloha_marl import AGENTS, AlohaVectorEnv
from aloha_marl.integrations.stable_baselines3 import ArmsVecEnv


class Report(BaseCallback):
    """Adds a point to the learning curve after every update of the policy."""

    def __init__(self, run: training.Run):
        super().__init__()
        self._run = run

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        model = self.model
        if not model.ep_info_buffer:  # no episode has ended yet
            return
        returns = [episode["r"] for episode in model.ep_info_buffer]
        self._run.point(
            model.num_timesteps // len(AGENTS),  # SB3 counts each arm's
            sum(returns) / len(returns),
            loss=model.logger.name_to_value["train/loss"],
        )

    def _on_training_end(self) -> None:
        self._on_rollout_start()


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__)
    parser.set_defaults(batch_size=1024)
    return training.parse(parser, argv)


def build(arguments: argparse.Namespace) -> PPO:
    """The algorithm with new networks, and its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    arms = ArmsVecEnv(AlohaVectorEnv(arguments.task, arguments.num_envs, **training.OPTIONS))
    return PPO(
        "MlpPolicy",
        VecNormalize(VecMonitor(arms), gamma=arguments.gamma),
        seed=arguments.seed,
        n_steps=arguments.rollout,
        batch_size=arguments.batch_size,
        n_epochs=arguments.epochs,
        learning_rate=arguments.learning_rate,
        gamma=arguments.gamma,
        policy_kwargs={"net_arch": [128, 128], "log_std_init": -0.7},
        device="cpu",
    )


def train(model: PPO, run: training.Run) -> None:
    """Trains for the given number of steps."""
    model.learn(run.arguments.steps * len(AGENTS), callback=Report(run))


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    model = build(arguments)
    with training.Run("sb3", arguments) as run:
        train(model, run)
        normalize = model.get_vec_normalize_env()

        def act(observation: np.ndarray) -> np.ndarray:
            return model.predict(normalize.normalize_obs(observation), deterministic=True)[0]

        run.finish(dict.fromkeys(AGENTS, training.Actor(act)))
    model.env.close()


if __name__ == "__main__":
    main()
