"""PPO of RLlib, one policy for both arms, in several processes. Needs the extra ``rllib``."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence

import numpy as np
import ray
import torch
import training
from ray.rllib.algorithms import Algorithm
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
from training import natural, positive

from aloha_marl import AGENTS
from aloha_marl.arms import ACTION_SIZE
from aloha_marl.integrations.ray_cluster import connect
from aloha_marl.integrations.rllib import AlohaEnv


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    parser = training.ppo_parser(__doc__, num_envs=8, steps=1_000_000, rollout=None)
    parser.set_defaults(batch_size=1024)
    parser.add_argument("--runners", type=natural, default=2, help="processes with --num-envs each")
    parser.add_argument("--ray-address", help="HOST:PORT of a running cluster, or auto")
    parser.add_argument("--batch", type=positive, default=8192, help="control steps per update")
    return training.parse(parser, argv)


def build(arguments: argparse.Namespace) -> Algorithm:
    """The algorithm with new networks, and the processes with its environments.

    Raises:
        SystemExit: there is no cluster at the address.
    """
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
        .env_runners(num_env_runners=arguments.runners, num_envs_per_env_runner=arguments.num_envs)
        .fault_tolerance(restart_failed_env_runners=True)
        .multi_agent(policies={"shared"}, policy_mapping_fn=lambda agent, episode, **_: "shared")
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
        .debugging(seed=arguments.seed, log_level="ERROR")
    )
    return config.build_algo()


def train(algorithm: Algorithm, run: training.Run) -> None:
    """Trains for the given number of steps."""
    steps = 0
    while steps < run.arguments.steps:
        result = algorithm.train()
        steps = result["num_env_steps_sampled_lifetime"]
        returns = result["env_runners"].get("agent_episode_returns_mean")
        if returns:  # an episode has ended
            loss = result["learners"]["shared"]["total_loss"]
            run.point(steps, sum(returns.values()) / len(returns), loss=loss)


def act(algorithm: Algorithm, observation: np.ndarray) -> np.ndarray:
    """The likeliest action."""
    seen = {"obs": torch.from_numpy(observation[None])}
    with torch.no_grad():
        mean_and_deviation = algorithm.get_module("shared").forward_inference(seen)
    return mean_and_deviation["action_dist_inputs"][0, :ACTION_SIZE].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    algorithm = build(arguments)
    with training.Run("rllib", arguments) as run:
        train(algorithm, run)
        run.finish(dict.fromkeys(AGENTS, training.Actor(functools.partial(act, algorithm))))
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
