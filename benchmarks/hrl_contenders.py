"""Who acts in a row of evidence: what a row needs is trained, or taken from where an earlier row has left it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from hrl_rows import RowOptions, steps_from_scratch, steps_of_master
from numpy.typing import NDArray

from foveal.bench.arm_cells import demonstrations
from foveal.bench.stages import trained
from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.machine.cores import available
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.base import ArmPolicy
from foveal.skills.cloning import clone
from foveal.skills.config import CloneConfig, clone_config, master_config
from foveal.skills.demos import collected, demo_options, task_of
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.master import Master
from foveal.skills.minari import open_demos
from foveal.skills.policy import SkillPolicy
from foveal.skills.rollouts import ByState, InOrder, Plan, scripted
from foveal.skills.view import View

Learned = TypeVar("Learned", bound=ActorCritic)
Trained = TypeVar("Trained", bound=ArmPolicy)


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


class Maker:
    """What a row makes on its way, and where it leaves it."""

    def __init__(self, options: RowOptions, told: Callable[[str], None]) -> None:
        self.options, self.told = options, told
        self.task = task_of(options.task)
        self.workers = options.workers or available()
        self.folder = options.work / f"{self.task}-{options.preset}{options.counted}-{options.seed}"
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the row began."""
        return time.monotonic() - self._begun

    def contender(self) -> Contender:
        """Who acts in the row, trained."""
        row = self.options.row
        makers: dict[str, Callable[[], Contender]] = {
            "hrl-bc": lambda: self._mastered(self._skills("skills", "random", flat=False)),
            "hrl-bc-drawn": self._drawn,
            "random": self._by_chance,
            "replan": lambda: self._replanned(self._skills("skills", "random", flat=False)),
            "replan-experts": lambda: self._replanned(None),
            "oracle": lambda: self._mastered(None),
            "script": lambda: self._ordered(self._skills("skills", "random", flat=False)),
            "flat-bc": lambda: self._ordered(self._skills("flat-bc", "random", flat=True)),
            "flat-bc-ordered": lambda: self._ordered(self._whole_task()),
            "ppo": lambda: self._stepping("ppo", self._from_scratch),
            "ppo-shaped": lambda: self._stepping("ppo-shaped", lambda: self._from_scratch(shaped=True)),
            "ppo-from-bc": lambda: self._stepping("ppo-from-bc", self._from_cloned),
        }
        return makers[row]()

    def _whole_task(self) -> SkillPolicy:
        return self._skills("flat-bc-ordered", "script", flat=True)

    def _by_chance(self) -> Contender:
        policy = self._skills("skills", "random", flat=False)
        return Contender(AtRandom(policy.skills), policy, policy.arm_settings, SKILL_STEPS, {})

    def _drawn(self) -> Contender:
        mastered = self._mastered(self._skills("skills", "random", flat=False))
        assert isinstance(mastered.plan, Master)
        return replace(mastered, plan=mastered.plan.drawing())

    def _replanned(self, policy: SkillPolicy | None) -> Contender:
        arms = ArmSettings(self.task, View(size=0)) if policy is None else policy.arm_settings
        return Contender(ByState(), policy, arms, SKILL_STEPS, {})

    def _ordered(self, policy: SkillPolicy) -> Contender:
        plan: InOrder = scripted(self.task, policy.skills)
        return Contender(plan, policy, policy.arm_settings, SKILL_STEPS, {"order": list(plan.order)})

    def _skills(self, name: str, order: str, *, flat: bool) -> SkillPolicy:
        """Cloned here, or by an earlier row."""
        folder = self.folder / name

        def begin() -> None:
            demos = self._demos(order)
            self.told(f"cloning {'the whole task' if flat else 'skills'} from {demos}")
            config = self._cloning(1.0 if order == "random" else self._longer())
            clone(demos, config, seed=self.options.seed, flat=flat, workers=self.workers, run=folder, progress=True)

        return self._finished(folder, SkillPolicy, begin)

    def _longer(self) -> float:
        """How many times as many frames demonstrations in random order have as those that go straight on."""
        return open_demos(self._demos("random")).steps / open_demos(self._demos("script")).steps

    def _cloning(self, more: float = 1.0) -> CloneConfig:
        """As many batches, whatever the number of demonstrations, and of frames in them; the best of two epochs.

        Args:
            more: times as many epochs as usual, for demonstrations that are so many times as short.
        """
        options, chosen = self.options, self.options.augmentation
        changes: dict[str, Any] = {} if chosen is None else {"augmentation": chosen}
        if options.demonstrations is not None:
            more *= demo_options(options.preset).episodes / options.demonstrations
        if more != 1.0:
            epochs = max(2, round(more * clone_config(options.preset).epochs))
            changes |= {"epochs": epochs, "rollouts_every": epochs // 2}
        return clone_config(options.preset, changes)

    def _demos(self, order: str) -> Path:
        folder = self.folder / f"demos-{order}"
        changes: dict[str, Any] = {"order": order, "seed": self.options.seed}
        if self.options.demonstrations is not None:
            changes["episodes"] = self.options.demonstrations
        options = demo_options(self.options.preset, changes)
        if not collected(folder, options):
            self.told(f"collecting {options.episodes} demonstrations in {folder}")
            demonstrations(self.task, folder, options, self.workers)
        return folder

    def _mastered(self, policy: SkillPolicy | None) -> Contender:
        config = master_config(self.options.preset)
        folder = self.folder / ("oracle" if policy is None else "master")
        master = self._learned(folder, Master, lambda: Master(self.task, policy, config, self.options.seed))
        arms = ArmSettings(self.task, View(size=0)) if policy is None else policy.arm_settings
        return Contender(master, policy, arms, master.config.skill_steps, {"curve": master.curve})

    def _stepping(self, name: str, new: Callable[[], FlatPolicy]) -> Contender:
        policy = self._learned(self.folder / name, FlatPolicy, new)
        return Contender(
            InOrder((0,)), policy, ArmSettings(self.task, policy.view), SKILL_STEPS, {"curve": policy.curve}
        )

    def _from_scratch(self, *, shaped: bool = False) -> FlatPolicy:
        view = demo_options(self.options.preset).view
        config = flat_config(steps_from_scratch(self.task, self.options.preset))
        return FlatPolicy(self.task, view, config, self.options.seed, shaped=shaped)

    def _from_cloned(self) -> FlatPolicy:
        config = flat_config(steps_of_master(self.options.preset), cloned=True)
        return FlatPolicy.from_cloned(self._whole_task(), config, self.options.seed)

    def _learned(self, folder: Path, kind: type[Learned], new: Callable[[], Learned]) -> Learned:
        """Trained here, or by an earlier row."""

        def begin() -> None:
            self.told(f"training a {kind.what} in {folder}")
            new().learn(folder, workers=self.workers, progress=True)

        return self._finished(folder, kind, begin)

    def _finished(self, folder: Path, kind: type[Trained], begin: Callable[[], None]) -> Trained:
        """The policy of a run, which goes on where an earlier row was stopped."""
        trained(folder, begin)
        self.told(f"policy of {folder}")
        return kind.load(folder)
