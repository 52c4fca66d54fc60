"""The folder of a training run: configuration, returns, evaluations, TensorBoard, checkpoints."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from foveal import checkpoint
from foveal.checkpoint import Checkpoint, CheckpointStore
from foveal.errors import FovealError
from foveal.evaluation.results import Results, write_text
from foveal.training.wandb_log import WandbLog

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CONFIG, EPISODES, EVALUATIONS = "config.yaml", "episodes.jsonl", "evaluations.jsonl"


class RunFolder:
    """The folder with everything that a run produces.

    ``config.yaml`` is the full configuration; ``episodes.jsonl`` has every training episode's return,
    ``evaluations.jsonl`` every evaluation with all its episodes; ``tensorboard/`` the curves; ``checkpoints/`` and
    ``best/`` the agent; ``wandb.json`` and ``wandb/`` are there where the curves go to Weights & Biases too.
    """

    def __init__(self, path: Path, kind: str) -> None:
        self.path = path
        self.store = CheckpointStore(path, kind=kind)
        self._writer: SummaryWriter | None = None
        self._wandb: WandbLog | None = None
        self._purge_step: int | None = None

    @classmethod
    def create(cls, path: Path, kind: str) -> RunFolder:
        """A new folder.

        Raises:
            FovealError: it exists and is not empty, or can't be made.
        """
        refuse_existing(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FovealError(f"can't make {path}: {error.strerror}; choose another run folder") from error
        return cls(path, kind)

    @classmethod
    def open(cls, path: Path, kind: str) -> RunFolder:
        """The folder of a run that exists.

        Raises:
            FovealError: there is none.
        """
        if not (path / CONFIG).is_file():
            raise FovealError(f"{path} is no run folder: it has no {CONFIG}")
        return cls(path, kind)

    def write_config(self, config: Mapping[str, Any], options: Any, steps: int) -> None:
        """Write the configuration, from which ``foveal train --config`` repeats the run.

        Args:
            config: of the agent, JSON-able.
            options: of the run, a dataclass.
            steps: agent steps at the end.

        Raises:
            FovealError: the folder can't be written.
        """
        settings = {**config, "steps": steps, "run": dataclasses.asdict(options)}
        write_text(self.path / CONFIG, yaml.safe_dump(json.loads(json.dumps(settings)), sort_keys=False))

    def open_wandb(self, project: str, config: Mapping[str, Any]) -> None:
        """Log to Weights & Biases as well, to the run there that this folder knows or to a new one.

        Raises:
            FovealError: the extra ``wandb`` is missing, or W&B refuses.
        """
        self._wandb = WandbLog(project, self.path, config)

    def rewind(self, step: int) -> None:
        """Delete what was logged after ``step``, which is about to happen again."""
        self._purge_step = step + 1
        for name in (EPISODES, EVALUATIONS):
            path = self.path / name
            if path.exists():
                kept = [line for line in _complete_lines(path) if json.loads(line)["step"] <= step]
                write_text(path, "".join(kept))

    def log_episode(self, step: int, stream: int, value: float) -> None:
        """Log the return of a training episode."""
        self._append(EPISODES, {"step": step, "environment": stream, "return": value})
        self._scalar("return/train_episode", value, step)

    def log_evaluation(self, step: int, results: Results) -> None:
        """Log an evaluation with every episode."""
        self._append(EVALUATIONS, {"step": step, **results.as_dict()})
        for condition in results.conditions:
            self._scalar(f"return/evaluation/{condition.perturbation}", condition.summary["mean"], step)
            for name, value in ({} if condition.attention is None else condition.attention.numbers).items():
                self._scalar(f"attention/evaluation/{condition.perturbation}/{name}", value, step)
        if self._wandb is not None:
            self._wandb.results(step, results)

    def log_metrics(self, step: int, update: int, values: Mapping[str, float]) -> None:
        """Log losses and other metrics."""
        self._scalar("updates", update, step)
        for name, value in values.items():
            self._scalar(name, value, step)

    @property
    def writer(self) -> SummaryWriter:
        """TensorBoard's writer, imported and opened when first needed."""
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(self.path / "tensorboard"), purge_step=self._purge_step)
        return self._writer

    def close(self) -> None:
        """Flush the curves."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._wandb is not None:
            self._wandb.close()
            self._wandb = None

    def _scalar(self, name: str, value: float, step: int) -> None:
        self.writer.add_scalar(name, value, step)
        if self._wandb is not None:
            self._wandb.scalar(name, value, step)

    def _append(self, name: str, record: Mapping[str, Any]) -> None:
        try:
            with (self.path / name).open("a") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise FovealError(f"can't write to {self.path / name}: {error.strerror}; make room and resume") from error


def refuse_existing(path: Path) -> None:
    """Refuse a run folder that is not empty.

    Raises:
        FovealError: it exists and is not an empty folder.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        other = f", or continue it: foveal train --resume {path}" if (path / CONFIG).is_file() else ""
        raise FovealError(f"{path} exists already: choose another folder{other}")


def kind_of(path: str | Path) -> str:
    """The kind of what was saved in a folder, or of a run's newest checkpoint; empty where there is neither."""
    store = CheckpointStore(path)
    places = [Path(path), *(store.path(step) for step in reversed(store.steps()))]
    return next((kind for place in places if (kind := checkpoint.kind_of(place)) is not None), "")


def ended(path: str | Path) -> bool:
    """Whether a run has come to its end, or the folder holds an agent or a policy that was saved."""
    config, steps = Path(path) / CONFIG, CheckpointStore(path).steps()
    if not config.is_file():
        return checkpoint.kind_of(Path(path)) is not None
    return bool(steps) and steps[-1] >= int(yaml.safe_load(config.read_text(encoding="utf-8"))["steps"])


def stored(folder: Path, kind: str) -> Checkpoint:
    """What was saved in a folder, or a run's newest good checkpoint, without replay memory.

    Raises:
        FovealError: there is none, it is of another kind or damaged, or the run has no checkpoint yet.
    """
    store = CheckpointStore(folder, kind=kind)
    if not store.folder.is_dir() and not (folder / CONFIG).is_file():
        return checkpoint.load(folder, kind=kind)
    latest = store.latest(segments=False)  # replay is of no use for acting, and may be large
    if latest is None:
        raise FovealError(f"{folder} is a run without a checkpoint yet; let it train further")
    return latest


def read_records(path: Path) -> list[dict[str, Any]]:
    """The records of a ``.jsonl`` file of a run, without a last line that a kill cut short."""
    return [json.loads(line) for line in _complete_lines(path)] if path.exists() else []


def read_metrics(run: Path) -> dict[str, list[tuple[int, float]]]:
    """What a run logged of losses and other metrics: (step, value) by name; nothing where there are no curves."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    if not (run / "tensorboard").is_dir():
        return {}
    events.Reload()
    return {name: [(event.step, event.value) for event in events.Scalars(name)] for name in events.Tags()["scalars"]}


def _complete_lines(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
