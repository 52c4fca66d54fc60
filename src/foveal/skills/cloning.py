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
from foveal.errors import FovealError
from foveal.networks.precision import convolution_dtype
from foveal.progress import Progress
from foveal.skills import seeds
from foveal.skills.arms import for_policy
from foveal.skills.augmentation import Augmentation
from foveal.skills.config import CloneConfig, as_dict
from foveal.skills.dataset import BalancedSampler, Samples, sampled
from foveal.skills.minari import DemoFolder, Episode, open_demos
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import play, scripted
from foveal.skills.unfinished import CloningRun
from foveal.skills.view import View
from foveal.skills.workers import Workers


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
        told: of every epoch.
        run: folder for a checkpoint after every epoch. What a run with the same arguments has left there is gone on
            with, to the same weights as in one piece.

    Raises:
        FovealError: the folder holds no demonstrations, or none of some skill; the run had other arguments; the
            precision can't be had on this machine.
    """
    convolution_dtype(config.precision, "cpu")  # before hours of demonstrations are read
    source = demos if isinstance(demos, DemoFolder) else open_demos(demos)
    training, kept = _samples(source, config, seed, flat)
    policy = SkillPolicy(_skill_set(source.about, training, flat), config, seed)
    policy.mean, policy.spread = _moments(training)
    trainer = _Trainer(policy, training, kept, seed)
    found = Cloned(policy)
    best: tuple[float, float] = (-1.0, 0.0)
    held: dict[str, Tensor] = {}
    kept_run = None if run is None else CloningRun(run, _about(source, trainer, flat))
    if kept_run is not None and (begun := kept_run.load()) is not None:
        trainer.set_state(begun["trainer"])
        found.epochs, found.best = [Epoch(**epoch) for epoch in begun["epochs"]], begun["best"]
        best, held = (begun["merit"][0], begun["merit"][1]), begun["held"]
    with (
        Workers(workers) as crew,
        Progress(trainer.done, trainer.total, visible=progress, what="clone", unit="batch") as bar,
    ):
        for number in range(len(found.epochs) + 1, config.epochs + 1):
            epoch = trainer.epoch(number, bar)
            if config.rollouts and (config.epochs - number) % config.rollouts_every == 0:
                epoch = Epoch(number, epoch.loss, epoch.held_out, _tried(policy, config.rollouts, crew))
                bar.show(success=epoch.success or 0.0)
            found.epochs.append(epoch)
            if told is not None:
                told(epoch)
            merit = (-1.0 if epoch.success is None else epoch.success, float(number))
            if merit >= best or not config.rollouts:
                best, found.best = merit, number
                held = {name: tensor.clone() for name, tensor in policy.network.state_dict().items()}
            if kept_run is not None:
                state = {"epochs": [as_dict(epoch) for epoch in found.epochs], "best": found.best, "merit": best}
                kept_run.save(number, {**state, "held": held, "trainer": trainer.get_state()})
    policy.network.load_state_dict(held)
    policy.network.eval()
    return found


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


class _Trainer:
    """Network, optimizer and data of a run."""

    def __init__(self, policy: SkillPolicy, training: Samples, kept: Samples | None, seed: int) -> None:
        self.policy, self.training, self.kept = policy, training, kept
        self.config = policy.config
        self.sampler = BalancedSampler(training.skill, np.random.default_rng([3, seed]))
        self.augmentation = Augmentation(self.config.augmentation)
        self.generator = torch.Generator().manual_seed(seed)
        self.optimizer = torch.optim.Adam(policy.network.parameters(), self.config.learning_rate, fused=True)
        self.batches = max(1, len(training) // self.config.batch_size)
        self.done = 0

    @property
    def total(self) -> int:
        """Batches in all epochs."""
        return self.batches * self.config.epochs

    def get_state(self) -> dict[str, Any]:
        """Weights, optimizer, draws and count: nested tensors and JSON values."""
        return {
            "network": dict(self.policy.network.state_dict()),
            "optimizer": checkpoint.join(*checkpoint.optimizer_state(self.optimizer)),
            "sampler": self.sampler.get_state(),
            "generator": checkpoint.generator_state(self.generator),
            "done": self.done,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Undo of ``get_state``."""
        self.policy.network.load_state_dict(state["network"])
        checkpoint.load_optimizer_state(self.optimizer, *checkpoint.split(state["optimizer"]))
        self.sampler.set_state(state["sampler"])
        checkpoint.load_generator_state(self.generator, state["generator"])
        self.done = state["done"]

    def epoch(self, number: int, bar: Progress) -> Epoch:
        self.policy.network.train()
        sums = 0.0
        for _ in range(self.batches):
            if self.config.decay:
                rate = 0.5 * self.config.learning_rate * (1.0 + math.cos(math.pi * self.done / self.total))
                self.optimizer.param_groups[0]["lr"] = rate
            loss = self._loss(self.training, self.sampler.draw(self.config.batch_size), augmented=True)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            sums += float(loss.detach())
            self.done += 1
            bar.advance(self.done)
        self.policy.network.eval()
        loss_now = sums / self.batches
        if not math.isfinite(loss_now):
            raise FovealError(f"the loss of epoch {number} is not finite: lower the learning rate")
        bar.show(loss=loss_now)
        return Epoch(number, loss_now, self._held_out())

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
        policy = self.policy
        image = policy.input(samples.frames(chosen, self.config.stack))
        if augmented:
            image = self.augmentation(image, self.generator)
        prediction = policy.network(image, policy.one_hot(samples.skill[chosen]))
        velocity = (torch.from_numpy(samples.velocity[chosen]) - policy.mean) / policy.spread
        gripper, motion = losses(prediction, velocity, torch.from_numpy(samples.closes[chosen]))
        return self.config.gripper * gripper + self.config.velocity * motion


def _about(source: DemoFolder, trainer: _Trainer, flat: bool) -> dict[str, Any]:
    """What cloning that goes on must have in common with what went before."""
    size = {"demonstrations": source.folder.name, "samples": len(trainer.training)}
    return {**json.loads(json.dumps(as_dict(trainer.config))), **size, "seed": trainer.policy.seed, "flat": flat}


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
