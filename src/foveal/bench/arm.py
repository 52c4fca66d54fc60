"""Cells of the arm: what a method is made of, and every setting that decides what comes of it.

HRL-BC and what it is compared with, Strudel et al., "Learning to combine primitive skills: a step towards versatile
robotic manipulation" (2020): demonstrations, skills cloned from them, and a master that learns which skill is next.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.registry import nearest
from foveal.skills.config import CloneConfig, MasterConfig, clone_config, master_config
from foveal.skills.demos import DemoOptions, demo_options

SKILLS = "skills"
"""The learner of these cells, in suites and ledgers."""
TASKS = "ur5e/"
"""What the ids of their tasks begin with."""


@dataclass(frozen=True)
class Recipe:
    """How a method comes from demonstrations.

    Attributes:
        order: of skills in the demonstrations, see ``DemoOptions``.
        flat: whether the whole task is cloned as one skill.
        master: whether PPO chooses among skills; else they follow the script.
    """

    order: str
    flat: bool = False
    master: bool = False


METHODS = {
    "hrl-bc": Recipe("random", master=True),
    "script": Recipe("random"),
    "flat-bc": Recipe("random", flat=True),
    "flat-bc-ordered": Recipe("script", flat=True),
}
"""By name; ``docs/skills.md`` says more of each."""
SECTIONS = ("demos", "skills", "master")
"""Of settings, as the commands are called that take them."""


def recipe_of(method: str) -> Recipe:
    """What a method is made of.

    Raises:
        FovealError: the arm has no such method.
    """
    if method not in METHODS:
        raise FovealError(f"unknown method {method!r} of the arm: {nearest(method, list(METHODS))}")
    return METHODS[method]


@dataclass(frozen=True)
class Making:
    """All that decides what a cell makes, apart from its task.

    Attributes:
        recipe: of the method.
        demos, skills, master: how each is made.
        seed: of everything random.
    """

    recipe: Recipe
    demos: DemoOptions
    skills: CloneConfig
    master: MasterConfig
    seed: int

    @classmethod
    def of(cls, method: str, preset: str, seed: int, sections: Mapping[str, Mapping[str, Any]]) -> Making:
        """A method with the settings of a preset, and with others by section.

        Raises:
            FovealError: a name is unknown, or a value can't be.
        """
        for section, values in sections.items():
            if section not in SECTIONS:
                name = ".".join(filter(None, [section, *list(values)[:1]]))
                raise FovealError(f"the arm has no setting {name!r}: its own begin with demos., skills. or master.")
        recipe = recipe_of(method)
        for name in ("order", "seed"):
            if name in sections.get("demos", {}):
                raise FovealError(f"leave demos.{name} out: the {'method' if name == 'order' else 'suite'} decides it")
        demos = {**sections.get("demos", {}), "order": recipe.order, "seed": seed}
        return cls(
            recipe,
            demo_options(preset, demos),
            clone_config(preset, sections.get("skills")),
            master_config(preset, sections.get("master")),
            seed,
        )

    def demos_in(self, shared: Path) -> Path:
        """Where demonstrations are that all cells of a task with these settings and this seed share.

        Args:
            shared: folder of what cells of the task share.
        """
        return shared / f"seed-{self.seed}" / f"demos-{self.recipe.order}-{_digest(self.demos)}" / "demos"

    def skills_in(self, shared: Path) -> Path:
        """The run that cloned the skills, of the same."""
        return shared / f"seed-{self.seed}" / f"skills-{_digest(self.demos, self.skills)}" / "run"


def _digest(*settings: Any) -> str:
    """Tells settings apart in a name."""
    text = json.dumps([asdict(each) for each in settings], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]
