"""Rows of evidence: one method on one task with one seed, from nothing to a success rate, in one call.

    python benchmarks/hrl.py ur5e/bowl --row hrl-bc --seed 0 --out hrl-results

What a row needs and another row of the same task and seed has made already, demonstrations and skills, is taken from
the folder in which that row left it. ``benchmarks/hrl_evidence.py`` makes tables and pictures of rows.
"""

# ruff: noqa: E402

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from foveal.cli import let_idle_threads_sleep

let_idle_threads_sleep()  # before PyTorch is imported, as the command line does

import numpy as np
import tyro
import yaml
from filming import film
from numpy.typing import NDArray

from foveal.allocator import keep_freed_memory
from foveal.checkpoint import CheckpointStore
from foveal.config.bounds import Anything, Bounded, at_least, one_of
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.errors import FovealError
from foveal.evaluation.statistics import SuccessRate
from foveal.loading import resume
from foveal.skills import seeds
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import Arms, ArmSettings, for_policy
from foveal.skills.augmentation import AugmentationPolicy, read_augmentation
from foveal.skills.base import ArmPolicy
from foveal.skills.cloning import clone
from foveal.skills.conditions import CONDITIONS
from foveal.skills.config import as_dict, clone_config, master_config
from foveal.skills.demos import collect, demo_options, task_of
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.master import Master
from foveal.skills.minari import require_extra
from foveal.skills.policy import SkillPolicy
from foveal.skills.rollouts import InOrder, Outcome, Plan, play, scripted
from foveal.skills.view import View
from foveal.skills.workers import Workers, available
from foveal.training.run_folder import CONFIG

Learned = TypeVar("Learned", bound=ActorCritic)
Trained = TypeVar("Trained", bound=ArmPolicy)

ROWS = {
    "hrl-bc": "cloned skills, PPO chooses them",
    "script": "cloned skills in the order that solves the task",
    "random": "cloned skills, chance chooses them",
    "oracle": "scripted experts, PPO chooses them from the simulator's state",
    "flat-bc": "the whole task cloned as one skill, from the same demonstrations",
    "flat-bc-ordered": "the same, from as many demonstrations in the order that solves the task",
    "ppo": "PPO from scratch on every control step",
}
DEMO_STEPS = {"pick": 112, "bowl": 228, "tower": 236, "breakfast": 1067}
"""Mean length of a demonstration of the preset ``compact``, control steps, of one seed or another."""
PRESETS = {"paper": 485_000, "compact": None, "debug": 16}
"""Simulator steps of PPO from scratch, where they do not follow from the task: see ``steps_from_scratch``."""
_TRIES = 10  # episodes that a film is looked for in


@dataclass(frozen=True)
class RowOptions(Bounded, section="hrl"):
    """Demonstrations, skills, master and success rate; or what that is compared with.

    Attributes:
        task: ur5e/bowl, ur5e/pick and so on.
        row: the method (see above).
        seed: of everything random but the evaluation's episodes, which are the same for all.
        preset: paper, compact or debug.
        episodes: of each condition.
        on: conditions to evaluate under: training, far_starts, moved_camera, noisy_depth.
        augment: JSON file that augmentation_search.py wrote, or none; by default the preset's.
        work: demonstrations, skills and masters, which rows of the same task and seed share.
        out: folder for results, one JSON file for each row.
        workers: processes; 0 takes as many as there are cores.
        films: also write an mp4 of the first episode that was solved and of the first that was not, if there are such.

    Raises:
        FovealError: an unknown name, a number out of range, or a file that holds no augmentation policy.
    """

    task: Annotated[
        str,
        Anything("task_of knows the tasks, with and without their prefix"),
        tyro.conf.Positional,
        tyro.conf.arg(metavar="ENV"),
    ]
    row: Annotated[str, one_of(*ROWS)] = "hrl-bc"
    seed: Annotated[int, at_least(0)] = 0
    preset: Annotated[str, one_of(*PRESETS)] = "compact"
    episodes: Annotated[int, at_least(1)] = 50
    on: Annotated[tuple[str, ...], one_of(*CONDITIONS)] = tuple(CONDITIONS)
    augment: Path | None = None
    work: Path = Path("runs/hrl")
    out: Path = Path("results/hrl-bc")
    workers: Annotated[int, at_least(0)] = 0
    films: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        task_of(self.task)
        _ = self.augmentation
        if not self.on:
            raise FovealError(f"hrl.on is empty; choose some of {', '.join(CONDITIONS)}")

    @property
    def augmentation(self) -> AugmentationPolicy | None:
        """Of the skills' depth; None for the preset's."""
        return None if self.augment is None else read_augmentation(self.augment)


