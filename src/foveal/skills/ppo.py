"""Stable-Baselines3's PPO on groups of arms: the loop, its random draws and its learning curve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from foveal import checkpoint
from foveal.progress import Interruption, Progress
from foveal.skills.config import MasterConfig, as_dict
from foveal.skills.groups import GroupSettings
from foveal.skills.heads import AlignedActorCritic, network_options
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


@dataclass(frozen=True)
class Begun:
    """Training that was interrupted.

    Attributes:
        policy: as it was, its optimizer included.
        state: what ``keep`` was given.
    """

    policy: Any
    state: Mapping[str, Any]

    @property
    def actions(self) -> int:
        """Taken before, by all arms together."""
        return int(self.state["curve"]["points"][-1]["actions"])


Keep = Callable[[Trained, dict[str, Any]], None]
"""Takes what has been trained until now, and what the rest depends on: nested JSON values, tensors and arrays."""


def train(
    settings: GroupSettings,
    config: MasterConfig,
    *,
    seed: int,
    actions: int,
    workers: int = 1,
    progress: bool = False,
    what: str = "master",
    keep: Keep | None = None,
    begun: Begun | None = None,
) -> Trained:
    """Train for at least ``actions``, in whole rollouts.

    Ctrl-C ends training after the running rollout and its update, and raises KeyboardInterrupt then.

    Args:
        settings: the arms, and what an action is.
        config: PPO's hyperparameters; ``decisions`` and ``skill_steps`` are not read here.
        seed: of weights, actions and minibatches.
        actions: of all arms together.
        workers: processes that arms are spread over.
        progress: show a bar.
        what: the bar says is done.
        keep: called after every update.
        begun: go on from there. With as many workers as then, all weights are those of training that was never
            interrupted; with others the network sees batches of other sizes, whose sums round otherwise.
    """
    done = begun.actions if begun is not None else 0
    arms = GroupVector(settings, config.environments, workers)
    try:
        with (
            _own_randomness(seed),
            Progress(done, actions, visible=progress, what=what, unit="action") as bar,
            Interruption() as stop,
        ):
            model, curve = _ppo(settings, config, arms), _Curve(bar)
            if begun is not None:
                _restore(model, curve, arms, begun)
            model._setup_learn(actions, curve, reset_num_timesteps=False)
            if begun is not None:  # after everything that draws
                checkpoint.load_global_random_state(*_random_state(begun.state))
            while model.num_timesteps < actions and not stop.asked:
                model.collect_rollouts(arms, curve, model.rollout_buffer, model.n_steps)
                model._update_current_progress_remaining(model.num_timesteps, actions)
                model.train()
                if keep is not None:
                    keep(Trained(model.policy, tuple(curve.points)), _state(model, curve, arms))
        stop.raise_if_asked()
    finally:
        arms.close()
    return Trained(model.policy, tuple(curve.points))


def _ppo(settings: GroupSettings, config: MasterConfig, arms: GroupVector) -> PPO:
    """Stable-Baselines3's, writing no log of its own."""
    model = PPO(
        AlignedActorCritic,
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
    model.set_logger(Logger(None, []))
    return model


def _state(model: PPO, curve: _Curve, arms: GroupVector) -> dict[str, Any]:
    """All but the policy and its optimizer."""
    tensors, others = checkpoint.global_random_state()
    return {
        "updates": model._n_updates,
        "observations": np.asarray(model._last_obs),
        "episode_starts": np.asarray(model._last_episode_starts),
        "curve": curve.get_state(),
        "arms": arms.get_state(),
        "random": {"tensors": tensors, "others": others},
    }


def _restore(model: PPO, curve: _Curve, arms: GroupVector, begun: Begun) -> None:
    state = begun.state
    model.policy.load_state_dict(begun.policy.state_dict())
    checkpoint.load_optimizer_state(model.policy.optimizer, *checkpoint.optimizer_state(begun.policy.optimizer))
    curve.set_state(state["curve"])
    arms.set_state(state["arms"])
    model.num_timesteps, model._n_updates = begun.actions, state["updates"]
    model._last_obs = np.asarray(state["observations"], np.float32)
    model._last_episode_starts = np.asarray(state["episode_starts"], np.bool_)


def _random_state(state: Mapping[str, Any]) -> tuple[Any, Any]:
    return state["random"]["tensors"], state["random"]["others"]


class _Curve(BaseCallback):
    """Counts, and moves the bar."""

    def __init__(self, bar: Progress) -> None:
        super().__init__()
        self.points: list[Point] = []
        self._bar = bar
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
        self._bar.show(success=share)


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
