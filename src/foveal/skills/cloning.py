"""Behaviour cloning: skills from demonstrations."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import Checkpoint
from foveal.errors import FovealError
from foveal.networks.precision import convolution_dtype
from foveal.skills import seeds
from foveal.skills.arms import for_policy
from foveal.skills.augmentation import Augmentation
from foveal.skills.config import CloneConfig, as_dict
from foveal.skills.dataset import BalancedSampler, Samples, sampled
from foveal.skills.minari import DemoFolder, Episode, open_demos
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import play, scripted
from foveal.skills.view import View
from foveal.skills.workers import Workers
from foveal.training import Episode as TrainingEpisode
from foveal.training import RunOptions, Trainer, Work
from foveal.training.run_folder import CONFIG, RunFolder


@dataclass(frozen=True)
class Epoch:
    """How an epoch went.

    Attributes:
        number: from 1.
        loss: mean over its samples.
        held_out: loss of the episodes that are kept back, NaN without any.
        success: share of the rollouts of the script that solved the task, None where none were made.
    """

    number: int
    loss: float
    held_out: float
    success: float | None = None


@dataclass
class Cloned:
    """What cloning gives.

    Attributes:
        policy: of the best epoch.
        epochs: all of them.
        best: the number of the best.
    """

    policy: SkillPolicy
    epochs: list[Epoch] = field(default_factory=list)
    best: int = 0

    def save(self, folder: str | Path) -> Path:
        """The policy, and how it came about."""
        return self.policy.save(folder, {"epochs": [as_dict(epoch) for epoch in self.epochs], "best": self.best})


def clone(
    demos: str | Path | DemoFolder,
    config: CloneConfig,
    *,
    seed: int = 0,
    flat: bool = False,
    workers: int = 1,
    progress: bool = False,
    told: Callable[[Epoch], None] | None = None,
    run: str | Path | None = None,
) -> Cloned:
    """Skills from demonstrations.

    Args:
        demos: where they are.
        config: how.
        seed: of weights, samples and augmentation.
        flat: clone the whole task as one skill.
        workers: processes for rollouts.
        progress: show a bar.
        told: called with every epoch.
        run: folder for a checkpoint after every epoch and after Ctrl-C. Cloning that was stopped there, with the same
            arguments, goes on, to the same weights as in one piece.

    Raises:
        FovealError: the folder holds no demonstrations, or none of some skill; the run had other arguments; the
            precision can't be had on this machine.
        KeyboardInterrupt: after Ctrl-C, once the running batch is done and a checkpoint is written.
    """
    convolution_dtype(config.precision, "cpu")  # before hours of demonstrations are read
    source = demos if isinstance(demos, DemoFolder) else open_demos(demos)
    training, kept = _samples(source, config, seed, flat)
    policy = SkillPolicy(_skill_set(source.about, training, flat), config, seed)
    policy.mean, policy.spread = _moments(training)
    with Workers(workers) as crew:
        work = CloningWork(policy, training, kept, crew, told, {"demonstrations": source.folder.name, "flat": flat})
        _trainer(work, run, progress).train()
    return work.finished()


def _trainer(work: CloningWork, run: str | Path | None, progress: bool) -> Trainer:
    """A new one, or that of a run that was stopped."""
    folder = None if run is None else Path(run)
    if folder is not None and (folder / CONFIG).is_file():
        opened = RunFolder.open(folder, work.kind)
        held = opened.store.latest()
        if held is not None:
            work.check_same(held, folder)
            return Trainer.resumed(work, opened, held, progress=progress)
    options = RunOptions(evaluate_every=0, checkpoint_every=work.batches, log_every=work.batches)
    trainer = Trainer(work, options, run=run, progress=progress)
    trainer.target = work.total
    return trainer


def losses(prediction: Tensor, velocity: Tensor, closes: Tensor) -> tuple[Tensor, Tensor]:
    """Of all horizons together, equally weighted.

    Args:
        prediction: (B, 5 * horizons): for every horizon two gripper logits, open and close, and three velocities.
        velocity: (B, horizons, 3), standardised.
        closes: (B, horizons) bool.

    Returns:
        Cross-entropy of the gripper, and the mean squared error of velocities.
    """
    predicted = prediction.unflatten(1, (-1, 5))  # (B, horizons, 5)
    gripper = F.cross_entropy(predicted[..., :2].flatten(0, 1), closes.long().flatten())
    return gripper, F.mse_loss(predicted[..., 2:], velocity)


class CloningWork(Work):
    """Learning from a data set: see ``foveal.training.Work``. A step is a batch.

    Args:
        policy: what is cloned.
        training: samples to learn from.
        kept: samples that are kept back for the validation loss.
        crew: processes for the rollouts that choose the best epoch.
        told: called with every epoch.
        about: what tells the demonstrations from others; JSON values.
    """

    kind = "foveal.skills.cloning"
    what, unit = "clone", "batch"
    agent: SkillPolicy
    steps = 0

    def __init__(
        self,
        policy: SkillPolicy,
        training: Samples,
        kept: Samples | None,
        crew: Workers,
        told: Callable[[Epoch], None] | None = None,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.agent, self.training, self.kept, self.crew, self.told = policy, training, kept, crew, told
        self.device = torch.device("cpu")
        self.config = policy.config
        self.sampler = BalancedSampler(training.skill, np.random.default_rng([3, policy.seed]))
        self.augmentation = Augmentation(self.config.augmentation)
        self.generator = torch.Generator().manual_seed(policy.seed)
        self.optimizer = torch.optim.Adam(policy.network.parameters(), self.config.learning_rate, fused=True)
        self.batches = max(1, len(training) // self.config.batch_size)
        self.epochs: list[Epoch] = []
        self.best = 0  # the number of the best epoch,
        self.best_weights: dict[str, Tensor] = {}
        self._merit = (-1.0, 0.0)  # its share of solved rollouts and its number
        self._sum = 0.0  # of the running epoch's losses
        self._latest = 0.0
        self._about = dict(about or {})

    @property
    def total(self) -> int:
        """Batches in all epochs."""
        return self.batches * self.config.epochs

    @property
    def updates(self) -> int:
        """One for each batch."""
        return self.steps

    def settings(self) -> dict[str, Any]:
        """What cloning that goes on must have in common with what went before."""
        size, seed = len(self.training), self.agent.seed
        return {**json.loads(json.dumps(as_dict(self.config))), **self._about, "samples": size, "seed": seed}

    def check_same(self, held: Checkpoint, folder: Path) -> None:
        """Refuse to go on with a checkpoint of cloning with other settings.

        Raises:
            FovealError: they differ.
        """
        about = held.state["cloning"]
        others = [name for name, value in self.settings().items() if about.get(name) != value]
        if others:
            raise FovealError(
                f"{folder} holds cloning with other {', '.join(others)}: give the same options as then, or delete that "
                "folder"
            )

    def collect(self) -> Sequence[TrainingEpisode]:
        """Everything is there already."""
        return ()

    def learn(self, after_update: Callable[[], None]) -> None:
        """One batch; at the end of an epoch, how it went."""
        self.agent.network.train()
        if self.config.decay:
            rate = 0.5 * self.config.learning_rate * (1.0 + math.cos(math.pi * self.steps / self.total))
            self.optimizer.param_groups[0]["lr"] = rate
        loss = self._loss(self.training, self.sampler.draw(self.config.batch_size), augmented=True)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.agent.network.eval()
        self._latest = float(loss.detach())
        self._sum += self._latest
        self.steps += 1
        if self.steps % self.batches == 0:
            self._end_epoch()
        after_update()

    def _end_epoch(self) -> None:
        number, mean = self.steps // self.batches, self._sum / self.batches
        self._sum = 0.0
        if not math.isfinite(mean):
            raise FovealError(f"the loss of epoch {number} is not finite: lower the learning rate")
        epoch = Epoch(number, mean, self._held_out(), self._success(number))
        self.epochs.append(epoch)
        if self.told is not None:
            self.told(epoch)
        merit = (-1.0 if epoch.success is None else epoch.success, float(number))
        if merit >= self._merit or not self.config.rollouts:
            self._merit, self.best = merit, number
            self.best_weights = {name: tensor.clone() for name, tensor in self.agent.network.state_dict().items()}

    def _success(self, number: int) -> float | None:
        """Of the script's rollouts, where they are due."""
        if not self.config.rollouts or (self.config.epochs - number) % self.config.rollouts_every:
            return None
        return _tried(self.agent, self.config.rollouts, self.crew)

    def _held_out(self) -> float:
        if self.kept is None:
            return math.nan
        size, total = self.config.batch_size, 0.0
        with torch.no_grad():
            for start in range(0, len(self.kept), size):
                chosen = np.arange(start, min(start + size, len(self.kept)))
                total += len(chosen) * float(self._loss(self.kept, chosen, augmented=False))
        return total / len(self.kept)

    def _loss(self, samples: Samples, chosen: Any, *, augmented: bool) -> Tensor:
        policy = self.agent
        image = policy.input(samples.frames(chosen, self.config.stack))
        if augmented:
            image = self.augmentation(image, self.generator)
        prediction = policy.network(image, policy.one_hot(samples.skill[chosen]))
        velocity = (torch.from_numpy(samples.velocity[chosen]) - policy.mean) / policy.spread
        gripper, motion = losses(prediction, velocity, torch.from_numpy(samples.closes[chosen]))
        return self.config.gripper * gripper + self.config.velocity * motion

    def metrics(self) -> dict[str, float]:
        """The latest batch's loss."""
        return {"loss": self._latest}

    def finished(self) -> Cloned:
        """The policy with the weights of the best epoch, and how all epochs went."""
        self.agent.network.load_state_dict(self.best_weights)
        self.agent.network.eval()
        return Cloned(self.agent, self.epochs, self.best)

    # --- state ----------------------------------------------------------------------------------------------------

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and optimizer."""
        tensors, state = self.agent.state()
        held, optimizer = checkpoint.optimizer_state(self.optimizer)
        tensors |= {f"optimizer/{name}": value for name, value in held.items()}
        return tensors, {**state, "optimizer": optimizer, "cloning": self.settings()}

    def state(self) -> dict[str, Any]:
        """Draws, counts, and the best epoch so far."""
        return {
            "sampler": self.sampler.state(),
            "generator": checkpoint.generator_state(self.generator),
            "steps": self.steps,
            "sum": self._sum,
            "epochs": [as_dict(epoch) for epoch in self.epochs],
            "best": self.best,
            "merit": list(self._merit),
            "best_weights": self.best_weights,
        }

    def load_state(self, state: Mapping[str, Any], held: Checkpoint) -> None:
        """Undo of ``agent_state`` and ``state``."""
        self.agent.network.load_state_dict(checkpoint.under("network/", held.tensors))
        optimizer = checkpoint.under("optimizer/", held.tensors)
        checkpoint.load_optimizer_state(self.optimizer, optimizer, held.state["optimizer"])
        self.sampler.load_state(state["sampler"])
        checkpoint.load_generator_state(self.generator, state["generator"])
        self.steps, self._sum, self.best = state["steps"], state["sum"], state["best"]
        self.epochs = [Epoch(**epoch) for epoch in state["epochs"]]
        self._merit = state["merit"][0], state["merit"][1]
        self.best_weights = dict(state["best_weights"])


def _divided(episodes: Sequence[Episode], config: CloneConfig, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Those kept back, and those to learn from."""
    order = np.random.default_rng([4, seed]).permutation(len(episodes))
    count = min(round(config.held_out * len(episodes)), len(episodes) - 1)
    return [episodes[index] for index in order[:count]], [episodes[index] for index in order[count:]]


