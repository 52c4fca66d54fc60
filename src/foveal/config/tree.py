"""The whole configuration of a training run: typed, checked, written beside every run, read back without surprises."""

from __future__ import annotations

import dataclasses
import numbers
import types
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from foveal.config.bounds import DEVICE, SHARE, Anything, Bounded, at_least, one_of
from foveal.config.presets import EVERY_PRESET, PRESETS
from foveal.envs.family import QUALITIES
from foveal.errors import FovealError
from foveal.learners.base import LEARNERS, Learner
from foveal.methods.base import METHODS, Method
from foveal.networks.precision import PRECISIONS
from foveal.registry import nearest


@dataclass(frozen=True)
class EnvironmentConfig(Bounded, section="environment"):
    """How the environment shows itself.

    Attributes:
        image_size: side in pixels of what the encoder sees. A method may render larger and crop.
        frame_stack: frames in an observation.
        action_repeat: simulator steps per agent step; None for the benchmark's own (finger 2, cartpole 8, other dmc/ 4)
            and 1 for all else.
        quality: of rendering: "exact", "fast" or "draft".
        camera: index of the camera.
    """

    image_size: Annotated[int, at_least(1)] = 84
    frame_stack: Annotated[int, at_least(1)] = 3
    action_repeat: Annotated[int | None, at_least(1)] = None
    quality: Annotated[str, one_of(*QUALITIES)] = "exact"
    camera: Annotated[int, at_least(0)] = 0


REPLAY_DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TrainingConfig(Bounded, section="training"):
    """The training loop. The defaults are DMC-GB's.

    Attributes:
        batch_size: transitions per update.
        discount: gamma, per agent step.
        n_step: rewards summed before bootstrapping.
        replay_capacity: frames kept.
        initial_random_steps: agent steps with random actions before the first update.
        catch_up_updates: extra updates taken at once when the random phase ends.
        updates_per_step: gradient updates per agent step.
        environments: how many are stepped in turn.
        processes: step every environment in a process of its own, while updates run. Actions are then chosen before the
            updates that their step earns, not after, and a resumed run begins new episodes.
        overlays: pictures for overlay augmentations: "generated", or a folder of images such as Places365.
        overlay_count: how many of them are kept in memory; every sample is a new random crop of one. At 84 pixels,
            20,000 take 0.9 GiB.
        overlay_refresh: how many more are drawn per update: first until so many are kept, then to replace the oldest.
        overlay_detail: side of the kept pictures over the image's, at least 1: crops of less than 1 / detail**2 of a
            picture are blurrier than those of the file.
        precision: of convolutions: "auto" (bfloat16 where the hardware has it), "float32" or "bfloat16".
        device: "auto", "cpu", "cuda".
        replay_device: where frames are stored: "auto" (the device that trains, if they fit), "cpu" or "cuda".
        cuda_graphs: on a GPU, record updates once and replay them; methods that can't be recorded run as they are.
    """

    batch_size: Annotated[int, at_least(1)] = 128
    discount: Annotated[float, SHARE] = 0.99
    n_step: Annotated[int, at_least(1)] = 1
    replay_capacity: Annotated[int, at_least(1)] = 500_000
    initial_random_steps: Annotated[int, at_least(0)] = 1000
    catch_up_updates: Annotated[int, at_least(0)] = 1000
    updates_per_step: Annotated[float, at_least(0)] = 1.0
    environments: Annotated[int, at_least(1)] = 1
    processes: bool = False
    overlays: Annotated[str, Anything("a folder of the user's, which is looked for when training begins")] = "generated"
    overlay_count: Annotated[int, at_least(1)] = 20_000
    overlay_refresh: Annotated[float, at_least(0)] = 0.5
    overlay_detail: Annotated[float, at_least(1)] = 1.5
    precision: Annotated[str, one_of(*PRECISIONS)] = "auto"
    device: Annotated[str, DEVICE] = "auto"
    replay_device: Annotated[str, one_of(*REPLAY_DEVICES)] = "auto"
    cuda_graphs: bool = True


