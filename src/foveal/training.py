"""The training loop: step environments, update, evaluate, keep everything on disk, go on after a kill."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import gymnasium
import numpy as np
import torch
from torch import Tensor

from foveal import checkpoint
from foveal.agent import Agent, restore
from foveal.bounds import Anything, Bounded, at_least
from foveal.collecting import Collector
from foveal.config import changed
from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.evaluation import evaluate, plan_for
from foveal.progress import Interruption, Progress
from foveal.results import Results
from foveal.runs import RunFolder, refuse_existing
from foveal.threads import Threads
from foveal.types import Batch

VALIDATION_SEED_OFFSET = 1042
"""Evaluations during training choose the best checkpoint, so they must not see the final evaluation's episodes."""


@dataclass(frozen=True)
class RunOptions(Bounded, section="run"):
    """What happens beside learning.

    Attributes:
        evaluate_every: agent steps between evaluations, 0 for none. None either where the environment was given as an
            object and not as an id or a callable: the evaluation would cut the running episode short.
        evaluate_episodes: episodes per evaluation and perturbation.
        evaluate_on: "train" and names of perturbations.
        data: folder of DMC-GB's colours and videos for these; generated ones without it.
        checkpoint_every: agent steps between checkpoints, 0 for one at the end alone. With a run folder.
        log_every: updates between readings of the losses.
        adapt_threads: train with fewer threads while other programs keep cores busy, on a CPU. Where OMP_NUM_THREADS is
            set, that many are taken. Rounding depends on their number.

    Raises:
        FovealError: a number is out of range.
    """

    evaluate_every: Annotated[int, at_least(0)] = 10_000
    evaluate_episodes: Annotated[int, at_least(1)] = 5
    evaluate_on: Annotated[tuple[str, ...], Anything("rehearsed before training begins")] = ("train",)
    data: Annotated[str | None, Anything("the rehearsal opens it")] = None
    checkpoint_every: Annotated[int, at_least(0)] = 10_000
    log_every: Annotated[int, at_least(1)] = 100
    adapt_threads: bool = True

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> RunOptions:
        """Defaults with some changed; unknown ones raise FovealError."""
        told = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        return changed(cls(), told, "run")


class Callback:
    """Hooks into training; subclass and override what you need."""

    def on_step(self, trainer: Trainer) -> bool | None:
        """After each step of all environments; return False to stop training."""

    def on_evaluation(self, trainer: Trainer, results: Results) -> None:
        """After an evaluation."""

    def on_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """After a checkpoint has been written."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step."""


