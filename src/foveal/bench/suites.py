"""Suites: which tasks, methods and conditions a benchmark has, as YAML files that anyone can read and write.

Those that ship are in ``foveal/data/suites``. ``docs/benchmark.md`` has the keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from foveal.bench.arm import METHODS as ARM_METHODS
from foveal.bench.arm import SKILLS, recipe_of
from foveal.bench.arm import TASKS as ARM
from foveal.config.presets import PRESETS
from foveal.envs import games, known_ids
from foveal.envs.family import QUALITIES
from foveal.envs.perturbations import perturbation_names
from foveal.errors import FovealError
from foveal.evaluation.world import TRAIN
from foveal.learners import LEARNERS
from foveal.methods import parts_of
from foveal.networks.encoders import ENCODERS
from foveal.registry import nearest
from foveal.skills import world

SHIPPED = "data/suites"
DATA = ("none", "dmc-gb", "davis")
"""What of a user's own data a suite needs for its numbers to stand beside published ones."""


@dataclass(frozen=True)
class Variant:
    """A name in the ledger for a method with settings of its own.

    Attributes:
        method: as ``foveal train`` takes it.
        encoder: the same.
        settings: of the training, as in ``Suite``.
    """

    method: str
    encoder: str | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A benchmark.

    Attributes:
        name: the file's, without ``.yaml``.
        about: a line for people.
        tasks: id -> what is other than in the suite: steps, episodes, conditions, settings.
        methods: of value learners, or names of ``variants``.
        learners: names.
        preset: what training starts from.
        seeds: of training.
        conditions: of the final evaluation.
        episodes: of each condition.
        steps: agent steps of training; 0 in suites of the arm, whose presets say how long it is.
        quality: of rendering in the final evaluation; None for that of the training.
        data: what of the user's own data it needs: none, dmc-gb or davis.
        shield: settings of a shield to be trained for every policy, {} for its defaults; None for no shield.
        settings: of the training: ``training.batch_size: 64`` by section, and ``evaluate_every: 0`` of the run.
        variants: name -> method with settings.
    """

    name: str
    about: str
    tasks: dict[str, dict[str, Any]]
    methods: tuple[str, ...]
    learners: tuple[str, ...]
    preset: str
    seeds: tuple[int, ...]
    conditions: tuple[str, ...]
    episodes: int
    steps: int = 0
    quality: str | None = None
    data: str = "none"
    shield: dict[str, Any] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    variants: dict[str, Variant] = field(default_factory=dict)

    @property
    def of_arm(self) -> bool:
        """Whether it is a suite of the arm, see ``foveal.bench.arm``."""
        return SKILLS in self.learners

    def of_task(self, task: str, name: str) -> Any:
        """What the suite says of a task: its own ``steps``, ``episodes`` or ``conditions``, or those of all."""
        return self.tasks[task].get(name, getattr(self, name))

    def variant(self, method: str) -> Variant:
        """The method of a name in the ledger."""
        return self.variants.get(method, Variant(method))

    def settings_of(self, task: str, method: str) -> dict[str, Any]:
        """Of the training of a task by a method: the suite's, then the task's, then the variant's."""
        return {**self.settings, **self.tasks[task].get("settings", {}), **self.variant(method).settings}


def suite_names() -> list[str]:
    """Those that ship."""
    return sorted(entry.name.removesuffix(".yaml") for entry in files("foveal").joinpath(SHIPPED).iterdir())


def load_suite(name: str) -> Suite:
    """A suite that ships, by name, or of a user's own YAML file, by path.

    Raises:
        FovealError: there is none, or something in it is wrong; the message names the file.
    """
    if name in suite_names():
        path = files("foveal").joinpath(SHIPPED, f"{name}.yaml")
        return read_suite(path.read_text(encoding="utf-8"), name, f"{name}.yaml")
    own = Path(name)
    if own.suffix not in (".yaml", ".yml"):
        raise FovealError(f"unknown suite {name!r}: {nearest(name, suite_names())} Or give a file of your own, my.yaml")
    try:
        text = own.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise FovealError(f"can't read the suite {own}: {error}") from error
    return read_suite(text, own.stem, str(own))


