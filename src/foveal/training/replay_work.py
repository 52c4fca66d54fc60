"""Learning from replay: step the environments, store the transitions, and take the updates that the steps earn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import gymnasium
from torch import Tensor

from foveal import checkpoint
from foveal.evaluation.results import Results
from foveal.evaluation.rollouts import evaluate, world_of
from foveal.evaluation.world import WorldOptions
from foveal.training.agents import KIND, LearningAgent
from foveal.training.collecting import Collector
from foveal.training.options import VALIDATION_SEED_OFFSET, RunOptions
from foveal.training.work import Episode, Work
from foveal.types import Batch


class ReplayWork(Work):
    """The training of a value learner.

    Args:
        agent: what learns; its replay and its step and update counters go on from where they are.

    Raises:
        FovealError: its environments can't be made.
    """

    kind = KIND
    agent: LearningAgent

    def __init__(self, agent: LearningAgent) -> None:
        self.agent = agent
        self.device = agent.device
        self.evaluation_seed = agent.seed + VALIDATION_SEED_OFFSET
        agent.method.get_ready()
        self.latest: dict[str, Tensor] = {}
        self.owed_updates = 0.0
        self.collector = Collector(agent)
        self._before = agent.steps

    def settings(self) -> dict[str, Any]:
        """The agent's configuration."""
        return self.agent.config.as_dict()

    @property
    def can_evaluate(self) -> bool:
        """False for an environment that was given as an object: it is in the middle of an episode."""
        return not isinstance(self.agent.env, gymnasium.Env)

    def rehearse(self, options: RunOptions) -> None:
        """Open what the evaluations need, and close it again."""
        wanted = WorldOptions(list(options.evaluate_on), self.evaluation_seed, options.data, env=self.agent.env)
        world_of(self.agent, wanted).rehearse()

    def begin(self, target: int) -> None:
        """Start an episode everywhere, unless one was restored and is running."""
        self.collector.begin()

    def collect(self) -> Sequence[Episode]:
        """One step of every environment."""
        self._before = self.agent.steps
        self.collector.step(random=self._before < self.agent.config.training.initial_random_steps)
        return [Episode(*episode) for episode in self.collector.episodes]

    def learn(self, after_update: Callable[[], None]) -> None:
        """The updates that the latest agent steps have earned, each from a batch of its own."""
        agent, training = self.agent, self.agent.config.training
        if agent.steps < agent.learning_starts or agent.steps == self._before:
            return
        self.owed_updates += (agent.steps - self._before) * training.updates_per_step
        if self._before < agent.learning_starts <= training.initial_random_steps:
            self.owed_updates += training.catch_up_updates
        while self.owed_updates >= 1 and len(self.collector.replay) > 0:
            self.owed_updates -= 1
            self.latest |= agent.updater.update(self._sample(training.batch_size), self._sample)
            after_update()

    def _sample(self, size: int) -> Batch:
        return self.collector.replay.sample(size).to(self.agent.device)

    def metrics(self) -> dict[str, float]:
        """The latest losses. This waits for the device, so the loop calls it only every so many updates."""
        return {name: float(value) for name, value in self.latest.items()}

    def evaluate(self, options: RunOptions) -> Results:
        """Evaluate the deterministic policy on seeds that no final evaluation uses."""
        with _global_random_state_kept():
            return evaluate(
                self.agent,
                list(options.evaluate_on),
                options.evaluate_episodes,
                seed=self.evaluation_seed,
                data=options.data,
                env=None if isinstance(self.agent.env, str) else self.agent.env,
                progress=False,
            )

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, optimizers, generators and counters."""
        return self.agent.state()

    def state(self) -> dict[str, Any]:
        """Replay's counters, the running episodes, and the updates that are due."""
        return {
            "collector": self.collector.state(),
            "owed_updates": self.owed_updates,
            "metrics": self.latest,
            "global_random": checkpoint.global_random_state(),
        }

    def segments(self) -> Iterable[checkpoint.Segment]:
        """The frames of replay."""
        return self.collector.replay.segments()

    def load_state(self, state: Mapping[str, Any], saved: checkpoint.Checkpoint) -> None:
        """Go on from ``state``; prints a line where the running episode could not be saved."""
        self.owed_updates = state["owed_updates"]
        self.latest = state["metrics"]
        checkpoint.load_global_random_state(*state["global_random"])
        if not self.collector.load_state(state["collector"], saved.segments):
            print("this environment can't be saved: the episode that was running starts again")

    def close(self) -> None:
        """Close the environments and the method."""
        super().close()
        self.collector.close()
        self.agent.method.close()


@contextmanager
def _global_random_state_kept() -> Iterator[None]:
    """Keep training independent of an evaluation whose environment draws from global generators."""
    before = checkpoint.global_random_state()
    try:
        yield
    finally:
        checkpoint.load_global_random_state(*before)
