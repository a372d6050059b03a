"""MAPPO or IPPO with BenchMARL. Needs the extra ``benchmarl``."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import training
from benchmarl.algorithms import IppoConfig, MappoConfig
from benchmarl.experiment import Callback, Experiment, ExperimentConfig
from benchmarl.models import MlpConfig
from tensordict import TensorDict
from torchrl.envs.utils import ExplorationType, set_exploration_type

from aloha_marl import AGENTS
from aloha_marl.integrations.benchmarl import AlohaTask

ALGORITHMS = {"mappo": MappoConfig, "ippo": IppoConfig}


class Points(Callback):
    """Adds a point to the learning curve after every update.

    Attributes:
        run: the training, set before it starts.
    """

    run: training.Run

    def on_train_end(self, training_td: TensorDict, group: str) -> None:
        """After every update."""
        experiment = self.experiment
        losses = [value.mean() for name, value in training_td.items() if name.startswith("loss_")]
        if np.isfinite(experiment.mean_return):  # an episode has ended
            loss = torch.stack(losses).sum().item()
            self.run.point(experiment.total_frames, experiment.mean_return, loss=loss)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__)
    parser.add_argument(
        "--algorithm", choices=ALGORITHMS, default="mappo", help="how it is learned"
    )
    return training.parse(parser, argv)


def build(arguments: argparse.Namespace) -> Experiment:
    """The experiment with new networks, and its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    arguments.out.mkdir(parents=True, exist_ok=True)
    config = ExperimentConfig.get_from_yaml()
    config.share_policy_params = False
    config.gamma = arguments.gamma
    config.lr = arguments.learning_rate
    config.max_n_frames = arguments.steps
    config.on_policy_collected_frames_per_batch = arguments.rollout * arguments.num_envs
    config.on_policy_n_envs_per_worker = arguments.num_envs
    config.on_policy_n_minibatch_iters = arguments.epochs
    config.on_policy_minibatch_size = arguments.batch_size
    config.evaluation = config.render = False
    config.loggers = []
    config.save_folder = str(arguments.out)
    network = MlpConfig.get_from_yaml()
    network.num_cells = [128, 128]
    return Experiment(
        task=AlohaTask[arguments.task.upper()].get_task(training.OPTIONS),
        algorithm_config=ALGORITHMS[arguments.algorithm].get_from_yaml(),
        model_config=network,
        seed=arguments.seed,
        config=config,
        callbacks=[Points()],
    )


def train(experiment: Experiment, run: training.Run) -> None:
    """Trains for the given number of steps; BenchMARL shows how far it is."""
    experiment.callbacks[0].run = run
    experiment.run()


def act(policy: Any, arm: int, observation: np.ndarray) -> np.ndarray:
    """The likeliest action of one arm; the other one's observation does not matter."""
    seen = torch.zeros(1, len(AGENTS), observation.size)
    seen[0, arm] = torch.from_numpy(observation)
    with torch.no_grad(), set_exploration_type(ExplorationType.DETERMINISTIC):
        acted = policy(
            TensorDict({"arms": TensorDict({"observation": seen}, seen.shape[:2])}, seen.shape[:1])
        )
    return acted["arms", "action"][0, arm].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    experiment = build(arguments)
    with training.Run("benchmarl", arguments, bar=False) as run:
        train(experiment, run)
        policy = experiment.policy
        acts = [functools.partial(act, policy, arm) for arm in range(len(AGENTS))]
        run.finish(dict(zip(AGENTS, map(training.Actor, acts), strict=True)))


if __name__ == "__main__":
    main()
