"""Behaviour cloning: skills from demonstrations."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal import checkpoint
from foveal.checkpoint import Checkpoint
from foveal.errors import FovealError
from foveal.networks.optimization import half_cosine
from foveal.networks.precision import convolution_dtype
from foveal.skills import seeds
from foveal.skills.augmentation import Augmentation
from foveal.skills.base import load_weights
from foveal.skills.config import CloneConfig
from foveal.skills.dataset import BalancedSampler, Samples, sampled
from foveal.skills.minari import DemoFolder, Episode, open_demos
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.rollouts import play, scripted
from foveal.skills.view import View
from foveal.skills.workers import Workers
from foveal.training import Callback, RunOptions, Trainer, Work
from foveal.training import Episode as TrainingEpisode
from foveal.training.run_folder import refuse_existing


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


def clone(
    demos: str | Path | DemoFolder,
    config: CloneConfig,
    *,
    seed: int = 0,
    flat: bool = False,
    workers: int = 1,
    run: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> SkillPolicy:
    """Skills from demonstrations, with the weights of the best epoch.

    Args:
        demos: where they are.
        config: how.
        seed: of weights, samples and augmentation.
        flat: clone the whole task as one skill.
        workers: processes for rollouts.
        run: a new folder with a checkpoint after every epoch, from which ``foveal.resume`` goes on after Ctrl-C or a
            kill, to the same weights as in one piece.
        callbacks: see ``foveal.Callback``.
        progress: show a bar.

    Raises:
        FovealError: the folder holds no demonstrations, or none of some skill; the run's folder exists; the precision
            can't be had on this machine.
        KeyboardInterrupt: after Ctrl-C, once the running batch is done and a checkpoint is written.
    """
    convolution_dtype(config.precision, "cpu")  # before hours of demonstrations are read
    if run is not None:
        refuse_existing(Path(run))
    source = demos if isinstance(demos, DemoFolder) else open_demos(demos)
    training, kept = _samples(source, config, seed, flat)
    policy = SkillPolicy(_skill_set(source.about, training, flat), config, seed)
    policy.mean, policy.spread = _moments(training)
    work = CloningWork(policy, training, kept, workers, {"demonstrations": str(source.folder), "flat": flat})
    options = RunOptions(evaluate_every=0, checkpoint_every=work.batches, log_every=work.batches)
    Trainer(work, options, run=run, callbacks=callbacks, progress=progress).train(work.total)
    return policy


def resumed(held: Checkpoint) -> CloningWork:
    """The cloning that a checkpoint of a run belongs to, from the same demonstrations.

    Raises:
        FovealError: they are not there any more, or others are.
    """
    policy, data = SkillPolicy.from_state(held.tensors, held.state), held.state["run"]["data"]
    training, kept = _samples(open_demos(data["demonstrations"]), policy.config, policy.seed, data["flat"])
    work = CloningWork(policy, training, kept, data["workers"], data)
    if work.data != data:
        raise FovealError(
            f"{data['demonstrations']} holds {len(training)} samples to learn from, and cloning began with "
            f"{data['samples']}: bring those demonstrations back"
        )
    return work


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

    Checkpoints hold the policy with the weights of the best epoch so far, and beside it those that go on learning.

    Args:
        policy: what is cloned.
        training: samples to learn from.
        kept: samples that are kept back for the validation loss.
        workers: processes for the rollouts that choose the best epoch.
        about: where the samples come from, JSON values.
    """

    kind = SkillPolicy.kind
    what, unit = "clone", "batch"
    agent: SkillPolicy
    steps = 0

    def __init__(
        self,
        policy: SkillPolicy,
        training: Samples,
        kept: Samples | None,
        workers: int = 1,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.agent, self.training, self.kept, self.crew = policy, training, kept, Workers(workers)
        self.data = {**(about or {}), "samples": len(training), "workers": workers}
        self.device = torch.device("cpu")
        self.config = policy.config
        self.sampler = BalancedSampler(training.skill, np.random.default_rng([3, policy.seed]))
        self.augmentation = Augmentation(self.config.augmentation)
        self.generator = torch.Generator().manual_seed(policy.seed)
        self.optimizer = torch.optim.Adam(policy.network.parameters(), self.config.learning_rate, fused=True)
        self.batches = max(1, len(training) // self.config.batch_size)
        self.epochs: list[Epoch] = []
        self.best = 0  # the number of the best epoch, and its weights
        self.best_weights: dict[str, Tensor] = {}
        self._merit = (-1.0, 0.0)  # its share of solved rollouts and its number
        self._sum = 0.0  # of the running epoch's losses
        self._latest = 0.0

    @property
    def total(self) -> int:
        """Batches in all epochs."""
        return self.batches * self.config.epochs

    @property
    def updates(self) -> int:
        return self.steps

    def settings(self) -> dict[str, Any]:
        return {"skills": asdict(self.config), "seed": self.agent.seed, "data": self.data}

    def begin(self, target: int) -> None:
        """See whether the learning rate knows of so many batches.

        Raises:
            FovealError: there are more than in all epochs.
        """
        if target > self.total:
            raise FovealError(f"cloning ends after {self.total} batches, {self.config.epochs} epochs, not {target}")

    def collect(self) -> Sequence[TrainingEpisode]:
        """Everything is there already."""
        return ()

    def learn(self, after_update: Callable[[], None]) -> None:
        """One batch; at the end of an epoch, how it went."""
        self.agent.network.train()
        if self.config.decay:
            self.optimizer.param_groups[0]["lr"] = half_cosine(self.config.learning_rate, self.steps, self.total)
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
        merit = (-1.0 if epoch.success is None else epoch.success, float(number))
        if merit >= self._merit or not self.config.rollouts:
            self._merit, self.best = merit, number
            self.best_weights = self._weights()
        self.agent.about = {"epochs": [asdict(epoch) for epoch in self.epochs], "best": self.best}

    def _weights(self) -> dict[str, Tensor]:
        """A copy of what the network is now."""
        return {name: tensor.clone() for name, tensor in self.agent.network.state_dict().items()}

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
        """The latest batch's loss, and how the latest epoch went."""
        latest = {"loss": self._latest}
        if self.epochs and self.kept is not None:
            latest["held_out"] = self.epochs[-1].held_out
        if self.epochs and (success := self.epochs[-1].success) is not None:
            latest["success"] = success
        return latest

    def close(self) -> None:
        """Let go of the processes; the policy takes the weights of the best epoch."""
        super().close()
        self.crew.close()
        if self.best_weights:
            load_weights(self.agent.network, self.best_weights)

    # --- state ----------------------------------------------------------------------------------------------------

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The policy, with the weights of the best epoch so far, and the optimizer."""
        tensors, state = self.agent.state()
        tensors |= {f"network/{name}": value for name, value in self.best_weights.items()}
        held, state["optimizer"] = checkpoint.optimizer_state(self.optimizer)
        return {**tensors, **held}, state

    def state(self) -> dict[str, Any]:
        """The weights that go on learning, draws and counts."""
        return {
            "data": self.data,
            "weights": self._weights(),
            "sampler": self.sampler.state(),
            "generator": self.generator.get_state(),
            "steps": self.steps,
            "sum": self._sum,
            "merit": list(self._merit),
        }

    def load_state(self, state: Mapping[str, Any], saved: Checkpoint) -> None:
        self.epochs = [Epoch(**epoch) for epoch in self.agent.about.get("epochs", [])]
        self.best = self.agent.about.get("best", 0)
        if self.best:
            self.best_weights = self._weights()
        load_weights(self.agent.network, state["weights"])
        checkpoint.load_optimizer_state(self.optimizer, saved.tensors, saved.state["optimizer"])
        self.sampler.load_state(state["sampler"])
        checkpoint.load_generator_state(self.generator, state["generator"])
        self.steps, self._sum = state["steps"], state["sum"]
        self._merit = state["merit"][0], state["merit"][1]


def _divided(episodes: Sequence[Episode], config: CloneConfig, seed: int) -> tuple[list[Episode], list[Episode]]:
    """Those kept back, and those to learn from; what several cameras saw of one demonstration stays together."""
    shown: list[list[Episode]] = []
    for episode in episodes:
        if shown and episode.seed is not None and episode.seed == shown[-1][0].seed:
            shown[-1].append(episode)
        else:
            shown.append([episode])
    order = np.random.default_rng([4, seed]).permutation(len(shown))
    count = min(round(config.held_out * len(shown)), len(shown) - 1)
    kept, learned = (list(itertools.chain(*[shown[index] for index in part])) for part in np.split(order, [count]))
    return kept, learned


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
    outcomes = play(policy.arm_settings, plan, policy, chosen, workers=crew)
    return float(np.mean([outcome.success for outcome in outcomes]))