@dataclass(frozen=True)
class AtRandom:
    """Any skill, equally likely: a ``foveal.skills.rollouts.Plan``.

    Attributes:
        skills: how many there are.
    """

    skills: int

    def choose(self, arms: Arms, which: NDArray[np.int64], decision: int, seeds: Sequence[int]) -> NDArray[np.int64]:
        return np.array([np.random.default_rng([2, seed, decision]).integers(self.skills) for seed in seeds])


@dataclass(frozen=True)
class Contender:
    """Who acts in a row.

    Attributes:
        plan: which skill is next.
        actor: does the skills; None for the experts.
        arms: as it sees them.
        skill_steps: control steps between decisions.
        about: how it came about, JSON values.
    """

    plan: Plan
    actor: SkillPolicy | FlatPolicy | None
    arms: ArmSettings
    skill_steps: int
    about: dict[str, Any]


def run_row(options: RowOptions, told: Callable[[str], None] = print) -> Path:
    """Train what the row needs, evaluate it, and write what was found.

    Args:
        options: which row.
        told: of what is going on.

    Returns:
        The JSON file: options, success rates with intervals, every episode, learning curve, seconds.

    Raises:
        FovealError: the extra ``skills`` is missing, or a folder can't be written.
    """
    require_extra()
    row = _Row(options, told)
    contender = row.contender()
    trained = row.seconds
    found = {}
    with Workers(row.workers) as crew:
        for condition in options.on:
            outcomes = _evaluated(contender, condition, options.episodes, crew)
            rate = SuccessRate.of([outcome.success for outcome in outcomes])
            told(f"{options.row} on {row.task}, {condition}: {rate}")
            found[condition] = {**as_dict(rate), "outcomes": [as_dict(outcome) for outcome in outcomes]}
    report = {
        "task": row.task,
        "row": options.row,
        "method": ROWS[options.row],
        "seed": options.seed,
        "preset": options.preset,
        "success": found,
        "about": {**_augmentation(contender.actor), **contender.about},
        "seconds": {"before_evaluation": round(trained, 1), "in_all": round(row.seconds, 1)},
    }
    path = options.out / f"{row.task}-{options.row}-{options.seed}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    if options.films:
        _filmed(path, contender, found, told)
    return path


def steps_from_scratch(task: str, preset: str) -> int:
    """Of the simulator, for PPO without skills: those of the demonstrations and the master together.

    With ``paper``, those that the paper gives the master.
    """
    demos, master = demo_options(preset), master_config(preset)
    return PRESETS[preset] or demos.episodes * DEMO_STEPS[task] + master.decisions * master.skill_steps


def _augmentation(actor: SkillPolicy | FlatPolicy | None) -> dict[str, Any]:
    return {"augmentation": actor.config.augmentation} if isinstance(actor, SkillPolicy) else {}


def _filmed(path: Path, contender: Contender, found: dict[str, Any], told: Callable[[str], None]) -> None:
    """The first success and failure, in the order of the conditions, that end so again; beside the row's ``path``."""
    outcomes = [(name, outcome) for name in found for outcome in found[name]["outcomes"]]
    for ending, wanted in (("success", True), ("failure", False)):
        to = path.with_name(f"{path.stem}-{ending}.mp4")
        episodes = [(name, outcome["seed"]) for name, outcome in outcomes if outcome["success"] is wanted]
        for condition, seed in episodes[:_TRIES]:
            arms = _under(contender, condition)
            if film(to, arms, contender.plan, contender.actor, seed, contender.skill_steps, wanted=wanted):
                told(f"wrote {to}: {condition}, episode {seed}")
                break


def _evaluated(contender: Contender, condition: str, episodes: int, crew: Workers) -> list[Outcome]:
    chosen = range(seeds.EVALUATION, seeds.EVALUATION + episodes)
    return play(
        _under(contender, condition),
        contender.plan,
        contender.actor,
        chosen,
        skill_steps=contender.skill_steps,
        workers=crew,
    )


def _under(contender: Contender, condition: str) -> ArmSettings:
    randomization, noise = CONDITIONS[condition]
    return replace(contender.arms, randomization=randomization, noise=noise)


