"""Every setting of every configuration: what can not work is refused when the configuration is made."""

from __future__ import annotations

import dataclasses
import importlib
import math
import pkgutil
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest

pytest.importorskip("h5py", reason='needs the extra "skills"')
pytest.importorskip("stable_baselines3", reason='needs the extra "sb3"')

import foveal
from foveal.config.bounds import (
    PART,
    POSITIVE,
    SHARE,
    STEP,
    Bounded,
    Interval,
    Names,
    at_least,
    bounds_of,
    check,
    one_of,
)
from foveal.config.tree import configure
from foveal.errors import FovealError
from foveal.learners import LEARNERS
from foveal.methods import METHODS
from small_env import SavedCounter, small_agent

OTHERWISE = {
    "Config": "made of sections that are bounded, and a checked seed",
    "NoneConfig": "empty",
    "EnvOptions": "checks every number itself, as the tests of foveal.envs.make show",
    "AugmentationOptions": "made of a training section",
    "CorruptionOptions": "made of a shield's settings, or of an environment's frames",
    "ArmSettings": "made of a bounded view",
    "Limits": "checks every number itself, as below",
    "Sight": "the same",
    "Randomization": "the same",
    "TaskFrame": "the same",
    "WorldOptions": "checked by the world that is asked for",
    "AdapterOptions": "checks its only choice itself",
    "EngineOptions": "checks every number itself, as the tests of foveal.bench.engines show",
}
"""Configurations without declared bounds, and why. Those in foveal.commands are checked by what they are handed to."""
ALLOWED_ZEROS = {
    *("camera", "seed", "sticky", "workers", "examples", "View.size"),
    *("initial_random_steps", "catch_up_updates", "updates_per_step", "plain_updates", "overlay_refresh"),
    *("shift", "early", "linger"),
    *("discount", "gae_lambda", "quantile", "held_out", "follow", "missing", "swapped", "alpha_beta1", "augmentation"),
    *("consistency_weight", "clean_weight", "augmented_weight", "entropy", "value", "gripper", "velocity"),
    *("evaluate_every", "checkpoint_every", "rollouts", "near", "relief", "noise"),
    *("initial_epsilon", "final_epsilon", "kappa"),
    *("mask_share", "attribution_share", "reconstruction_weight", "background_weight", "mask_weight", "action_weight"),
    *("foreground_weight", "mask_from", "agreement_weight", "overlay_share", "imitation", "regularization"),
    *("invariance", "variance", "covariance"),
    *("clean", "twice", "task_weight", "change_weight"),
    *("SRMConfig.probability", "StructuredLight.baseline"),
    *("disparity", "window", "jump", "holes", "hole", "target_entropy", "log_std_min", "log_std_max"),
}
"""Settings that may be 0: none of it, at once, the first, or the end of a range."""
ALLOWED_NEGATIVES = {"target_entropy", "log_std_min", "log_std_max"}
"""Settings in logarithms, which may be anything finite."""
NAMES_OF_THE_USERS = {"overlays", "pictures", "evaluate_on", "data", "env", "task", "wandb"}
"""Folders and ids, which are looked for before work starts."""


def modules() -> Iterator[Any]:
    for module in pkgutil.walk_packages(foveal.__path__, "foveal."):
        yield importlib.import_module(module.name)


def dataclasses_of_foveal() -> list[type]:
    found = [value for module in modules() for value in vars(module).values() if dataclasses.is_dataclass(value)]
    return sorted({kind for kind in found if isinstance(kind, type)}, key=lambda kind: kind.__qualname__)


BOUNDED = [kind for kind in dataclasses_of_foveal() if issubclass(kind, Bounded)]
SETTINGS = [
    pytest.param(kind, field, id=f"{kind.__name__}.{field.name}")
    for kind in BOUNDED
    for field in dataclasses.fields(kind)
]


def made(kind: type, **changes: Any) -> Any:
    required = {"task": "ur5e/bowl"} if kind.__name__ == "RowOptions" else {}
    return kind(**{**required, **changes})


def leaves(hint: Any) -> set[Any]:
    """The types within unions and tuples."""
    inner = [part for part in typing.get_args(hint) if part is not Ellipsis]
    return set().union(*map(leaves, inner)) if inner else {hint}


def shaped(kind: type, name: str, value: Any) -> Any:
    """The value, or where the setting is a tuple one that holds it in the place of its first such entry."""
    hint = typing.get_type_hints(kind)[name]
    if name == "augmentation" and tuple in map(typing.get_origin, [hint, *typing.get_args(hint)]):
        return ((value, 0.5, 0.5),) if isinstance(value, str) else (("scale", value, 0.5),)
    if typing.get_origin(hint) is not tuple:
        return value
    default = made(kind).__getattribute__(name) or (value,)
    return (*default[:-1], value)


def refuses(kind: type, name: str, value: Any) -> bool:
    """With a message that names the setting; any other error is one of this test."""
    try:
        made(kind, **{name: shaped(kind, name, value)})
    except FovealError as error:
        return bool(re.search(rf"\b{kind.section}\.{name}\b", str(error)))  # type: ignore[attr-defined]
    return False


# --- the contract -----------------------------------------------------------------------------------------------------


