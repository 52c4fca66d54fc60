"""The work of a cell of the arm: demonstrations, skills, a master; each made once, and gone on with after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import torch

from foveal.bench.cells import RUN
from foveal.bench.jobs import Job
from foveal.bench.stages import SHARES, Tell, Watch, made_once, trained
from foveal.errors import FovealError
from foveal.skills.cloning import clone
from foveal.skills.demos import DemoOptions, collect, collected
from foveal.skills.master import Master
from foveal.skills.minari import open_demos, require_extra
from foveal.skills.policy import SkillPolicy
from foveal.training.run_folder import ended

SHOWN, CLONED = 0.2, 0.5
"""Of a cell's work, about, with the demonstrations and with the skills of a master: see ``SHARES``."""


def train(job: Job, tell: Tell) -> None:
    """Make a cell's policy, as far as it is missing.

    Demonstrations and skills are shared with other cells of the same task, seed and settings: what one of them is
    making, this one waits for.

    Raises:
        FovealError: training is impossible, or a loss is not finite.
        KeyboardInterrupt: after Ctrl-C; the same call goes on.
    """
    run, recipe, maker = job.folder / RUN, job.making().recipe, Maker(job, tell)
    if ended(run):
        return
    if recipe.flat:
        maker.clone(run)
    elif recipe.master:
        maker.master(run)
    else:
        maker.skills().save(run)


class Maker:
    """Makes the parts of a cell.

    Args:
        job: the cell's.
        tell: told how far it is.
    """

    def __init__(self, job: Job, tell: Tell) -> None:
        self.task, self.shared, self.making, self.tell = job.task, job.shared, job.making(), tell

    def demonstrations(self) -> Path:
        """Their folder, all of them in it."""
        folder, options = self.making.demos_in(self.shared), self.making.demos

        def finished(count: int) -> None:
            self.tell("demonstrations", SHOWN * count / options.episodes)

        def make() -> None:
            demonstrations(self.task, folder, options, workers(), finished)

        self._once(folder, lambda: collected(folder, options), make)
        return folder

    def clone(self, run: Path) -> None:
        """Clone into a run's folder, which is this cell's own or held by it."""
        demos, making = self.demonstrations(), self.making
        watch = Watch(self.tell, "skills", SHOWN, CLONED if making.recipe.master else SHARES["training"])
        seed, flat, count = making.seed, making.recipe.flat, workers()

        def begin() -> None:
            clone(demos, making.skills, seed=seed, flat=flat, workers=count, run=run, callbacks=[watch], progress=True)

        trained(run, begin, watch)

    def skills(self) -> SkillPolicy:
        """Cloned by this cell or by another."""
        run = self.making.skills_in(self.shared)
        self._once(run, lambda: ended(run), lambda: self.clone(run))
        return SkillPolicy.load(run)

    def master(self, run: Path) -> None:
        """Learn, in a run's folder, which skill is next."""
        skills, making = self.skills(), self.making
        watch = Watch(self.tell, "master", CLONED, SHARES["training"])

        def begin() -> None:
            master = Master(skills.task, skills, making.master, making.seed)
            master.learn(run, workers=workers(), callbacks=[watch], progress=True)

        trained(run, begin, watch)

    def _once(self, folder: Path, there: Callable[[], bool], make: Callable[[], None]) -> None:
        made_once(folder.parent, there, make, lambda: self.tell("waits for another cell", 0.0))


def workers() -> int:
    """Processes for simulated arms: as many as this one has threads, which is its share of the cores."""
    return torch.get_num_threads()


def demonstrations(
    task: str,
    folder: Path,
    options: DemoOptions,
    workers: int,
    finished: Callable[[int], None] = lambda demonstrations: None,
) -> None:
    """Collect what is missing of demonstrations; those that a kill has made unreadable are collected anew.

    Args:
        task, folder, options, workers, finished: see ``foveal.skills.demos.collect``.

    Raises:
        FovealError: they were begun with other options, or the extra is missing.
    """
    require_extra()  # without which nothing can be read
    if collected(folder, options):
        return
    begun = _readable(folder)
    if not begun:
        shutil.rmtree(folder, ignore_errors=True)
    collect(task, folder, options, workers=workers, progress=True, resume=begun, finished=finished)


def _readable(folder: Path) -> bool:
    """Whether all that a folder says to have of demonstrations is there."""
    try:
        return sum(1 for _ in open_demos(folder)) > 0
    except FovealError:
        return False
