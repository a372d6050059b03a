"""The batched multi-agent environment: N episodes at once on MuJoCo's thread pool."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space

from aloha_marl.arms import ACTION_SIZE
from aloha_marl.checks import at_least, choose
from aloha_marl.copies import Rebuilt
from aloha_marl.core.core import Core
from aloha_marl.core.observations import Layout
from aloha_marl.core.options import PICTURE_MODES, Options
from aloha_marl.core.state import Infos, State
from aloha_marl.envs.episodes import Episodes, Final
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID, PerArmView
from aloha_marl.envs.rows import chosen_rows, final_infos, vector_infos
from aloha_marl.rendering.pictures import Pictures
from aloha_marl.simulation.batch import BatchSimulation
from aloha_marl.tasks import TaskLike, make_task


@dataclasses.dataclass(frozen=True)
class _Resources:
    """Everything that keeps the thread pool alive; dropped by ``close()``."""

    core: Core
    pictures: Pictures
    view: PerArmView
    episodes: Episodes


class AlohaVectorEnv(Rebuilt):
    """N environments at once: dicts agent -> arrays with a leading N.

    Row i is, bit for bit, the :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv` with the same options
    that is reset with row i's seed, with any number of threads and over all episodes that follow.
    Actions, observations and rewards are the ones described there, and the code that makes them is the
    same.

    ## Actions
    Agent -> ``(N, 7)``, ``single_action_space(agent)`` in every row.

    ## Observations
    Agent -> ``(N, D) float32``, or with pictures dicts of ``(N, ...)`` arrays. Pictures are drawn row by
    row in one OpenGL context: N rows with C cameras cost N x C pictures.

    ## Rewards, terminations, truncations
    Agent -> ``(N,)`` float, bool and bool.

    ## Infos
    Gymnasium's form, per agent: ``infos[agent]["stage"]`` is ``(N,) int`` and
    ``infos[agent]["_stage"]`` says of which rows; likewise ``is_success`` and ``diverged``.

    ## Episode end
    | ``autoreset_mode`` | a row whose episode has ended |
    |---|---|
    | ``SAME_STEP`` | starts again in the same step; ``infos[agent]`` has ``final_obs``, ``final_info`` |
    | ``NEXT_STEP`` | starts again in the next step, whose action is ignored and whose reward is 0 |
    | ``DISABLED`` | must be reset: ``reset(options={"reset_mask": (N,) bool})`` |

    A row that diverges, as :class:`~aloha_marl.envs.parallel_env.AlohaParallelEnv` describes, is
    truncated with ``diverged`` in its infos; the other rows are not affected.

    ## Copies
    By ``copy.deepcopy`` or ``pickle``: a new batch with the same arguments, threads of its own and no
    episodes, also of one that is closed; :meth:`get_state` and :meth:`set_state` carry those.

    ## Version history
    * v0: first version.

    Args:
        task: a name, such as "insertion", ``module:Class``, or a :class:`~aloha_marl.tasks.Task`.
        num_envs: number N of environments.
        num_threads: threads that step the physics, the caller's among them; 0 for one per CPU.
        autoreset_mode: a ``gymnasium.vector.AutoresetMode`` or its value.
        **options: see :class:`~aloha_marl.core.options.Options`; ``render_mode`` can't be "human", which
            shows one environment in real time.

    Raises:
        ValueError: an unknown task, option or value; the message lists the valid ones.
    """

    metadata: dict[str, Any] = copy.deepcopy(AlohaParallelEnv.metadata) | {
        "render_modes": list(PICTURE_MODES)
    }

    def __init__(
        self,
        task: TaskLike = "transfer_cube",
        num_envs: int = 1,
        num_threads: int = 0,
        autoreset_mode: AutoresetMode | str = AutoresetMode.SAME_STEP,
        **options: Any,
    ):
        self.task = make_task(task)
        self.options = Options.of(options, self.task)
        if self.options.render_mode == "human":
            raise ValueError(
                "render_mode='human' shows one environment, not many at once; valid: "
                f"{', '.join(map(repr, (*PICTURE_MODES, None)))}"
            )
        self.num_envs = at_least(1, "num_envs", num_envs)
        at_least(0, "num_threads", num_threads)
        modes = [mode.value for mode in AutoresetMode]
        mode = getattr(autoreset_mode, "value", autoreset_mode)
        self.autoreset_mode = AutoresetMode(choose("autoreset_mode", mode, modes))
        self.metadata = {
            **copy.deepcopy(self.metadata),
            "name": f"{self.task.name}_v0",
            "autoreset_mode": self.autoreset_mode,
        }
        self.render_mode = self.options.render_mode

        simulate = functools.partial(
            BatchSimulation, num_envs=self.num_envs, num_threads=int(num_threads)
        )
        core = Core(self.task, self.options, simulate)
        pictures = Pictures(core)
        view, episodes = PerArmView(core, pictures), Episodes(core, self.autoreset_mode)
        self._open: _Resources | None = _Resources(core, pictures, view, episodes)

        self.possible_agents: list[AgentID] = list(view.names)
        self.GROUP_MAP = {"arms": list(view.names)}
        self._single_spaces = view.observation_spaces, view.action_spaces
        self._observation_spaces, self._action_spaces = (
            {agent: batch_space(space, self.num_envs) for agent, space in single.items()}
            for single in self._single_spaces
        )
        self.single_state_space = core.observer.state_layout.space()
        self.state_space = batch_space(self.single_state_space, self.num_envs)

    def single_observation_space(self, agent: AgentID) -> spaces.Space[Any]:
        """The space of that agent's observations in one row, always the same object."""
        return self._single_spaces[0][agent]

    def single_action_space(self, agent: AgentID) -> spaces.Space[Any]:
        """The space of that agent's actions in one row, always the same object."""
        return self._single_spaces[1][agent]

    def observation_space(self, agent: AgentID) -> spaces.Space[Any]:
        """The space of that agent's observations in all rows, always the same object."""
        return self._observation_spaces[agent]

    def action_space(self, agent: AgentID) -> spaces.Space[Any]:
        """The space of that agent's actions in all rows, always the same object."""
        return self._action_spaces[agent]

    def reset(
        self, seed: Any = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[AgentID, Any], dict[str, Any]]:
        """Starts episodes.

        Args:
            seed: an int s reseeds row i with s + i; a sequence has a seed or None for each row;
                without it the rows' streams go on.
            options: ``{"reset_mask": (N,) bool}`` starts those rows only. The observations of the
                others are what they were. ``poses`` and ``joints`` are as in
                :meth:`AlohaParallelEnv.reset`: one value for all rows, or an array with one per row.

        Returns:
            Observations of all rows; infos of the rows that started.

        Raises:
            ValueError: a bad seed, mask or start. Nothing has changed.
        """
        resources = self._resources
        started = resources.episodes.reset(seed, options)
        infos = self._infos(resources.core.infos(), started)
        return self.observations(), infos

    def step(
        self, actions: Mapping[AgentID, np.ndarray]
    ) -> tuple[
        dict[AgentID, Any],
        dict[AgentID, np.ndarray],
        dict[AgentID, np.ndarray],
        dict[AgentID, np.ndarray],
        dict[str, Any],
    ]:
        """Advances both arms of all rows by 0.02 s.

        Args:
            actions: agent -> (N, 7) array.

        Raises:
            ValueError: an agent is missing or unknown, or an action is not (N, 7) finite numbers; the
                message names agent and row. Nothing has moved.
            RuntimeError: a row's episode has not begun, or is over and does not start again by itself.
        """
        resources = self._resources
        step = resources.episodes.step(self.check_actions(actions), resources.view.observations)
        rewards = step.rewards.T.copy()
        terminations, truncations = (
            {agent: values.copy() for agent in self.possible_agents}
            for values in (step.terminated, step.truncated)
        )
        return (
            step.observations,
            dict(zip(self.possible_agents, rewards, strict=True)),
            terminations,
            truncations,
            self._infos(step.infos, np.ones(self.num_envs, bool), step.final),
        )

    def check_actions(self, actions: Mapping[AgentID, Any], more: int = 0) -> np.ndarray:
        """(N, 2, 7 + more) actions, left arm first, that may have more numbers; raises as :meth:`step`."""
        return self._resources.view.actions(actions, (self.num_envs, ACTION_SIZE + more))

    def observations(self) -> dict[AgentID, Any]:
        """Observations of the present states, for instance after :meth:`set_state`."""
        return self._resources.view.observations()

    def state(self) -> np.ndarray:
        """(N, S) float32: both arms' own quantities, the left arm's first, for a central critic."""
        return self._resources.core.observer.state()

    def get_state(self, rows: Any = None) -> State:
        """The whole state of episodes, a copy; not the generators that draw the next starts.

        Args:
            rows: ints, or a (N,) mask; all rows without it.

        Raises:
            ValueError: bad rows.
        """
        return self._resources.core.get_state(chosen_rows(rows, self.num_envs))

    def set_state(self, state: State, rows: Any = None) -> None:
        """Puts rows into states, bit for bit; ``set_state(get_state([2]), [5, 6])`` copies row 2.

        Args:
            state: of this environment, or one made with the same options.
            rows: ints, or a (N,) mask, in the order of the state; all rows without it. A state of
                one row may be put into many.

        Raises:
            ValueError: bad rows, or a state that does not fit. Nothing has changed.
        """
        resources = self._resources
        chosen = chosen_rows(rows, self.num_envs)
        order = np.argsort(chosen)
        state = resources.core.fitted(state, len(chosen)).take(order)
        resources.core.set_state(chosen[order], state)
        resources.episodes.resume(chosen)

    @property
    def unwrapped(self) -> AlohaVectorEnv:
        return self

    @property
    def layout(self) -> Layout:
        """Columns of each quantity in a state observation."""
        return self.core.observer.layout

    @property
    def core(self) -> Core:
        """The simulations, with live arrays; they keep the threads alive."""
        return self._resources.core

    @property
    def np_random(self) -> tuple[np.random.Generator, ...]:
        """The generators that draw the starts, of each row."""
        return tuple(self.episodes.generators)

    @property
    def np_random_seed(self) -> tuple[int, ...]:
        """Their seeds."""
        return tuple(self.episodes.seeds)

    @property
    def pictures(self) -> Pictures:
        """Draws the rows."""
        return self._resources.pictures

    @property
    def episodes(self) -> Episodes:
        """Starts and steps the rows."""
        return self._resources.episodes

    def render(self) -> tuple[np.ndarray, ...] | None:
        """Pictures of :meth:`AlohaParallelEnv.render` per row; None if ``render_mode`` is None."""
        return self.frames("angle")

    def frames(self, camera: str) -> tuple[np.ndarray, ...] | None:
        """As :meth:`render`, of another camera."""
        drawn = (self.pictures.render(camera, row) for row in range(self.num_envs))
        return tuple(frame for frame in drawn if frame is not None) or None

    def picture(self, camera: str, row: int = 0, observed: bool = False) -> np.ndarray:
        """Draws one camera of one row.

        Args:
            camera: one of the model's cameras.
            row: which simulation.
            observed: in the size of observations, instead of that of ``render()``.
        """
        return self.pictures.draw(camera, row, observed)

    def close(self) -> None:
        """Ends the threads and frees the OpenGL contexts. Closing again is harmless."""
        if self._open is not None:
            self._open.pictures.close()
            self._open = None

    @property
    def _resources(self) -> _Resources:
        if self._open is None:
            raise RuntimeError("the environment is closed")
        return self._open

    def _infos(self, infos: Infos, mask: np.ndarray, final: Final | None = None) -> dict[str, Any]:
        """Infos in Gymnasium's form of the rows in the mask, and last ones of those that ended."""
        result: dict[str, Any] = {}
        for arm, agent in enumerate(self.possible_agents):
            result[agent] = vector_infos(infos.of(arm), mask)
            if final is not None:
                last = final.observations[agent], final.infos.of(arm)
                result[agent] |= final_infos(final.rows, *last)
        return result | {f"_{agent}": mask.copy() for agent in self.possible_agents}
