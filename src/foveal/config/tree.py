"""The whole configuration of a training run: typed, checked, written beside every run, read back without surprises."""

from __future__ import annotations

import dataclasses
import functools
import numbers
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from foveal.config.former import as_trained, in_todays_words
from foveal.config.presets import EVERY_PRESET, PRESETS, PRESETS_OF_GAMES
from foveal.config.sections import EnvironmentConfig, GameConfig, RolloutTrainingConfig, TrainingConfig
from foveal.envs import games
from foveal.errors import FovealError
from foveal.learners.base import LEARNERS, Learner
from foveal.methods.base import Method
from foveal.methods.composition import parts_of
from foveal.networks.encoders import ENCODERS, EncoderChoice
from foveal.registry import nearest


@dataclass(frozen=True)
class Config:
    """Everything that determines a run, beside the code.

    Attributes:
        env: id of the environment, or a description of the user's own.
        method: name of the method, or of several joined by ``+``; "none" for an on-policy learner.
        learner: name of the learner.
        preset: what the sections started from.
        seed: of everything random.
        environment: see ``EnvironmentConfig``; of an Atari game a ``GameConfig``.
        training: see ``TrainingConfig``; of an on-policy learner a ``RolloutTrainingConfig``.
        learner_config: the learner's own dataclass.
        method_config: the method's own dataclass; of several, name -> that of each.
    """

    env: str
    method: str
    learner: str
    preset: str
    seed: int
    environment: Any = field(default_factory=EnvironmentConfig)
    training: Any = field(default_factory=TrainingConfig)
    learner_config: Any = None
    method_config: Any = None

    def sections(self) -> dict[str, Any]:
        """All settings by section: ``environment``, ``training``, and the names of the learner and of each method."""
        methods = self.method_config if isinstance(self.method_config, Mapping) else {self.method: self.method_config}
        return {
            "environment": self.environment,
            "training": self.training,
            self.learner: self.learner_config,
            **methods,
        }

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: the names, and the settings by section."""
        return {
            "env": self.env,
            "method": self.method,
            "learner": self.learner,
            "preset": self.preset,
            "seed": self.seed,
            **{name: dataclasses.asdict(section) for name, section in self.sections().items()},
        }


def configure(
    env: str,
    method: str | None = None,
    learner: str | None = None,
    preset: str = "paper",
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    later: Collection[str] = (),
    encoder: str | None = None,
) -> Config:
    """A preset for this learner, method and task, with overrides on top.

    Args:
        env: id of the environment.
        method: by default "sgqn", and "none" for an on-policy learner. Of several that are joined by ``+`` the first
            alone shifts the batch at random, unless the user sets the ``shift`` of others.
        learner: by default "sac", and "ppo" for an Atari game; ``foveal.config.environment.usual_learner`` looks at the
            actions, too.
        overrides: section -> its changed settings; sections are ``environment``, ``training``, and the learner's and
            the methods' names. A section may also be given as a whole dataclass.
        later: settings such as ``"training.batch_size"`` that the user will set over what this gives.
        encoder: name of the learner's encoder; or "plain" or "fls", for the learner's own without attention or with.

    Raises:
        FovealError: an unknown name, section or setting, a value of the wrong type, settings that do not go together,
            or a setting of environment or training that learner and method each want otherwise and that the user leaves
            open.
    """
    if preset not in PRESETS:
        raise FovealError(f"unknown preset {preset!r}: {nearest(preset, list(PRESETS))}")
    env = games.env_id(env) if games.is_atari(env) else env
    if learner is None:
        learner = "ppo" if games.is_atari(env) else "sac"
    kind = LEARNERS.get(learner)
    if method is None:
        method = "none" if kind.on_policy else "sgqn"
    methods = parts_of(method)
    components: dict[str, type[Learner] | type[Method]] = {learner: kind, **methods}
    if kind.on_policy and method != "none":
        raise FovealError(
            f"method {method!r} is composed onto value learners, and {learner!r} is not one: leave the method out"
        )
    overrides = dict(overrides or {})
    bases = {
        "environment": GameConfig if games.is_atari(env) else EnvironmentConfig,
        "training": RolloutTrainingConfig if kind.on_policy else TrainingConfig,
    }
    unknown = sorted(set(overrides) - set(bases) - set(components))
    if unknown:
        raise FovealError(f"unknown section {unknown[0]!r}: {nearest(unknown[0], [*bases, *components])}")
    brought = {name: _brought(components, env, preset, name, overrides.get(name), later) for name in BROUGHT}
    presets = (PRESETS_OF_GAMES if games.is_atari(env) else PRESETS)[preset]
    of_preset = {
        name: presets.get(name, {}) if base in (EnvironmentConfig, TrainingConfig) else {}
        for name, base in bases.items()
    }
    sections = {
        name: _section(base, [of_preset[name], brought[name]], overrides.get(name), name)
        for name, base in bases.items()
    }
    already_shifted = _shifting(methods)[1:]
    chosen = _encoder(learner, encoder)
    before, after = ({}, chosen) if _holds_encoder(overrides.get(learner)) else (chosen, {})
    of_game = {} if kind.on_policy else _encoder_of_preset(presets, kind)
    encoders = [{"encoder": settings} for settings in (of_game, brought["encoder"], before) if settings]
    configs = {
        name: _section(
            component.Config,
            [
                component.presets.get(preset, {}),
                component.task_settings(env),
                {SHIFT: 0} if name in already_shifted else {},
                *(encoders if name == learner else []),
            ],
            overrides.get(name),
            name,
        )
        for name, component in components.items()
    }
    if after:
        configs[learner] = changed(configs[learner], {"encoder": after}, learner)
    kind.check(configs[learner], sections["training"].environments)
    return Config(
        env,
        method,
        learner,
        preset,
        checked_seed(seed),
        sections["environment"],
        sections["training"],
        configs[learner],
        configs[method] if len(methods) == 1 else {name: configs[name] for name in methods},
    )


def _encoder_of_preset(presets: Mapping[str, Any], learner: type[Learner]) -> Mapping[str, Any]:
    """What a preset says of the encoder, where the learner has one that can be chosen."""
    chosen: Mapping[str, Any] = presets.get("encoder", {})
    return chosen if isinstance(getattr(learner.Config(), "encoder", None), EncoderChoice) else {}


SHIFT = "shift"
"""The setting of methods that shift every batch at random."""


def _shifting(methods: Mapping[str, type[Method]]) -> list[str]:
    return [name for name, kind in methods.items() if SHIFT in _hints(kind.Config)]


ATTENTION = {"plain": "none", "fls": "fls"}
"""Names that choose the attention of a learner's own encoder, instead of another encoder."""


