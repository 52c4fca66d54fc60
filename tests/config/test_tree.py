"""Configuration and registries: mistakes told in one sentence, types checked, nothing lost on disk."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from foveal.augmentations import AugmentationOptions
from foveal.config.presets import EVERY_PRESET, PRESETS
from foveal.config.sections import EnvironmentConfig, TrainingConfig
from foveal.config.tree import Config, changed, config_from_dict, configure
from foveal.errors import FovealError
from foveal.learners import LEARNERS, Shapes
from foveal.learners.sac import SACConfig
from foveal.methods import METHODS, Setup
from foveal.methods.sgqn import SGQN, SGQNConfig
from foveal.networks.encoders import EncoderConfig
from foveal.registry import Registry, nearest
from settled import decided

WALKER = "dmc/walker-walk"
VALUE_LEARNERS = [name for name in LEARNERS.names() if not LEARNERS.get(name).on_policy]


def walker(**overrides: Any) -> Config:
    return configure(WALKER, "sgqn", "sac", overrides=overrides)


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "papper"}, "unknown preset 'papper': did you mean 'paper'?"),
        ({"preset": "xyz"}, "unknown preset 'xyz': choose one of: compact, debug, paper"),
        ({"method": "sqgn"}, "unknown method 'sqgn': did you mean 'sgqn'"),
        ({"learner": "sack"}, "unknown learner 'sack': did you mean 'sac'"),
        ({"overrides": {"trainin": {}}}, "unknown section 'trainin': did you mean 'training'?"),
        ({"overrides": {"svea": {}}}, "unknown section 'svea': "),
        (
            {"overrides": {"sgqn": {"quantil": 0.9}}},
            "unknown setting sgqn.quantil: did you mean 'quantile'?",
        ),
        (
            {"overrides": {"sac": {"encoder": {"filter": 3}}}},
            "unknown setting sac.encoder.filter: did you mean 'filters'",
        ),
        ({"overrides": {"training": 5}}, "training must hold settings by name, not 5"),
        (
            {"overrides": {"environment": TrainingConfig()}},
            "environment must hold settings by name, not TrainingConfig(",
        ),
        ({"overrides": {"sgqn": SGQNConfig}}, "sgqn must hold settings by name, not <class"),
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"seed": True}, "seed must be a whole number of at least 0, not True"),
        ({"seed": "3"}, "seed must be a whole number of at least 0, not '3'"),
    ],
)
def test_a_mistake_is_told_in_one_sentence(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=re.escape(message)) as caught:
        configure(**{"env": WALKER, "method": "sgqn", "learner": "sac", **arguments})
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("section", "setting", "value", "wanted"),
    [
        ("training", "batch_size", True, "int"),
        ("training", "batch_size", 64.0, "int"),
        ("training", "batch_size", None, "int"),
        ("training", "discount", "0.99", "float"),
        ("training", "discount", False, "float"),
        ("training", "overlays", 3, "str"),
        ("training", "overlays", True, "str"),
        ("environment", "action_repeat", "4", "int"),
        ("environment", "action_repeat", True, "int"),
        ("sgqn", "decoder_filters", [1, 2], "tuple"),
        ("sgqn", "decoder_filters", [1, 2, "3"], "int"),
        ("sgqn", "decoder_filters", 3, "tuple"),
        ("sac", "encoder", 3, "EncoderChoice"),
        ("sac", "encoder", SACConfig(), "EncoderChoice"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(section: str, setting: str, value: Any, wanted: str) -> None:
    message = f"{section}.{setting} must be {wanted}, not "
    with pytest.raises(FovealError, match=re.escape(message)):
        walker(**{section: {setting: value}})


@pytest.mark.parametrize("setting", ["strides", "centred"])
def test_nested_values_are_checked_too(setting: str) -> None:
    with pytest.raises(FovealError, match=rf"sac\.encoder\.{setting} must be (int|bool), not "):
        walker(sac={"encoder": {setting: [True] if setting == "strides" else 1}})


@pytest.mark.parametrize(
    ("setting", "value"),
    [("batch_size", 0), ("n_step", 0), ("updates_per_step", -0.5), ("updates_per_step", float("nan"))],
)
def test_a_value_that_is_too_small_is_refused(setting: str, value: float) -> None:
    with pytest.raises(FovealError, match=rf"training\.{setting} must be at least [01], not {value}"):
        walker(training={setting: value})


# --- values -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Everything:
    """One setting of every kind."""

    whole: int = 1
    real: float = 1.0
    flag: bool = False
    name: str = "a"
    pair: tuple[int, float] = (1, 2.0)
    many: tuple[int, ...] = (1,)
    maybe: int | None = 3
    nested: EncoderConfig = field(default_factory=EncoderConfig)


@given(
    whole=st.integers(),
    real=st.floats(allow_nan=False) | st.integers(-(10**9), 10**9),
    flag=st.booleans(),
    name=st.text(),
    pair=st.tuples(st.integers(), st.floats(allow_nan=False)),
    many=st.lists(st.integers()),
    maybe=st.none() | st.integers(),
    filters=st.integers(1, 99),
)
@pytest.mark.slow
def test_right_values_arrive_with_the_right_types(filters: int, **values: Any) -> None:
    given_as_json = {**values, "pair": list(values["pair"]), "nested": {"filters": filters}}
    made = changed(Everything(), given_as_json, "everything")
    assert made == Everything(
        **{**values, "many": tuple(values["many"])}, nested=replace(EncoderConfig(), filters=filters)
    )
    assert [type(getattr(made, name)) for name in ("whole", "real", "flag", "many", "pair")] == [
        int, float, bool, tuple, tuple,
    ]  # fmt: skip


def test_a_seed_may_come_from_numpy() -> None:
    config = configure(WALKER, "none", "sac", seed=np.arange(4)[3])
    assert type(config.seed) is int and config.seed == 3


def test_settings_that_are_not_named_stay() -> None:
    base = Everything(whole=7, nested=EncoderConfig(filters=5, projection=6))
    assert changed(base, {"nested": {"filters": 9}}, "e") == replace(
        base, nested=EncoderConfig(filters=9, projection=6)
    )
    assert base.nested.filters == 5


def test_a_section_may_be_a_whole_dataclass() -> None:
    settings = SGQNConfig(quantile=0.5)
    config = walker(sgqn=settings, environment=EnvironmentConfig(image_size=40))
    assert config.method_config is settings
    assert config.environment.image_size == 40


def test_overrides_beat_the_task_and_the_preset() -> None:
    config = configure(WALKER, "sgqn", "sac", "debug", overrides={"sgqn": {"quantile": 0.5}, "sac": {"hidden": 99}})
    assert config.method_config.quantile == 0.5
    assert config.method_config.decoder_filters == SGQNConfig(decoder_filters=(4, 8, 4)).decoder_filters  # debug's
    assert config.learner_config.hidden == 99
    assert config.learner_config.encoder.filters == 8


def test_the_task_beats_the_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SGQN, "presets", {"debug": {"quantile": 0.5, "shift": 1}})
    settings = configure(WALKER, "sgqn", "sac", "debug").method_config
    assert (settings.quantile, settings.shift) == (0.95, 1)


# --- presets and tasks ------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("env", "quantile"),
    [
        ("dmc/walker-walk", 0.95),
        ("dmc/walker-stand", 0.95),
        ("dmc/finger-spin", 0.95),
        ("dmc/cheetah-run", 0.95),
        ("dmc/cartpole-swingup", 0.98),
        ("dmc/ball_in_cup-catch", 0.98),
        ("dmc/reacher-easy", 0.90),
        ("dmc/walkers-walk", 0.90),
        ("MyEnv-v0", 0.90),
        ("cartpole-swingup", 0.90),
    ],
)
def test_tasks_of_the_papers_table_have_its_quantiles(env: str, quantile: float) -> None:
    for preset in PRESETS:
        assert configure(env, "sgqn", "sac", preset).method_config.quantile == quantile


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("learner", VALUE_LEARNERS)
def test_the_paper_preset_is_every_default_in_the_code(method: str, learner: str) -> None:
    """But for what the paper of the learner or the method says of the run."""
    config, _ = decided("MyEnv-v0", method, learner, "paper")
    kinds = (LEARNERS.get(learner), METHODS.get(method))
    brought = [kind.run_presets.get(preset, {}) for kind in kinds for preset in ("*", "paper")]
    for section, default in (("environment", EnvironmentConfig()), ("training", TrainingConfig())):
        changes = {key: value for each in brought for key, value in each.get(section, {}).items()}
        assert getattr(config, section) == replace(default, **changes)
    own = LEARNERS.get(learner).Config()
    encoder = {key: value for each in brought for key, value in each.get("encoder", {}).items()}
    assert config.learner_config == changed(own, {"encoder": encoder}, learner)
    assert config.method_config == METHODS.get(method).Config()


def test_the_defaults_are_the_benchmarks() -> None:
    training, environment = TrainingConfig(), EnvironmentConfig()
    assert (training.batch_size, training.discount, training.n_step) == (128, 0.99, 1)
    assert (training.initial_random_steps, training.catch_up_updates) == (1000, 1000)
    assert (training.updates_per_step, training.environments) == (1.0, 1)
    assert training.replay_capacity >= 500_000
    assert (environment.image_size, environment.frame_stack, environment.camera) == (84, 3, 0)
    assert (environment.action_repeat, environment.quality) == (None, "exact")


@pytest.mark.parametrize("learner", VALUE_LEARNERS)
@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_builds_with_every_method(
    preset: str, method: str, learner: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.init, "orthogonal_", lambda weight, gain=1.0: weight)  # slow at the paper's size
    config, _ = decided(WALKER, method, learner, preset)
    size = config.environment.image_size
    image = (3 * config.environment.frame_stack, size, size)
    learner_class, method_class = LEARNERS.get(learner), METHODS.get(method)
    try:
        shapes = Shapes(image, 0, spaces.Box(-1.0, 1.0, (6,), np.float32))
        built = learner_class(config.learner_config, shapes, torch.float32)
    except FovealError:
        built = learner_class(config.learner_config, Shapes(image, 0, spaces.Discrete(6)), torch.float32)
    options = AugmentationOptions(size, config.training.overlays, config.training.overlay_count)
    method_class(config.method_config, Setup(built, image, options, torch.Generator(), torch.float32))
    assert method_class.requirements(config.method_config, size).render_size >= size


@pytest.mark.parametrize("registry", [METHODS, LEARNERS], ids=["methods", "learners"])
def test_presets_of_methods_and_learners_are_known_presets(registry: Any) -> None:
    for name in registry.names():
        assert set(registry.get(name).presets) <= set(PRESETS), name
        assert set(registry.get(name).run_presets) <= {*PRESETS, EVERY_PRESET}, name
    assert all(set(sections) <= {"environment", "training"} for sections in PRESETS.values())


# --- to disk and back -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("method", METHODS.names())
def test_a_configuration_survives_json(method: str, preset: str) -> None:
    overrides = {"training": {"batch_size": 3}, "sac": {"encoder": {"strides": [3, 1]}}}
    config = configure(WALKER, method, "sac", preset, seed=5, overrides=overrides)
    written = json.loads(json.dumps(config.as_dict()))
    assert list(written) == ["env", "method", "learner", "preset", "seed", "environment", "training", "sac", method]
    assert config_from_dict(written) == config


def test_absent_settings_come_from_the_preset_and_absent_names_are_told() -> None:
    names = {"env": WALKER, "method": "sgqn", "learner": "sac", "preset": "debug", "seed": 1}
    assert config_from_dict(names) == configure(WALKER, "sgqn", "sac", "debug", 1)
    assert config_from_dict({**names, "sgqn": {"shift": 1}}).method_config.shift == 1
    for name in names:
        with pytest.raises(FovealError, match=f"the configuration lacks '{name}'"):
            config_from_dict({key: value for key, value in names.items() if key != name})
    with pytest.raises(FovealError, match="unknown section 'colour'"):
        config_from_dict({**names, "colour": "red"})


def test_reading_a_configuration_leaves_it_as_it_was() -> None:
    written = walker().as_dict()
    before = json.dumps(written)
    config_from_dict(written)
    assert json.dumps(written) == before


# --- registries -------------------------------------------------------------------------------------------------------

ROOM = """
from foveal.registry import Registry
THINGS = Registry("thing", "{name}")
"""
CHAIR = """
from {name} import THINGS
@THINGS.register("chair")
class Chair:
    pass
