"""One arm as the agent of a Gymnasium environment, with a policy in the other one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from pettingzoo import ParallelEnv

from aloha_marl.checks import choose
from aloha_marl.envs.acting import asked, check_control, sight, stepped
from aloha_marl.envs.parallel_env import AlohaParallelEnv
from aloha_marl.envs.per_arm import AgentID
from aloha_marl.envs.single_agent import AlohaSingleAgent
from aloha_marl.envs.single_agent_vector import AlohaSingleAgentVector
from aloha_marl.envs.vector_env import AlohaVectorEnv
from aloha_marl.policies import Policy, load
from aloha_marl.policies.brought import check_policy

Partner = str | Policy | Mapping[AgentID, Policy]
"""A policy, its name, see :func:`aloha_marl.policies.load`, or what ``load`` returns."""


def with_partner(
    env: ParallelEnv[AgentID, Any, Any] | AlohaVectorEnv, agent: AgentID, partner: Partner
) -> AlohaOneArm | AlohaOneArmVector:
    """Makes one arm the agent of a Gymnasium environment; a policy plays the other one.

    Args:
        env: an ``AlohaParallelEnv`` or an ``AlohaVectorEnv``, wrapped or not. It decides everything
            else: task, options, number of rows, ``autoreset_mode``.
        agent: name of the agent that stays one.
        partner: plays the other agent. A policy that is given as an object stays the caller's, who may
            go on training it.

    Returns:
        An :class:`AlohaOneArm`, or for many an :class:`AlohaOneArmVector`.

    Raises:
        ValueError: another kind of environment, an unknown agent or policy, or one that acts for both
            arms, in another control mode, or reads a wider scope than the environment's.
        FileNotFoundError, ImportError: see :func:`aloha_marl.policies.load`.
    """
    kinds = {AlohaParallelEnv: AlohaOneArm, AlohaVectorEnv: AlohaOneArmVector}
    for kind, one_arm in kinds.items():
        if isinstance(getattr(env, "unwrapped", None), kind):
            return one_arm(cast(Any, env), agent, partner)
    valid = ", ".join(kind.__name__ for kind in kinds)
    raise ValueError(f"env is a {type(env).__name__}; valid: {valid}, wrapped or not")


class _OneArm:
    """Makes one agent of a multi-agent environment the only one; a policy acts for the other one."""

    env: Any

    def __init__(self, env: Any, agent: AgentID, partner: Partner):
        super().__init__(env)  # pyright: ignore[reportCallIssue]
        self._agent = choose("agent", agent, env.possible_agents)
        (self._other,) = {*env.possible_agents} - {agent}
        self._partner = self._found(partner)
        policies = {self._other: self._partner}
        check_control(env, policies)
        self._sight = sight(env, policies)
        self._progress: Any = None
        self._zeros = np.zeros(env.action_space(agent).shape)
        for kind in ("observation_space", "action_space"):
            for name in {kind, f"single_{kind}"} & {*dir(self)}:
                setattr(self, name, getattr(env, name)(agent))

    def reset(self, *, seed: Any = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
        """Starts episodes, as the multi-agent environment does, and the partner anew."""
        observations, infos = self.env.reset(seed=seed, options=options)
        self._partner.reset()
        self._keep(observations)
        return observations[self._agent], infos[self._agent]

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        """Advances both arms by 0.02 s; bad actions are refused before the partner is asked."""
        env, other = self.env, self._other
        env.check_actions({self._agent: action, other: self._zeros})
        if env.core.progress is not self._progress:  # a state was put in
            self._keep(env.observations())
        actions = {self._agent: action, other: asked(other, self._partner, self._observation)}
        result = stepped(env, actions)
        self._keep(result[0])
        observation, reward, terminated, truncated, info = (part[self._agent] for part in result)
        return observation, reward, terminated, truncated, info

    def _keep(self, observations: Mapping[AgentID, Any]) -> None:
        """Keeps what the partner observes in the present state."""
        self._progress = self.env.core.progress  # a new record after every change of the state
        self._observation = self._sight(observations)[self._other]

    def _found(self, partner: Partner) -> Any:
        """The policy of the other agent."""
        env, label = self.env, f"partner={partner!r}"
        if isinstance(partner, str):
            loaded = load(partner, env.task, control=env.options.control)
            if isinstance(loaded, Mapping):
                loaded = dict(zip(env.possible_agents, loaded.values(), strict=True))
            partner = loaded
        if isinstance(partner, Mapping):
            partner = partner[choose("agent of the partner", self._other, partner)]
        if hasattr(partner, "obs_type"):
            raise ValueError(f"{label} acts for both arms; valid: a policy of one arm")
        return check_policy(partner, label)


class AlohaOneArm(_OneArm, AlohaSingleAgent):
    """One arm as the agent; made by :func:`with_partner`.

    Observations, actions, rewards and infos are those of the agent in the multi-agent environment,
    ``env``. The partner gets what the other agent observes there, cut down to its own scope, and starts
    anew at every ``reset``. After ``env.set_state`` the episode goes on from there;
    ``env.observations()`` returns what is then observed.

    ``step`` raises :class:`~aloha_marl.evaluation.PolicyError` if the partner raises an error or its
    action is no action. Nothing has moved then.

    ## Version history
    * v0: first version.
    """


class AlohaOneArmVector(_OneArm, AlohaSingleAgentVector):
    """One arm as the agent, many times at once; made by :func:`with_partner`.

    Row i is, bit for bit, an :class:`AlohaOneArm` that is reset with row i's seed, if an action of the
    partner depends on nothing but the observation of its row, as those of all scripted policies do. The
    partner acts for all rows in one call, and is not told when a row starts again by itself.

    ## Version history
    * v0: first version.
    """
