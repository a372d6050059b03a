"""PPO of RLlib, one policy for both arms, in several processes. Needs the extra ``rllib``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import learners
import numpy as np
import ray
import training
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from training import natural, positive

from aloha_marl import AGENTS
from aloha_marl.integrations.ray_cluster import connect
from aloha_marl.integrations.rllib import AlohaEnv
from aloha_marl.policies.network import Network
from aloha_marl.tasks import SUCCESS

LOST = "the episodes in progress, the random generators and RLlib's weight of the KL penalty"
"""What a checkpoint of RLlib does not hold."""

STAGES = {f"stage_{stage}": stage for stage in range(1, SUCCESS + 1)}
"""Names of the shares of the episodes that reached each stage."""


class Learner:
    """PPO with new networks, and the processes with its environments.

    Attributes:
        algorithm: the algorithm.

    Raises:
        SystemExit: there is no cluster at the address.
    """

    def __init__(self, arguments: argparse.Namespace):
        if arguments.ray_address is None:
            ray.init(include_dashboard=False, log_to_driver=False, num_cpus=arguments.runners + 1)
        else:
            try:
                connect(arguments.ray_address)
            except (ConnectionError, ValueError) as error:
                sys.exit(str(error))
        config = (
            PPOConfig()
            .environment(AlohaEnv, env_config={"task": arguments.task, **training.OPTIONS})
            .env_runners(
                num_env_runners=arguments.runners, num_envs_per_env_runner=arguments.num_envs
            )
            .fault_tolerance(restart_failed_env_runners=True)
            .multi_agent(
                policies={"shared"}, policy_mapping_fn=lambda agent, episode, **_: "shared"
            )
            .rl_module(
                model_config=DefaultModelConfig(fcnet_hiddens=[128, 128], fcnet_activation="tanh")
            )
            .training(
                train_batch_size_per_learner=arguments.batch,
                minibatch_size=arguments.batch_size,
                num_epochs=arguments.epochs,
                lr=arguments.learning_rate,
                gamma=arguments.gamma,
            )
            .callbacks(on_episode_end=log_stages)
            # With the seed a resumed training would play its first episodes again.
            .debugging(seed=None if arguments.resume else arguments.seed, log_level="ERROR")
        )
        self.algorithm = config.build_algo()

    def networks(self) -> list[Network]:
        """The network of the mean action."""
        module = self.algorithm.get_module("shared")
        return [learners.network(module.encoder, module.pi)]

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizer and counters."""
        return self.algorithm.get_state()

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        self.algorithm.set_state(saved)

    def close(self) -> None:
        """Ends the processes."""
        self.algorithm.stop()
        ray.shutdown()


def log_stages(
    *, episode: Any, prev_episode_chunks: Sequence[Any], metrics_logger: Any, **_: Any
) -> None:
    """Logs which stages an episode has reached; called at its end, in the process that played it."""
    highest = max(
        info["stage"]
        for chunk in (*prev_episode_chunks, episode)
        for info in chunk.agent_episodes[AGENTS[0]].get_infos()
    )
    for name, stage in STAGES.items():
        metrics_logger.log_value(name, float(highest >= stage), window=100)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__, num_envs=8, steps=1_000_000, rollout=None, lost=LOST)
    parser.set_defaults(batch_size=1024)
    parser.add_argument("--runners", type=natural, default=2, help="processes with --num-envs each")
    parser.add_argument("--ray-address", help="HOST:PORT of a running cluster, or auto")
    parser.add_argument("--batch", type=positive, default=8192, help="control steps per update")
    return training.parse(parser, argv)


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    steps = run.steps
    while steps < run.arguments.steps:
        result = learner.algorithm.train()
        steps = int(result["num_env_steps_sampled_lifetime"])
        played, figures = result["env_runners"], {}
        returns = [*played.get("agent_episode_returns_mean", {}).values()]
        if returns and np.isfinite(returns).all():  # an episode has ended, also since --resume
            figures["episode_return"] = float(np.mean(returns))
            figures |= {name: played[name] for name in STAGES}
        run.point(steps, figures, loss=result["learners"]["shared"]["total_loss"])


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("rllib", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.close()


if __name__ == "__main__":
    main()
