"""PPO of Stable-Baselines3, one policy for both arms. Needs the extra ``sb3``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import learners
import numpy as np
import torch
import training
from rows import Rows
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from aloha_marl import AGENTS
from aloha_marl.integrations.stable_baselines3 import ArmsVecEnv
from aloha_marl.policies.network import Network


class Learner:
    """PPO with new networks, and its environments.

    Attributes:
        rows: the environments.
        model: the algorithm.
    """

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(1)  # such small networks are slower on more
        self.rows = Rows(arguments.task, arguments.num_envs, **training.OPTIONS)
        self._normalize = VecNormalize(ArmsVecEnv(self.rows), gamma=arguments.gamma)
        self.model = PPO(
            "MlpPolicy",
            self._normalize,
            seed=arguments.seed,
            n_steps=arguments.rollout,
            batch_size=arguments.batch_size,
            n_epochs=arguments.epochs,
            learning_rate=arguments.learning_rate,
            gamma=arguments.gamma,
            policy_kwargs={"net_arch": [128, 128], "log_std_init": -0.7},
            device="cpu",
        )

    def networks(self) -> list[Network]:
        """The network of the mean action, with the normalisation of its observations."""
        seen, policy = self._normalize.obs_rms, self.model.policy
        return [
            learners.network(
                policy.mlp_extractor.policy_net,
                policy.action_net,
                scaling=np.stack((seen.mean, np.sqrt(seen.var + self._normalize.epsilon))),
                clip=self._normalize.clip_obs,
            )
        ]

    def state_dict(self) -> dict[str, Any]:
        """Networks and optimizer, normalisations, environments, and what PPO saw last."""
        model, normalize = self.model, self._normalize
        return {
            "parameters": model.get_parameters(),
            "num_timesteps": model.num_timesteps,
            "last": (model._last_obs, model._last_episode_starts),
            "statistics": [vars(rms) for rms in (normalize.obs_rms, normalize.ret_rms)],
            "returns": normalize.returns,
            "rows": self.rows.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        model, normalize = self.model, self._normalize
        model.set_parameters(saved["parameters"])
        model.num_timesteps = saved["num_timesteps"]
        model._last_obs, model._last_episode_starts = map(np.asarray, saved["last"])
        for rms, values in zip(
            (normalize.obs_rms, normalize.ret_rms), saved["statistics"], strict=True
        ):
            vars(rms).update({name: np.asarray(value)[()] for name, value in values.items()})
        normalize.returns = np.asarray(saved["returns"])
        self.rows.load_state_dict(saved["rows"])


class Report(BaseCallback):
    """Adds a point to the learning curve after every update of the policy."""

    def __init__(self, run: training.Run, rows: Rows):
        super().__init__()
        self._run, self._rows = run, rows

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        steps = self.model.num_timesteps // len(AGENTS)  # SB3 counts each arm's
        if steps > self._run.steps:  # not before the first update
            loss = self.model.logger.name_to_value["train/loss"]
            self._run.point(steps, self._rows.figures(), loss=loss)

    def _on_training_end(self) -> None:
        self._on_rollout_start()


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__)
    parser.set_defaults(batch_size=1024)
    return training.parse(parser, argv)


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    left = run.arguments.steps - run.steps
    learner.model.learn(
        left * len(AGENTS), callback=Report(run, learner.rows), reset_num_timesteps=False
    )


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("sb3", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
