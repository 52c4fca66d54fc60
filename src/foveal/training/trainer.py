"""The loop around everything that learns: progress, Ctrl-C, logging, evaluation, checkpoints and callbacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal import checkpoint
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.progress import Interruption, Progress
from foveal.training.options import RunOptions
from foveal.training.run_folder import RunFolder, refuse_existing
from foveal.training.threads import Threads
from foveal.training.wandb_log import check_wandb
from foveal.training.work import Work


class Callback:
    """Hooks into training, to be overridden in a subclass."""

    def on_step(self, trainer: Trainer) -> bool | None:
        """After each step of all environments, or each rollout, and its updates; return False to stop training."""

    def on_evaluation(self, trainer: Trainer, results: Results) -> None:
        """After an evaluation."""

    def on_checkpoint(self, trainer: Trainer, folder: Path) -> None:
        """After a checkpoint has been written."""

    def on_end(self, trainer: Trainer) -> None:
        """After the last step."""


class Trainer:
    """One training run, for one call of ``train``.

    Args:
        work: the kind of training.
        options: how often to evaluate, save and log.
        run: a new folder, or None.
        callbacks: hooks.
        progress: whether to show a bar.

    Raises:
        FovealError: the folder exists already, an evaluation that was asked for is impossible, or curves are to go to
            Weights & Biases, whose package is missing.
    """

    def __init__(
        self,
        work: Work,
        options: RunOptions | None = None,
        *,
        run: str | Path | None = None,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> None:
        self.work = work
        work.visible = progress
        self.agent = work.agent
        self.options = options or RunOptions()
        self.callbacks = list(callbacks)
        self.progress = progress
        self.run = None if run is None else Path(run)
        if self.run is not None:
            refuse_existing(self.run)
        if self.options.wandb is not None:
            check_wandb()
        self.evaluates = self.options.evaluate_every > 0 and work.can_evaluate
        if self.evaluates:
            work.rehearse(self.options)
        self.target = work.steps
        self.best_return = -np.inf
        self.folder: RunFolder | None = None

    @classmethod
    def resumed(
        cls,
        work: Work,
        folder: RunFolder,
        saved: checkpoint.Checkpoint,
        *,
        callbacks: Sequence[Callback] = (),
        progress: bool = True,
    ) -> Trainer:
        """The trainer of a run folder as it was at a checkpoint; ``foveal.resume`` finds the latest.

        Args:
            work: around the agent of that checkpoint.
            folder: of the run.
            saved: the checkpoint.
        """
        options = RunOptions.from_settings(saved.state["run"]["options"])
        trainer = cls(work, options, callbacks=callbacks, progress=progress)
        trainer.folder = folder
        trainer._load_state(saved)
        folder.rewind(work.steps)
        return trainer

    # --- the loop -------------------------------------------------------------------------------------------------

    def train(self, steps: int | None = None) -> None:
        """Train for ``steps`` more agent steps, or up to the target of the run that was resumed.

        Ctrl-C ends training after the running step: a checkpoint is written, then KeyboardInterrupt raised.

        Raises:
            FovealError: a reward or a loss is not finite, or a checkpoint can't be written. The last checkpoint stays.
        """
        self._set_target(steps)
        self._open_folder()
        work = self.work
        self.threads = Threads(adapt=self.options.adapt_threads and work.device.type == "cpu")
        try:
            with self._bar() as self.bar, Interruption() as stop:
                work.begin(self.target)
                wanted = True
                while wanted and work.steps < self.target and not stop.asked:
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

    def _bar(self) -> Progress:
        work = self.work
        end = work.end(self.target)
        return Progress(work.steps, end, visible=self.progress, what=work.what, unit=work.unit)

    def close(self) -> None:
        """Close the environments, the log, and what training alone needs."""
        self.work.close()
        if self.folder is not None:
            self.folder.close()

    def _set_target(self, steps: int | None) -> None:
        if self.work.closed:
            raise FovealError("this trainer has trained already; make another one, or call agent.learn")
        if steps is None:
            return
        if steps < 1:
            raise FovealError(f"training takes at least 1 more agent step, not {steps}")
        self.target = self.work.steps + steps

    def _open_folder(self) -> None:
        if self.run is not None and self.folder is None:
            self.folder = RunFolder.create(self.run, self.work.kind)
        if self.folder is not None:
            settings = self.work.settings()
            self.folder.write_config(settings, self.options, self.target)
            if self.options.wandb is not None:
                self.folder.open_wandb(self.options.wandb, {**settings, "run": dataclasses.asdict(self.options)})
        elif self.options.wandb is not None:
            raise FovealError("curves go to Weights & Biases from a run's folder, which keeps the run's id: name one")

    def _step(self) -> None:
        """Collect, and learn from it."""
        work, before = self.work, self.work.steps
        try:
            episodes = work.collect()
        except FovealError as error:
            self._check_losses()  # broken weights explain more than what they did to the environment
            raise FovealError(f"{error}; {self._kept()}") from error
        for environment, value in episodes:
            self.bar.show(train=value)
            if self.folder is not None:
                self.folder.log_episode(work.steps, environment, value)
        self._adapt_threads()
        work.learn(self._after_update)
        self._keep(before)
        self.bar.advance(work.steps)

    def _after_update(self) -> None:
        if self.work.updates % self.options.log_every == 0:
            self._log()
        self._adapt_threads()
        self.bar.refresh()

    def _adapt_threads(self) -> None:
        if (count := self.threads.adapt()) is not None:
            self.bar.show(threads=count)

    # --- losses ---------------------------------------------------------------------------------------------------

    def _log(self) -> None:
        values = self._check_losses()
        if self.folder is not None:
            self.folder.log_metrics(self.work.steps, self.work.updates, values)

    def _check_losses(self) -> dict[str, float]:
        """Read the latest value of every metric, which waits for the device, and refuse what is not finite."""
        values = self.work.metrics()
        for name, value in values.items():
            if not np.isfinite(value):
                raise self._broken(f"{name} became {value}")
        return values

    def _checked_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """The agent's state, to be saved, if its weights are finite."""
        self._check_losses()
        tensors, state = self.work.agent_state()
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                raise self._broken(f"{name} holds numbers that are not finite")
        return tensors, state

    def _broken(self, what: str) -> FovealError:
        return FovealError(
            f"{what} at update {self.work.updates}, agent step {self.work.steps}; training stopped, {self._kept()}. "
            "Lower the learning rate, or look for extreme rewards"
        )

    def _kept(self) -> str:
        if self.folder is None or not self.folder.store.steps():
            return "nothing was saved before"
        return f"the last checkpoint is {self.folder.store.path(self.folder.store.steps()[-1])}"

    # --- evaluation and checkpoints -------------------------------------------------------------------------------

    def _keep(self, before: int) -> None:
        """Evaluate and save if that is due."""
        if self.evaluates and self._due(before, self.options.evaluate_every):
            self._check_losses()
            self._evaluate()
        if self.folder is not None and self._due(before, self.options.checkpoint_every):
            self._save(self.folder)

    def _finish(self) -> None:
        """Log and save what came after the last checkpoint."""
        if self.folder is not None:
            if self.work.updates % self.options.log_every:
                self._log()
            self._save(self.folder)

    def _due(self, before: int, every: int) -> bool:
        return every > 0 and before // every != self.work.steps // every

    def _evaluate(self) -> None:
        results = self.work.evaluate(self.options)
        mean = results.conditions[0].summary["mean"]
        self.bar.show(test=mean)
        improved = mean > self.best_return
        self.best_return = max(mean, self.best_return)
        if self.folder is not None:
            self.folder.log_evaluation(self.work.steps, results)
            if improved:
                self.folder.store.save_best(*self._checked_state())
        for callback in self.callbacks:
            callback.on_evaluation(self, results)

    def _save(self, folder: RunFolder) -> None:
        if folder.store.steps()[-1:] == [self.work.steps]:
            return
        tensors, state = self._checked_state()
        more, state["run"] = checkpoint.split(self._run_state(), "run")
        path = folder.store.save(self.work.steps, {**tensors, **more}, state, segments=self.work.segments())
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _run_state(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "target": self.target,
            "best_return": float(self.best_return) if np.isfinite(self.best_return) else None,
            **self.work.state(),
        }

    def _load_state(self, saved: checkpoint.Checkpoint) -> None:
        state = checkpoint.join(saved.tensors, saved.state["run"])
        self.target = state["target"]
        best = state.get("best_return", state.get("best_score"))  # its name for games in earlier versions
        self.best_return = -np.inf if best is None else best
        self.work.load_state(state, saved)
