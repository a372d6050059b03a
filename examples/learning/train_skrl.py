"""IPPO with skrl, a policy and a critic per arm. Needs the extra ``skrl``.

Run with skrl 2.1.1: ``pip install torch -e '.[skrl]'``. What it needs:

* A wrapper of many environments at once; skrl's own for PettingZoo steps one.
* ``{agent: ...}`` for every dict of the configuration, empty ones too. With its own defaults ``IPPO_CFG()``
  stops at "Specified keys (set()) do not match possible agents".
* ``state()`` and ``state_spaces``, which IPPO stores and does not use.
* ``time_limit_bootstrap``: without it, advantages run on from an episode into the next one in its row. With
  it, skrl takes the value of the new episode's first observation; :class:`Ippo` gives it the last one.
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import skrl
import torch
import training
from skrl.envs.wrappers.torch import MultiAgentEnvWrapper
from skrl.memories.torch import RandomMemory
from skrl.multi_agents.torch.ippo import IPPO
from skrl.resources.preprocessors.torch import RunningStandardScaler
from skrl.trainers.torch import SequentialTrainer
from skrl.utils import set_seed
from skrl.utils.model_instantiators.torch import deterministic_model, gaussian_model

from aloha_marl import AGENTS, AlohaVectorEnv

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

    def __init__(self, env: AlohaVectorEnv, seed: int):
        super().__init__(env)
        self._seed = seed
        self.observation_spaces = {agent: env.single_observation_space(agent) for agent in AGENTS}
        self.action_spaces = {agent: env.single_action_space(agent) for agent in AGENTS}
        self.state_spaces = dict.fromkeys(AGENTS, env.single_state_space)

    def reset(self) -> tuple[Tensors, dict[str, Any]]:
        """Starts all rows, as skrl does once."""
        observations, _ = self._env.reset(seed=self._seed)
        return tensors(observations), {}

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


class Ippo(IPPO):
    """IPPO with the value of the last observation at a time limit, and a point of the curve per update."""

    run: training.Run
    episode_return: float | None = None

    def record_transition(self, *, infos: Mapping[str, Any], **transition: Any) -> None:
        """Stores a step."""
        super().record_transition(**transition | {"next_observations": infos["last"]}, infos=infos)

    def write_tracking_data(self, *, timestep: int, timesteps: int) -> None:
        """After every update."""
        data = self.tracking_data
        if "Reward / Total reward (mean)" in data:  # an episode has ended; it is both arms' sum
            self.episode_return = data["Reward / Total reward (mean)"][-1] / len(AGENTS)
        if self.episode_return is not None:
            losses = [values[-1] for name, values in data.items() if name.startswith("Loss")]
            steps = timestep * self.memories[AGENTS[0]].num_envs
            self.run.point(steps, self.episode_return, loss=sum(losses))
        super().write_tracking_data(timestep=timestep, timesteps=timesteps)


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


def build(arguments: argparse.Namespace) -> SequentialTrainer:
    """The algorithm with new networks, and its environments."""
    torch.set_num_threads(1)  # such small networks are slower on more
    skrl.config.torch.device = "cpu"
    set_seed(arguments.seed)
    rows, rollout = arguments.num_envs, arguments.rollout
    env = Arms(AlohaVectorEnv(arguments.task, rows, **training.OPTIONS), arguments.seed)
    observation, action = env.observation_spaces, env.action_spaces

    def each(**options: Any) -> dict[str, dict[str, Any]]:
        return {agent: dict(options) for agent in AGENTS}

    config = {
        "rollouts": rollout,
        "learning_epochs": arguments.epochs,
        "mini_batches": max(1, rows * rollout // arguments.batch_size),
        "learning_rate": arguments.learning_rate,
        "learning_rate_scheduler_kwargs": each(),
        "discount_factor": arguments.gamma,
        "time_limit_bootstrap": True,
        "observation_preprocessor": RunningStandardScaler,
        "observation_preprocessor_kwargs": {a: {"size": observation[a]} for a in AGENTS},
        "state_preprocessor_kwargs": each(),
        "value_preprocessor": RunningStandardScaler,
        "value_preprocessor_kwargs": each(size=1),
        "experiment": {
            "directory": str(arguments.out),
            "experiment_name": "skrl",
            "write_interval": rollout,
            "checkpoint_interval": 0,
        },
    }
    ippo = Ippo(
        possible_agents=env.possible_agents,
        models={agent: models(observation[agent], action[agent]) for agent in AGENTS},
        memories={agent: RandomMemory(memory_size=rollout, num_envs=rows) for agent in AGENTS},
        observation_spaces=observation,
        state_spaces=env.state_spaces,
        action_spaces=action,
        cfg=config,
    )
    quiet = {"headless": True, "disable_progressbar": True, "close_environment_at_exit": False}
    return SequentialTrainer(
        env=env, agents=ippo, cfg={"timesteps": arguments.steps // rows, **quiet}
    )


def train(trainer: SequentialTrainer, run: training.Run) -> None:
    """Trains for the given number of steps."""
    trainer.agents.run = run
    trainer.train()


def act(ippo: Ippo, agent: str, observation: np.ndarray) -> np.ndarray:
    """The likeliest action."""
    with torch.no_grad():
        seen = ippo._observation_preprocessor[agent](torch.from_numpy(observation[None]))
        return ippo.policies[agent].compute({"observations": seen})[0][0].numpy()


def main() -> None:
    """Trains and evaluates."""
    arguments = parse()
    trainer = build(arguments)
    with training.Run("skrl", arguments) as run:
        train(trainer, run)
        run.finish({a: training.Actor(functools.partial(act, trainer.agents, a)) for a in AGENTS})
    trainer.env.close()


if __name__ == "__main__":
    main()
