"""SGQN against a plain transcription of the paper: its mask, its critic loss and gradients, its attribution step."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from gymnasium import spaces
from torch import Tensor, nn

from foveal.augmentations import AugmentationOptions
from foveal.errors import FovealError
from foveal.learners import Estimate, Shapes
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import Context, EstimatedView, Setup
from foveal.methods.sgqn import SGQN, SGQNConfig, consistency, fill_masked
from foveal.networks.encoders import EncoderConfig
from foveal.networks.kernels.cross_entropy import binary_cross_entropy
from foveal.training.updater import Updater
from foveal.types import Batch, Observation

# captum says for every call that it sets hooks; that does not concern the values compared here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")

ACTIONS = 2
SMALL = SACConfig(encoder=EncoderConfig(strides=(2, 1, 1), filters=8, projection=10), hidden=24)
CENTRED = replace(SMALL, encoder=replace(SMALL.encoder, centred=True))
SMALL_METHOD = SGQNConfig(quantile=0.9, decoder_filters=(4, 6, 5))


@dataclass
class Case:
    """A learner with SGQN on it and a batch to update on; all weights are off their initial values."""

    learner: SAC
    method: SGQN
    updater: Updater
    batch: Batch
    generator: torch.Generator

    def update(self, number: int = 0) -> dict[str, Tensor]:
        """Update ``number`` of a run; with an odd one only the critic is due."""
        self.updater.updates = number
        return self.updater.update(self.batch, no_sample)

    def peek(self) -> torch.Generator:
        """A generator that will draw what the case's own will draw next."""
        return torch.Generator().set_state(self.generator.get_state())

    def weights(self) -> dict[str, Tensor]:
        both = {**self.learner.state_dict(prefix="learner."), **self.method.state_dict(prefix="method.")}
        return {name: value.clone() for name, value in both.items()}


def no_sample(size: int) -> Batch:
    raise AssertionError(f"SGQN asked for a further batch of {size}")


def case(
    learner_config: SACConfig = SMALL,
    config: SGQNConfig = SMALL_METHOD,
    *,
    size: int = 24,
    frames: int = 3,
    batch: int = 4,
    vector: int = 0,
    seed: int = 0,
    shake: float = 0.05,
) -> Case:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    image = (3 * frames, size, size)
    shapes = Shapes(image, vector, spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32))
    learner = SAC(learner_config, shapes, torch.float32, generator)
    method = SGQN(config, Setup(learner, image, AugmentationOptions(size, picture_count=8), generator, torch.float32))
    with torch.no_grad():
        for parameter in [*learner.parameters(), *method.parameters()]:
            parameter.add_(shake * torch.randn_like(parameter))
    updater = Updater(learner, method, pixel_gradient=True)
    return Case(learner, method, updater, transitions(image, batch, vector), generator)


