"""Stable-Baselines3's PPO on groups of arms: the loop, its random draws and its learning curve."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback

from foveal import checkpoint
from foveal.progress import Progress
from foveal.skills.config import MasterConfig
from foveal.skills.groups import GroupSettings
from foveal.skills.heads import network_options
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


@dataclass(frozen=True)
class Trained:
    """What PPO gives.

    Attributes:
        policy: Stable-Baselines3's ``ActorCriticPolicy``, its optimizer included.
        curve: one point for every update.
    """

    policy: Any
    curve: tuple[Point, ...]


def train(
    settings: GroupSettings,
    config: MasterConfig,
    *,
    seed: int,
    actions: int,
    workers: int = 1,
    progress: bool = False,
    what: str = "master",
) -> Trained:
    """Train for at least ``actions``, in whole rollouts.

    Args:
        settings: the arms, and what an action is.
        config: PPO's hyperparameters; ``decisions`` and ``skill_steps`` are not read here.
        seed: of weights, actions and minibatches.
        actions: of all arms together.
        workers: processes that arms are spread over.
        progress: show a bar.
        what: the bar says is done.
    """
    arms = GroupVector(settings, config.environments, workers)
    try:
        with _own_randomness(seed), Progress(0, actions, visible=progress, what=what, unit="action") as bar:
            model = PPO(
                "MlpPolicy",
                arms,
                learning_rate=config.learning_rate,
                n_steps=config.rollout,
                batch_size=config.batch_size,
                n_epochs=config.epochs,
                gamma=config.discount,
                gae_lambda=config.gae_lambda,
                clip_range=config.clip,
                ent_coef=config.entropy,
                vf_coef=config.value,
                policy_kwargs=network_options(*settings.spaces, config.channels),
                device="cpu",
            )
            curve = _Curve(bar)
            model.learn(actions, callback=curve)
    finally:
        arms.close()
    return Trained(model.policy, tuple(curve.points))


class _Curve(BaseCallback):
    """Counts, and moves the bar."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self.points: list[Point] = []
        self._bar = bar
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._steps = self._episodes = 0

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            self._steps += info["steps"]
            if "success" in info:
                self._episodes += 1
                self._recent.append(info["success"])
        self._bar.advance(self.num_timesteps)
        return True

    def _on_rollout_end(self) -> None:
        share = float(np.mean(self._recent)) if self._recent else 0.0
        self.points.append(Point(self.num_timesteps, self._steps, self._episodes, share))
        self._bar.told(success=share)


@contextmanager
def _own_randomness(seed: int) -> Iterator[None]:
    """Stable-Baselines3 draws from the global generators: let it draw from this seed, and leave them as they were."""
    before = checkpoint.global_random_state()
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the generator that Stable-Baselines3 shuffles with
    try:
        yield
    finally:
        checkpoint.load_global_random_state(*before)