def _samples(source: DemoFolder, config: CloneConfig, seed: int, flat: bool) -> tuple[Samples, Samples | None]:
    """Those to learn from, and those kept back; the episodes themselves, as large again, are let go."""
    kept, shown = _divided(list(source), config, seed)
    return sampled(shown, config, flat=flat), sampled(kept, config, flat=flat) if kept else None


def _skill_set(about: dict[str, Any], training: Samples, flat: bool) -> SkillSet:
    count = int(training.skill.max()) + 1
    names = tuple(str(name) for name in about.get("skills", [f"skill {number}" for number in range(count)]))
    if flat:
        names = ("the whole task",)
    absent = sorted(set(range(len(names))) - set(training.skill.tolist()))
    if absent or count > len(names):
        shown = f"skills 0 to {count - 1} and not {absent or names}"
        raise FovealError(f"the demonstrations that are not held out show {shown}: collect more")
    size = training.depth.shape[1]
    return SkillSet(
        str(about.get("task", "")), names, View(size, int(about.get("render") or size), int(about.get("camera") or 0))
    )


def _moments(samples: Samples) -> tuple[Tensor, Tensor]:
    now = torch.from_numpy(samples.velocity[:, 0])  # (N, 3)
    return now.mean(0), now.std(0).clamp_min(1e-3)


def _tried(policy: SkillPolicy, episodes: int, crew: Workers) -> float:
    """Share of the rollouts, skills in the order of the script, that solve the task."""
    plan = scripted(policy.skill_set.task, policy.skills)
    chosen = range(seeds.CHOICE, seeds.CHOICE + episodes)
    outcomes = play(for_policy(policy), plan, policy, chosen, workers=crew)
    return float(np.mean([outcome.success for outcome in outcomes]))