@dataclass(frozen=True)
class Config:
    """Everything that determines a run, beside the code.

    Attributes:
        env: id of the environment, or a description of the user's own.
        method: name of the method.
        learner: name of the learner.
        preset: what the sections started from.
        seed: of everything random.
        environment: see ``EnvironmentConfig``.
        training: see ``TrainingConfig``.
        learner_config: the learner's own dataclass.
        method_config: the method's own dataclass.
    """

    env: str
    method: str
    learner: str
    preset: str
    seed: int
    environment: EnvironmentConfig = field(default_factory=EnvironmentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    learner_config: Any = None
    method_config: Any = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able: the names, and one section of settings for each of environment, training, learner and method."""
        return {
            "env": self.env,
            "method": self.method,
            "learner": self.learner,
            "preset": self.preset,
            "seed": self.seed,
            "environment": dataclasses.asdict(self.environment),
            "training": dataclasses.asdict(self.training),
            self.learner: dataclasses.asdict(self.learner_config),
            self.method: dataclasses.asdict(self.method_config),
        }


def configure(
    env: str,
    method: str,
    learner: str,
    preset: str = "paper",
    seed: int = 0,
    overrides: Mapping[str, Any] | None = None,
    later: Collection[str] = (),
) -> Config:
    """A preset for this learner, method and task, with overrides on top.

    Args:
        env: id of the environment.
        overrides: section -> its changed settings; sections are ``environment``, ``training``, and the learner's and
            the method's names. A section may also be given as a whole dataclass.
        later: settings such as ``"training.batch_size"`` that the user will set over what this gives.

    Raises:
        FovealError: an unknown name, section or setting, a value of the wrong type, or a setting of environment or
            training that learner and method each want otherwise and that the user leaves open.
    """
    if preset not in PRESETS:
        raise FovealError(f"unknown preset {preset!r}: {nearest(preset, list(PRESETS))}")
    components: dict[str, type[Learner] | type[Method]] = {learner: LEARNERS.get(learner), method: METHODS.get(method)}
    overrides = dict(overrides or {})
    bases = {"environment": EnvironmentConfig, "training": TrainingConfig}
    unknown = sorted(set(overrides) - set(bases) - set(components))
    if unknown:
        raise FovealError(f"unknown section {unknown[0]!r}: {nearest(unknown[0], [*bases, *components])}")
    brought = {name: _brought(components, preset, name, overrides.get(name), later) for name in BROUGHT}
    sections = {
        name: _section(base, [PRESETS[preset].get(name, {}), brought[name]], overrides.get(name), name)
        for name, base in bases.items()
    }
    encoder = {"encoder": brought["encoder"]} if brought["encoder"] else {}
    configs = {
        name: _section(
            component.Config,
            [component.presets.get(preset, {}), component.task_settings(env), encoder if name == learner else {}],
            overrides.get(name),
            name,
        )
        for name, component in components.items()
    }
    return Config(
        env,
        method,
        learner,
        preset,
        checked_seed(seed),
        sections["environment"],
        sections["training"],
        configs[learner],
        configs[method],
    )


BROUGHT = ("environment", "training", "encoder")
"""Sections that learners and methods may bring settings of; the last is the learner's, and methods alone change it."""


def _brought(
    components: Mapping[str, type[Learner] | type[Method]],
    preset: str,
    section: str,
    override: Any,
    later: Collection[str],
) -> dict[str, Any]:
    """What learner and method bring for a section of the run; where they differ, the user decides.

    Raises:
        FovealError: they differ and the user has not decided, or a preset names a section that there is not.
    """
    found: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for name, component in components.items():
        for key, value in _brought_by(name, component, preset, section).items():
            decided = f"{section}.{key}" in later or (override is not None and _names(override, key))
            if not decided and found.get(key, value) != value:
                raise FovealError(
                    f"{owners[key]} wants {section}.{key} = {found[key]!r} and {name} wants {value!r}: "
                    f"decide by setting {section}.{key} yourself"
                )
            found[key], owners[key] = value, name
    return found


def _brought_by(name: str, component: type[Learner] | type[Method], preset: str, section: str) -> dict[str, Any]:
    """What one of them brings: what it has for every preset, and over that what it has for this one."""
    settings: dict[str, Any] = {}
    known = BROUGHT if issubclass(component, Method) else BROUGHT[:2]
    for sections in (component.run_presets.get(key, {}) for key in (EVERY_PRESET, preset)):
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
    sections = dict(state)
    try:
        env, method, learner, preset, seed = (
            sections.pop(key) for key in ("env", "method", "learner", "preset", "seed")
        )
    except KeyError as error:
        raise FovealError(f"the configuration lacks {error.args[0]!r}") from error
    return configure(env, method, learner, preset, seed, sections)


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
    hints = typing.get_type_hints(type(settings))
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
