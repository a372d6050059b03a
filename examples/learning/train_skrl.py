"""IPPO with skrl, a policy and a critic per arm. Needs the extra ``skrl``.

Run with skrl 2.1.1: ``pip install torch -e '.[skrl]'``. What it needs:

* A wrapper of many environments at once; skrl's own for PettingZoo steps one.
* ``{agent: ...}`` for every dict of the configuration, empty ones too. With its own defaults ``IPPO_CFG()``
  stops at "Specified keys (set()) do not match possible agents".
* ``state()`` and ``state_spaces``, which IPPO stores and does not use.
* ``time_limit_bootstrap``: without it, advantages run on from an episode into the next one in its row. With
  it, skrl takes the value of the new episode's first observation; :class:`Learner` gives it the last one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

import learners
import numpy as np
import skrl
import torch
import training
from rows import Rows
from skrl.envs.wrappers.torch import MultiAgentEnvWrapper
from skrl.memories.torch import RandomMemory
from skrl.multi_agents.torch.ippo import IPPO
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

from aloha_marl import AGENTS
from aloha_marl.policies.network import Network

Tensors = dict[str, torch.Tensor]
"""Agent -> (N, ...)."""


def tensors(arrays: Mapping[str, np.ndarray]) -> Tensors:
    """Arrays as tensors of bool or float32."""
    return {
        agent: torch.from_numpy(np.asarray(values, None if values.dtype == bool else np.float32))
        for agent, values in arrays.items()
    }


class Arms(MultiAgentEnvWrapper):
    """A batch of environments with ``autoreset_mode="SameStep"``, in tensors."""

    agents = possible_agents = list(AGENTS)
    observation_spaces, action_spaces, state_spaces = {}, {}, {}  # skrl looks for other names

    def __init__(self, env: Rows):
        super().__init__(env)
        self.observation_spaces = {agent: env.single_observation_space(agent) for agent in AGENTS}
        self.action_spaces = {agent: env.single_action_space(agent) for agent in AGENTS}
        self.state_spaces = dict.fromkeys(AGENTS, env.single_state_space)

    def reset(self) -> tuple[Tensors, dict[str, Any]]:
        """Observations of the episodes, which have begun; skrl asks for them once."""
        return tensors(self._env.observations()), {}

    def step(self, actions: Tensors) -> tuple[Any, ...]:
        """Steps all rows; the infos hold the last observation of each episode."""
        halves = {agent: action.numpy() for agent, action in actions.items()}
        observations, *outcome, infos = self._env.step(halves)
        last = {agent: values.copy() for agent, values in observations.items()}
        for agent in AGENTS:
            for row in np.flatnonzero(infos[agent].get("_final_obs", False)):
                last[agent][row] = infos[agent]["final_obs"][row]
        columns = ({agent: each[:, None] for agent, each in part.items()} for part in outcome)
        return tensors(observations), *map(tensors, columns), {"last": tensors(last)}

    def state(self) -> Tensors:
        """The whole state, for each arm."""
        return dict.fromkeys(AGENTS, torch.from_numpy(self._env.state()))

    def render(self, *_: Any, **__: Any) -> Any:
        """Draws nothing."""

    def close(self) -> None:
        """Closes the environments."""
        self._env.close()


class Learner(IPPO):
    """IPPO with new networks, and its environments.

    At a time limit it takes the value of the last observation. It adds a point to the curve per update.

    Attributes:
        run: the training, set before it starts.
        rows: the environments.
        env: the environments as skrl sees them.
    """

    run: training.Run

    def __init__(self, arguments: argparse.Namespace):
        torch.set_num_threads(1)  # such small networks are slower on more
        skrl.config.torch.device = "cpu"
        set_seed(arguments.seed)
        num_envs, rollout = arguments.num_envs, arguments.rollout
        self.rows = Rows(arguments.task, num_envs, **training.OPTIONS)
        self.rows.reset(seed=arguments.seed)
        self.env = env = Arms(self.rows)
        observation, action = env.observation_spaces, env.action_spaces

        def each(**options: Any) -> dict[str, dict[str, Any]]:
            return {agent: dict(options) for agent in AGENTS}

        config = {
            "rollouts": rollout,
            "learning_epochs": arguments.epochs,
            "mini_batches": max(1, num_envs * rollout // arguments.batch_size),
            "learning_rate": arguments.learning_rate,
            "learning_rate_scheduler_kwargs": each(),
            "discount_factor": arguments.gamma,
            "time_limit_bootstrap": True,
            "observation_preprocessor": RunningStandardScaler,
            "observation_preprocessor_kwargs": {a: {"size": observation[a]} for a in AGENTS},
            "state_preprocessor_kwargs": each(),
            "value_preprocessor": RunningStandardScaler,
            "value_preprocessor_kwargs": each(size=1),
            "experiment": {"write_interval": 0, "checkpoint_interval": 0},
        }
        super().__init__(
            possible_agents=env.possible_agents,
            models={agent: models(observation[agent], action[agent]) for agent in AGENTS},
            memories={a: RandomMemory(memory_size=rollout, num_envs=num_envs) for a in AGENTS},
            observation_spaces=observation,
            state_spaces=env.state_spaces,
            action_spaces=action,
            cfg=config,
        )

    def record_transition(self, *, infos: Mapping[str, Any], **transition: Any) -> None:
        """Stores a step."""
        super().record_transition(**transition | {"next_observations": infos["last"]}, infos=infos)

    def post_interaction(self, *, timestep: int, timesteps: int) -> None:
        """Learns after every rollout."""
        super().post_interaction(timestep=timestep, timesteps=timesteps)
        if (timestep + 1) % self.cfg.rollouts == 0:
            data = self.tracking_data
            losses = [values[-1] for name, values in data.items() if name.startswith("Loss")]
            data.clear()
            steps = self.run.steps + (timestep + 1) * self.rows.num_envs
            self.run.point(steps, self.rows.figures(), loss=sum(losses))

    def networks(self) -> list[Network]:
        """Each arm's network of the mean action, with the normalisation of its observations."""
        made = []
        for agent in AGENTS:
            seen = self._observation_preprocessor[agent]
            deviation = seen.running_variance.float().sqrt() + seen.epsilon
            scaling = torch.stack((seen.running_mean.float(), deviation)).numpy()
            net = self.policies[agent]
            made.append(learners.network(net, scaling=scaling, clip=seen.clip_threshold))
        return made

    def state_dict(self) -> dict[str, Any]:
        """Networks, optimizers and normalisations, and the environments."""
        return {
            "modules": {
                agent: {name: module.state_dict() for name, module in modules.items()}
                for agent, modules in self.checkpoint_modules.items()
            },
            "rows": self.rows.state_dict(),
        }

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """Restores that state."""
        for agent, modules in self.checkpoint_modules.items():
            for name, module in modules.items():
                module.load_state_dict(saved["modules"][agent][name])
        self.rows.load_state_dict(saved["rows"])


def models(observation: Any, action: Any) -> dict[str, Any]:
    """New policy and critic of an arm."""
    layers = {"input": "OBSERVATIONS", "layers": [128, 128], "activations": "tanh"}
    given = {"observation_space": observation, "network": [{"name": "net", **layers}]}
    made = {
        "policy": gaussian_model(
            **given, action_space=action, output="ACTIONS", initial_log_std=-0.7
        ),
        "value": deterministic_model(**given, output="ONE"),
    }
    for model in made.values():
        model.init_state_dict({"observations": torch.zeros(1, *observation.shape)})
    return made


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, of the command line without argv."""
    return training.parse(training.ppo_parser(__doc__), argv)


def train(learner: Learner, run: training.Run) -> None:
    """Trains for the given number of steps."""
    learner.run = run
    left = (run.arguments.steps - run.steps) // learner.rows.num_envs
    quiet = {"headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    trainer = SequentialTrainer(env=learner.env, agents=learner, cfg={"timesteps": left, **quiet})
    trainer.train()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    learner = Learner(arguments)
    with training.Run("skrl", arguments, learner) as run:
        train(learner, run)
        run.finish()
    learner.rows.close()


if __name__ == "__main__":
    main()
