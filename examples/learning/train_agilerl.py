"""IPPO with AgileRL, a policy and a critic per arm. Needs the extra ``agilerl``.

Run with AgileRL 2.58.0: ``pip install torch -e '.[agilerl]'``. What it needs:

* The package peft, without which ``import agilerl.algorithms`` fails; the extra installs it.
* A loop of one's own: ``train_multi_agent_on_policy`` clears the ends of episodes before it stores them, so
  that advantages run on into the next episode. Here a time limit also differs from a success.
* Names that differ before the last ``_``: ``arm_0`` and ``arm_1`` would share networks, whose observations
  and advantages ``IPPO.learn`` puts into different orders. The arms' own names are right.
* ``action_std_init`` is the logarithm of the deviation, and must not be negative; it is set afterwards.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Sequence

import numpy as np
import torch
import training
from agilerl.algorithms import IPPO

from aloha_marl import AGENTS, AlohaVectorEnv


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    return training.parse(training.ppo_parser(__doc__), argv)


def build(arguments: argparse.Namespace) -> tuple[IPPO, AlohaVectorEnv]:
    """The algorithm with new networks, and its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    torch.manual_seed(arguments.seed)
    np.random.seed(arguments.seed)  # AgileRL shuffles with it
    env = AlohaVectorEnv(arguments.task, arguments.num_envs, **training.OPTIONS)
    layers = {"hidden_size": [128], "activation": "Tanh"}
    ippo = IPPO(
        [env.single_observation_space(agent) for agent in AGENTS],
        [env.single_action_space(agent) for agent in AGENTS],
        agent_ids=list(AGENTS),
        net_config={"latent_dim": 128, "encoder_config": layers, "head_config": layers},
        batch_size=arguments.batch_size,
        lr=arguments.learning_rate,
        gamma=arguments.gamma,
        update_epochs=arguments.epochs,
        ent_coef=0.0,
    )
    for actor in ippo.actors.values():
        actor.head_net.log_std.data.fill_(-0.7)
    return ippo, env


def train(ippo: IPPO, env: AlohaVectorEnv, run: training.Run) -> None:
    """Trains for the given number of steps."""
    arguments = run.arguments
    ippo.set_training_mode(True)
    seen, _ = env.reset(seed=arguments.seed)
    begun = dict.fromkeys(AGENTS, np.zeros(env.num_envs))  # 1 where `seen` begins an episode
    earned = np.zeros(env.num_envs)
    episode_return = None
    for update in range(1, arguments.steps // (arguments.rollout * env.num_envs) + 1):
        rollout = []
        for _ in range(arguments.rollout):
            actions, log_probs, _, values = ippo.get_action(seen)
            after, rewards, _, truncated, infos = env.step(actions)
            earned += np.mean(list(rewards.values()), axis=0)
            ended = infos[AGENTS[0]].get("_final_obs", np.zeros(env.num_envs, bool))
            if ended.any():
                last = {a: np.stack(infos[a]["final_obs"][ended]) for a in AGENTS}
                worth = ippo.get_action(last)[3]
                for agent in AGENTS:
                    cut = truncated[agent][ended]
                    rewards[agent][ended] += arguments.gamma * cut * worth[agent].ravel()
                episode_return = earned[ended].mean()
                earned[ended] = 0
            rollout.append((seen, actions, log_probs, rewards, begun, values))
            seen, begun = after, dict.fromkeys(AGENTS, ended.astype(float))
        columns = (
            {agent: [values[agent] for values in column] for agent in AGENTS}
            for column in zip(*rollout, strict=True)
        )
        losses = ippo.learn((*columns, seen, begun))
        if episode_return is not None:
            steps = update * arguments.rollout * env.num_envs
            run.point(steps, episode_return, loss=sum(losses.values()))


def act(ippo: IPPO, agent: str, observation: np.ndarray) -> np.ndarray:
    """The likeliest action."""
    actor = ippo.actors[agent]
    with torch.no_grad():
        actor(torch.from_numpy(observation[None]))
    return actor.head_net.dist.mu[0].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    ippo, env = build(arguments)
    with training.Run("agilerl", arguments) as run:
        train(ippo, env, run)
        run.finish({a: training.Actor(functools.partial(act, ippo, a)) for a in AGENTS})
    env.close()


if __name__ == "__main__":
    main()