class Trainer:
    """One training run of an agent, for one call of ``train``.

    Args:
        agent: what learns; its replay and its step and update counters go on from where they are.
        options: how often to evaluate, save and log.
        run: a new folder, or None.
        callbacks: hooks.
        progress: show a bar.

    Raises:
        FovealError: the folder exists already, or an evaluation that was asked for is impossible.
    """

    def __init__(
        self,
        agent: Agent,
        options: RunOptions | None = None,
        *,
        run: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> None:
        self.agent = agent
        self.options = options or RunOptions()
        self.callbacks = list(callbacks)
        self.progress = progress
        self.run = None if run is None else Path(run)
        if self.run is not None:
            refuse_existing(self.run)
        self.evaluation_seed = agent.seed + VALIDATION_SEED_OFFSET
        # An environment that was given as an object is in the middle of an episode whenever an evaluation is due.
        self.evaluates = self.options.evaluate_every > 0 and not isinstance(agent.env, gymnasium.Env)
        if self.evaluates:
            self._rehearse()
        agent.method.get_ready()
        self.target = agent.steps
        self.metrics: dict[str, Tensor] = {}
        self.best_return = -np.inf
        self.owed_updates = 0.0
        self.collector = Collector(agent)
        self.folder: RunFolder | None = None

    @classmethod
    def resume(
        cls, run: str | Path, *, env: EnvLike | None = None, callbacks: Sequence[Callback] = (), progress: bool = True
    ) -> Trainer:
        """The trainer of a run folder, as it was at its last good checkpoint.

        Args:
            run: the folder of a run that was stopped or killed.
            env: the environment, where it was the user's own and has no id.

        Raises:
            FovealError: no such run, or all its checkpoints are damaged.
        """
        folder = RunFolder.open(Path(run))
        held = folder.store.latest()
        if held is None:
            raise FovealError(f"{run} has no checkpoint to resume from; delete the folder and start again")
        options = RunOptions.from_settings(held.state["run"]["options"])
        agent = restore(held, env)
        trainer = cls(agent, options, callbacks=callbacks, progress=progress)
        trainer.folder = folder
        trainer._load_state(held)
        folder.rewind(agent.steps)
        return trainer

    # --- the loop -------------------------------------------------------------------------------------------------

    def train(self, steps: int | None = None) -> None:
        """Train for ``steps`` more agent steps, or up to the target of the run that was resumed.

        Ctrl-C ends training after the running step, with a checkpoint, and raises KeyboardInterrupt then.

        Raises:
            FovealError: a reward or a loss is not finite, or a checkpoint can't be written. The last checkpoint stays.
        """
        self._set_target(steps)
        self._open_folder()
        self.threads = Threads(adapt=self.options.adapt_threads and self.agent.device.type == "cpu")
        try:
            with Progress(self.agent.steps, self.target, visible=self.progress) as self.bar, Interruption() as stop:
                self.collector.begin()
                wanted = True
                while wanted and self.agent.steps < self.target and not stop.asked:
                    self._step()
                    answers = [callback.on_step(self) for callback in self.callbacks]
                    wanted = all(answer is None or answer for answer in answers)
                self._finish()
            stop.raise_if_asked()
            for callback in self.callbacks:
                callback.on_end(self)
        finally:
            self.threads.restore()
            self.close()

    def close(self) -> None:
        """Let go of the environments, the log, and what the method needs for training alone."""
        self.collector.close()
        self.agent.method.close()
        if self.folder is not None:
            self.folder.close()

    def _set_target(self, steps: int | None) -> None:
        if self.collector.closed:
            raise FovealError("this trainer has trained already; make another one, or call agent.learn")
        if steps is None:
            return
        if steps < 1:
            raise FovealError(f"training takes at least 1 more agent step, not {steps}")
        self.target = self.agent.steps + steps

    def _open_folder(self) -> None:
        if self.run is not None and self.folder is None:
            self.folder = RunFolder.create(self.run)
        if self.folder is not None:
            self.folder.write_config(self.agent.config, self.options, self.target)

    def _step(self) -> None:
        """One step of every environment, and the updates that it earns."""
        agent, before = self.agent, self.agent.steps
        random = before < agent.config.training.initial_random_steps
        try:
            self.collector.step(random=random)
        except FovealError as error:
            self._check_losses()  # weights that broke are a better reason than what they did to the environment
            raise FovealError(f"{error}; {self._kept()}") from error
        for stream, value in self.collector.episodes:
            self.bar.told(train=value)
            if self.folder is not None:
                self.folder.log_episode(agent.steps, stream, value)
        self._update(before)
        self._keep(before)
        self.bar.advance(agent.steps)

    def _update(self, before: int) -> None:
        """The updates that the agent steps since ``before`` have earned."""
        agent, training = self.agent, self.agent.config.training
        if agent.steps < agent.learning_starts or agent.steps == before:
            return
        self.owed_updates += (agent.steps - before) * training.updates_per_step
        if before < agent.learning_starts <= training.initial_random_steps:
            self.owed_updates += training.catch_up_updates
        while self.owed_updates >= 1 and len(self.collector.replay) > 0:
            self.owed_updates -= 1
            if (count := self.threads.adapt()) is not None:
                self.bar.told(threads=count)
            self.metrics |= agent.updater.update(self._sample(training.batch_size), self._sample)
            if agent.updates % self.options.log_every == 0:
                self._log()
            self.bar.refresh()

    def _sample(self, size: int) -> Batch:
        return self.collector.replay.sample(size).to(self.agent.device)

    # --- losses ---------------------------------------------------------------------------------------------------

    def _log(self) -> None:
        values = self._check_losses()
        if self.folder is not None:
            self.folder.log_metrics(self.agent.steps, self.agent.updates, values)

    def _check_losses(self) -> dict[str, float]:
        """Read the latest value of every metric: what the loop waits for the device for, and only every so often."""
        values = {name: float(value) for name, value in self.metrics.items()}
        for name, value in values.items():
            if not np.isfinite(value):
                raise self._broken(f"{name} became {value}")
        return values

    def _checked_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The agent's state, which is never saved with weights that are not finite."""
        self._check_losses()
        tensors, state = self.agent.state()
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise self._broken(f"{name} holds numbers that are not finite")
        return tensors, state

    def _broken(self, what: str) -> FovealError:
        return FovealError(
            f"{what} at update {self.agent.updates}, agent step {self.agent.steps}; training stopped, {self._kept()}. "
            "Lower the learning rate, or look for extreme rewards"
        )

    def _kept(self) -> str:
        if self.folder is None or not self.folder.store.steps():
            return "nothing was saved before"
        return f"the last checkpoint is {self.folder.store.path(self.folder.store.steps()[-1])}"

    # --- evaluation and checkpoints -------------------------------------------------------------------------------

    def _keep(self, before: int) -> None:
        """Evaluate and save where that is due."""
        if self.evaluates and self._due(before, self.options.evaluate_every):
            self._check_losses()
            self._evaluate()
        if self.folder is not None and self._due(before, self.options.checkpoint_every):
            self._save(self.folder)

    def _finish(self) -> None:
        """Save what came after the last checkpoint."""
        if self.folder is not None:
            if self.agent.updates % self.options.log_every:
                self._log()
            self._save(self.folder)

    def _due(self, before: int, every: int) -> bool:
        return every > 0 and before // every != self.agent.steps // every

    def _rehearse(self) -> None:
        options = self.options
        names, seed = list(options.evaluate_on), self.evaluation_seed
        plan_for(self.agent, names, seed=seed, data=options.data, env=self.agent.env).rehearse()

    def _evaluate(self) -> None:
        with _global_randomness_kept():
            results = evaluate(
                self.agent,
                list(self.options.evaluate_on),
                self.options.evaluate_episodes,
                seed=self.evaluation_seed,
                data=self.options.data,
                env=None if isinstance(self.agent.env, str) else self.agent.env,
                progress=False,
            )
        mean = results.conditions[0].summary["mean"]
        self.bar.told(test=mean)
        improved = mean > self.best_return
        self.best_return = max(mean, self.best_return)
        if self.folder is not None:
            self.folder.log_evaluation(self.agent.steps, results)
            if improved:
                self.folder.store.save_best(*self._checked_state())
        for callback in self.callbacks:
            callback.on_evaluation(self, results)

    def _save(self, folder: RunFolder) -> None:
        if folder.store.steps()[-1:] == [self.agent.steps]:
            return
        tensors, state = self._checked_state()
        more, state["run"] = checkpoint.split(self._run_state(), "run")
        segments = self.collector.replay.segments()
        path = folder.store.save(self.agent.steps, {**tensors, **more}, state, segments=segments)
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _run_state(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "target": self.target,
            "collector": self.collector.state(),
            "owed_updates": self.owed_updates,
            "best_return": float(self.best_return) if np.isfinite(self.best_return) else None,
            "metrics": self.metrics,
            "global_random": checkpoint.global_random_state(),
        }

    def _load_state(self, held: checkpoint.Checkpoint) -> None:
        state = checkpoint.join(held.tensors, held.state["run"])
        self.target = state["target"]
        self.owed_updates = state["owed_updates"]
        self.best_return = -np.inf if state["best_return"] is None else state["best_return"]
        self.metrics = state["metrics"]
        checkpoint.load_global_random_state(*state["global_random"])
        if not self.collector.load_state(state["collector"], held.segments):
            print("this environment can't be saved: the episode that was running starts again")


@contextmanager
def _global_randomness_kept() -> Iterator[None]:
    """Environments of the user's own may draw from the generators that belong to nobody; training must not notice."""
    held = checkpoint.global_random_state()
    try:
        yield
    finally:
        checkpoint.load_global_random_state(*held)
