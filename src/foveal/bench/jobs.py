"""What a worker needs to know of a cell, in one file of the cell's folder: ``job.json``."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from foveal.bench.arm import SKILLS, Making
from foveal.bench.cells import RUN, SHARED, Cell, cell_folder, task_folder
from foveal.config.tree import Config, changed, configure
from foveal.errors import FovealError
from foveal.evaluation.results import read_json, write_json
from foveal.shield.config import ShieldConfig
from foveal.training import RunOptions

JOB = "job.json"
FORMAT = "foveal.job/1"
SHIELD = "shield"
FREE = ("out", "data", "plugins", "slim")
"""Fields in which a second call may differ from the first: they change no result's meaning. The data may be in another
folder, but not be there in one call alone."""


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

    @property
    def of_arm(self) -> bool:
        """Whether it is a cell of the arm, which learns from demonstrations: ``foveal.bench.arm``."""
        return self.learner == SKILLS

    @property
    def shared(self) -> Path:
        """Folder of what cells of the arm share with others of the same task."""
        return task_folder(Path(self.out), self.suite, self.task) / SHARED

    @property
    def sections(self) -> dict[str, dict[str, Any]]:
        """The settings by section; those of the run, which have none, under ``""``."""
        found: dict[str, dict[str, Any]] = {}
        for name, value in self.settings.items():
            section, _, key = name.rpartition(".")
            found.setdefault(section, {})[key] = value
        return found

    def making(self) -> Making:
        """What a cell of the arm makes.

        Raises:
            FovealError: a name is unknown, or a setting can't be.
        """
        return Making.of(self.composed, self.preset, self.seed, self.sections)

    def config(self) -> Config:
        """Of the agent.

        Raises:
            FovealError: a name is unknown, or a setting can't be.
        """
        sections = {section: values for section, values in self.sections.items() if section}
        return configure(self.task, self.composed, self.learner, self.preset, self.seed, sections, encoder=self.encoder)

    def run_options(self, usual: RunOptions) -> RunOptions:
        """Of the training, where ``usual`` is what that kind of training starts from."""
        return RunOptions.from_settings(self.sections.get("", {}), usual)

    def shield_config(self) -> ShieldConfig:
        """Of the shield, where there is to be one."""
        return changed(ShieldConfig(), self.shield or {}, "shield")

    @property
    def command(self) -> str:
        """The ``foveal train`` that does the same training; of the arm several commands."""
        return " && ".join(map(shlex.join, self._of_the_arm() if self.of_arm else [self._train()]))

    def _train(self) -> list[str]:
        chosen = {"method": self.composed, "learner": self.learner, "preset": self.preset, "encoder": self.encoder}
        words = ["foveal", "train", self.task]
        words += [word for module in self.plugins for word in ("--import", module)]
        for name, value in {**chosen, "seed": self.seed, "steps": self.steps}.items():
            words += [] if value is None else [f"--{name}", str(value)]
        for name, value in self.settings.items():
            words += flag(name, value)
        return [*words, "--out", str(self.folder / RUN)]

    def _of_the_arm(self) -> list[list[str]]:
        """``foveal demos``, ``skills`` and maybe ``master``."""
        making, run = self.making(), self.folder / RUN
        demos, skills = making.demos_in(self.shared), run if making.recipe.flat else making.skills_in(self.shared)
        order, flat = ["--order", making.recipe.order], ["--flat"] * making.recipe.flat
        commands = [
            ["foveal", "demos", "collect", self.task, *self._chosen("demos"), *order, "--out", str(demos)],
            ["foveal", "skills", "train", str(demos), *self._chosen("skills"), *flat, "--out", str(skills)],
        ]
        if making.recipe.master:
            chosen = ["--skills", str(skills), *self._chosen("master")]
            commands.append(["foveal", "master", "train", self.task, *chosen, "--out", str(run)])
        return commands

    def _chosen(self, section: str) -> list[str]:
        """Flags of one of the arm's commands."""
        flags = [word for name, value in self.sections.get(section, {}).items() for word in flag(name, value)]
        return ["--preset", self.preset, "--seed", str(self.seed), *flags]

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
            lost = entry.name == "data" and (old is None) != (new is None)
            if lost or (entry.name not in FREE and old != new):
                raise FovealError(
                    f"{self.folder} was begun with {entry.name} {old!r}, and this call has {new!r}: choose another "
                    "--out, or delete that folder"
                )


def flag(name: str, value: Any) -> list[str]:
    """The words of a setting on the command line."""
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
    state = read_json(path)
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
