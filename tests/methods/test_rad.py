"""RAD: which pictures the learner is shown, with each of its augmentations, in training and when it acts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

import foveal
from foveal.augmentations import AUGMENTATIONS, AugmentationOptions, center_translate, random_translate
from foveal.errors import FovealError
from foveal.methods.rad import RAD, RADConfig
from foveal.types import Batch, Observation
from small_env import SIZE, SavedCounter, small_agent
from small_updates import batch_for, cropped, method_agent, no_sample, peek


def shown(agent: foveal.Agent, batch: Batch) -> list[Tensor]:
    """What the critic, its target and the policy saw in the first update."""
    seen: list[Tensor] = []
    learner = agent.learner
    targets, estimate, policy = learner.targets, learner.estimate, learner.policy_step
    learner.targets = lambda batch: (seen.append(batch.next_obs.image), targets(batch))[1]  # type: ignore[method-assign]
    learner.estimate = lambda obs, action: (seen.append(obs.image), estimate(obs, action))[1]  # type: ignore[method-assign]
    learner.policy_step = lambda obs, *rest: (seen.append(obs.image), policy(obs, *rest))[1]  # type: ignore[method-assign]
    agent.updater.update(batch, no_sample)
    return seen


def test_rad_renders_100_pixels_for_84_and_translates_78_of_them() -> None:
    assert RADConfig() == RADConfig(augmentation="crop")
    sizes = [RAD.requirements(RADConfig(name), 84).render_size for name in ("crop", "translate", "cutout", "conv")]
    assert sizes == [100, 78, 84, 84]


def test_each_observation_has_crops_of_its_own_and_critic_and_actor_see_the_same() -> None:
    agent = method_agent("rad")
    batch, draws = batch_for(agent), peek(agent)
    obs, next_obs = (cropped(each.image, draws, SIZE) for each in (batch.obs, batch.next_obs))
    target, critic, actor = shown(agent, batch)
    assert batch.obs.image.shape[-1] == 43
    assert torch.equal(critic, obs) and torch.equal(actor, obs) and torch.equal(target, next_obs)


def test_a_translation_is_the_same_for_both_observations_and_acting_sees_the_middle() -> None:
    agent = method_agent("rad", rad={"augmentation": "translate"})
    batch, draws = batch_for(agent), peek(agent)
    assert batch.obs.image.shape[-1] == 33
    state = draws.get_state()
    obs = random_translate(batch.obs.image, SIZE, draws)
    next_obs = random_translate(batch.next_obs.image, SIZE, draws.set_state(state))
    target, critic, actor = shown(agent, batch)
    assert (
        torch.equal(critic, obs.float()) and torch.equal(actor, obs.float()) and torch.equal(target, next_obs.float())
    )
    assert torch.equal(
        agent.method.observe(batch.obs).image,  # what the policy acts on
        center_translate(batch.obs.image, SIZE),
    )
    assert agent.predict(batch.obs.image.numpy())[0].shape == (4, 2)


@pytest.mark.parametrize("name", ["cutout", "color_jitter", "conv", "spectrum"])
def test_other_augmentations_change_both_observations_by_draws_of_their_own(name: str) -> None:
    agent = method_agent("rad", rad={"augmentation": name})
    batch, draws = batch_for(agent), peek(agent)
    augmentation = AUGMENTATIONS.get(name)(AugmentationOptions(SIZE))
    obs, next_obs = (augmentation(each.image, draws) for each in (batch.obs, batch.next_obs))
    target, critic, actor = shown(agent, batch)
    assert torch.equal(critic, obs) and torch.equal(actor, obs) and torch.equal(target, next_obs)
    assert torch.equal(agent.method.observe(batch.obs).image, batch.obs.image)


def test_acting_sees_the_centre_of_what_was_rendered() -> None:
    agent = method_agent("rad")
    image = batch_for(agent).obs.image
    edges = image.clone()
    edges[:, :, :3], edges[:, :, -4:], edges[..., :3], edges[..., -4:] = 0, 0, 0, 0  # 43 pixels, 36 in the middle
    np.testing.assert_array_equal(*(agent.predict(x.numpy(), deterministic=True)[0] for x in (image, edges)))
    edges[..., 3] = 0
    assert not np.array_equal(*(agent.predict(x.numpy(), deterministic=True)[0] for x in (image, edges)))


def test_an_unknown_augmentation_is_refused_by_name() -> None:
    with pytest.raises(FovealError, match=r"^rad\.augmentation is 'crops': did you mean 'crop'\?$"):
        RADConfig("crops")


def test_it_trains_with_translations_in_an_environment() -> None:
    agent = small_agent(SavedCounter, method="rad", rad={"augmentation": "translate"})
    agent.learn(14, progress=False, evaluate_every=0)
    assert agent.updates == 5
    observation = Observation(torch.zeros(1, 9, 33, 33))
    assert agent.method.observe(observation).image.shape[-1] == SIZE