class _Row:
    """What a row makes on its way, and where it leaves it."""

    def __init__(self, options: RowOptions, told: Callable[[str], None]) -> None:
        self.options, self.told = options, told
        self.task = task_of(options.task)
        self.workers = options.workers or available()
        self.folder = options.work / f"{self.task}-{options.preset}-{options.seed}"
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the row began."""
        return time.monotonic() - self._begun

    def contender(self) -> Contender:
        row = self.options.row
        if row == "ppo":
            return self._from_scratch()
        if row == "oracle":
            return self._mastered(None)
        if row.startswith("flat-bc"):
            return self._ordered(self._skills(row, "script" if row.endswith("ordered") else "random", flat=True))
        policy = self._skills("skills", "random", flat=False)
        if row == "hrl-bc":
            return self._mastered(policy)
        if row == "random":
            return Contender(AtRandom(policy.skills), policy, for_policy(policy), SKILL_STEPS, {})
        return self._ordered(policy)

    def _ordered(self, policy: SkillPolicy) -> Contender:
        plan: InOrder = scripted(self.task, policy.skills)
        return Contender(plan, policy, for_policy(policy), SKILL_STEPS, {"order": list(plan.order)})

    def _skills(self, name: str, order: str, *, flat: bool) -> SkillPolicy:
        """Cloned here, or by an earlier row."""
        folder = self.folder / name
        if not folder.exists():
            demos = self._demos(order)
            self.told(f"cloning {'the whole task' if flat else 'skills'} from {demos}")
            chosen = self.options.augmentation
            config = clone_config(self.options.preset, {} if chosen is None else {"augmentation": chosen})
            clone(demos, config, seed=self.options.seed, flat=flat, workers=self.workers, run=folder, progress=True)
        return self._finished(folder, SkillPolicy)

    def _demos(self, order: str) -> Path:
        folder = self.folder / f"demos-{order}"
        done = folder / "complete"
        if done.exists():
            return folder
        if folder.exists():
            raise FovealError(f"{folder} holds demonstrations that were not finished: delete it")
        options = demo_options(self.options.preset, {"order": order, "seed": self.options.seed})
        self.told(f"collecting {options.episodes} demonstrations in {folder}")
        collect(self.task, folder, options, workers=self.workers, progress=True)
        done.touch()
        return folder

    def _mastered(self, policy: SkillPolicy | None) -> Contender:
        config = master_config(self.options.preset)
        folder = self.folder / ("oracle" if policy is None else "master")
        master = self._learned(folder, Master, lambda: Master(self.task, policy, config, self.options.seed))
        arms = ArmSettings(self.task, View(size=0)) if policy is None else for_policy(policy)
        return Contender(master, policy, arms, master.config.skill_steps, {"curve": master.curve})

    def _from_scratch(self) -> Contender:
        view = demo_options(self.options.preset).view
        config = flat_config(steps_from_scratch(self.task, self.options.preset))
        policy = self._learned(
            self.folder / "ppo", FlatPolicy, lambda: FlatPolicy(self.task, view, config, self.options.seed)
        )
        return Contender(InOrder((0,)), policy, ArmSettings(self.task, view), SKILL_STEPS, {"curve": policy.curve})

    def _learned(self, folder: Path, kind: type[Learned], new: Callable[[], Learned]) -> Learned:
        """Trained here, or by an earlier row."""
        if not folder.exists():
            self.told(f"training a {kind.what} in {folder}")
            new().learn(folder, workers=self.workers, progress=True)
        return self._finished(folder, kind)

    def _finished(self, folder: Path, kind: type[Trained]) -> Trained:
        """The policy of a run, which goes on where an earlier row was stopped."""
        config = folder / CONFIG
        if config.is_file():  # a run, and not a policy that an earlier version saved
            done = [0, *CheckpointStore(folder).steps()][-1]
            if done < yaml.safe_load(config.read_text())["steps"]:
                self.told(f"going on with {folder}")
                resume(folder).train()
        self.told(f"policy of {folder}")
        return kind.load(folder)


def main(arguments: Sequence[str]) -> None:
    """Run a row, and say where its results are."""
    rows = "\n\n".join(f"{name}: {text}" for name, text in ROWS.items())
    description = f"Demonstrations, skills, master and success rate, or what that is compared with.\n\n{rows}"
    keep_freed_memory()  # as the command line does
    try:
        path = run_row(tyro.cli(RowOptions, args=arguments, description=description))
    except FovealError as error:
        sys.exit(f"error: {error}")
    print(f"wrote {path}")


if __name__ == "__main__":
    main(sys.argv[1:])
