"""MAPPO or IPPO with BenchMARL. Needs the extra ``benchmarl``."""

from __future__ import annotations

import argparse
import functools
import tempfile
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import learners
import torch
import training
from benchmarl.algorithms import IppoConfig, MappoConfig
from benchmarl.experiment import Callback, Experiment, ExperimentConfig, experiment
from benchmarl.models import MlpConfig
from rows import Rows
from tensordict import TensorDict

from aloha_marl.integrations.benchmarl import AlohaClass
from aloha_marl.integrations.torchrl import AlohaEnv
from aloha_marl.policies.network import Network

ALGORITHMS = {"mappo": MappoConfig, "ippo": IppoConfig}


class Task(AlohaClass):
    """A task that keeps the environments it made last, in which BenchMARL trains.

    Attributes:
        rows: the environments.
    """

    rows: Rows

    def get_env_fun(
        self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any
    ) -> Callable[[], AlohaEnv]:
        """A function that makes the environments; row i starts with seed + i."""

        def make() -> AlohaEnv:
            self.rows = Rows(self.name, num_envs, autoreset_mode="NextStep", **self.config)
            env = AlohaEnv(self.rows, device)
            env.set_seed(seed)
            return env

        return make


class Learner(Callback):
    """An experiment with new networks, and its environments.

    Attributes:
        run: the training, set before it starts.
        experiment: the experiment.
        rows: the environments.
    """

    run: training.Run

    def __init__(self, arguments: argparse.Namespace):
        super().__init__()
        torch.set_num_threads(1)  # such small networks are slower on more
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
        config.exclude_buffer_from_checkpoint = True  # every rollout fills it anew
        network = MlpConfig.get_from_yaml()
        network.num_cells = [128, 128]
        task = Task(arguments.task, training.OPTIONS)
        with tempfile.TemporaryDirectory() as folder:  # for the settings that BenchMARL writes down
            config.save_folder = folder
            self.experiment = Experiment(
                task=task,
                algorithm_config=ALGORITHMS[arguments.algorithm].get_from_yaml(),
                model_config=network,
                seed=arguments.seed,
                config=config,
                callbacks=[self],
            )
        self.rows = task.rows
        self._optimizers = self.experiment.optimizers["arms"]
        self._sampler = self.experiment.replay_buffers["arms"].sampler
        # At this number it would close the environments, before their state is saved.
        self.experiment.collector.total_frames = float("inf")

    def on_train_end(self, training_td: TensorDict, group: str) -> None:
        """Adds a point to the learning curve after every update."""
        losses = [value.mean() for name, value in training_td.items() if name.startswith("loss_")]
        loss = torch.stack(losses).sum().item()
        self.run.point(self.experiment.total_frames, self.rows.figures(), loss=loss)

    def networks(self) -> list[Network]:
        """Each arm's network of the mean action."""
        return learners.stacked_networks(self.experiment.policy)

    def state_dict(self) -> dict[str, Any]:
        """BenchMARL's own state, and what it leaves out."""
        return {
            "experiment": self.experiment.state_dict(),
            "optimizers": {name: o.state_dict() for name, o in self._optimizers.items()},
            "sampler": self._sampler.state_dict(),
            "rows": self.rows.state_dict(),
            "now": self.experiment.collector._carrier.to_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        self.experiment.load_state_dict(saved["experiment"])
        self.experiment.n_iters_performed += 1  # it was saved before the update was counted
        for name, optimizer in self._optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        self._sampler.load_state_dict(saved["sampler"])
        self.rows.load_state_dict(saved["rows"])
        self.experiment.collector._carrier.update(saved["now"])


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__)
    parser.add_argument(
        "--algorithm", choices=ALGORITHMS, default="mappo", help="how it is learned"
    )
    return training.parse(parser, argv)


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    learner.run = run
    warnings.filterwarnings("ignore", "No episode terminated")  # the curve has no such point
    experiment.tqdm = functools.partial(experiment.tqdm, disable=True)  # there is a bar of ours
    learner.experiment._collection_loop()  # run() would seed the random generators again


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("benchmarl", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
