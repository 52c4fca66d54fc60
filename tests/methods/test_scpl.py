"""SCPL against its formulas written plainly: two views, their masks, dynamics of both, and a policy that agrees."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor
from torch.distributions import Categorical, Independent, Normal, TanhTransform, TransformedDistribution, kl_divergence

import foveal
from foveal.augmentations import AugmentationOptions
from foveal.learners import Shapes, ValueLearner
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import Setup
from foveal.methods.agreement import divergence
from foveal.methods.scpl import SCPL, SCPLConfig
from foveal.networks.encoders import EncoderConfig
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle_layers import nothing_further
from small_env import SavedCounter, small_agent

SMALL = SACConfig(encoder=EncoderConfig(strides=(2, 1), filters=6, projection=8), hidden=16)
SIDE, ACTIONS = 21, 2


def built(**settings: Any) -> Updater:
    """A learner with SCPL on it, whose weights are all off their initial values."""
    torch.manual_seed(0)
    generator, image = torch.Generator().manual_seed(0), (9, SIDE, SIDE)
    learner = SAC(SMALL, Shapes(image, 0, spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)), torch.float32, generator)
    options = AugmentationOptions(SIDE, picture_count=8)
    method = SCPL(SCPLConfig(hidden=7, **settings), Setup(learner, image, options, generator, torch.float32))
    with torch.no_grad():
        for parameter in [*learner.parameters(), *method.parameters()]:
            parameter.add_(0.05 * torch.randn_like(parameter))
    return Updater(learner, method, pixel_gradient=True)


def transitions(size: int = 4) -> Batch:
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, size, 9, SIDE, SIDE), generator=draws, dtype=torch.uint8)
    action = torch.rand(size, ACTIONS, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


def watched(updater: Any) -> dict[str, Any]:
    """What an update's critic saw and was told, and the learner before it."""
    found: dict[str, Any] = {"seen": [], "before": copy.deepcopy(updater.learner)}
    estimate, targets = updater.learner.estimate, updater.learner.targets

    def noted(obs: Observation, action: Tensor) -> Any:
        found["seen"].append(obs.image.detach().clone())
        return estimate(obs, action)

    updater.learner.estimate = noted
    updater.learner.targets = lambda batch: (found.update(batch=batch), found.setdefault("target", targets(batch)))[1]
    return found


# --- the critic -------------------------------------------------------------------------------------------------------


def guided_mask(learner: Any, image: Tensor, action: Tensor, quantile: float) -> Tensor:
    """SGQN's mask, with a hook on every ReLU of a plain forward pass."""

    def positive(module: Any, into: Any, out: Any) -> tuple[Tensor]:
        return (into[0].clamp(min=0),)

    learner.convolutions.by_layer = True
    relus = [module for module in learner.modules() if isinstance(module, torch.nn.ReLU)]
    hooks = [module.register_full_backward_hook(positive) for module in relus]
    pixels = image.clone().requires_grad_()
    value = learner.estimate(Observation(pixels), action).values[0].sum()
    (gradient,) = torch.autograd.grad(value, pixels)
    for hook in hooks:
        hook.remove()
    strength = gradient.abs().unflatten(1, (3, 3)).amax(2).flatten(2)  # (B, F, H * W)
    kept = strength >= torch.quantile(strength, quantile, dim=2, keepdim=True)
    return kept.unflatten(2, (SIDE, SIDE)).repeat_interleave(3, dim=1)


@pytest.mark.slow
def test_the_critics_loss_and_its_gradient_are_those_of_two_views() -> None:
    updater: Any = built()
    updater.updates = 1  # the critic alone
    found = watched(updater)
    batch = transitions()
    metrics = updater.update(batch, nothing_further)
    clean, strong, filled = found["seen"]
    learner = found["before"]
    for view, rest in ((clean, filled[:4]), (strong, filled[4:])):  # outside of each view's own mask one number
        mask = guided_mask(learner, view, batch.action, 0.9)
        assert torch.equal(rest[mask], view[mask])
        assert (
            len(
                filled[
                    torch.cat([guided_mask(learner, v, batch.action, 0.9) for v in (clean, strong)]).logical_not()
                ].unique()
            )
            == 1
        )
    values = [learner.estimate(Observation(view), batch.action).values for view in (clean, strong)]
    masked = [learner.estimate(Observation(view), batch.action).values for view in filled.chunk(2)]
    loss = torch.zeros(())
    for head in range(2):
        both, both_masked = torch.cat([v[head] for v in values]), torch.cat([m[head] for m in masked])
        loss = loss + F.mse_loss(both, torch.cat([found["target"]] * 2)) + 0.5 * F.mse_loss(both, both_masked)
    torch.testing.assert_close(metrics["critic/loss"], loss.detach(), rtol=1e-4, atol=1e-5)
    for ours, plain in zip(
        updater.learner.critic_parameters(), torch.autograd.grad(loss, learner.critic_parameters()), strict=True
    ):
        torch.testing.assert_close(ours.grad, plain, rtol=1e-3, atol=1e-4)


