"""What PPO trains on the arm: masters, and policies of every step."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import Checkpoint
from foveal.errors import FovealError
from foveal.networks import policies as networks
from foveal.skills.base import ArmPolicy
from foveal.skills.config import MasterConfig, as_dict
from foveal.skills.groups import GroupSettings
from foveal.skills.minari import require_extra
from foveal.skills.networks import FORMER_NAMES, todays_weights
from foveal.skills.ppo import ArmWork, learner
from foveal.training import Callback, RunOptions, Trainer

RUN = RunOptions(evaluate_every=0, checkpoint_every=1, log_every=1)
"""A checkpoint after every rollout and its update."""


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
        self.ppo = learner(self.arms(), config, seed)
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
        tensors |= {f"optimizer/{name}": value for name, value in held.items()}
        described = {
            "config": as_dict(self.config),
            "seed": self.seed,
            "curve": self.curve,
            "optimizer": optimizer,
        }
        return tensors, described

    def _set_learned_state(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Of a version that trained with Stable-Baselines3, whose optimizer has another order, the weights alone."""
        weights = checkpoint.under(f"{self.what}/", tensors)
        former = any(name.startswith(tuple(FORMER_NAMES)) for name in weights)
        try:
            self.network.load_state_dict(todays_weights(weights, self.network) if former else weights)
        except RuntimeError as error:
            raise FovealError(f"these weights do not fit the network of their configuration: {error}") from error
        if not former:
            held = checkpoint.under("optimizer/", tensors)
            checkpoint.load_optimizer_state(self.ppo.optimizer, held, state["optimizer"])
        self.curve = list(state["curve"])
