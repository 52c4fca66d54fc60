"""What PPO trains on the arm: masters, and policies of every step. Training that was stopped goes on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import CheckpointStore
from foveal.errors import FovealError
from foveal.networks import policies as networks
from foveal.skills.config import MasterConfig, as_dict
from foveal.skills.groups import GroupSettings
from foveal.skills.heads import FORMER_NAMES, todays_weights
from foveal.skills.minari import require_extra
from foveal.skills.ppo import ArmWork, Point, learner
from foveal.training import RunOptions, Trainer
from foveal.training.run_folder import RunFolder

RUN = RunOptions(evaluate_every=0, checkpoint_every=1, log_every=1)
"""A checkpoint after every rollout and its update."""


class ActorCritic(ABC):
    """An actor-critic that PPO trains for ``config.decisions``.

    Args:
        config: how it learns.
        seed: of its training.

    Attributes:
        what: this is, in messages.
        kind, run_kind: of its folders, when it is trained and while it is being trained.
        ppo: the learner, ``foveal.learners.ppo.PPO``.
        curve: of its training, ``foveal.skills.ppo.Point`` as JSON.

    Raises:
        FovealError: the extra ``skills`` is missing.
    """

    what: ClassVar[str]
    kind: ClassVar[str]
    run_kind: ClassVar[str]

    def __init__(self, config: MasterConfig, seed: int) -> None:
        require_extra()
        self.config, self.seed = config, seed
        self.ppo = learner(self._settings(), config, seed)
        self.curve: list[dict[str, Any]] = []
        self._stopped: tuple[RunFolder, checkpoint.Checkpoint] | None = None  # a training to go on with

    @property
    def network(self) -> networks.ActorCritic:
        """What it acts with: encoder, actor and critic."""
        return self.ppo.policy

    def learn(self, *, run: str | Path | None = None, workers: int = 1, progress: bool = False) -> Self:
        """Train for ``config.decisions``, from fresh weights but where it was resumed; returns itself.

        Args:
            run: folder for a checkpoint after every update, from which ``resume`` goes on after Ctrl-C or a kill.
            workers: processes that the arms are spread over.
            progress: show a bar.

        Raises:
            FovealError: the run's folder can't be written, or holds a run already.
            KeyboardInterrupt: after Ctrl-C, when the running update is done.
        """
        if self._stopped is None:
            if run is not None and CheckpointStore(run, kind=self.run_kind).steps():
                raise FovealError(
                    f"{run} holds a {self.what} that is not trained to its end: resume it, or delete the folder"
                )
            self.ppo = learner(self._settings(), self.config, self.seed)
        work = ArmWork(
            self.ppo,
            self._settings(),
            self.config,
            workers=workers,
            what=self.what,
            kind=self.run_kind,
            state=self._state_at,
        )
        if self._stopped is None:
            trainer = Trainer(work, RUN, run=run, progress=progress)
            trainer.target = self.config.decisions
        else:
            trainer = Trainer.resumed(work, *self._stopped, progress=progress)
        self._stopped = None
        trainer.train()
        self.curve = [as_dict(point) for point in work.curve]
        return self

    def _state_at(self, curve: tuple[Point, ...]) -> tuple[dict[str, Tensor], dict[str, Any]]:
        self.curve = [as_dict(point) for point in curve]
        return self.state()

    @abstractmethod
    def _settings(self) -> GroupSettings:
        """The arms that it learns with."""

    # --- state ----------------------------------------------------------------------------------------------------

    @classmethod
    def resume(cls, run: str | Path) -> Self:
        """As it was after the last good update of a run that did not end: ``learn`` goes on from there.

        Raises:
            FovealError: there is no such run, an earlier version began it, or all its checkpoints are damaged.
        """
        held = CheckpointStore(run, kind=cls.run_kind).latest()
        if held is None:
            raise FovealError(f"{run} holds no {cls.what} that could be resumed: train one without --resume")
        if "learner" not in held.state["run"]:
            raise FovealError(
                f"{run} holds a {cls.what} that an earlier version of foveal began, with Stable-Baselines3, and this "
                "one can't go on with it: finish it with that version, or delete the folder and start again"
            )
        restored = cls.from_state(held.tensors, held.state)
        restored._stopped = RunFolder.open(Path(run), cls.run_kind), held
        return restored

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """What ``save`` wrote.

        Raises:
            FovealError: there is none, or it is damaged.
        """
        held = checkpoint.load(folder, kind=cls.kind)
        return cls.from_state(held.tensors, held.state)

    def save(self, folder: str | Path) -> Path:
        """Write everything; atomically, and nothing pickled.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        return checkpoint.save(folder, *self.state(), kind=self.kind)

    @abstractmethod
    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors, the optimizer's among them, and JSON."""

    @classmethod
    @abstractmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Self:
        """Undo of ``state``.

        Raises:
            FovealError: the weights don't fit the configuration.
        """

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
