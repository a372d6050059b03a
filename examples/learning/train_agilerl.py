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
from collections.abc import Sequence
from typing import Any

import learners
import numpy as np
import torch
import training
from agilerl.algorithms import IPPO
from rows import Rows

from aloha_marl import AGENTS
from aloha_marl.policies.network import Network


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    return training.parse(training.ppo_parser(__doc__), argv)


class Learner:
    """IPPO with new networks, and its environments.

    Attributes:
        rows: the environments.
        ippo: the algorithm.
        begun: agent -> (n,) 1 where its observation is the first of an episode.
    """

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(1)  # such small networks are slower on more
        torch.manual_seed(arguments.seed)
        np.random.seed(arguments.seed)  # AgileRL shuffles with it
        self.rows = Rows(arguments.task, arguments.num_envs, **training.OPTIONS)
        layers = {"hidden_size": [128], "activation": "Tanh"}
        layers |= {"layer_norm": False, "output_layernorm": False}
        self.ippo = IPPO(
            [self.rows.single_observation_space(agent) for agent in AGENTS],
            [self.rows.single_action_space(agent) for agent in AGENTS],
            agent_ids=list(AGENTS),
            net_config={"latent_dim": 128, "encoder_config": layers, "head_config": layers},
            batch_size=arguments.batch_size,
            lr=arguments.learning_rate,
            gamma=arguments.gamma,
            update_epochs=arguments.epochs,
            ent_coef=0.0,
        )
        for actor in self.ippo.actors.values():
            actor.head_net.log_std.data.fill_(-0.7)
        self.ippo.set_training_mode(True)
        self.rows.reset(seed=arguments.seed)
        self.begun = {agent: np.zeros(self.rows.num_envs) for agent in AGENTS}

    def networks(self) -> list[Network]:
        """The networks of the mean actions."""
        actors = [self.ippo.actors[agent] for agent in AGENTS]
        return [
            learners.network(actor.encoder.model, actor.head_net.wrapped.model[:-1])
            for actor in actors
        ]

    def _parts(self) -> list[Any]:
        """Networks and optimizers."""
        ippo = self.ippo
        return [ippo.actors, ippo.critics, ippo.actor_optimizers, ippo.critic_optimizers]

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizers and environments."""
        return {
            "parts": [part.state_dict() for part in self._parts()],
            "rows": self.rows.state_dict(),
            "begun": self.begun,
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        for part, state in zip(self._parts(), saved["parts"], strict=True):
            part.load_state_dict(state)
        self.rows.load_state_dict(saved["rows"])
        self.begun = {agent: np.asarray(values) for agent, values in saved["begun"].items()}


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    arguments, ippo, rows = run.arguments, learner.ippo, learner.rows
    size = arguments.rollout * arguments.num_envs
    seen = rows.observations()
    for update in range(run.steps // size + 1, arguments.steps // size + 1):
        rollout = []
        for _ in range(arguments.rollout):
            actions, log_probs, _, values = ippo.get_action(seen)
            after, rewards, _, truncated, infos = rows.step(actions)
            ended = infos[AGENTS[0]].get("_final_obs", np.zeros(rows.num_envs, bool))
            if ended.any():
                last = {a: np.stack(infos[a]["final_obs"][ended]) for a in AGENTS}
                worth = ippo.get_action(last)[3]
                for agent in AGENTS:
                    cut = truncated[agent][ended]
                    rewards[agent][ended] += arguments.gamma * cut * worth[agent].ravel()
            rollout.append((seen, actions, log_probs, rewards, learner.begun, values))
            seen, learner.begun = after, {agent: ended.astype(float) for agent in AGENTS}
        columns = (
            {agent: [values[agent] for values in column] for agent in AGENTS}
            for column in zip(*rollout, strict=True)
        )
        losses = ippo.learn((*columns, seen, learner.begun))
        run.point(update * size, rows.figures(), loss=sum(losses.values()))


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("agilerl", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