"""


def write_room(folder: Path, name: str, **modules: str) -> None:
    package = folder / name
    package.mkdir()
    (package / "__init__.py").write_text(ROOM.format(name=name))
    for module, text in modules.items():
        (package / f"{module}.py").write_text(text.format(name=name))


def write_plug_in(folder: Path, group: str, entry: str, text: str) -> None:
    """An installed distribution, as pip leaves one."""
    (folder / "strangers_module.py").write_text(text)
    record = folder / "stranger-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text(f"[{group}]\n{entry}\n")


@pytest.fixture
def open_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Imports a package from ``tmp_path``, for this test alone."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield lambda name: import_module(name).THINGS
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_file_in_the_package_registers_itself(tmp_path: Path, open_room: Callable[[str], Any]) -> None:
    write_room(tmp_path, "room_alone", chair=CHAIR, other="")
    things = open_room("room_alone")
    assert things.names() == ["chair"]
    assert things.get("chair").__name__ == "Chair"


def test_an_installed_plug_in_is_found(tmp_path: Path, open_room: Callable[[str], Any]) -> None:
    write_room(tmp_path, "room_open", chair=CHAIR)
    write_plug_in(tmp_path, "room_open", "lamp = strangers_module:Lamp", "class Lamp: pass")
    things = open_room("room_open")
    assert things.names() == ["chair", "lamp"]
    assert things.get("lamp").__module__ == "strangers_module"


def test_a_plug_in_that_decorates_and_is_an_entry_point_is_one_thing(
    tmp_path: Path, open_room: Callable[[str], Any]
) -> None:
    write_room(tmp_path, "room_twice")
    text = CHAIR.format(name="room_twice").replace("Chair", "Lamp").replace("chair", "lamp")
    write_plug_in(tmp_path, "room_twice", "lamp = strangers_module:Lamp", text)
    assert open_room("room_twice").names() == ["lamp"]


def test_a_plug_in_that_takes_a_name_is_refused(tmp_path: Path, open_room: Callable[[str], Any]) -> None:
    write_room(tmp_path, "room_taken", chair=CHAIR)
    write_plug_in(tmp_path, "room_taken", "chair = strangers_module:Lamp", "class Lamp: pass")
    message = "thing 'chair' is already registered by room_taken.chair.Chair; pick another name"
    with pytest.raises(FovealError, match=re.escape(message)):
        open_room("room_taken").get("chair")


def test_an_unknown_name_is_told_with_the_nearest(tmp_path: Path, open_room: Callable[[str], Any]) -> None:
    write_room(tmp_path, "room_known", chair=CHAIR)
    things = open_room("room_known")
    with pytest.raises(FovealError, match=r"^unknown thing 'chiar': did you mean 'chair'\?$"):
        things.get("chiar")
    with pytest.raises(FovealError, match=r"^unknown thing 'sofa': choose one of: chair$"):
        things.get("sofa")


def test_a_name_belongs_to_one_thing() -> None:
    registry: Registry[Any] = Registry("thing", "foveal.methods")

    class First:
        pass

    class Second:
        pass

    assert registry.register("name")(First) is First
    registry.register("name")(First)  # a module that is imported again
    with pytest.raises(FovealError, match=r"thing 'name' is already registered by .*First; pick another name"):
        registry.register("name")(Second)


def test_nearest_names() -> None:
    assert nearest("fls", ["nature", "sparse-fls"]) == "did you mean 'sparse-fls'?"
    assert nearest("", ["nature", "sparse-fls"]) == "choose one of: nature, sparse-fls"
    assert nearest("wolker", ["walker", "cheetah"]) == "did you mean 'walker'?"
    assert nearest("video", ["video_easy", "video_hard"]).startswith("did you mean 'video_")
    assert nearest("q", ["b", "a"]) == "choose one of: a, b"
    assert nearest("q", []) == "choose one of: none is registered"


def test_the_issues_methods_and_learner_are_there() -> None:
    assert {"none", "drq", "svea", "soda", "sgqn"} <= set(METHODS.names())
    assert "sac" in LEARNERS.names()


# --- what learners and methods bring for the run ----------------------------------------------------------------------


@pytest.fixture
def bringing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A learner with a batch, n-step and action repeat of its own, and a method that wants another batch."""
    learner = {"training": {"batch_size": 256, "n_step": 3}, "environment": {"action_repeat": 2}}
    method = {"training": {"batch_size": 64}, "environment": {"frame_stack": 5}, "encoder": {"filters": 7}}
    monkeypatch.setattr(LEARNERS.get("sac"), "run_presets", {"paper": learner})
    monkeypatch.setattr(METHODS.get("svea"), "run_presets", {"paper": method})