def _encoder(learner: str, name: str | None) -> dict[str, Any]:
    """Settings of the learner's encoder that a name stands for; see ``configure``."""
    if name is None:
        return {}
    own = getattr(LEARNERS.get(learner).Config(), "encoder", None)
    if not isinstance(own, EncoderChoice):
        raise FovealError(f"learner {learner!r} has an encoder of its own, so none can be chosen by name: leave it out")
    short = ATTENTION if hasattr(own, "attention") else {}
    if name not in (known := [*short, *ENCODERS.names()]):
        raise FovealError(f"unknown encoder {name!r}: {nearest(name, known)}")
    return {"attention": short[name]} if name in short else {"name": name}


def _holds_encoder(override: Any) -> bool:
    """Whether the user's settings of a learner hold a whole encoder, by its name, and not settings of a chosen one."""
    if not isinstance(override, Mapping):
        return override is not None
    encoder = override.get("encoder", {})
    return not isinstance(encoder, Mapping) or "name" in encoder


BROUGHT = ("environment", "training", "encoder")
"""Sections that learners and methods may bring settings of; the last is the learner's, and methods alone change it."""
GAME_SETTINGS = {field.name for field in dataclasses.fields(GameConfig)}


def _fit_for_games(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What games take of brought settings; see ``_brought``."""
    if section == "environment":
        return {key: value for key, value in settings.items() if key in GAME_SETTINGS}
    return settings if section != "encoder" or "name" in settings else {}


def _brought(
    components: Mapping[str, type[Learner] | type[Method]],
    env: str,
    preset: str,
    section: str,
    override: Any,
    later: Collection[str],
) -> dict[str, Any]:
    """What learner and method bring for a section of the run; where they differ, the user decides.

    Games leave out what their protocol fixes, and settings of an encoder that is not named, which are for others.

    Raises:
        FovealError: they differ and the user has not decided, or a preset names a section that there is not.
    """
    found: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for name, component in components.items():
        settings = _brought_by(name, component, env, preset, section)
        for key, value in (_fit_for_games(section, settings) if games.is_atari(env) else settings).items():
            decided = f"{section}.{key}" in later or (override is not None and _names(override, key))
            if not decided and found.get(key, value) != value:
                raise FovealError(
                    f"{owners[key]} wants {section}.{key} = {found[key]!r} and {name} wants {value!r}: "
                    f"decide by setting {section}.{key} yourself"
                )
            found[key], owners[key] = value, name
    return found


def _brought_by(
    name: str, component: type[Learner] | type[Method], env: str, preset: str, section: str
) -> dict[str, Any]:
    """What one of them brings: for every preset, over that for this one, and over these for this task."""
    settings: dict[str, Any] = {}
    known = BROUGHT if issubclass(component, Method) else BROUGHT[:2]
    presets = (component.run_presets, component.task_run_presets(env))
    for sections in (brought.get(key, {}) for brought in presets for key in (EVERY_PRESET, preset)):
        if strange := sorted(set(sections) - set(known)):
            raise FovealError(f"the presets of {name} hold {strange[0]!r}: {nearest(strange[0], list(known))}")
        settings |= sections.get(section, {})
    return settings


def _names(override: Any, key: str) -> bool:
    """Whether the user's settings of a section, some of them or a whole dataclass, hold this one."""
    return not isinstance(override, Mapping) or key in override


def checked_seed(seed: Any) -> int:
    """The seed as JSON knows it.

    Raises:
        FovealError: it is no whole number of at least 0.
    """
    if isinstance(seed, bool) or not isinstance(seed, numbers.Integral) or seed < 0:
        raise FovealError(f"seed must be a whole number of at least 0, not {seed!r}")
    return int(seed)  # NumPy's integers are not JSON's


def config_from_dict(state: Mapping[str, Any]) -> Config:
    """Undo ``Config.as_dict``; settings that are absent come from the preset.

    Raises:
        FovealError: as for ``configure``, or a name is missing.
    """
    sections = as_trained(in_todays_words(state))
    try:
        env, method, learner, preset, seed = (
            sections.pop(key) for key in ("env", "method", "learner", "preset", "seed")
        )
    except KeyError as error:
        raise FovealError(f"the configuration lacks {error.args[0]!r}") from error
    encoder = sections.pop("encoder", None)
    return configure(env, method, learner, preset, seed, sections, encoder=encoder)


def _section(base: type, layers: list[Mapping[str, Any]], override: Any, name: str) -> Any:
    if isinstance(override, base):
        return override
    if not isinstance(override, Mapping | None):
        raise FovealError(f"{name} must hold settings by name, not {override!r}")
    settings = base()
    for layer in [*layers, override or {}]:
        settings = changed(settings, layer, name)
    return settings


def changed(settings: Any, changes: Mapping[str, Any], section: str) -> Any:
    """A copy of a dataclass with some settings changed, nested ones by nested mappings.

    A nested ``name`` replaces the nested settings by what their method ``named`` returns for it, if they have one, as
    ``EncoderConfig`` has; the other changes are made to these.

    Raises:
        FovealError: a setting that it does not have (with the nearest names), or a value of the wrong type.
    """
    hints = _hints(settings.__class__)
    values = {}
    for key, value in changes.items():
        if key not in hints:
            raise FovealError(f"unknown setting {section}.{key}: {nearest(key, list(hints))}")
        current = getattr(settings, key)
        if dataclasses.is_dataclass(current) and isinstance(value, Mapping):
            if isinstance(name := value.get("name"), str) and hasattr(current, "named"):
                current = current.named(name)
            values[key] = changed(current, value, f"{section}.{key}")
        else:
            values[key] = _typed(value, hints[key], f"{section}.{key}")
    return dataclasses.replace(settings, **values)


@functools.lru_cache(maxsize=1024)
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _typed(value: Any, hint: Any, name: str) -> Any:
    """The value in the type of the hint: lists become tuples, whole numbers become floats."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in {types.UnionType, typing.Union}:
        if value is None and type(None) in arguments:
            return None
        return _typed(value, next(a for a in arguments if a is not type(None)), name)
    if origin is tuple and isinstance(value, list | tuple):
        entries = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else arguments
        if len(entries) == len(value):
            return tuple(_typed(v, a, name) for v, a in zip(value, entries, strict=True))
    elif isinstance(value, bool) is not (hint is bool):
        pass  # a bool is an int to Python, and not to a reader
    elif hint is float and isinstance(value, int | float):
        return float(value)
    elif isinstance(hint, type) and isinstance(value, hint):
        return value
    raise FovealError(f"{name} must be {getattr(hint, '__name__', hint)}, not {value!r}")
