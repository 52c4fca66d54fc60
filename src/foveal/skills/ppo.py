"""PPO on groups of arms: the loop, its random draws and its learning curve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from foveal.learners.ppo import PPO, PPOConfig
from foveal.progress import Interruption, Progress
from foveal.skills.config import MasterConfig, as_dict
from foveal.skills.groups import GroupSettings
from foveal.skills.heads import actor_critic
from foveal.skills.vector import GroupVector

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


Keep = Callable[[tuple[Point, ...], dict[str, Any]], None]
"""Takes the learning curve, and what the rest depends on beside weights and optimizer: JSON, tensors and arrays."""


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


def train(
    ppo: PPO,
    settings: GroupSettings,
    config: MasterConfig,
    *,
    actions: int,
    workers: int = 1,
    progress: bool = False,
    what: str = "master",
    keep: Keep | None = None,
    begun: Mapping[str, Any] | None = None,
) -> tuple[Point, ...]:
    """Train for at least ``actions``, in whole rollouts; gives the learning curve, one point for every update.

    Ctrl-C ends training after the running rollout and its update, and raises KeyboardInterrupt then.

    Args:
        ppo: what learns, see ``learner``.
        settings: the arms, and what an action is.
        config: how many arms there are.
        actions: of all arms together.
        workers: processes that arms are spread over.
        progress: show a bar.
        what: the bar says is done.
        keep: called after every update.
        begun: what ``keep`` was given by training that was stopped: go on from there. With as many workers as then, all
            weights are those of training that was never interrupted; with others the network sees batches of other
            sizes, whose sums round otherwise.
    """
    arms = GroupVector(settings, config.environments, workers)
    curve = _Curve()
    try:
        if begun is not None:
            ppo.load_progress(begun["learner"])
            curve.set_state(begun["curve"])
            arms.set_state(begun["arms"])
        with Progress(ppo.steps, actions, visible=progress, what=what, unit="action") as bar, Interruption() as stop:

            def note(infos: Mapping[str, Any]) -> None:
                curve.note(infos)
                bar.advance(ppo.steps)

            while ppo.steps < actions and not stop.asked:
                ppo.collect(arms, note)
                bar.show(success=curve.add_point(ppo.steps))
                ppo.update()
                if keep is not None:
                    rest = {"learner": ppo.progress(), "curve": curve.get_state(), "arms": arms.get_state()}
                    keep(tuple(curve.points), rest)
        stop.raise_if_asked()
    finally:
        arms.close()
    return tuple(curve.points)


class _Curve:
    """Counts steps, episodes and successes."""

    def __init__(self) -> None:
        self.points: list[Point] = []
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._steps = self._episodes = 0

    def get_state(self) -> dict[str, Any]:
        """JSON values."""
        counts = {"steps": self._steps, "episodes": self._episodes, "recent": list(self._recent)}
        return {"points": [as_dict(point) for point in self.points], **counts}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Undo of ``get_state``."""
        self.points = [Point(**point) for point in state["points"]]
        self._recent.extend(state["recent"])
        self._steps, self._episodes = state["steps"], state["episodes"]

    def note(self, infos: Mapping[str, Any]) -> None:
        """What a step of all arms told."""
        self._steps += int(infos["steps"].sum())
        for index in np.flatnonzero(infos.get("_success", [])):
            self._episodes += 1
            self._recent.append(bool(infos["success"][index]))

    def add_point(self, actions: int) -> float:
        """At the end of a rollout; gives its share of successes."""
        share = float(np.mean(self._recent)) if self._recent else 0.0
        self.points.append(Point(actions, self._steps, self._episodes, share))
        return share
