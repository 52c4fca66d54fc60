"""PPO on groups of arms: its random draws, its rollouts and its learning curve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.checkpoint import Checkpoint
from foveal.learners.ppo import PPO, PPOConfig
from foveal.skills.config import MasterConfig, as_dict
from foveal.skills.groups import GroupSettings
from foveal.skills.heads import actor_critic
from foveal.skills.vector import GroupVector
from foveal.training import Episode, Work

_RECENT = 50


@dataclass(frozen=True)
class Point:
    """Of a learning curve.

    Attributes:
        actions: taken until then, by all arms together.
        steps: of the simulator.
        episodes: that had ended.
        success: share of the latest 50 of them, or fewer, that solved the task.
    """

    actions: int
    steps: int
    episodes: int
    success: float


StateOf = Callable[[tuple[Point, ...]], tuple[dict[str, Tensor], dict[str, Any]]]
"""Gives what a checkpoint holds of whatever learns, from its learning curve: tensors by name, and JSON."""


def learner(settings: GroupSettings, config: MasterConfig, seed: int) -> PPO:
    """PPO with a fresh network; all its draws come from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # initial weights
        network = actor_critic(*settings.spaces, config.channels)
    shuffling, acting = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    return PPO(ppo_config(config), network, acting, shuffling)


def ppo_config(config: MasterConfig) -> PPOConfig:
    """The same hyperparameters in PPO's words. Rates do not decay."""
    return PPOConfig(
        rollout=config.rollout,
        minibatches=config.minibatches,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        decay_learning_rate=False,
        clip=config.clip,
        decay_clip=False,
        value_loss="plain",
        discount=config.discount,
        gae_lambda=config.gae_lambda,
        entropy=config.entropy,
        value=2 * config.value,  # a master's is of the mean squared error, without PPO's factor of 0.5
    )


class ArmWork(Work):
    """Learning from groups of arms: see ``foveal.training.Work``. A step is an action, counted over all arms.

    With as many workers as before, training that goes on from a checkpoint comes to the weights of training that was
    never interrupted; with others the network sees batches of other sizes, whose sums round otherwise.

    Args:
        ppo: what learns, see ``learner``.
        settings: the arms, and what an action is.
        config: how many arms there are, and the other hyperparameters.
        workers: processes that arms are spread over.
        what: the bar says is done.
        kind: of its checkpoints.
        state: gives what they hold of whatever learns.
    """

    unit = "action"

    def __init__(
        self,
        ppo: PPO,
        settings: GroupSettings,
        config: MasterConfig,
        *,
        workers: int = 1,
        what: str = "master",
        kind: str = "foveal.arm.run",
        state: StateOf | None = None,
    ) -> None:
        self.agent = self.ppo = ppo
        self.config, self.what, self.kind = config, what, kind
        self.device = ppo.device
        self.steps_at_once = config.rollout * config.environments
        self._state_of = state
        self._arms = GroupVector(settings, config.environments, workers)
        self._curve = _Curve()
        self._latest: dict[str, float] = {}

    @property
    def curve(self) -> tuple[Point, ...]:
        """One point for every update."""
        return tuple(self._curve.points)

    def settings(self) -> dict[str, Any]:
        """PPO's configuration."""
        return {"ppo": as_dict(self.config)}

    def collect(self) -> Sequence[Episode]:
        """One rollout of every arm; returns the episodes that ended, 1 for one that solved the task and 0 else."""
        episodes: list[Episode] = []
        self.ppo.collect(self._arms, lambda infos: episodes.extend(self._curve.note(infos)))
        self._curve.add_point(self.steps)
        return episodes

    def learn(self, after_update: Callable[[], None]) -> None:
        """The update on the rollout."""
        self._latest = {name: float(value) for name, value in self.ppo.update().items()}
        after_update()

    def metrics(self) -> dict[str, float]:
        """Of the latest update."""
        return self._latest

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What checkpoints hold of whatever learns."""
        return ({}, {}) if self._state_of is None else self._state_of(self.curve)

    def state(self) -> dict[str, Any]:
        """What the rest depends on beside weights and optimizer."""
        return {"learner": self.ppo.progress(), "curve": self._curve.state(), "arms": self._arms.get_state()}

    def load_state(self, state: Mapping[str, Any], held: Checkpoint) -> None:
        """Undo of ``state``; weights and optimizer are there already."""
        self.ppo.load_progress(state["learner"])
        self._curve.load_state(state["curve"])
        self._arms.set_state(state["arms"])

    def close(self) -> None:
        """Let go of the arms."""
        super().close()
        self._arms.close()


class _Curve:
    """Counts steps, episodes and successes."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._steps = self._episodes = 0

    def state(self) -> dict[str, Any]:
        """JSON values."""
        counts = {"steps": self._steps, "episodes": self._episodes, "recent": list(self._recent)}
        return {"points": [as_dict(point) for point in self.points], **counts}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo of ``state``."""
        self.points = [Point(**point) for point in state["points"]]
        self._recent.extend(state["recent"])
        self._steps, self._episodes = state["steps"], state["episodes"]

    def note(self, infos: Mapping[str, Any]) -> list[Episode]:
        """Count what a step of all arms brought; returns the episodes that ended."""
        self._steps += int(infos["steps"].sum())
        ended = [(int(index), bool(infos["success"][index])) for index in np.flatnonzero(infos.get("_success", []))]
        self._episodes += len(ended)
        self._recent.extend(success for _, success in ended)
        return [Episode(index, float(success)) for index, success in ended]

    def add_point(self, actions: int) -> None:
        """At the end of a rollout."""
        share = float(np.mean(self._recent)) if self._recent else 0.0
        self.points.append(Point(actions, self._steps, self._episodes, share))