def transitions(image: tuple[int, int, int], size: int, vector: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(99)

    def observation() -> Observation:
        pixels = torch.randint(0, 256, (size, *image), generator=generator, dtype=torch.uint8)
        return Observation(pixels, torch.randn(size, vector, generator=generator) if vector else None)

    action = torch.rand(size, ACTIONS, generator=generator) * 2 - 1
    discount = torch.full((size,), 0.99)
    discount[0] = 0.0
    return Batch(observation(), action, torch.rand(size, generator=generator) * 5, discount, observation())


# --- the plain transcription: nothing of foveal but the weights -------------------------------------------------------


class Critic(nn.Module):
    """A copy of one of the learner's critics, as anybody would write it; captum sees every ReLU."""

    def __init__(self, learner: Any, *, target: bool = False) -> None:
        super().__init__()
        prefix = "target_" if target else ""
        convolutions = copy.deepcopy(getattr(learner, f"{prefix}convolutions"))
        self.convolutions, self.offset = convolutions.layers, convolutions.offset
        self.projection = copy.deepcopy(getattr(learner, f"{prefix}projection"))
        self.heads = copy.deepcopy(getattr(learner, f"{prefix}critics").heads)

    def latent(self, image: Tensor) -> Tensor:
        features = self.convolutions(image / 255.0 - self.offset).movedim(1, -1).flatten(1)
        hidden = F.layer_norm(
            features @ self.projection.linear.weight.T + self.projection.linear.bias,
            self.projection.norm.normalized_shape,
            self.projection.norm.weight,
            self.projection.norm.bias,
        )
        return torch.tanh(hidden)

    def forward(self, image: Tensor, vector: Tensor | None, action: Tensor) -> Tensor:
        """(B, 2)."""
        parts = [self.latent(image), action] if vector is None else [self.latent(image), vector, action]
        return torch.cat([head(torch.cat(parts, dim=1)) for head in self.heads], dim=1)


def shifted(image: Tensor, generator: torch.Generator, pad: int) -> Tensor:
    """DrQ: replicate the border by ``pad`` pixels, then cut the old size out at a place of each sample's own."""
    if pad == 0:
        return image.float()
    size = image.shape[-1]
    offsets = torch.randint(-pad, pad + 1, (2, len(image)), generator=generator) + pad
    padded = F.pad(image.float(), (pad, pad, pad, pad), mode="replicate")
    rows = [padded[i, :, y : y + size, x : x + size] for i, (y, x) in enumerate(offsets.T.tolist())]
    return torch.stack(rows)


def plain_saliency(critic: Critic, obs: Observation, action: Tensor) -> Tensor:
    image = obs.image.clone().requires_grad_()
    extra = (obs.vector, action)
    return GuidedBackprop(critic).attribute(image, target=0, additional_forward_args=extra).detach()


def plain_mask(critic: Critic, obs: Observation, action: Tensor, quantile: float) -> Tensor:
    saliency = plain_saliency(critic, obs, action).abs().numpy()
    mask = np.zeros(saliency.shape, dtype=bool)
    for sample in range(saliency.shape[0]):
        for frame in range(saliency.shape[1] // 3):
            channels = slice(3 * frame, 3 * frame + 3)
            strongest = saliency[sample, channels].max(axis=0)
            mask[sample, channels] = strongest >= np.quantile(strongest, quantile)
    return torch.from_numpy(mask)


def plain_target(learner: Any, batch: Batch, generator: torch.Generator) -> Tensor:
    """Soft target of SAC; the policy reads the trained convolutions."""
    obs = batch.next_obs
    layers, offset = learner.convolutions.layers, learner.convolutions.offset
    latent = learner.actor_projection(layers(obs.image / 255.0 - offset).movedim(1, -1).flatten(1))
    hidden = learner.policy(latent if obs.vector is None else torch.cat([latent, obs.vector], 1))
    mean, log_std = hidden.chunk(2, dim=1)
    std = (-10 + 6 * (torch.tanh(log_std) + 1)).exp()
    raw = mean + std * torch.randn(mean.shape, generator=generator)
    log_prob = torch.distributions.Normal(mean, std).log_prob(raw) - (1 - torch.tanh(raw).square()).log()
    values = Critic(learner, target=True)(obs.image, obs.vector, torch.tanh(raw)).min(dim=1).values
    target = batch.reward + batch.discount * (values - learner.log_alpha.exp() * log_prob.sum(1))
    return target.detach()


def keep(values: Tensor) -> Tensor:
    return values


def plain_critic_loss(
    learner: SAC,
    critic: Critic,
    batch: Batch,
    config: SGQNConfig,
    generator: torch.Generator,
    clean_side: Callable[[Tensor], Tensor] = keep,
    masked_side: Callable[[Tensor], Tensor] = keep,
) -> Tensor:
    """TD + 0.5 (MSE of Q1 + MSE of Q2) between the observation and its salient pixels, on the critic's own weights."""
    image = shifted(batch.obs.image, generator, config.shift)
    next_image = shifted(batch.next_obs.image, generator, config.shift)
    obs = batch.obs._replace(image=image)
    target = plain_target(learner, batch.replace(next_obs=batch.next_obs._replace(image=next_image)), generator)
    mask = plain_mask(critic, obs, batch.action, config.quantile)
    filling = image.min() + (image.max() - image.min()) * torch.rand((), generator=generator)
    masked = torch.where(mask, image, filling)

    values = critic(image, obs.vector, batch.action)
    masked_values = critic(masked, obs.vector, batch.action)
    loss = torch.zeros(())
    for head in range(2):
        loss = loss + F.mse_loss(values[:, head], target)
        gap = F.mse_loss(clean_side(values[:, head]), masked_side(masked_values[:, head]))
        loss = loss + config.consistency_weight * gap
    return loss


def critic_gradients(critic: Critic, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [p for _, p in sorted(critic.named_parameters())]))


def learned_gradients(learner: Any) -> list[Tensor]:
    """The gradients that the critic's step left, in the same order."""
    twin = nn.Module()
    twin.convolutions, twin.projection, twin.heads = (
        learner.convolutions.layers,
        learner.projection,
        learner.critics.heads,
    )
    gradients = [p.grad for _, p in sorted(twin.named_parameters())]
    assert all(gradient is not None for gradient in gradients)
    return [gradient for gradient in gradients if gradient is not None]


def distance(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """Relative, over all parameters."""
    return float(
        torch.cat([(a - b).flatten() for a, b in zip(ours, theirs, strict=True)]).norm()
        / torch.cat([b.flatten() for b in theirs]).norm()
    )


# --- the whole critic loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("learner_config", "vector", "shift"),
    [(SMALL, 0, 4), (CENTRED, 0, 2), (SMALL, 3, 0)],
    ids=["small", "centred", "vector"],
)
def test_the_critic_loss_and_its_gradient_equal_the_papers(learner_config: SACConfig, vector: int, shift: int) -> None:
    here = case(learner_config, replace(SMALL_METHOD, shift=shift), vector=vector)
    critic = Critic(here.learner)
    plain = plain_critic_loss(here.learner, critic, here.batch, here.method.config, here.peek())
    metrics = here.update(number=1)
    torch.testing.assert_close(metrics["critic/loss"], plain.detach(), rtol=1e-4, atol=1e-6)
    assert 1e-4 < float(metrics["critic/consistency"]) < float(metrics["critic/loss"])
    assert distance(learned_gradients(here.learner), critic_gradients(critic, plain)) < 1e-3


@pytest.mark.slow
def test_the_critic_loss_of_the_papers_network_equals_the_papers() -> None:
    here = case(SACConfig(), SGQNConfig(quantile=0.95), size=84, batch=2, shake=0.02)
    critic = Critic(here.learner)
    plain = plain_critic_loss(here.learner, critic, here.batch, here.method.config, here.peek())
    metrics = here.update(number=1)
    torch.testing.assert_close(metrics["critic/loss"], plain.detach(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(metrics["critic/loss"], metrics["critic/td"] + metrics["critic/consistency"])
    assert float(metrics["critic/consistency"]) > 1e-4
    assert distance(learned_gradients(here.learner), critic_gradients(critic, plain)) < 1e-3


def detach(values: Tensor) -> Tensor:
    return values.detach()


@pytest.mark.parametrize(
    ("clean_side", "masked_side"),
    [(detach, keep), (keep, detach)],
    ids=["clean side detached", "masked side detached"],
)
def test_consistency_sends_gradients_through_both_sides(
    clean_side: Callable[[Tensor], Tensor], masked_side: Callable[[Tensor], Tensor]
) -> None:
    config = replace(SMALL_METHOD, consistency_weight=5.0)
    here = case(config=config)
    critics = [Critic(here.learner) for _ in range(2)]
    half = plain_critic_loss(here.learner, critics[0], here.batch, config, here.peek(), clean_side, masked_side)
    whole = plain_critic_loss(here.learner, critics[1], here.batch, config, here.peek())
    torch.testing.assert_close(half, whole)  # the same loss, another gradient
    here.update(number=1)
    gradients = learned_gradients(here.learner)
    assert distance(gradients, critic_gradients(critics[1], whole)) < 1e-3
    assert distance(gradients, critic_gradients(critics[0], half)) > 1e-2


def test_consistency_is_the_sum_over_critics_of_the_mean_squared_difference() -> None:
    values = torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert float(consistency(values, torch.tensor([[0.0, 0.0], [3.0, 1.0]]))) == (1 + 4) / 2 + (0 + 16) / 2


def test_the_consistency_weight_scales_its_term() -> None:
    terms = {}
    for weight in (0.5, 1.0):
        here = case(config=replace(SMALL_METHOD, consistency_weight=weight))
        terms[weight] = here.update(number=1)["critic/consistency"]
    torch.testing.assert_close(terms[1.0], 2 * terms[0.5])


@pytest.mark.slow
def test_saliency_is_the_first_critics_alone() -> None:
    masks = []
    for changed in (None, 1, 0):
        here = case()
        if changed is not None:
            with torch.no_grad():
                for parameter in here.learner.critics.heads[changed].parameters():
                    parameter.normal_(generator=torch.Generator().manual_seed(3))
        masks.append(used_mask(here))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])


def views(here: Case) -> tuple[Tensor, Tensor]:
    """One update of the critic; the images that it looked at, clean and masked."""
    seen: list[Tensor] = []
    estimate = here.learner.estimate

    def watch(obs: Observation, action: Tensor) -> Estimate:
        seen.append(obs.image.detach())
        return estimate(obs, action)

    here.learner.estimate = watch  # type: ignore[method-assign]
    here.update(number=1)
    clean, masked = seen
    return clean, masked


def used_mask(here: Case) -> Tensor:
    clean, masked = views(here)
    return clean == masked


# --- the filling ------------------------------------------------------------------------------------------------------


def test_one_scalar_fills_all_masked_pixels_of_the_batch() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(5, 9, 7, 7, generator=generator) * 100 + 20
    mask = torch.rand(5, 9, 7, 7, generator=generator) < 0.3
    peek = torch.Generator().set_state(generator.get_state())
    filled = fill_masked(image, mask, generator)
    assert torch.equal(filled[mask], image[mask])
    assert len(filled[~mask].unique()) == 1
    scalar = image.min() + (image.max() - image.min()) * torch.rand((), generator=peek)
    torch.testing.assert_close(filled[~mask][0], scalar)
    assert torch.equal(generator.get_state(), peek.get_state())  # exactly one draw


def test_the_scalar_is_uniform_between_the_batchs_smallest_and_largest_pixel() -> None:
    generator = torch.Generator().manual_seed(0)
    image, mask = torch.tensor([[30.0, 50.0], [110.0, 70.0]])[None, None].repeat(1, 3, 1, 1), torch.zeros(1, 3, 2, 2)
    draws = torch.stack([fill_masked(image, mask.bool(), generator)[0, 0, 0, 0] for _ in range(1000)])
    assert 30 <= draws.min() < 32 and 108 < draws.max() <= 110
    ranks = (draws.sort().values - 30) / 80
    gap = (ranks - (torch.arange(1000) + 0.5) / 1000).abs().max()
    assert gap < 0.05  # Kolmogorov-Smirnov: 1.6 / sqrt(1000), at a hundredth


@pytest.mark.parametrize(
    ("quantile", "pixels"),
    [(0.9, 58), (0.8, 116)],  # of 576: from rank 517.5 on, and from rank 460, which the threshold equals and keeps
)
def test_the_masked_view_holds_one_scalar_and_the_salient_pixels_of_each_frame(quantile: float, pixels: int) -> None:
    clean, masked = views(case(config=replace(SMALL_METHOD, quantile=quantile), batch=3))
    kept = (clean == masked).view(3, 3, 3, 24 * 24)  # (B, frames, channels, pixels)
    assert torch.equal(kept.any(2), kept.all(2))
    assert set(kept.all(2).sum(-1).flatten().tolist()) == {pixels}
    assert len(masked[clean != masked].unique()) == 1


# --- saliency has no side effects -------------------------------------------------------------------------------------


def context_of(here: Case, update: int = 0) -> Context:
    batch = here.batch
    obs = Observation(batch.obs.image.float().requires_grad_(), batch.obs.vector)
    batch = batch.replace(obs=obs, next_obs=batch.next_obs.float())
    view = EstimatedView(obs, 1.0, here.learner.estimate(obs, batch.action), obs)
    context = Context(here.learner, batch, batch, [view], update, no_sample)
    context.critic_stepped()  # some tests go straight to what comes after it
    return context


def test_the_critics_term_leaves_every_grad_untouched() -> None:
    here = case()
    context = context_of(here)
    parameters = [*here.learner.parameters(), *here.method.parameters()]
    for i, parameter in enumerate(parameters):
        parameter.grad = torch.full_like(parameter, float(i)) if i % 2 else None
    here.method.critic_loss(context)
    for i, parameter in enumerate(parameters):
        if i % 2:
            assert parameter.grad is not None and bool((parameter.grad == i).all())
        else:
            assert parameter.grad is None
    assert context.batch.obs.image.grad is None


# --- the attribution step ---------------------------------------------------------------------------------------------

ATTRIBUTION = {"learner.convolutions", "learner.projection", "method.decoder"}


def test_the_attribution_step_moves_convolutions_projection_and_decoder_and_nothing_else() -> None:
    here = case(vector=3)
    context, before = context_of(here), here.weights()
    for parameter in here.learner.critics.parameters():
        parameter.grad = torch.ones_like(parameter)
    assert set(here.method.auxiliary(context)) == {"attribution/loss"}
    after = here.weights()
    changed = {".".join(name.split(".")[:2]) for name in before if not torch.equal(before[name], after[name])}
    assert changed == ATTRIBUTION
    named = {f"learner.{n}": p for n, p in here.learner.named_parameters()}
    named |= {f"method.{n}": p for n, p in here.method.named_parameters()}
    for name, parameter in named.items():
        part = ".".join(name.split(".")[:2])
        if part in ATTRIBUTION:
            assert not torch.equal(before[name], after[name]), name  # every one of their tensors
            step = (after[name] - before[name]).abs().max()
            assert step == pytest.approx(3e-4, rel=0.02)  # Adam's first step is its step size
        elif part == "learner.critics":
            assert bool((parameter.grad == 1).all())  # type: ignore[union-attr]
        else:
            assert parameter.grad is None


@pytest.mark.slow
def test_attribution_happens_every_second_update_from_the_first() -> None:
    here = case()
    due = ["attribution/loss" in here.updater.update(here.batch, no_sample) for _ in range(5)]
    assert due == [True, False, True, False, True]
    other = case(config=replace(SMALL_METHOD, auxiliary_period=3))
    due = ["attribution/loss" in other.updater.update(other.batch, no_sample) for _ in range(4)]
    assert due == [True, False, False, True]


@dataclass
class Before:
    """Everything as it was when the attribution step began."""

    learner: SAC
    decoder: Any
    batch: Batch
    generator: torch.Generator


def watched(here: Case, number: int = 0) -> tuple[Before, Tensor]:
    """One update; what its attribution step found, and the loss that it told."""
    found: list[Before] = []
    auxiliary = here.method.auxiliary

    def watch(context: Context) -> dict[str, Tensor]:
        found.append(Before(*copy.deepcopy((here.learner, here.method.decoder)), context.batch, here.peek()))
        return auxiliary(context)

    here.method.auxiliary = watch  # type: ignore[method-assign]
    loss = here.update(number)["attribution/loss"]
    here.method.auxiliary = auxiliary  # type: ignore[method-assign]
    return found[0], loss


def plain_decoder(decoder: Any, latent: Tensor, action: Tensor) -> Tensor:
    first, second, third = (m for m in decoder.modules() if isinstance(m, nn.Conv2d))
    x = decoder.linear(torch.cat([latent, action], dim=1)).view(-1, *decoder.small_shape)
    x = F.interpolate(first(F.relu(x)), scale_factor=2)
    x = F.interpolate(second(F.relu(x)), scale_factor=2)
    return third(F.relu(x))


def plain_overlay(here: Case, image: Tensor, generator: torch.Generator) -> Tensor:
    """Half the observation, half one picture a sample, the same on its three frames."""
    augmentation: Any = here.method.augment.build()
    chosen = augmentation.bank.sample(len(image), generator)
    return 0.5 * image + 0.5 * chosen.repeat(1, image.shape[1] // 3, 1, 1)


@pytest.mark.parametrize(
    ("learner_config", "config", "size", "batch"),
    [(SMALL, SMALL_METHOD, 24, 4), (SACConfig(), SGQNConfig(quantile=0.95), 84, 2)],
    ids=["small", "paper"],
)
@pytest.mark.slow
def test_the_attribution_loss_equals_the_papers(
    learner_config: SACConfig, config: SGQNConfig, size: int, batch: int
) -> None:
    # At this seed the masks that would be wrong differ enough from the right one.
    here = case(learner_config, config, size=size, batch=batch, shake=0.02 if size == 84 else 0.05, seed=1)
    with torch.no_grad():
        for parameter in here.method.decoder.parameters():
            parameter.mul_(2.5)  # logits of a size that makes the loss tell masks apart
    start = Critic(here.learner)
    before, loss = watched(here)
    obs = before.batch.obs._replace(image=before.batch.obs.image.detach())
    critic = Critic(before.learner)  # after the critic's step
    overlaid = plain_overlay(here, obs.image, before.generator)

    def plain(mask: Tensor, image: Tensor) -> Tensor:
        logits = plain_decoder(before.decoder, critic.latent(image), before.batch.action)
        return F.binary_cross_entropy_with_logits(logits, mask.float()).detach()

    mask = plain_mask(critic, obs, before.batch.action, config.quantile)
    torch.testing.assert_close(loss, plain(mask, overlaid), rtol=1e-5, atol=1e-6)
    stale = plain_mask(start, obs, before.batch.action, config.quantile)
    of_overlaid = plain_mask(critic, obs._replace(image=overlaid), before.batch.action, config.quantile)
    for wrong in (plain(stale, overlaid), plain(mask, obs.image), plain(of_overlaid, overlaid)):
        assert abs(float(loss - wrong)) > 5e-5 * float(loss)


def test_the_attribution_gradient_equals_the_papers() -> None:
    here = case()
    before, _ = watched(here)
    obs = before.batch.obs._replace(image=before.batch.obs.image.detach())
    critic = Critic(before.learner)
    mask = plain_mask(critic, obs, before.batch.action, here.method.config.quantile)
    latent = critic.latent(plain_overlay(here, obs.image, before.generator))
    logits = plain_decoder(before.decoder, latent, before.batch.action)
    loss = F.binary_cross_entropy_with_logits(logits, mask.float())
    plain_parameters = [
        *critic.convolutions.parameters(),
        *critic.projection.parameters(),
        *before.decoder.parameters(),
    ]
    plain = torch.autograd.grad(loss, plain_parameters)
    ours = [p.grad for p in here.method.auxiliary_parameters()]
    assert distance([g for g in ours if g is not None], list(plain)) < 1e-3


def test_the_attribution_optimizer_is_adam_with_the_papers_step_size() -> None:
    (group,) = case(config=SGQNConfig()).method.optimizers()["attribution"].param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (3e-4, (0.9, 0.999), 0)


@pytest.mark.slow
def test_the_papers_decoder_is_sized_by_latent_action_and_image() -> None:
    here = case(SACConfig(), SGQNConfig(), size=84, batch=1)
    assert here.method.decoder.linear.in_features == 100 + ACTIONS
    assert here.method.decoder.linear.out_features == 32 * 21 * 21
    assert here.method.config == SGQNConfig(
        quantile=0.90,
        consistency_weight=0.5,
        auxiliary_period=2,
        auxiliary_lr=3e-4,
        decoder_filters=(32, 128, 64),
        augmentation="overlay",
        shift=4,
    )


# --- sizes and settings -----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("size", "frames"), [(20, 1), (37, 3), (42, 2), (64, 4)])
def test_sgqn_runs_on_images_of_any_size_and_stack(size: int, frames: int) -> None:
    here = case(size=size, frames=frames, batch=2)
    metrics = here.update(0)
    assert {"critic/consistency", "attribution/loss"} <= set(metrics)
    assert all(bool(value.isfinite()) for value in metrics.values())
    latent, action = torch.zeros(2, here.learner.latent_size), torch.zeros(2, ACTIONS)
    assert here.method.decoder(latent, action).shape == (2, 3 * frames, size, size)


def test_random_convolution_can_stand_in_for_overlays() -> None:
    here = case(config=replace(SMALL_METHOD, augmentation="conv"))
    assert bool(here.update(0)["attribution/loss"].isfinite())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("samples", [1, 4, 6])
def test_the_binary_cross_entropy_is_pytorchs(dtype: torch.dtype, samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = (10 * torch.randn(samples, 6, 9, 7, generator=generator)).to(dtype)
    mask = torch.rand(logits.shape, generator=generator) < 0.2
    mask = mask.contiguous(memory_format=torch.channels_last)
    ours, theirs = logits.clone().requires_grad_(), logits.float().requires_grad_()
    loss = binary_cross_entropy(ours, mask)
    expected = F.binary_cross_entropy_with_logits(theirs, mask.float())
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    gradient, plain = torch.autograd.grad(3 * loss, ours)[0], torch.autograd.grad(3 * expected, theirs)[0]
    assert gradient.dtype == dtype
    torch.testing.assert_close(gradient, plain.to(dtype))
    assert torch.equal(ours, logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_filling_keeps_salient_pixels_to_the_last_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    image = (255 * torch.rand(2, 6, 9, 7, generator=generator)).to(dtype)
    mask = torch.rand(image.shape, generator=generator) < 0.5
    filled = fill_masked(image, mask, generator)
    assert filled.dtype == dtype
    assert torch.equal(filled[mask], image[mask])
    assert len(filled[~mask].unique()) == 1


@pytest.mark.bfloat16
def test_attribution_in_bfloat16_stays_close_to_float32() -> None:
    losses = {}
    for dtype in (torch.float32, torch.bfloat16):
        here = case()
        networks: list[Any] = [here.learner.convolutions, here.learner.target_convolutions, here.method.decoder]
        for network in networks:
            network.dtype = dtype
        metrics = here.update(0)
        losses[dtype] = [float(metrics[name]) for name in ("critic/loss", "attribution/loss")]
    assert losses[torch.bfloat16] == pytest.approx(losses[torch.float32], rel=0.05)


@pytest.mark.parametrize("quantile", [1.0, -0.1])
def test_a_quantile_out_of_range_is_refused(quantile: float) -> None:
    with pytest.raises(FovealError, match=r"sgqn.quantile must be in \[0, 1\), not"):
        case(config=replace(SMALL_METHOD, quantile=quantile))


def test_an_unknown_augmentation_is_refused_before_training() -> None:
    with pytest.raises(FovealError, match=r"sgqn\.augmentation is 'overlai': did you mean 'overlay'"):
        case(config=replace(SMALL_METHOD, augmentation="overlai"))
