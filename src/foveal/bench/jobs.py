"""What a worker needs to know of a cell, in one file of the cell's folder: ``job.json``."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from foveal.bench.cells import RUN, Cell, cell_folder
from foveal.config.tree import Config, changed, configure
from foveal.errors import FovealError
from foveal.evaluation.results import write_json
from foveal.shield.config import ShieldConfig
from foveal.training import RunOptions

JOB = "job.json"
FORMAT = "foveal.job/1"
SHIELD = "shield"
FREE = ("out", "data", "plugins", "slim")
"""Fields in which a second call may differ from the first: they change no result's meaning."""


@dataclass(frozen=True)
class Job:
    """All of one cell's work.

    Attributes:
        out: folder of the ledger.
        suite, task, learner, method, seed, steps: as in ``Cell``.
        composed: the method as ``foveal train`` takes it; ``method`` is the ledger's name, of a variant for one.
        preset, encoder: as ``foveal train`` takes them.
        settings: of the training, ``"training.batch_size": 64`` by section, and ``"evaluate_every": 0`` of the run.
        conditions, episodes: of the final evaluation.
        quality: of rendering then; None for that of the training.
        data: folder of the benchmark's data, or None.
        shield: settings of the shield to be trained for the policy; None for no shield.
        plugins: modules to import first.
        slim: delete the run's folder once everything is evaluated.
    """

    out: str
    suite: str
    task: str
    learner: str
    method: str
    seed: int
    steps: int
    composed: str
    preset: str
    conditions: tuple[str, ...]
    episodes: int
    encoder: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    quality: str | None = None
    data: str | None = None
    shield: dict[str, Any] | None = None
    plugins: tuple[str, ...] = ()
    slim: bool = False

    @property
    def folder(self) -> Path:
        """The cell's."""
        return cell_folder(Path(self.out), self.suite, self.task, self.learner, self.method, self.seed)

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.task} {self.learner}-{self.method} seed {self.seed}"

    def config(self) -> Config:
        """Of the agent.

        Raises:
            FovealError: a name is unknown, or a setting can't be.
        """
        sections: dict[str, dict[str, Any]] = {}
        for name, value in self.settings.items():
            section, _, key = name.rpartition(".")
            if section:
                sections.setdefault(section, {})[key] = value
        return configure(self.task, self.composed, self.learner, self.preset, self.seed, sections, encoder=self.encoder)

    def run_options(self, usual: RunOptions) -> RunOptions:
        """Of the training, where ``usual`` is what that kind of training starts from."""
        return RunOptions.from_settings(
            {name: value for name, value in self.settings.items() if "." not in name}, usual
        )

    def shield_config(self) -> ShieldConfig:
        """Of the shield, where there is to be one."""
        return changed(ShieldConfig(), self.shield or {}, "shield")

    @property
    def command(self) -> str:
        """The ``foveal train`` that does the same training."""
        chosen = {"method": self.composed, "learner": self.learner, "preset": self.preset, "encoder": self.encoder}
        words = ["foveal", "train", self.task]
        words += [word for module in self.plugins for word in ("--import", module)]
        for name, value in {**chosen, "seed": self.seed, "steps": self.steps}.items():
            words += [] if value is None else [f"--{name}", str(value)]
        for name, value in self.settings.items():
            words += flag(name, value)
        return shlex.join([*words, "--out", str(self.folder / RUN)])

    def cell(self, **state: Any) -> Cell:
        """As the ledger has it, with how it stands."""
        shield = None if self.shield is None else SHIELD
        return Cell(
            self.suite, self.task, self.learner, self.method, self.seed, shield, self.steps, self.command, **state
        )

    def save(self) -> None:
        """Write ``job.json``.

        Raises:
            FovealError: the folder has the job of another grid already, or can't be written.
        """
        path = self.folder / JOB
        if path.exists():
            before = read_job(self.folder)
            if before == self:
                return
            self._refuse_another(before)
        write_json(path, {"format": FORMAT, **asdict(self)})

    def _refuse_another(self, before: Job) -> None:
        for entry in fields(self):
            old, new = getattr(before, entry.name), getattr(self, entry.name)
            if entry.name not in FREE and old != new:
                raise FovealError(
                    f"{self.folder} was begun with {entry.name} {old!r}, and this call has {new!r}: choose another "
                    "--out, or delete that folder"
                )


def flag(name: str, value: Any) -> list[str]:
    """The words of a setting on ``foveal train``'s command line."""
    section, dot, key = name.replace("_", "-").rpartition(".")
    if isinstance(value, bool):
        return [f"--{section}{dot}{'' if value else 'no-'}{key}"]
    values = value if isinstance(value, list | tuple) else [value]
    return [f"--{section}{dot}{key}", *(str(entry) for entry in values)]


def read_job(folder: Path) -> Job:
    """The job of a cell's folder, wherever its ledger is now.

    Raises:
        FovealError: there is none, or of another layout.
    """
    path = folder / JOB
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FovealError(f"can't read {path}: {error}") from error
    names = {entry.name for entry in fields(Job)}
    if not isinstance(state, Mapping) or state.get("format") != FORMAT or names - set(state):
        raise FovealError(f"{path} is no job of a benchmark of this version of foveal")
    values: dict[str, Any] = {name: state[name] for name in names}
    values["out"] = str(folder.absolute().parents[3])  # a ledger may have been moved
    for name in ("conditions", "plugins"):
        values[name] = tuple(values[name])
    values["settings"] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values["settings"].items()
    }
    return Job(**values)
