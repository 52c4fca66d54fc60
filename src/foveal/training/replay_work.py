"""Learning from replay: step the environments, store the transitions, and take the updates that the steps earn."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor

from foveal import checkpoint
from foveal.fovea.frames import FrameSet
from foveal.training.agent_work import AgentWork
from foveal.training.agents import LearningAgent
from foveal.training.attending import latest_attention
from foveal.training.collecting import Collector
from foveal.training.looking import collect
from foveal.training.options import RunOptions
from foveal.training.work import Episode
from foveal.types import Batch


class ReplayWork(AgentWork):
    """What a value learner's training does; see ``foveal.training.Work``.

    Args:
        agent: what learns; its replay and its step and update counters go on from where they are.

    Raises:
        FovealError: its environments can't be made.
    """

    default_options: ClassVar[RunOptions] = RunOptions()
    lost: ClassVar[str] = "this environment can't be saved: the episode that was running starts again"
    """What to say where the running episodes can't be gone on with."""

    def __init__(self, agent: LearningAgent) -> None:
        super().__init__(agent)
        agent.method.get_ready()
        self.latest: dict[str, Tensor] = {}
        self.owed_updates = 0.0
        self.collector = self._collector()
        self._before = agent.steps

    def _collector(self) -> Collector:
        return Collector(self.agent)

    def begin(self, target: int) -> None:
        """Let the method look around, and start an episode everywhere, unless one was restored and is running."""
        self.agent.method.look_around(self._look, visible=self.visible)
        self.collector.begin()

    def _look(self, count: int, *, with_masks: bool) -> FrameSet:
        agent = self.agent
        return collect(agent.env, agent.env_options, count, agent.seed, with_masks=with_masks, progress=self.visible)

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
            self._begin_learning()
            self.owed_updates -= 1
            self.latest |= agent.updater.update(self._sample(training.batch_size), self._sample)
            after_update()

    def _begin_learning(self) -> None:
        """Let the method learn what it needs before the first update of this training."""
        if not self.collector.early:
            return
        self.agent.method.begin_learning(lambda size: self._sample(size, early=True), visible=self.visible)
        self.collector.early = False

    def _sample(self, size: int, *, early: bool = False) -> Batch:
        return self.collector.replay.sample(size, early=early).to(self.agent.device)

    def metrics(self) -> dict[str, float]:
        """The latest losses. This waits for the device, so the loop calls it only every so many updates."""
        losses = {name: float(value) for name, value in self.latest.items()}
        return {**losses, **latest_attention(self.agent.learner.encoder())}

    def state(self) -> dict[str, Any]:
        """Replay's counters, the running episodes, and what is owed."""
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
            print(self.lost)

    def close(self) -> None:
        """Close the environments and the method."""
        super().close()
        self.collector.close()
        self.agent.method.close()
