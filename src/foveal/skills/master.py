"""The master policy: looks at what the skills' network sees, and says which skill is next."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import CheckpointStore
from foveal.errors import FovealError
from foveal.skills.arms import Arms, ArmSettings, for_policy
from foveal.skills.config import MasterConfig, as_dict, master_config
from foveal.skills.groups import Deciding, observe
from foveal.skills.minari import require_extra
from foveal.skills.packing import pack
from foveal.skills.policy import SkillPolicy
from foveal.skills.view import View

KIND = "foveal.master"
RUN_KIND = "foveal.master.run"


class Master:
    """Chooses skills of one task.

    Args:
        task: such as ``"bowl"``.
        skills: cloned ones, whose features it sees; None where experts act and it sees the simulator's state.
        config: how it learns.
        seed: of its training.

    Attributes:
        network: Stable-Baselines3's ``ActorCriticPolicy``.
        curve: of its training, ``foveal.skills.ppo.Point`` as JSON.

    Raises:
        FovealError: the extra ``skills`` is missing.
    """

    def __init__(self, task: str, skills: SkillPolicy | None, config: MasterConfig, seed: int = 0) -> None:
        require_extra()
        from foveal.skills.heads import actor_critic

        self.task, self.skills, self.config, self.seed = task, skills, config, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: Any = actor_critic(*self._settings().spaces, config.channels, config.learning_rate)
        self.network.set_training_mode(False)
        self.curve: list[dict[str, Any]] = []
        self._begun: Mapping[str, Any] | None = None

    def learn(self, *, run: str | Path | None = None, workers: int = 1, progress: bool = False) -> Master:
        """Train for ``config.decisions``; returns itself.

        Args:
            run: folder for a checkpoint after every update, from which ``resume`` goes on after Ctrl-C or a kill.
            workers: processes that the arms are spread over.
            progress: show a bar.

        Raises:
            FovealError: the run's folder can't be written, or holds a run already.
            KeyboardInterrupt: after Ctrl-C, when the running update is done.
        """
        from foveal.skills.ppo import Begun, Trained, train

        store = None if run is None else CheckpointStore(run, kind=RUN_KIND)
        if store is not None and store.steps() and self._begun is None:
            raise FovealError(f"{run} holds a master that is not trained to its end: resume it, or delete the folder")

        def keep(trained: Trained, rest: dict[str, Any]) -> None:
            self._take(trained)
            if store is not None:
                tensors, state = self.state()
                more, state["run"] = checkpoint.split(rest, "run")
                store.save(trained.curve[-1].actions, {**tensors, **more}, state)

        trained = train(
            self._settings(),
            self.config,
            seed=self.seed,
            actions=self.config.decisions,
            workers=workers,
            progress=progress,
            keep=keep,
            begun=None if self._begun is None else Begun(self.network, self._begun),
        )
        self._begun = None
        self._take(trained)
        self.network.set_training_mode(False)
        return self

    def _take(self, trained: Any) -> None:
        self.network, self.curve = trained.policy, [as_dict(point) for point in trained.curve]

    @classmethod
    def resume(cls, run: str | Path) -> Master:
        """The master of a run that did not end, as it was after its last good update: ``learn`` goes on from there.

        Raises:
            FovealError: there is no such run, or all its checkpoints are damaged.
        """
        held = CheckpointStore(run, kind=RUN_KIND).latest()
        if held is None:
            raise FovealError(f"{run} holds no master that could be resumed: train one without --resume")
        master = cls.from_state(held.tensors, held.state)
        master._begun = checkpoint.join(held.tensors, held.state["run"])
        return master

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """The next skill of each arm: a ``foveal.skills.rollouts.Plan``."""
        return self.draw(observe(arms, self.skills, which), decision, seeds)

    def draw(self, seen: NDArray[np.float32], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        """Skills, drawn as likely as the policy says.

        The likeliest would be drawn for ever where doing it leaves everything as it is. Draws depend on the episode's
        seed and the decision alone.

        Args:
            seen: (B, ...) what the master sees, such as ``SkillPolicy.features``.
            decision: how many were taken before.
            seeds: (B,) of the episodes.

        Returns:
            (B,) numbers.
        """
        with torch.inference_mode():
            chances = self.network.get_distribution(torch.from_numpy(seen)).distribution.probs.double().numpy()
        levels = [np.random.default_rng([7, seed, decision]).random() for seed in seeds]
        reached = chances.cumsum(1) / chances.sum(1, keepdims=True)
        return (reached <= np.array(levels)[:, None]).sum(1).astype(np.int64)

    def _settings(self) -> Deciding:
        arms = ArmSettings(self.task, View(size=0)) if self.skills is None else for_policy(self.skills)
        held = None if self.skills is None else pack(self.skills)
        return Deciding(arms, self.config.skill_steps, self.seed, held)

    # --- state ----------------------------------------------------------------------------------------------------

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, optimizer and skills, and JSON."""
        tensors = {f"master/{name}": value for name, value in self.network.state_dict().items()}
        held, optimizer = checkpoint.optimizer_state(self.network.optimizer)
        tensors |= {f"optimizer/{name}": value for name, value in held.items()}
        described: dict[str, Any] = {
            "task": self.task,
            "config": as_dict(self.config),
            "seed": self.seed,
            "curve": self.curve,
            "optimizer": optimizer,
            "skills": None,
        }
        if self.skills is not None:
            of_skills, described["skills"] = self.skills.state()
            tensors |= {f"skills/{name}": value for name, value in of_skills.items()}
        return tensors, described

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Master:
        """Undo of ``state``.

        Raises:
            FovealError: the weights don't fit the configuration.
        """
        skills = None
        if state["skills"] is not None:
            skills = SkillPolicy.from_state(_under("skills/", tensors), state["skills"])
        master = cls(state["task"], skills, master_config("paper", state["config"]), state["seed"])
        try:
            master.network.load_state_dict(_under("master/", tensors))
        except RuntimeError as error:
            raise FovealError(f"these weights do not fit the network of their configuration: {error}") from error
        checkpoint.load_optimizer_state(master.network.optimizer, _under("optimizer/", tensors), state["optimizer"])
        master.curve = list(state["curve"])
        return master

    def save(self, folder: str | Path) -> Path:
        """Write master and skills; atomically, and nothing pickled.

        Raises:
            FovealError: the folder holds something else, or can't be written.
        """
        return checkpoint.save(folder, *self.state(), kind=KIND)


def load_master(folder: str | Path) -> Master:
    """What ``Master.save`` wrote.

    Raises:
        FovealError: there is none, or it is damaged.
    """
    held = checkpoint.load(folder, kind=KIND)
    return Master.from_state(held.tensors, held.state)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
