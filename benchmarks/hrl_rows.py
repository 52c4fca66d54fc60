"""The rows of evidence on the arm: which there are, and what may be chosen about one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.config.bounds import Anything, Bounded, at_least, one_of
from foveal.errors import FovealError
from foveal.skills.augmentation import AugmentationPolicy, read_augmentation
from foveal.skills.conditions import CONDITIONS, EVENTS, USUAL
from foveal.skills.config import master_config
from foveal.skills.demos import demo_options, task_of

ROWS = {
    "hrl-bc": "cloned skills, PPO chooses them; the likeliest is done",
    "hrl-bc-drawn": "the same master, its skills drawn as likely as it says",
    "script": "cloned skills in the order that solves the task, again and again",
    "replan": "cloned skills, a rule that sees the true state chooses them: the most that a master could make of them",
    "random": "cloned skills, chance chooses them",
    "oracle": "scripted experts, PPO chooses them from the simulator's state",
    "replan-experts": "scripted experts, a rule that sees the true state chooses them: the ceiling of everything",
    "flat-bc": "the whole task cloned as one skill, from the same demonstrations by the same network",
    "flat-bc-ordered": "the same, from as many demonstrations in the order that solves the task",
    "ppo": "PPO from scratch on every control step",
    "ppo-shaped": "the same, guided by a potential of the true state",
    "ppo-from-bc": "PPO on every control step that starts from flat-bc-ordered",
}
DEMO_STEPS = {"pick": 130, "bowl": 250, "tower": 250, "breakfast": 1190}
"""Mean length of a demonstration of the preset ``compact``, control steps, of one seed or another."""
TRAINING = "training"
PRESETS = {"paper": 485_000, "compact": None, "debug": 16}
"""Simulator steps of PPO from scratch, where they do not follow from the task: see ``steps_from_scratch``."""


@dataclass(frozen=True)
class RowOptions(Bounded, section="hrl"):
    """Demonstrations, skills, master and success rate; or what that is compared with.

    Attributes:
        task: ur5e/bowl, ur5e/pick and so on.
        row: the method (see above).
        seed: of everything random but the evaluation's episodes, which are the same for all.
        preset: paper, compact or debug.
        episodes: of each condition that is another look at the task.
        paired: of training, and of each condition in which the world changes during the episode: rows are compared
            there.
        on: conditions to evaluate under: training, far_starts, moved_camera, noisy_depth, structured_light, cube_moved,
            cube_knocked, goal_moved, camera_covered, object_added.
        demonstrations: how many, instead of the preset's; cloning then takes as many batches all the same.
        augment: JSON file that augmentation_search.py wrote, or none; by default the preset's.
        work: demonstrations, skills and masters, which rows of the same task and seed share.
        out: folder for results, one JSON file for each row. Conditions that are there already are kept.
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
    paired: Annotated[int, at_least(1)] = 100
    on: Annotated[tuple[str, ...], one_of(*CONDITIONS)] = USUAL
    demonstrations: Annotated[int | None, at_least(1)] = None
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

    @property
    def counted(self) -> str:
        """What names end with, where the number of demonstrations is not the preset's."""
        return "" if self.demonstrations is None else f"-{self.demonstrations}"

    @property
    def name(self) -> str:
        """Of the row's file."""
        return f"{task_of(self.task)}-{self.row}{self.counted}-{self.seed}"

    def episodes_of(self, condition: str) -> int:
        """How many are played under it."""
        return self.paired if condition in (TRAINING, *EVENTS) else self.episodes


def earlier(path: Path) -> dict[str, Any]:
    """What an earlier call of the same row found, by condition.

    Reports without a count of demonstrations are of versions whose demonstrations ended with success.
    """
    report = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(report["success"]) if "demonstrations" in report else {}


def steps_from_scratch(task: str, preset: str) -> int:
    """Of the simulator, for PPO without skills: those of the demonstrations and the master together.

    With ``paper``, those that the paper gives the master.
    """
    demos = demo_options(preset)
    return PRESETS[preset] or demos.episodes * DEMO_STEPS[task] + steps_of_master(preset)


def steps_of_master(preset: str) -> int:
    """Of the simulator, at most: what PPO that starts from cloning gets, beside the demonstrations."""
    master = master_config(preset)
    return min(PRESETS[preset] or 10**9, master.decisions * master.skill_steps)
