"""Several methods at once, by a name such as ``sgqn+svea``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import foveal
from foveal.bench.updates import noise_replay
from foveal.cli import main
from foveal.config.tree import config_from_dict, configure
from foveal.errors import FovealError
from foveal.methods import METHODS, Context, Method, PolicyView, Requirements, method_class, parts_of
from foveal.methods.base import View
from foveal.types import Batch, Observation
from small_env import Counter, small_agent


@dataclass(frozen=True)
class Nothing:
    """No settings."""


class Loud(Method):
    """Twice as bright, with a term of each loss and a step of its own."""

    Config = Nothing
    factor = 2.0
    adapted = 0

    @classmethod
    def requirements(cls, config: Any, image_size: int) -> Requirements:
        return Requirements(render_size=image_size + 4)

    def observe(self, obs: Observation) -> Observation:
        return obs._replace(image=obs.image * self.factor)

    def prepare(self, batch: Batch) -> Batch:
        return batch.with_images(lambda image: image.float() + self.factor)

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        return {"term": self.factor * context.estimate.values.mean()}

    def actor_loss(self, context: Context) -> Callable[[], Tensor] | None:
        return lambda: torch.tensor(self.factor)

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        return {"step": torch.tensor(self.factor)}

    def due(self, number: int) -> int:
        return number % int(self.factor)

    def adapt(self, transition: Batch) -> None:
        self.adapted += 1


class Louder(Loud):
    """Three times as bright."""

    factor = 3.0

    @classmethod
    def requirements(cls, config: Any, image_size: int) -> Requirements:
        return Requirements(render_size=image_size)


class Chooser(Method):
    """Says on what the policy acts."""

    Config = Nothing

    def policy_views(self, context: Context) -> list[PolicyView]:
        return [PolicyView(context.batch.obs, context.batch.obs)] * 2


class Twice(Method):
    """Says what the critic learns from."""

    Config = Nothing

    def views(self, batch: Batch) -> list[View]:
        return [View(batch.obs, 0.25), View(batch.obs, 0.75)]


@pytest.fixture(autouse=True)
def _register(monkeypatch: pytest.MonkeyPatch) -> Any:
    METHODS.names()
    kinds = {"loud": Loud, "louder": Louder, "chooser": Chooser, "twice": Twice}
    monkeypatch.setattr(METHODS, "_entries", METHODS._entries | kinds)
    method_class.cache_clear()
    yield
    method_class.cache_clear()


def composed(name: str) -> Any:
    return small_agent(Counter, method=name).method


# --- which can be joined ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sgqn+sgqn", "one of its parts twice"),
        ("none+sgqn", "leave it out"),
        ("sgqn+", "unknown method ''"),
        ("sgqn+sveaa", "did you mean 'svea'"),
        ("svea+twice", "'svea' and 'twice' can't be joined: each says which views the critic learns from"),
    ],
)
def test_methods_that_can_not_be_joined_are_refused_before_anything_is_made(name: str, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        configure("no/such-env", name)


def test_two_that_crop_are_refused() -> None:
    with pytest.raises(FovealError, match="'soda' and 'loud' can't be joined: each takes crops"):
        foveal.Agent(Counter, method="soda+loud", preset="debug")


def test_a_single_name_is_the_method_itself() -> None:
    assert method_class("sgqn") is METHODS.get("sgqn")
    assert list(parts_of("sgqn+svea")) == ["sgqn", "svea"]


# --- configuration ----------------------------------------------------------------------------------------------------


def test_each_has_its_section_and_the_first_alone_shifts_the_batch() -> None:
    config = configure("dmc/walker-walk", "sgqn+svea", preset="compact", overrides={"svea": {"clean_weight": 0.7}})
    assert config.method_config["sgqn"] == configure("dmc/walker-walk", "sgqn", preset="compact").method_config
    assert config.method_config["svea"].clean_weight == 0.7
    assert (config.method_config["sgqn"].shift, config.method_config["svea"].shift) == (2, 0)
    assert config_from_dict(config.as_dict()) == config


def test_a_shift_that_the_user_asks_for_is_done() -> None:
    config = configure("dmc/walker-walk", "sgqn+svea", overrides={"svea": {"shift": 3}})
    assert config.method_config["svea"].shift == 3


def test_settings_of_a_method_that_is_not_joined_are_unknown() -> None:
    with pytest.raises(FovealError, match="unknown section 'soda'"):
        configure("dmc/walker-walk", "sgqn+svea", overrides={"soda": {"tau": 0.1}})


# --- hooks ------------------------------------------------------------------------------------------------------------


def test_what_is_done_to_pictures_is_done_in_order() -> None:
    method = composed("louder+loud")
    image = torch.ones(1, 9, 4, 4)
    assert method.observe(Observation(image, None)).image.eq(6).all()
    batch = Batch(Observation(image, None), torch.zeros(1, 2), torch.zeros(1), torch.zeros(1), Observation(image, None))
    assert method.prepare(batch).next_obs.image.eq(6).all()  # 1 + 3 + 2
    assert method.requirements(method.config, 36).render_size == 40


def test_terms_are_added_and_told_apart() -> None:
    method, values = composed("loud+louder"), torch.ones(2, 3)
    context: Any = type("Seen", (), {"estimate": type("Made", (), {"values": values})})
    terms = method.critic_loss(context)
    assert {name: float(term) for name, term in terms.items()} == {"loud/term": 2.0, "louder/term": 3.0}
    assert float(method.actor_loss(context)()) == 5.0
    assert {name: float(value) for name, value in method.auxiliary(context).items()} == {
        "loud/step": 2.0,
        "louder/step": 3.0,
    }
    assert method.due(4) == (0, 1)


def test_views_are_those_of_the_one_that_makes_some_or_of_none() -> None:
    image = torch.zeros(2, 9, 36, 36)
    batch = Batch(Observation(image, None), torch.zeros(2, 2), torch.zeros(2), torch.zeros(2), Observation(image, None))
    assert [view.weight for view in composed("louder+twice").views(batch)] == [0.25, 0.75]
    assert [view.weight for view in composed("louder+chooser").views(batch)] == [1.0]
    context: Any = type("Seen", (), {"batch": batch})
    assert len(composed("louder+chooser").policy_views(context)) == 2
    assert len(composed("louder+twice").policy_views(context)) == 1


def test_it_learns_at_test_time_if_one_of_them_does() -> None:
    method = composed("sgqn+louder")
    assert method.adapts and not composed("sgqn+svea").adapts
    transition: Any = None
    method.adapt(transition)
    assert [getattr(part, "adapted", None) for part in method] == [None, 1]


def test_one_that_adds_to_the_policys_loss_is_refused_without_a_policy() -> None:
    with pytest.raises(FovealError, match=r"the method sgqn\+louder adds to the policy's loss"):
        foveal.Agent(lambda: Counter(discrete=True), method="sgqn+louder", learner="dqn", preset="debug")


# --- training ---------------------------------------------------------------------------------------------------------


def updated(method: str, number: int = 3) -> tuple[foveal.Agent, dict[str, Tensor]]:
    agent = foveal.Agent("dmc/walker-walk", method, preset="debug", training={"device": "cpu", "precision": "float32"})
    replay = noise_replay(agent, 64)
    agent.method.get_ready()
    metrics: dict[str, Tensor] = {}
    for _ in range(number):
        metrics = agent.updater.update(replay.sample(8), replay.sample)
    return agent, metrics


@pytest.mark.slow
def test_svea_joined_to_sgqn_halves_the_clean_loss_and_keeps_consistency_and_attribution() -> None:
    _, metrics = updated("sgqn+svea")
    assert {"critic/consistency", "attribution/loss"} <= metrics.keys()
    alone, both = updated("sgqn", 1)[1], updated("sgqn+svea", 1)[1]
    assert both["critic/td"] == pytest.approx(
        0.5 * float(alone["critic/td"]), rel=1e-5
    )  # the same batch, shift, weights
    assert both["critic/loss"] > both["critic/td"] + both["critic/consistency"]  # the augmented view's


@pytest.mark.slow
def test_the_command_trains_two_methods_and_takes_the_settings_of_each(tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = "train dmc/cartpole-swingup --method sgqn+svea --preset debug --steps 40 --evaluate-every 0"
    settings = "--environment.action-repeat 40 --sgqn.quantile 0.8 --svea.clean-weight 0.6"
    assert main([*f"{command} {settings} --training.initial-random-steps 30".split(), "--out", str(run)]) == 0
    agent: Any = foveal.load(run)
    assert agent.config.method_config["sgqn"].quantile == 0.8
    assert agent.config.method_config["svea"].clean_weight == 0.6
    assert agent.updates > 0
    assert agent.insides().quantile == 0.8  # of the masks that a page shows