@pytest.mark.usefixtures("bringing")
def test_learners_and_methods_bring_settings_of_the_run() -> None:
    config = configure(WALKER, "none", "sac")
    assert (config.training.batch_size, config.training.n_step, config.environment.action_repeat) == (256, 3, 2)
    compact = configure(WALKER, "none", "sac", "compact")  # for which it brings nothing
    assert compact.training.batch_size == PRESETS["compact"]["training"]["batch_size"]
    mine = configure(WALKER, "none", "sac", overrides={"training": {"batch_size": 9}})
    assert (mine.training.batch_size, mine.training.n_step) == (9, 3)
    whole = configure(WALKER, "none", "sac", overrides={"training": TrainingConfig()})
    assert whole.training == TrainingConfig()


@pytest.mark.usefixtures("bringing")
def test_where_learner_and_method_differ_the_user_decides() -> None:
    message = "sac wants training.batch_size = 256 and svea wants 64: decide by setting training.batch_size yourself"
    with pytest.raises(FovealError, match=re.escape(message)):
        configure(WALKER, "svea", "sac")
    config = configure(WALKER, "svea", "sac", overrides={"training": {"batch_size": 32}})
    assert (config.training.batch_size, config.training.n_step, config.environment.frame_stack) == (32, 3, 5)
    assert config.learner_config.encoder.filters == 7
    assert config_from_dict(json.loads(json.dumps(config.as_dict()))) == config
    assert configure(WALKER, "svea", "sac", later={"training.batch_size"}).training.n_step == 3
    mine = {"training": {"batch_size": 1}, "sac": {"encoder": {"filters": 3}}}
    own = configure(WALKER, "svea", "sac", overrides=mine)
    assert own.learner_config.encoder.filters == 3


