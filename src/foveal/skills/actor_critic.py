"""PPO on the arm: what it trains, masters and flat policies, and how."""

from __future__ import annotations

from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import Checkpoint
from foveal.errors import FovealError
from foveal.learners.ppo import PPO
from foveal.networks import policies as networks
from foveal.skills.base import ArmPolicy, load_weights
from foveal.skills.config import MasterConfig
from foveal.skills.groups import GroupSettings
from foveal.skills.minari import require_extra
from foveal.skills.networks import FORMER_NAMES, actor_critic, todays_weights
from foveal.skills.vector import GroupVector
from foveal.training import Callback, Episode, RunOptions, Trainer, Work

RUN = RunOptions(evaluate_every=0, checkpoint_every=1, log_every=1)
"""A checkpoint after every rollout and its update."""
_RECENT = 50


class ActorCritic(ArmPolicy):
    """An actor-critic that PPO trains for ``config.decisions``.

    Args:
        config: how it learns.
        seed: of its training.

    Attributes:
        what: this is, in messages and in the names of weights.
        ppo: the learner, ``foveal.learners.ppo.PPO``.
        curve: of its training, JSON values, an entry for every update: ``actions`` taken until then by all arms
            together, ``steps`` of the simulator, ``episodes`` that had ended, and ``success``, the share of the latest
            50 of them that solved the task.

    Raises:
        FovealError: the extra ``skills`` is missing.
    """

    what: ClassVar[str]

    def __init__(self, config: MasterConfig, seed: int) -> None:
        require_extra()
        self.config, self.seed = config, seed
        self.ppo = learner(self.fresh_network, config, seed)
        self.curve: list[dict[str, Any]] = []

    @property
    def network(self) -> networks.ActorCritic:
        """What it acts with: encoder, actor and critic."""
        return self.ppo.policy

    @property
    def steps(self) -> int:
        """Actions taken in training, by all arms together."""
        return self.ppo.steps

    @property
    def updates(self) -> int:
        """Passes over rollouts in training."""
        return self.ppo.updates

    def learn(
        self,
        run: str | Path | None = None,
        *,
        workers: int = 1,
        callbacks: Sequence[Callback] = (),
        progress: bool = False,
        **options: Any,
    ) -> Self:
        """Train for ``config.decisions``; returns itself.

        Args:
            run: a new folder with a checkpoint after every update, from which ``foveal.resume`` goes on after Ctrl-C
                or a kill.
            workers: processes that the arms are spread over.
            callbacks: see ``foveal.Callback``.
            progress: show a bar.
            **options: fields of ``foveal.training.RunOptions``; by default ``RUN``.

        Raises:
            FovealError: the folder exists, or a loss is not finite; the policy is trained already.
            KeyboardInterrupt: after Ctrl-C, when the running update is done and a checkpoint is written.
        """
        if self.curve:
            raise FovealError(f"this {self.what} is trained already: make a new one, or resume its run")
        work = ArmWork(self, workers)
        trainer = Trainer(work, RunOptions.from_settings(options, RUN), run=run, callbacks=callbacks, progress=progress)
        trainer.train(self.config.decisions)
        return self

    def fresh_network(self) -> networks.ActorCritic:
        """What it acts with before it has learned; draws from PyTorch's own generator."""
        return actor_critic(*self.arms().spaces, self.config.channels)

    @abstractmethod
    def arms(self) -> GroupSettings:
        """The arms that it learns with."""

    # --- state ----------------------------------------------------------------------------------------------------

    @classmethod
    def resumed(cls, held: Checkpoint) -> ArmWork:
        """The training that a checkpoint of a run belongs to, on as many processes as then."""
        return ArmWork(cls.from_state(held.tensors, held.state), held.state["run"]["workers"])

    def _learned_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Network, optimizer, configuration, curve."""
        tensors = {f"{self.what}/{name}": value for name, value in self.network.state_dict().items()}
        held, optimizer = checkpoint.optimizer_state(self.ppo.optimizer)
        described = {"config": asdict(self.config), "seed": self.seed, "curve": self.curve, "optimizer": optimizer}
        return {**tensors, **held}, described

    def _set_learned_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Of a version that trained with Stable-Baselines3, whose optimizer has another order, the weights alone."""
        weights = checkpoint.under(f"{self.what}/", tensors)
        former = any(name.startswith(tuple(FORMER_NAMES)) for name in weights)
        load_weights(self.network, todays_weights(weights, self.network) if former else weights)
        if not former:
            checkpoint.load_optimizer_state(self.ppo.optimizer, tensors, state["optimizer"])
        self.curve = list(state["curve"])


def learner(fresh: Callable[[], networks.ActorCritic], config: MasterConfig, seed: int) -> PPO:
    """PPO with the network that ``fresh`` makes; all draws come from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # initial weights
        network = fresh()
    shuffling, acting = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed + 1)
    return PPO(config, network, acting, shuffling)


class ArmWork(Work):
    """Learning from groups of arms: see ``foveal.training.Work``. A step is an action, counted over all arms.

    With as many workers as before, training that goes on from a checkpoint comes to the weights of training that was
    never interrupted; with others the network sees batches of other sizes, whose sums round otherwise.

    Args:
        policy: what learns.
        workers: processes that arms are spread over.
    """

    unit = "action"
    agent: ActorCritic

    def __init__(self, policy: ActorCritic, workers: int = 1) -> None:
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

    def settings(self) -> dict[str, Any]:
        return {"ppo": asdict(self.agent.config), "workers": self.workers}

    def begin(self, target: int) -> None:
        """Rates that decay do so towards the target."""
        self.agent.ppo.total = target

    def collect(self) -> Sequence[Episode]:
        """One rollout of every arm; returns the episodes that ended, 1 for one that solved the task and 0 else."""
        episodes: list[Episode] = []
        self.agent.ppo.collect(self._arms, lambda infos: episodes.extend(self._played.note(infos)))
        self.agent.curve = [*self.agent.curve, {"actions": self.steps, **self._played.counts()}]
        return episodes

    def learn(self, after_update: Callable[[], None]) -> None:
        self._latest = {name: float(value) for name, value in self.agent.ppo.update().items()}
        after_update()

    def metrics(self) -> dict[str, float]:
        return self._latest

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.agent.state()

    def state(self) -> dict[str, Any]:
        """What the rest depends on beside weights and optimizer."""
        about = {"learner": self.agent.ppo.progress(), "played": self._played.state()}
        return {**about, "arms": self._arms.get_state(), "workers": self.workers}

    def load_state(self, state: Mapping[str, Any], saved: Checkpoint) -> None:
        """Go on from ``state``; weights and optimizer are there already."""
        self.agent.ppo.load_progress(state["learner"])
        self._played.load_state(state["played"])
        self._arms.set_state(state["arms"])

    def close(self) -> None:
        super().close()
        if "_arms" in vars(self):
            self._arms.close()


class _Played:
    """Counts steps, episodes and successes."""

    def __init__(self) -> None:
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._steps = self._episodes = 0

    def state(self) -> dict[str, Any]:
        """JSON values."""
        return {"steps": self._steps, "episodes": self._episodes, "recent": list(self._recent)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo of ``state``."""
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