def test_no_configuration_escapes() -> None:
    named = re.compile(r"(Config|Options|Settings)$")
    for kind in dataclasses_of_foveal():
        if named.search(kind.__name__) and not kind.__module__.startswith("foveal.commands"):
            assert issubclass(kind, Bounded) or kind.__name__ in OTHERWISE, f"{kind.__name__} declares no bounds"
    for registry in (LEARNERS, METHODS):
        for name in registry.names():
            config = registry.get(name).Config  # type: ignore[attr-defined]
            assert issubclass(config, Bounded) or not dataclasses.fields(config)
            assert not issubclass(config, Bounded) or config.section == name


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "field"), SETTINGS)
def test_every_setting_has_bounds_and_they_refuse_what_can_not_work(kind: type, field: Any) -> None:
    types = leaves(typing.get_type_hints(kind)[field.name])
    if not types & {int, float, str} or dict in map(typing.get_origin, [typing.get_type_hints(kind)[field.name]]):
        return  # switches, paths, and sections with bounds of their own
    assert bounds_of(kind)[field.name], f"{kind.__name__}.{field.name} declares no bounds"
    if types & {int, float}:
        for value in (math.nan, math.inf, -math.inf):
            assert refuses(kind, field.name, value), value
        assert refuses(kind, field.name, -1) == (field.name not in ALLOWED_NEGATIVES)
        may_be_zero = {field.name, f"{kind.__name__}.{field.name}"} & ALLOWED_ZEROS
        assert refuses(kind, field.name, 0) != bool(may_be_zero)
    if str in types and field.name not in NAMES_OF_THE_USERS:
        assert refuses(kind, field.name, "no-such-name")


@pytest.mark.parametrize("kind", BOUNDED, ids=lambda kind: kind.__name__)
def test_defaults_are_within_bounds(kind: type) -> None:
    check(made(kind))


@pytest.mark.parametrize("name", ["Limits", "Sight", "Randomization", "TaskFrame"])
def test_what_checks_itself_refuses_what_is_not_finite(name: str) -> None:
    named = (kind for kind in dataclasses_of_foveal() if kind.__name__ == name)
    (kind,) = (kind for kind in named if not kind.__module__.startswith("foveal.evaluation"))
    for field in dataclasses.fields(kind):
        if leaves(typing.get_type_hints(kind)[field.name]) & {int, float}:
            default = getattr(kind(), field.name)
            for value in (math.nan, math.inf):
                wrong = (value, *default[1:]) if isinstance(default, tuple) else value
                if field.name == "workspace":
                    wrong = ((value, 1.0), *default[1:])
                with pytest.raises(FovealError):
                    kind(**{field.name: wrong})


# --- what is said, and where ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"sgqn": {"auxiliary_period": 0}}, r"^sgqn\.auxiliary_period must be at least 1, not 0$"),
        ({"sac": {"actor_period": 0}}, r"^sac\.actor_period must be at least 1, not 0$"),
        ({"sac": {"critic_tau": 0.0}}, r"^sac\.critic_tau must be in \(0, 1\], not 0\.0$"),
        ({"sac": {"log_std_min": 3.0}}, r"^sac\.log_std_min must be below log_std_max, which is 2\.0, not 3\.0$"),
        ({"sac": {"encoder": {"strides": []}}}, r"^encoder\.strides must have at least one entry"),
        ({"sac": {"encoder": {"strides": [2, 0]}}}, r"^encoder\.strides must be at least 1, not 0$"),
        ({"sac": {"critic_lr": math.nan}}, r"^sac\.critic_lr must be above 0, not nan$"),
        (
            {"sgqn": {"augmentation": "overlya"}},
            r"^sgqn\.augmentation is 'overlya': did you mean 'overlay'( or '[a-z-]+')*\?$",
        ),
        ({"training": {"discount": 1.5}}, r"^training\.discount must be in \[0, 1\], not 1\.5$"),
        ({"training": {"device": "gpu"}}, r"^training\.device is 'gpu'; use 'auto', 'cpu' or 'cuda'$"),
        (
            {"training": {"replay_device": "disk"}},
            r"^training\.replay_device is 'disk': choose one of: auto, cpu, cuda$",
        ),
        ({"environment": {"quality": "ugly"}}, r"^environment\.quality is 'ugly': choose one of: draft, exact, fast$"),
    ],
)
def test_messages(overrides: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        configure("dmc/walker-walk", "sgqn", "sac", overrides=overrides)


def test_ends_of_ranges() -> None:
    for interval, inside, outside in (
        (SHARE, (0, 0.5, 1), (-0.1, 1.1)),
        (PART, (0, 0.9), (-0.1, 1)),
        (STEP, (0.1, 1), (0, 1.1)),
        (POSITIVE, (1e-9, 1e9), (0, -1e-9)),
        (at_least(2), (2, 3), (1, 1.9)),
    ):
        assert all(value in interval for value in inside) and not any(value in interval for value in outside)
    assert str(Interval()) == "a finite number"


@dataclass(frozen=True)
class Own(Bounded, section="own"):
    width: Annotated[int | None, at_least(1)] = None
    kind: Annotated[str, one_of("a", "b")] = "a"
    pairs: tuple[tuple[Annotated[str, Names(lambda: ["x"])], Annotated[float, SHARE]], ...] = ()
    free: float = 0.0


def test_a_plug_in_may_declare_bounds() -> None:
    assert Own(3, "b", (("x", 1.0),)).width == 3
    for changes in (
        {"width": 0},
        {"kind": "c"},
        {"pairs": (("y", 1.0),)},
        {"pairs": (("x", 2.0),)},
        {"free": math.inf},
    ):
        with pytest.raises(FovealError, match=rf"^own\.{next(iter(changes))} "):
            Own(**changes)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_plug_in_without_bounds_works(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Loose:
        anything: float = -math.inf

    class Foreign(METHODS.get("drq")):  # type: ignore[misc]
        Config = Loose
        presets = {}

        def prepare(self, batch: Any) -> Any:
            return batch

    METHODS.names()
    monkeypatch.setitem(METHODS._entries, "foreign", Foreign)
    agent = small_agent(SavedCounter, method="foreign", foreign={"anything": math.nan})
    assert math.isnan(agent.config.method_config.anything)