def read_suite(text: str, name: str, where: str) -> Suite:
    """A suite from YAML.

    Args:
        text: the YAML.
        name: of the suite.
        where: of the file, for messages.

    Raises:
        FovealError: something in it is wrong.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise FovealError(f"{where} is not YAML: {error}") from error
    try:
        suite = _suite(content, name)
        _check_names(suite)
    except FovealError as error:
        raise FovealError(f"{where}: {error}") from error
    return suite


def _suite(content: Any, name: str) -> Suite:
    values = _entries(content, Suite, "a suite", leave_out=("name",))
    tasks = values["tasks"]
    if isinstance(tasks, list):
        tasks = dict.fromkeys(_strings(tasks, "tasks"))
    values["tasks"] = {task: _task(task, own) for task, own in _mapping(tasks, "tasks").items()}
    variants = _mapping(values.get("variants", {}), "variants")
    values["variants"] = {label: _variant(label, own) for label, own in variants.items()}
    return Suite(name=name, **{key: _checked(key, value) for key, value in values.items()})


def _entries(content: Any, kind: type, what: str, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """The keys of a mapping, which must be fields of a dataclass, and all that have no default."""
    known = [entry for entry in fields(kind) if entry.name not in leave_out]
    content = _mapping(content, what)
    _refuse_unknown(content, [entry.name for entry in known], what)
    for entry in known:
        if entry.name not in content and entry.default is MISSING and entry.default_factory is MISSING:
            raise FovealError(f"{what} must say {entry.name!r}")
    return dict(content)


def _refuse_unknown(content: Mapping[str, Any], known: list[str], what: str) -> None:
    for key in content:
        if key not in known:
            raise FovealError(f"unknown key {key!r} in {what}: {nearest(str(key), known)}")


TASK_KEYS = ["steps", "episodes", "conditions", "settings"]


def _task(task: str, own: Any) -> dict[str, Any]:
    own = _mapping({} if own is None else own, task)
    _refuse_unknown(own, TASK_KEYS, f"the task {task}")
    return {key: _checked(key, value) for key, value in own.items()}


def _variant(label: str, own: Any) -> Variant:
    values = _entries(own, Variant, f"the variant {label}")
    for key in ("method", "encoder"):
        if not isinstance(values.get(key, ""), str):
            raise FovealError(f"{key} of the variant {label} must be a name, not {values[key]!r}")
    values["settings"] = _settings(values.get("settings", {}))
    return Variant(**values)


def _checked(key: str, value: Any) -> Any:
    """The value of a key, in its type."""
    check = CHECKS.get(key)
    return value if check is None else check(value, key)


def _whole(value: Any, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise FovealError(f"{key} must be a whole number of at least 1, not {value!r}")
    return value


def _seeds(value: Any, key: str) -> tuple[int, ...]:
    whole = isinstance(value, list) and all(isinstance(seed, int) and not isinstance(seed, bool) for seed in value)
    if not whole or not value or min(value) < 0 or len(set(value)) != len(value):
        raise FovealError(f"{key} must be a list of different whole numbers from 0 on, not {value!r}")
    return tuple(value)


def _strings(value: Any, key: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(entry, str) for entry in value):
        raise FovealError(f"{key} must be a list of names, not {value!r}")
    if len(set(value)) != len(value):
        raise FovealError(f"{key} has a name twice: {', '.join(value)}")
    return tuple(value)


def _mapping(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        raise FovealError(f"{key} must hold values by name, not {value!r}")
    return dict(value)


def _text(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise FovealError(f"{key} must be a text, not {value!r}")
    return " ".join(value.split())


def _settings(value: Any, key: str = "settings") -> dict[str, Any]:
    settings = _mapping(value, key)
    return {name: tuple(entry) if isinstance(entry, list) else entry for name, entry in settings.items()}


def _choice(*names: str) -> Callable[[Any, str], str]:
    def check(value: Any, key: str) -> str:
        if value not in names:
            raise FovealError(f"{key} must be one of {', '.join(names)}, not {value!r}")
        return str(value)

    return check


CHECKS: Mapping[str, Callable[[Any, str], Any]] = {
    "about": _text,
    "methods": _strings,
    "learners": _strings,
    "conditions": _strings,
    "preset": _choice(*PRESETS),
    "quality": _choice(*QUALITIES),
    "data": _choice(*DATA),
    "steps": _whole,
    "episodes": _whole,
    "seeds": _seeds,
    "shield": lambda value, key: None if value is None else _mapping(value, key),
    "settings": _settings,
}


def _check_names(suite: Suite) -> None:
    """Refuse names that nothing has."""
    for task in suite.tasks:
        check_task(task)
        if suite.of_arm and not task.startswith(ARM):
            raise FovealError(f"the learner {SKILLS} is for tasks of {ARM} alone: {task} needs a suite of its own")
        if not suite.of_arm and not suite.of_task(task, "steps"):
            raise FovealError("a suite must say 'steps'")
        for condition in suite.of_task(task, "conditions"):
            check_condition(condition, task, of_arm=suite.of_arm)
    for learner in suite.learners:
        check_learner(suite, learner)
    for method in suite.methods:
        check_method(suite, method)
    for label, variant in suite.variants.items():
        _check_own(suite, variant.method)
        if variant.encoder is not None and variant.encoder not in ("plain", "fls"):
            ENCODERS.get(variant.encoder)
        if set(label) & set("/\\"):
            raise FovealError(f"the variant {label!r} becomes part of a path: leave out slashes")


def check_learner(suite: Suite, learner: str) -> None:
    """Refuse a learner that there isn't, or that has no place in the suite.

    Raises:
        FovealError: as said.
    """
    if (learner == SKILLS) != suite.of_arm:
        raise FovealError(
            f"the learner {SKILLS}, which is for methods of the arm, can't be mixed with others in a suite: make two"
        )
    if not suite.of_arm:
        LEARNERS.get(learner)


def check_method(suite: Suite, method: str) -> None:
    """Refuse a method that is neither foveal's nor a variant of the suite.

    Raises:
        FovealError: as said.
    """
    if method in suite.variants:
        return
    try:
        _check_own(suite, method)
    except FovealError as error:
        own = f"; {suite.name} has of its own: {', '.join(suite.variants)}" if suite.variants else ""
        raise FovealError(f"{error}{own}") from error


def _check_own(suite: Suite, method: str) -> None:
    """Refuse a method that is not foveal's, or has no place in the suite."""
    if suite.of_arm:
        recipe_of(method)
    elif method in ARM_METHODS:
        raise FovealError(f"{method} is a method of the arm: a suite of such has the learner {SKILLS}, and no other")
    else:
        parts_of(method)


def check_task(task: str) -> None:
    """Refuse an environment that nothing makes, by its id alone.

    Raises:
        FovealError: as said, or Atari's extra is missing.
    """
    if games.is_atari(task):
        games.env_id(task)
        return
    import gymnasium

    ids = known_ids()
    if task not in ids and task not in gymnasium.registry:
        raise FovealError(f"unknown task {task!r}: {nearest(task, ids)}")


def check_condition(condition: str, task: str, *, of_arm: bool = False) -> None:
    """Refuse a condition that a task doesn't have.

    Args:
        condition: its name.
        task: id of the environment.
        of_arm: whether the suite is one of the arm, which has conditions of its own.

    Raises:
        FovealError: as said.
    """
    if of_arm:
        world.check_condition(condition, task.removeprefix(ARM))
        return
    known = [TRAIN] if games.is_atari(task) else [TRAIN, *perturbation_names()]
    if condition not in known:
        raise FovealError(f"unknown condition {condition!r} of {task}: {nearest(condition, known)}")
