"""SRM: whose frequencies are masked, how often, and what is left alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import foveal
from foveal.augmentations import random_shift
from foveal.methods.srm import SRMConfig
from small_env import SIZE
from small_updates import batch_for, method_agent, no_sample, peek


def published(image: Tensor, low: float, high: float) -> Tensor:
    """(B, C, H, W) without the ring, by the complex transform over colours, rows and columns of every frame."""
    passes = [torch.outer(*(torch.fft.fftfreq(side).abs() < edge for side in image.shape[2:])) for edge in (low, high)]
    ring = passes[1] & ~passes[0]
    spectrum = torch.fft.fftn(image.unflatten(1, (-1, 3)), dim=(2, 3, 4))
    return torch.fft.ifftn(spectrum * ~ring, dim=(2, 3, 4)).real.flatten(1, 2)


@pytest.mark.parametrize("seed", range(6))
def test_half_of_the_batches_lose_a_ring_of_the_first_observations(seed: int) -> None:
    agent = method_agent("srm")
    agent.generator.manual_seed(seed)
    batch, draws = batch_for(agent), peek(agent)
    shifted, next_shifted = (random_shift(each.image, 4, draws).float() for each in (batch.obs, batch.next_obs))
    masked = float(torch.rand((), generator=draws)) < 0.5
    edge, extent = torch.rand(2, 1, 1, 1, 1, generator=draws).flatten().tolist()
    low = round(0.5 * edge, 2)
    expected = published(shifted, low, low + round(0.05 * extent, 2)) if masked else shifted
    prepared = agent.method.prepare(batch)
    torch.testing.assert_close(prepared.obs.image, expected, rtol=0, atol=1e-3)
    assert torch.equal(prepared.next_obs.image.float(), next_shifted)  # what the target sees


def test_about_half_of_the_batches_are_masked() -> None:
    agent = method_agent("srm", srm={"shift": 0})
    batch = batch_for(agent, 1)
    clean = batch.obs.image.float()
    changed = sum(float((agent.method.prepare(batch).obs.image - clean).abs().max()) > 0.01 for _ in range(400))
    # 28 % of the rings hold none of 36 pixels' frequencies, which are in steps of 1/36: 144 of 400 are expected
    assert 115 < changed < 173


def shares(probability: float) -> float:
    agent = method_agent("srm", srm={"shift": 0, "probability": probability})
    batch = batch_for(agent, 1)
    clean = batch.obs.image.float()
    return sum(float((agent.method.prepare(batch).obs.image - clean).abs().max()) > 0.01 for _ in range(100)) / 100


def test_a_probability_of_0_masks_nothing() -> None:
    assert shares(0.0) == 0.0 < shares(1.0)


def test_critic_and_actor_see_the_masked_observation() -> None:
    agent = method_agent("srm", srm={"probability": 1.0})
    seen: list[Tensor] = []
    learner = agent.learner
    estimate, policy = learner.estimate, learner.policy_step
    learner.estimate = lambda obs, action: (seen.append(obs.image), estimate(obs, action))[1]  # type: ignore[method-assign]
    learner.policy_step = lambda obs, *rest: (seen.append(obs.image), policy(obs, *rest))[1]  # type: ignore[method-assign]
    agent.updater.update(batch_for(agent), no_sample)
    assert len(seen) == 2 and torch.equal(*seen)
    assert not torch.equal(seen[0], seen[0].round())  # no picture's pixels are whole numbers after a mask


def test_it_acts_on_the_picture_as_it_is() -> None:
    agent: foveal.Agent = method_agent("srm")
    obs = batch_for(agent).obs
    assert agent.method.observe(obs) is obs and obs.image.shape[-1] == SIZE


def test_its_defaults_are_published() -> None:
    assert SRMConfig() == SRMConfig(probability=0.5, shift=4)
