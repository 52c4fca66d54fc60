"""Training an Atari agent: PPO in a loop that keeps everything on disk and goes on after a kill."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from foveal import checkpoint
from foveal.atari.agent import KIND, AtariAgent, restore
from foveal.atari.evaluation import evaluate
from foveal.atari.vector import AtariVector, finished_games
from foveal.bounds import Bounded, at_least
from foveal.config import changed
from foveal.errors import FovealError
from foveal.progress import Interruption, Progress
from foveal.results import Results
from foveal.threads import Threads
from foveal.training import VALIDATION_SEED_OFFSET
from foveal.training.run_folder import RunFolder, refuse_existing


@dataclass(frozen=True)
class AtariRunOptions(Bounded, section="run"):
    """What happens beside learning. Steps are agent steps, counted over all games.

    Attributes:
        evaluate_every: steps between evaluations, 0 for none: training plays whole games with the same policy already,
            and their scores are kept.
        evaluate_episodes: games per evaluation.
        checkpoint_every: steps between checkpoints, 0 for one at the end alone. With a run folder.
        log_every: updates between lines of the log.
        adapt_threads: train with fewer threads while other programs keep cores busy, on a CPU. Where OMP_NUM_THREADS is
            set, that many are taken. Rounding depends on their number.

    Raises:
        FovealError: a number is out of range.
    """

    evaluate_every: Annotated[int, at_least(0)] = 0
    evaluate_episodes: Annotated[int, at_least(1)] = 10
    checkpoint_every: Annotated[int, at_least(0)] = 100_000
    log_every: Annotated[int, at_least(1)] = 1
    adapt_threads: bool = True

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any]) -> AtariRunOptions:
        """Defaults with some changed; unknown ones raise FovealError."""
        return changed(cls(), settings, "run")


class AtariCallback:
    """Hooks into training; subclass and override what you need."""

    def on_update(self, trainer: AtariTrainer) -> bool | None:
        """After each update; return False to stop training."""

    def on_evaluation(self, trainer: AtariTrainer, results: Results) -> None:
        """After an evaluation."""

    def on_checkpoint(self, trainer: AtariTrainer, folder: Path) -> None:
        """After a checkpoint has been written."""


class AtariTrainer:
    """One training run of an Atari agent, for one call of ``train``.

    Args:
        agent: what learns; its counters and its optimizer go on from where they are.
        options: how often to evaluate, save and log.
        run: a new folder, or None.
        callbacks: hooks.
        progress: show a bar.

    Raises:
        FovealError: the folder exists already.
    """

    def __init__(
        self,
        agent: AtariAgent,
        options: AtariRunOptions | None = None,
        *,
        run: str | Path | None = None,
        callbacks: Sequence[AtariCallback] = (),
        progress: bool = True,
    ) -> None:
        self.agent = agent
        self.options = options or AtariRunOptions()
        self.callbacks = list(callbacks)
        self.progress = progress
        self.run = None if run is None else Path(run)
        if self.run is not None:
            refuse_existing(self.run)
        self.folder: RunFolder | None = None
        self.target = agent.steps
        self.best_score = -np.inf
        self.metrics: dict[str, float] = {}
        self.closed = False
        ppo = agent.config.ppo
        # What one call of ``learn`` plays differs from what the one before it played.
        self.env = AtariVector(agent.env_id, ppo.environments, agent.seed + agent.steps, life_loss=ppo.life_loss)
        agent.ppo.begin()

    @classmethod
    def resume(cls, run: str | Path, *, callbacks: Sequence[AtariCallback] = (), progress: bool = True) -> AtariTrainer:
        """The trainer of a run folder, as it was at its last good checkpoint.

        The games that were running are played again up to where they were.

        Raises:
            FovealError: no such run, or all its checkpoints are damaged.
        """
        folder = RunFolder.open(Path(run), KIND)
        held = folder.store.latest()
        if held is None:
            raise FovealError(f"{run} has no checkpoint to resume from; delete the folder and start again")
        options = AtariRunOptions.from_settings(held.state["run"]["options"])
        trainer = cls(restore(held), options, callbacks=callbacks, progress=progress)
        trainer.folder = folder
        trainer._load_state(held)
        folder.rewind(trainer.agent.steps)
        return trainer

    # --- the loop -------------------------------------------------------------------------------------------------

    def train(self, steps: int | None = None) -> None:
        """Train for ``steps`` more agent steps, or up to the target of the run that was resumed.

        Ctrl-C ends training after the running update, with a checkpoint, and raises KeyboardInterrupt then.

        Raises:
            FovealError: a loss is not finite, or a checkpoint can't be written. The last checkpoint stays.
        """
        if self.closed:
            raise FovealError("this trainer has trained already; make another one, or call agent.learn")
        if steps is not None and steps < 1:
            raise FovealError(f"training takes at least 1 more agent step, not {steps}")
        self.target = self.target if steps is None else self.agent.steps + steps
        if self.run is not None and self.folder is None:
            self.folder = RunFolder.create(self.run, KIND)
        if self.folder is not None:
            self.folder.write_config(self.agent.config.as_dict(), self.options, self.target)
        threads = Threads(adapt=self.options.adapt_threads and self.agent.device.type == "cpu")
        try:
            with Progress(self.agent.steps, self._end(), visible=self.progress) as self.bar, Interruption() as stop:
                self.agent.ppo.total = self.target
                wanted = True
                while wanted and self.agent.steps < self.target and not stop.asked:
                    if (count := threads.adapt()) is not None:
                        self.bar.show(threads=count)
                    self._iterate()
                    answers = [callback.on_update(self) for callback in self.callbacks]
                    wanted = all(answer is None or answer for answer in answers)
                self._save()
            stop.raise_if_asked()
        finally:
            threads.restore()
            self.close()

    def close(self) -> None:
        """Let go of the emulators and the log."""
        self.closed = True
        self.env.close()
        if self.folder is not None:
            self.folder.close()

    def _end(self) -> int:
        """The first whole rollout's end at or beyond the target."""
        left = max(0, self.target - self.agent.steps)
        return self.agent.steps + -(-left // self._rollout) * self._rollout

    @property
    def _rollout(self) -> int:
        """Agent steps between updates, of all games."""
        ppo = self.agent.config.ppo
        return ppo.environments * ppo.rollout

    def _iterate(self) -> None:
        """One rollout of every game and the update on it."""
        agent, ppo, before, start = self.agent, self.agent.ppo, self.agent.steps, time.monotonic()
        ppo.collect(self.env, self._note_games)
        collected = time.monotonic()
        metrics = ppo.update()
        self.metrics = {name: float(value) for name, value in metrics.items()}  # waits for the device
        end = time.monotonic()
        self.metrics |= {"train/learning_rate": ppo.learning_rate, "train/clip_range": ppo.clip}
        self.metrics["time/steps_per_second"] = (agent.steps - before) / (end - start)
        self.metrics["time/rollout_share"] = (collected - start) / (end - start)
        self._check()
        if self.folder is not None and self._due(before, self._rollout * self.options.log_every):
            self.folder.log_metrics(agent.steps, agent.updates, self.metrics)
        if self._due(before, self.options.evaluate_every):
            self._evaluate()
        if self._due(before, self.options.checkpoint_every):
            self._save()
        self.bar.advance(agent.steps)

    def _note_games(self, infos: Mapping[str, Any]) -> None:
        """Keep the true score of every game that ended."""
        for index, score, _ in finished_games(infos):
            self.bar.show(train=score)
            if self.folder is not None:
                self.folder.log_episode(self.agent.steps, index, score)

    def _due(self, before: int, every: int) -> bool:
        return every > 0 and before // every != self.agent.steps // every

    def _check(self) -> None:
        """Refuse weights and losses that are not finite."""
        broken = [name for name in ("train/loss", "train/value_loss") if not np.isfinite(self.metrics[name])]
        weights = self.agent.policy.named_parameters()
        broken += [name for name, weight in weights if not bool(torch.isfinite(weight).all())]
        if broken:
            saved = [] if self.folder is None else self.folder.store.steps()
            kept = f"the last checkpoint is at step {saved[-1]}" if saved else "nothing was saved before"
            raise FovealError(
                f"{broken[0]} is not finite at agent step {self.agent.steps}; training stopped, {kept}. "
                "Lower the learning rate"
            )

    # --- evaluation and checkpoints -------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        acting = self.agent.acting.get_state()  # training must not notice
        seed = self.agent.seed + VALIDATION_SEED_OFFSET
        results = evaluate(self.agent, self.options.evaluate_episodes, seed, progress=False)
        self.agent.acting.set_state(acting)
        mean = results.conditions[0].summary["mean"]
        self.bar.show(test=mean)
        improved, self.best_score = mean > self.best_score, max(mean, self.best_score)
        if self.folder is not None:
            self.folder.log_evaluation(self.agent.steps, results)
            if improved:
                self.folder.store.save_best(*self.agent.state())
        for callback in self.callbacks:
            callback.on_evaluation(self, results)

    def _save(self) -> None:
        if self.folder is None or self.folder.store.steps()[-1:] == [self.agent.steps]:
            return
        tensors, state = self.agent.state()
        more, state["run"] = checkpoint.split(self._run_state(), "run")
        path = self.folder.store.save(self.agent.steps, {**tensors, **more}, state)
        for callback in self.callbacks:
            callback.on_checkpoint(self, path)

    def _run_state(self) -> dict[str, Any]:
        return {
            "options": dataclasses.asdict(self.options),
            "target": self.target,
            "games": self.env.state(),
            "best_score": float(self.best_score) if np.isfinite(self.best_score) else None,
        }

    def _load_state(self, held: checkpoint.Checkpoint) -> None:
        state = checkpoint.join(held.tensors, held.state["run"])
        self.target = state["target"]
        self.best_score = -np.inf if state["best_score"] is None else state["best_score"]
        if not self.env.load_state(state["games"]):
            print("this version of ale-py plays the saved games differently: they start again")
        self.agent.ppo.begin(self.env.observation)
