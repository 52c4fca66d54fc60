"""Fields that a method asks for beside the usual: asked of the environment, stored, sampled, saved and resumed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import foveal
from foveal.bench.updates import noise_replay
from foveal.errors import FovealError
from foveal.methods import METHODS, Context, Method, Requirements
from foveal.replay import ReplayBuffer
from foveal.types import PREVIOUS_ACTION, Batch, ExtraField
from small_env import LENGTH, SIZE, Counter, SavedCounter, differing, small_agent, weights

FIELDS = (
    ExtraField("mask", "agent_mask", (SIZE, SIZE), "bool"),
    ExtraField("masks", "agent_mask", (SIZE, SIZE), "bool", stacked=True),
    ExtraField("number", "number", (), "int64"),
    ExtraField("before", PREVIOUS_ACTION),
)


def bits(number: Any) -> Any:
    """A mask whose first pixels spell the number in binary."""
    mask = np.zeros((SIZE, SIZE), bool)
    mask[0, :8] = [int(number) >> bit & 1 for bit in range(8)]
    return mask


class Told(SavedCounter):
    """One that tells the number of its latest picture, as a number and as a mask."""

    def _noise(self) -> np.ndarray[Any, Any]:
        return np.full((8, 8, 3), self.made % 251, np.uint8)

    def number(self) -> int:
        return self.made - 1

    def agent_mask(self) -> Any:
        return bits(self.made - 1)


@dataclass(frozen=True)
class CuriousConfig:
    """No settings."""


class Curious(Method):
    """Asks for every kind of field, and learns from them, so that a resumed run shows whether they are right."""

    Config = CuriousConfig
    capturable = True

    @classmethod
    def requirements(cls, config: Any, image_size: int) -> Requirements:
        return Requirements(image_size, extras=FIELDS)

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        told = context.batch.extras["number"].float().mean() + context.batch.extras["masks"].float().mean()
        return {"told": told * context.estimate.values.mean()}


@pytest.fixture(autouse=True)
def _curious() -> Iterator[None]:
    METHODS.names()
    METHODS.register("curious")(Curious)
    yield
    del METHODS._entries["curious"]


def numbers(images: Tensor) -> list[list[int]]:
    """Numbers of the stacked pictures, oldest first."""
    return [[int(n) for n in row] for row in images[:, ::3, 20, 20]]


def spelt(masks: Tensor) -> list[int]:
    return [int(n) for n in (masks[..., 0, :8].long() * 2 ** torch.arange(8)).sum(-1).flatten()]


def sampled(agent: Any, size: int = 400) -> Batch:
    assert agent.replay is not None
    return agent.replay.sample(size)  # type: ignore[no-any-return]


def assert_right(batch: Batch) -> None:
    """Every field belongs to the observation beside it."""
    led_to = {after[-1]: action for after, action in zip(numbers(batch.next_obs.image), batch.action, strict=True)}
    for obs, extras in ((batch.obs, batch.extras), (batch.next_obs, batch.next_extras)):
        pictures = numbers(obs.image)
        newest = [row[-1] for row in pictures]
        assert [int(n) for n in extras["number"]] == newest
        assert spelt(extras["mask"]) == newest
        assert spelt(extras["masks"]) == [n for row in pictures for n in row]
        assert extras["masks"].shape == (len(newest), 3, SIZE, SIZE) and extras["mask"].dtype == torch.bool
        for number, before in zip(newest, extras["before"], strict=True):
            expected = torch.zeros(2) if number % (LENGTH + 1) == 0 else led_to.get(number)
            assert expected is None or torch.equal(before, expected)
    starts = [row[-1] % (LENGTH + 1) == 0 for row in numbers(batch.obs.image)]
    assert any(starts) and not all(starts)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_fields_belong_to_their_observations(count: int) -> None:
    agent = small_agent(Told, method="curious", training={"environments": count})
    agent.learn(40, progress=False, evaluate_every=0)
    batch = sampled(agent)
    if count == 1:
        assert_right(batch)
    else:  # pictures of two environments have the same numbers, and actions of their own
        assert [int(n) for n in batch.next_extras["number"]] == [row[-1] for row in numbers(batch.next_obs.image)]


@pytest.mark.slow
def test_fields_follow_the_n_step_observation() -> None:
    agent = small_agent(Told, method="curious", training={"n_step": 3})
    agent.learn(40, progress=False, evaluate_every=0)
    batch = sampled(agent)
    assert [int(n) for n in batch.next_extras["number"]] == [row[-1] for row in numbers(batch.next_obs.image)]
    assert max((batch.next_extras["number"] - batch.extras["number"]).tolist()) == 3


@pytest.mark.slow
def test_processes_tell_too() -> None:
    agent = small_agent(Told, method="curious", training={"processes": True})
    agent.learn(30, progress=False, evaluate_every=0)
    assert_right(sampled(agent))


@pytest.mark.slow
def test_a_resumed_run_goes_on_with_its_fields(tmp_path: Path) -> None:
    def agent() -> Any:
        return small_agent(Told, method="curious", training={"precision": "float32"})

    options = {"progress": False, "evaluate_every": 0, "checkpoint_every": 0}
    whole = agent().learn(34, run=tmp_path / "whole", **options)
    agent().learn(20, run=tmp_path / "cut", **options)
    trainer = foveal.resume(tmp_path / "cut", env=Told, progress=False)
    trainer.train(14)
    assert differing(weights(whole), weights(trainer.agent)) == []
    assert_right(sampled(trainer.agent))


def test_an_environment_that_can_not_tell_is_refused_before_anything_is_learnt() -> None:
    agent = small_agent(Counter, method="curious")
    with pytest.raises(FovealError, match=r"Counter can't tell which pixels are the agent's|Counter has no number\(\)"):
        agent.learn(5, progress=False, evaluate_every=0)
    assert agent.steps == 0


def test_batches_with_fields_can_be_held_and_copied() -> None:
    agent = small_agent(Told, method="curious")
    replay = noise_replay(agent, 300)
    first, second = replay.sample(4), replay.sample(4)
    first = first.replace(extras={**first.extras, "number": torch.ones(4, dtype=torch.int64)})
    held = first.clone()
    assert torch.equal(held.extras["number"], torch.ones(4, dtype=torch.int64))
    held.copy_(second)
    assert not held.extras["number"].any() and first.extras["number"].all()
    assert set(held.to("cpu").next_extras) == {field.name for field in FIELDS}


@pytest.mark.parametrize(
    ("extras", "message"),
    [
        (None, "the extra fields are none but replay was made for \\['far'\\]"),
        ({"far": np.zeros(3, np.float32)}, "far must be float32 of shape \\(2,\\), not float32 of shape \\(3,\\)"),
        ({"far": np.zeros(2, np.complex64)}, "far must be float32 of shape"),
        ({"far": np.full(2, np.nan, np.float32)}, "far holds numbers that are not finite"),
    ],
)
def test_replay_refuses_what_does_not_fit(extras: Any, message: str) -> None:
    replay = ReplayBuffer(20, (3, 4, 4), 1, extras=[ExtraField("far", "far", (2,))])
    with pytest.raises(FovealError, match=message):
        replay.begin(0, np.zeros((3, 4, 4), np.uint8), extras)


def test_a_field_of_the_environments_needs_a_shape() -> None:
    with pytest.raises(FovealError, match="the extra field 'far' from 'far' needs the shape"):
        ExtraField("far", "far")


def test_another_runs_fields_do_not_fit() -> None:
    fields = [ExtraField("far", "far", (2,))]
    plain, other = ReplayBuffer(20, (3, 4, 4), 1), ReplayBuffer(20, (3, 4, 4), 1, extras=fields)
    with pytest.raises(FovealError, match="saved with other settings: extras"):
        plain.load_state(other.state(), {})
    old = plain.state()
    del old["settings"]["extras"]  # from before there were any
    plain.load_state(old, {})
    with pytest.raises(FovealError, match="saved with other settings: extras"):
        other.load_state(old, {})
