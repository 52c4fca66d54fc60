"""RAD, CURL, PAD and SRM joined with other methods by names such as ``sgqn+curl``."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import foveal
from foveal.errors import FovealError
from small_env import SIZE, SavedCounter, small_agent
from small_updates import batch_for, method_agent, no_sample


@pytest.mark.parametrize(
    "method", ["svea+rad", "rad+sgqn", "sgqn+curl", "curl+svea", "pad+sgqn", "svea+srm", "srm+pad", "curl+srm+sgqn"]
)
@pytest.mark.parametrize("learner", ["sac", "dqn"])
@pytest.mark.slow
def test_joined_they_learn_and_act(method: str, learner: str) -> None:
    agent = method_agent(method, learner)
    wanted = {"curl": "curl/loss", "pad": "pad/loss", "sgqn": "attribution/loss"}
    for number in range(3):
        metrics = agent.updater.update(batch_for(agent, seed=number), no_sample)
        assert all(bool(value.isfinite()) and not value.requires_grad for value in metrics.values())
        if number == 0:
            assert {wanted[part] for part in method.split("+") if part in wanted} <= set(metrics)
    image = batch_for(agent).obs.image
    assert agent.method.observe(batch_for(agent).obs).image.shape[-1] == SIZE
    assert agent.predict(image.numpy(), deterministic=True)[0].shape[0] == len(image)


@pytest.mark.parametrize("method", ["curl+pad", "soda+rad"])
def test_two_that_crop_are_refused(method: str) -> None:
    with pytest.raises(FovealError, match="can't be joined: each takes crops of pictures of its own size"):
        small_agent(SavedCounter, method=method)


@pytest.mark.slow
def test_translations_keep_their_smaller_pictures_in_company() -> None:
    agent = method_agent("rad+svea", rad={"augmentation": "translate"})
    assert agent.env_options["image_size"] == 33
    agent.updater.update(batch_for(agent), no_sample)
    assert agent.method.observe(batch_for(agent).obs).image.shape[-1] == SIZE


@pytest.mark.slow
def test_pad_adapts_in_company() -> None:
    agent = method_agent("pad+sgqn")
    before = {name: value.clone() for name, value in agent.learner.state_dict().items()}
    batch = batch_for(agent, 1)
    step: Any = batch.obs.image[0].numpy(), batch.action[0].numpy(), 1.0, batch.next_obs.image[0].numpy(), False
    still = agent.predict(step[0], deterministic=True)[0]
    with agent.adapting() as adapt:
        assert adapt is not None
        adapt(*step)
        assert not np.array_equal(agent.predict(step[0], deterministic=True)[0], still)
    assert all(torch.equal(value, before[name]) for name, value in agent.learner.state_dict().items())
    results = foveal.evaluate(agent, episodes=1, progress=False, adapt=True)
    assert results.policy["adapted"] is True