def test_the_target_is_of_the_clean_next_observation() -> None:
    updater: Any = built(shift=0)
    found = watched(updater)
    updater.update(transitions(), nothing_further)
    assert torch.equal(found["batch"].next_obs.image.detach(), transitions().next_obs.image.float())
    assert torch.equal(found["seen"][0], transitions().obs.image.float())
    assert not torch.equal(found["seen"][1], found["seen"][0])


# --- the policy -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_policys_loss_has_the_divergence_between_the_views() -> None:
    losses = {}
    for weight in (0.0, 1.0, 3.0):
        updater: Any = built(agreement_weight=weight)
        found: dict[str, Any] = {}
        actor_loss = updater.method.actor_loss

        def noted(context: Any, actor_loss: Any = actor_loss, found: dict[str, Any] = found) -> Any:
            term = actor_loss(context)
            found["divergence"] = plain_divergence(context.learner, context.batch.obs, context.seen(1))
            return term

        updater.method.actor_loss = noted
        losses[weight] = float(updater.update(transitions(), nothing_further)["actor/loss"])
    told = float(found["divergence"])
    assert told > 1e-3
    assert losses[1.0] - losses[0.0] == pytest.approx(told, rel=1e-2)
    assert losses[3.0] - losses[0.0] == pytest.approx(3 * told, rel=1e-2)


def plain_divergence(learner: Any, clean: Observation, strong: Observation) -> Tensor:
    """log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1 / 2, over the actions, of the Gaussians before tanh."""
    (first, log_first), (second, log_second) = (
        learner._gaussian(learner.features(obs), obs.vector) for obs in (clean, strong)
    )
    parts = log_second - log_first - 0.5
    parts = parts + (log_first.exp() ** 2 + (first - second) ** 2) / (2 * log_second.exp() ** 2)
    return parts.sum(1).mean().detach()


def squashed(mean: Tensor, std: Tensor) -> Any:
    return TransformedDistribution(Independent(Normal(mean, std), 1), TanhTransform())


def test_the_divergence_is_that_of_torch_and_leaves_the_first_spread_alone() -> None:
    draws = torch.Generator().manual_seed(0)
    mean, other = (torch.randn(5, 3, generator=draws).requires_grad_() for _ in range(2))
    std, wide = ((0.1 + torch.rand(5, 3, generator=draws)).requires_grad_() for _ in range(2))
    ours = divergence(squashed(mean, std), squashed(other, wide))
    torch.testing.assert_close(ours, kl_divergence(squashed(mean, std), squashed(other, wide)))
    torch.testing.assert_close(
        ours, divergence(squashed(mean + 1, std), squashed(other + 1, wide)), rtol=1e-4, atol=1e-4
    )
    gradients = torch.autograd.grad(ours.sum(), [mean, std, other, wide], allow_unused=True)
    assert gradients[1] is None and all(g is not None and bool(g.any()) for g in (gradients[0], *gradients[2:]))
    assert not bool(divergence(squashed(mean, std), squashed(mean, std)).abs().max() > 1e-5)


def test_a_policy_of_another_kind_has_its_own_divergence() -> None:
    first, second = (Categorical(logits=torch.tensor([row])) for row in ([0.0, 1.0], [1.0, -1.0]))
    torch.testing.assert_close(divergence(first, second), kl_divergence(first, second))


def test_a_learner_whose_policy_has_no_distribution_does_without() -> None:
    updater = built()
    obs = transitions().obs.float()
    context: Any = SimpleNamespace(learner=updater.learner, batch=SimpleNamespace(obs=obs), seen=lambda number: obs)
    assert updater.method.actor_loss(context) is not None
    silent = type("Silent", (SAC,), {"distribution": ValueLearner.distribution})
    updater.learner.__class__ = silent
    assert updater.method.actor_loss(context) is None


