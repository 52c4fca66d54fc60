"""Learning at test time: what a method is told, when, and that nothing of it stays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import foveal
from foveal.errors import FovealError
from foveal.methods import METHODS, Method, Setup
from foveal.networks.optimization import adam, minimize
from foveal.training import adapting
from foveal.types import Batch, Observation
from small_env import LENGTH, Counter, SavedCounter, differing, small_agent, weights


@dataclass(frozen=True)
class DriftConfig:
    """No settings."""


class Drift(Method):
    """Brightens what it sees at test time, by a step of its own after every step of the episode, and notes it all."""

    Config = DriftConfig

    def __init__(self, config: DriftConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.gain = nn.Parameter(torch.ones(()))
        self.optimizer: torch.optim.Optimizer | None = None
        self.learner = [setup.learner]
        self.told: list[tuple[Batch, float]] = []

    def observe(self, obs: Observation) -> Observation:
        return obs._replace(image=obs.image * self.gain)

    def adapt(self, transition: Batch) -> None:
        self.told.append((transition, float(self.gain.detach())))
        minimize((self.gain - 2.0).square(), self.optimizers()["drift"], [self.gain])
        with torch.no_grad():
            self.learner[0].projection.linear.bias.add_(0.01)  # type: ignore[union-attr,operator]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        if self.optimizer is None:
            self.optimizer = adam([self.gain], 0.1)
        return {"drift": self.optimizer}


@pytest.fixture(autouse=True)
def _drift() -> Iterator[None]:
    METHODS.names()
    METHODS.register("drift")(Drift)
    yield
    del METHODS._entries["drift"]


class Ending(SavedCounter):
    """Episodes that end instead of being cut."""

    def step(self, action: Any) -> Any:
        obs, reward, _, over, info = super().step(action)
        return obs, reward, over, False, info


def evaluated(agent: Any, **options: Any) -> Any:
    return foveal.evaluate(agent, episodes=2, progress=False, **options)


@pytest.mark.parametrize(("env", "last"), [(SavedCounter, 0.99), (Ending, 0.0)])
def test_every_step_is_told_as_replay_would_store_it(env: Any, last: float) -> None:
    agent = small_agent(env, method="drift", training={"discount": 0.99})
    results = evaluated(agent, adapt=True)
    told: list[tuple[Batch, float]] = agent.method.told  # type: ignore[assignment]
    assert len(told) == 2 * LENGTH
    for step, (batch, _) in enumerate(told[:LENGTH]):
        assert batch.obs.image.shape == (1, *agent.shapes.image) and batch.obs.image.dtype == torch.uint8
        assert int(batch.next_obs.image[0, -1, 20, 20]) == int(batch.obs.image[0, -1, 20, 20]) + 1
        assert batch.action.shape == (1, 2) and batch.action.dtype == torch.float32
        assert float(batch.reward) == step + 1
        assert float(batch.discount) == pytest.approx(last if step == LENGTH - 1 else 0.99)
    assert results.policy["adapted"] is True


def test_every_episode_begins_with_the_trained_weights_and_the_agent_keeps_them() -> None:
    agent = small_agent(method="drift").learn(14, progress=False, evaluate_every=0)
    before = weights(agent)
    evaluated(agent, adapt=True)
    gains = [gain for _, gain in agent.method.told]  # type: ignore[union-attr,misc]
    assert gains[0] == gains[LENGTH] == 1.0 and gains[:LENGTH] == gains[LENGTH:]
    assert gains[1] != gains[0]
    assert differing(before, weights(agent)) == []


def test_what_was_learnt_changes_what_the_policy_does_at_once() -> None:
    agent = small_agent(method="drift")
    image = np.full(agent.shapes.image, 100, np.uint8)
    with agent.adapting() as adapt:
        assert adapt is not None
        first = agent.predict(image, deterministic=True)[0]
        adapt(image, first, 1.0, image, False)
        second = agent.predict(image, deterministic=True)[0]
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(agent.predict(image, deterministic=True)[0], first)


def test_a_failure_undoes_it_too() -> None:
    agent = small_agent(method="drift")
    before = weights(agent)
    image = np.full(agent.shapes.image, 100, np.uint8)

    def fail() -> None:
        with agent.adapting() as adapt:
            assert adapt is not None
            adapt(image, np.zeros(2, np.float32), 1.0, image, False)
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fail()
    assert differing(before, weights(agent)) == []


def test_nobody_adapts_unasked() -> None:
    agent = small_agent(method="drift")
    results = evaluated(agent)
    assert agent.method.told == [] and "adapted" not in results.policy


def test_results_of_a_method_that_never_adapts_do_not_say_so() -> None:
    assert "adapted" not in evaluated(small_agent(method="none"), adapt=True).policy


def test_a_vector_beside_the_picture_and_discrete_actions_are_told_too() -> None:
    agent = small_agent(lambda: Counter(vector=True, discrete=True), method="drift", learner="dqn")
    evaluated(agent, adapt=True)
    batch = agent.method.told[3][0]  # type: ignore[index]
    assert batch.obs.vector.shape == (1, 3) and batch.action.shape == (1,) and batch.action.dtype == torch.int64
    assert float(batch.obs.vector[0].max()) == pytest.approx(0.5)


def test_a_method_that_does_not_adapt_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> None:
        raise AssertionError("a transition or a copy of the weights was made")

    agent = small_agent(method="svea")
    monkeypatch.setattr(adapting, "_transition", refuse)
    monkeypatch.setattr(agent, "state", refuse)
    with agent.adapting() as adapt:
        assert adapt is None
    plain, asked = evaluated(agent), evaluated(agent, adapt=True)
    assert plain.conditions[0].episodes == asked.conditions[0].episodes


def test_a_policy_from_elsewhere_is_not_asked_to_adapt() -> None:
    class Foreign:
        env_id, env_options, seed = "Counter", {"image_size": 36}, 0
        env = Counter

        def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
            return np.zeros(2, np.float32), None

    with pytest.raises(FovealError, match=r"a Foreign has no adapting\(\), so it can't adapt at test time"):
        evaluated(Foreign(), adapt=True)
    assert len(evaluated(Foreign()).conditions[0].episodes) == 2
