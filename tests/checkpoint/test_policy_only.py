"""Agents saved as policies alone: small files that act, explain, and can be trained further."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import foveal
from foveal.checkpoint.policy_only import with_targets

SIZE = 36


@pytest.fixture(scope="module")
def agent() -> foveal.Agent:
    return foveal.Agent("dmc/cartpole-swingup", preset="debug", seed=3)


def bytes_of(folder: Path) -> int:
    return (folder / "tensors.safetensors").stat().st_size


def test_a_policy_alone_acts_and_values_as_its_agent_up_to_half_precision(agent: foveal.Agent, tmp_path: Path) -> None:
    agent.save(tmp_path / "whole")
    policy = foveal.load(agent.save(tmp_path / "policy", policy_only=True))
    assert bytes_of(tmp_path / "policy") < 0.5 * bytes_of(tmp_path / "whole")
    obs = np.random.default_rng(0).integers(0, 256, (4, 9, SIZE, SIZE), dtype=np.uint8)
    expected = agent.predict(obs, deterministic=True)[0]
    np.testing.assert_allclose(policy.predict(obs, deterministic=True)[0], expected, atol=1e-2)
    pixels, actions = torch.as_tensor(obs).float(), torch.as_tensor(expected)
    torch.testing.assert_close(policy.values(pixels, actions), agent.values(pixels, actions), atol=1e-2, rtol=1e-2)


def test_its_target_networks_are_the_networks_that_they_follow(agent: foveal.Agent, tmp_path: Path) -> None:
    weights = foveal.load(agent.save(tmp_path / "policy", policy_only=True)).learner.state_dict()
    followers = [name for name in weights if name.startswith("target_")]
    assert followers
    for name in followers:
        assert torch.equal(weights[name], weights[name.removeprefix("target_")])


@pytest.mark.slow
def test_it_can_be_trained_further(agent: foveal.Agent, tmp_path: Path) -> None:
    policy = foveal.load(agent.save(tmp_path / "policy", policy_only=True))
    policy.learn(44, progress=False, evaluate_every=0)
    assert policy.updates > 0
    assert all(torch.isfinite(parameter).all() for parameter in policy.learner.parameters())


def test_weights_that_lack_more_than_target_networks_are_refused() -> None:
    wanted = {"a.weight": torch.zeros(1), "target_a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}
    with pytest.raises(foveal.FovealError, match=r"lack 'b.weight'"):
        with_targets({"a.weight": torch.ones(1)}, wanted)