@pytest.mark.slow
def test_it_learns_with_values_alone() -> None:
    agent = small_agent(lambda: SavedCounter(discrete=True), method="scpl", learner="dqn")
    agent.learn(14, progress=False, evaluate_every=0)
    assert agent.updates == 5 and not agent.method.needs_policy


# --- the dynamics -----------------------------------------------------------------------------------------------------


def test_the_dynamics_are_told_from_both_views() -> None:
    updater: Any = built()
    method, learner = updater.method, updater.learner
    batch = transitions()
    draws = torch.Generator().manual_seed(5)
    now, later = (Observation(torch.rand(8, 9, SIDE, SIDE, generator=draws) * 255) for _ in range(2))
    transition, reward = method.dynamics_losses(learner, now, batch, later)
    latents, wanted = learner.latent(now), learner.latent(later).detach()
    hidden = torch.cat([latents, torch.cat([batch.action] * 2)], 1)
    hidden = hidden @ method.dynamics.hidden[0].weight.T + method.dynamics.hidden[0].bias
    norm = method.dynamics.hidden[1]
    hidden = (hidden - hidden.mean(1, keepdim=True)) / (hidden.var(1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    hidden = (hidden * norm.weight + norm.bias).clamp(min=0)
    told = hidden @ method.dynamics.latent.weight.T + method.dynamics.latent.bias
    paid = (hidden @ method.dynamics.reward.weight.T + method.dynamics.reward.bias)[:, 0]
    plain = [0.5 * ((told - wanted) ** 2).mean(), ((paid - torch.cat([batch.reward] * 2)) ** 2).mean()]
    for ours, theirs in zip((transition, reward), plain, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    parameters = method.auxiliary_parameters()
    ours, theirs = (torch.autograd.grad(a + b, parameters) for a, b in ((transition, reward), plain))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_both_observations_of_a_sample_are_changed_alike() -> None:
    updater: Any = built(shift=0)
    seen: list[tuple[Observation, Batch, Observation]] = []
    real = updater.method.dynamics_losses
    updater.method.dynamics_losses = lambda learner, *rest: (seen.append(rest), real(learner, *rest))[1]
    updater.update(transitions(), nothing_further)
    ((obs, _, next_obs),) = seen
    (plain, strong), (plain_next, strong_next) = obs.image.chunk(2), next_obs.image.chunk(2)
    assert torch.equal(plain, transitions().obs.image.float())
    assert torch.equal(plain_next, transitions().next_obs.image.float())
    picture = 2 * strong - plain
    torch.testing.assert_close(picture, 2 * strong_next - plain_next, rtol=0, atol=1e-3)  # an overlay's, of either
    torch.testing.assert_close(picture[:, :3], picture[:, 6:], rtol=0, atol=1e-3)
    assert float((picture[0] - picture[1]).abs().mean()) > 1  # each sample has its own


@pytest.mark.slow
def test_each_step_moves_what_it_should() -> None:
    def moved(number: int) -> set[str]:
        updater: Any = built()
        both = {**updater.learner.state_dict(prefix="learner."), **updater.method.state_dict(prefix="method.")}
        before = {name: value.clone() for name, value in both.items()}
        updater.updates = number
        updater.update(transitions(), nothing_further)
        return {".".join(name.split(".")[:2]) for name, value in both.items() if not torch.equal(value, before[name])}

    assert moved(1) == {"learner.convolutions", "learner.projection", "learner.critics"}
    assert {"method.dynamics", "learner.policy", "learner.target_critics"} <= moved(2)

    updater: Any = built()
    before = [p.detach().clone() for p in updater.learner.critics.parameters()]
    context: list[Any] = []
    real = updater.method.auxiliary
    updater.method.auxiliary = lambda given: (context.append(given), real(given))[1]
    updater.update(transitions(), nothing_further)
    after = [p.detach().clone() for p in updater.learner.critics.parameters()]
    encoder = [p.detach().clone() for p in updater.learner.encoder_parameters]
    real(context[0])  # once more: it trains the encoder and leaves the critics
    assert all(torch.equal(p, held) for p, held in zip(updater.learner.critics.parameters(), after, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert any(not torch.equal(p, held) for p, held in zip(updater.learner.encoder_parameters, encoder, strict=True))


@pytest.mark.slow
def test_it_is_joined_with_others() -> None:
    agent = small_agent(method="drq+scpl")
    agent.learn(14, progress=False, evaluate_every=0)
    assert agent.updates == 5 and isinstance(agent, foveal.Agent)
