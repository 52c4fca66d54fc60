"""PPO on groups of arms: its random draws, its rollouts and its learning curve."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from foveal.checkpoint import Checkpoint
from foveal.learners.ppo import PPO, PPOConfig
from foveal.skills.config import MasterConfig, as_dict
from foveal.skills.groups import GroupSettings
from foveal.skills.networks import actor_critic
from foveal.skills.vector import GroupVector
from foveal.training import Episode, Work

_RECENT = 50


class Learning(Protocol):
    """What learning on arms needs of a policy; ``foveal.skills.actor_critic.ActorCritic`` has it.

    Attributes:
        kind: of its checkpoints.
        what: it is, in messages.
        ppo: the learner.
        config: how many arms there are, and the other hyperparameters.
        curve: of its training, which grows by an entry with every update.
    """

    kind: ClassVar[str]
    what: ClassVar[str]
    ppo: PPO
    config: MasterConfig
    curve: list[dict[str, Any]]

    def arms(self) -> GroupSettings:
        """The arms, and what an action is."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, the optimizer's among them, and JSON."""


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
        policy: what learns.
        workers: processes that arms are spread over.
    """

    unit = "action"
    agent: Learning

    def __init__(self, policy: Learning, workers: int = 1) -> None:
        self.agent, self.workers = policy, workers
        self.what, self.kind = policy.what, policy.kind
        self.device = policy.ppo.device
        self.steps_at_once = policy.config.rollout * policy.config.environments
        self._played = _Played()
        self._latest: dict[str, float] = {}

    @cached_property
    def _arms(self) -> GroupVector:
        """Made when first needed: before that, a mistake costs nothing."""
        return GroupVector(self.agent.arms(), self.agent.config.environments, self.workers)

    @property
    def steps(self) -> int:
        """Actions, over all arms."""
        return self.agent.ppo.steps

    @property
    def updates(self) -> int:
        """Passes over rollouts."""
        return self.agent.ppo.updates

    def settings(self) -> dict[str, Any]:
        """PPO's configuration."""
        return {"ppo": as_dict(self.agent.config), "workers": self.workers}

    def collect(self) -> Sequence[Episode]:
        """One rollout of every arm; returns the episodes that ended, 1 for one that solved the task and 0 else."""
        episodes: list[Episode] = []
        self.agent.ppo.collect(self._arms, lambda infos: episodes.extend(self._played.note(infos)))
        self.agent.curve = [*self.agent.curve, {"actions": self.steps, **self._played.counts()}]
        return episodes

    def learn(self, after_update: Callable[[], None]) -> None:
        """The update on the rollout."""
        self._latest = {name: float(value) for name, value in self.agent.ppo.update().items()}
        after_update()

    def metrics(self) -> dict[str, float]:
        """Of the latest update."""
        return self._latest

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, optimizer and learning curve."""
        return self.agent.state()

    def run_state(self) -> dict[str, Any]:
        """What the rest depends on beside weights and optimizer."""
        about = {"learner": self.agent.ppo.progress(), "played": self._played.get_state()}
        return {**about, "arms": self._arms.get_state(), "workers": self.workers}

    def load_run_state(self, state: Mapping[str, Any], held: Checkpoint) -> None:
        """Undo of ``run_state``; weights and optimizer are there already."""
        self.agent.ppo.load_progress(state["learner"])
        self._played.set_state(state["played"])
        self._arms.set_state(state["arms"])

    def close(self) -> None:
        """Let go of the arms."""
        super().close()
        if "_arms" in vars(self):
            self._arms.close()


class _Played:
    """Counts steps, episodes and successes."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._steps = self._episodes = 0

    def get_state(self) -> dict[str, Any]:
        """JSON values."""
        return {"steps": self._steps, "episodes": self._episodes, "recent": list(self._recent)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Undo of ``get_state``."""
        self._recent.extend(state["recent"])
        self._steps, self._episodes = state["steps"], state["episodes"]

    def counts(self) -> dict[str, Any]:
        """For the learning curve."""
        share = float(np.mean(self._recent)) if self._recent else 0.0
        return {"steps": self._steps, "episodes": self._episodes, "success": share}

    def note(self, infos: Mapping[str, Any]) -> list[Episode]:
        """Count what a step of all arms brought; returns the episodes that ended."""
        self._steps += int(infos["steps"].sum())
        ended = [(int(index), bool(infos["success"][index])) for index in np.flatnonzero(infos.get("_success", []))]
        self._episodes += len(ended)
        self._recent.extend(success for _, success in ended)
        return [Episode(index, float(success)) for index, success in ended]