def test_what_is_needed_whatever_the_preset_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {"environment": {"frame_stack": 5}, "encoder": {"filters": 7}}
    rarer = {"environment": {"frame_stack": 2}}
    monkeypatch.setattr(METHODS.get("svea"), "run_presets", {"*": needed, "debug": rarer})
    configs = {preset: configure(WALKER, "svea", "sac", preset) for preset in PRESETS}
    frames = {preset: config.environment.frame_stack for preset, config in configs.items()}
    assert frames == {"paper": 5, "compact": 5, "debug": 2}
    assert {config.learner_config.encoder.filters for config in configs.values()} == {7}
    plain = configure(WALKER, "none", "sac", "compact").learner_config.encoder
    assert configs["compact"].learner_config.encoder == replace(plain, filters=7)


def test_a_preset_for_a_section_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(METHODS.get("svea"), "run_presets", {"paper": {"trainin": {"batch_size": 3}}})
    with pytest.raises(FovealError, match="the presets of svea hold 'trainin': did you mean 'training'"):
        configure(WALKER, "svea", "sac")
    monkeypatch.setattr(METHODS.get("svea"), "run_presets", {"paper": {"training": {"batch": 3}}})
    with pytest.raises(FovealError, match=r"unknown setting training\.batch: did you mean 'batch_size'"):
        configure(WALKER, "svea", "sac")
