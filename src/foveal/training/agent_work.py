"""What the trainings of all agents have in common, whatever they learn from: the agent, and how it is evaluated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gymnasium
from torch import Tensor

from foveal import checkpoint
from foveal.envs.making import EnvLike
from foveal.evaluation.results import Results
from foveal.evaluation.rollouts import evaluate, world_of
from foveal.evaluation.world import WorldOptions
from foveal.training.agents import KIND, LearningAgent
from foveal.training.options import VALIDATION_SEED_OFFSET, RunOptions
from foveal.training.work import Work


class AgentWork(Work):
    """The training of a ``foveal.Agent``; see ``foveal.training.Work``.

    Args:
        agent: what learns; its counters go on from where they are.

    Attributes:
        evaluation_seed: of evaluations on the way.
    """

    kind = KIND
    agent: LearningAgent

    def __init__(self, agent: LearningAgent) -> None:
        self.agent = agent
        self.device = agent.device
        self.evaluation_seed = agent.seed + VALIDATION_SEED_OFFSET

    def settings(self) -> dict[str, Any]:
        """The agent's configuration."""
        return self.agent.config.as_dict()

    @property
    def can_evaluate(self) -> bool:
        """Not with an environment that was given as an object: it is in the middle of an episode."""
        return not isinstance(self.agent.env, gymnasium.Env)

    def rehearse(self, options: RunOptions) -> None:
        """Open what the evaluations need, and let go of it."""
        wanted = WorldOptions(list(options.evaluate_on), self.evaluation_seed, options.data, env=self._own_env)
        world_of(self.agent, wanted).rehearse()

    def evaluate(self, options: RunOptions) -> Results:
        """As ``foveal.evaluate``, on seeds that no final evaluation uses."""
        acting = self.agent.acting_generator.get_state()  # training must not notice
        with _global_randomness_kept():
            results = evaluate(
                self.agent,
                list(options.evaluate_on),
                options.evaluate_episodes,
                seed=self.evaluation_seed,
                data=options.data,
                env=self._own_env,
                progress=False,
            )
        self.agent.acting_generator.set_state(acting)
        return results

    @property
    def _own_env(self) -> EnvLike | None:
        """The environment where it has no id."""
        return None if isinstance(self.agent.env, str) else self.agent.env

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, optimizers, generators and counters."""
        return self.agent.state()


@contextmanager
def _global_randomness_kept() -> Iterator[None]:
    """Environments of the user's own may draw from the generators that belong to nobody; training must not notice."""
    held = checkpoint.global_random_state()
    try:
        yield
    finally:
        checkpoint.load_global_random_state(*held)
