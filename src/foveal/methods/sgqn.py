"""SGQN: saliency-guided Q-networks ("Look where you look!", Bertoin et al., NeurIPS 2022).

An update of the paper's Algorithm 1, in the order in which ``training.updater.Updater`` runs it with any learner:

1. sample (s, a, r, s') and shift both observations at random: ``prepare``;
2. compute the TD target from s': the learner's ``targets``;
3. compute Q(s, a) and, by guided backpropagation from Q_1, the mask M_rho of s (eq. 2): ``mask``;
4. step the critic on the TD loss plus the consistency of Q(s, a) with Q of the masked s (eq. 3): ``critic_loss``;
5. step the policy and the target networks, every so many updates: the learner;
6. every so many updates, compute M_rho with the critic as it now is, and step encoder and decoder on predicting it from
   the overlaid s (eq. 4): ``auxiliary``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from foveal.augmentations import AUGMENTATIONS
from foveal.config.bounds import PART, POSITIVE, at_least, registered
from foveal.methods.auxiliary import Auxiliary
from foveal.methods.base import METHODS, Context, Requirements, Setup, StrongAugmentation
from foveal.methods.drq import DrQ, DrQConfig
from foveal.networks.decoders import MaskDecoder
from foveal.networks.kernels.cross_entropy import binary_cross_entropy
from foveal.saliency import CHANNELS, pixel_gradient, quantile_mask
from foveal.timing import phase

QUANTILES = {"walker": 0.95, "finger": 0.95, "cheetah": 0.95, "cartpole": 0.98, "ball_in_cup": 0.98}
"""Quantile of the mask by domain of the DeepMind Control Suite, from the paper's table of hyperparameters."""


@dataclass(frozen=True)
class SGQNConfig(DrQConfig, section="sgqn"):
    """Hyperparameters of SGQN; the defaults are the published code's.

    Attributes:
        quantile: rho, the share of each frame's pixels that the mask leaves out; ``QUANTILES`` has that of some tasks.
        consistency_weight: lambda, the weight of the consistency loss beside the TD loss.
        auxiliary_period: critic updates per attribution step.
        auxiliary_lr: Adam's step size of the attribution step.
        decoder_filters: channels of the attribution decoder.
        augmentation: the strong augmentation that the attribution must see through, by name.
    """

    quantile: Annotated[float, PART] = 0.90
    consistency_weight: Annotated[float, at_least(0)] = 0.5
    auxiliary_period: Annotated[int, at_least(1)] = 2
    auxiliary_lr: Annotated[float, POSITIVE] = 3e-4
    decoder_filters: Annotated[tuple[int, int, int], at_least(1)] = (32, 128, 64)
    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "overlay"


@METHODS.register("sgqn")
class SGQN(Auxiliary, DrQ):
    """Values that agree on the most salient pixels alone, and a latent from which these pixels can be predicted."""

    Config = SGQNConfig
    config: SGQNConfig
    optimizer_name = "attribution"
    augment: StrongAugmentation
    presets = {
        "compact": {"decoder_filters": (16, 32, 16), "shift": 2},
        "debug": {"decoder_filters": (4, 8, 4)},
    }

    def __init__(self, config: SGQNConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        learner = setup.learner
        self.augment = StrongAugmentation(config.augmentation, setup.augmentation)
        size = learner.latent_size + learner.action_size
        self.decoder = MaskDecoder(size, setup.image_shape, config.decoder_filters, setup.dtype)
        self._frame_channels = setup.frame_channels

    @classmethod
    def task_settings(cls, env: str) -> dict[str, float]:
        domain = env.removeprefix("dmc/").split("-")[0]
        return {"quantile": QUANTILES[domain]} if env.startswith("dmc/") and domain in QUANTILES else {}

    @classmethod
    def requirements(cls, config: SGQNConfig, image_size: int) -> Requirements:
        """Saliency starts from the values that the TD loss made, so their graph must reach the pixels."""
        return Requirements(render_size=image_size, pixel_gradient=True)

    def critic_loss(self, context: Context) -> dict[str, Tensor]:
        """The consistency loss (eq. 3): MSE of Q(s, a) and Q(masked s, a), of which neither is detached."""
        obs, action, values = context.batch.obs, context.batch.action, context.estimate.values  # (heads, B)
        mask = self.mask(values, context.pixels)
        masked = obs._replace(image=fill_masked(context.image, mask, self.generator))
        loss = consistency(values, context.learner.estimate(masked, action).values)
        return {"consistency": self.config.consistency_weight * loss}

    def mask(self, values: Tensor, image: Tensor) -> Tensor:
        """M_rho of the first critic (eq. 2): its (heads, B) values of (B, C, H, W) -> ``bool`` (B, C, H, W)."""
        return salient_mask(values, image, self.config.quantile, self._frame_channels)

    def auxiliary(self, context: Context) -> dict[str, Tensor]:
        """The attribution step (eq. 4): predict the updated critic's mask of s from the latent of the overlaid s."""
        if not self.has_step(context.update):
            return {}
        learner, obs, action = context.learner, context.batch.obs, context.batch.action
        mask = self.mask(context.fresh.values, obs.image)
        overlaid = obs._replace(image=self.augment(context.image, self.generator))
        logits = self.decoder(learner.latent(overlaid), learner.action_features(action))  # (B, C, H, W)
        loss = binary_cross_entropy(logits, mask)
        self.minimize(loss)
        return {"attribution/loss": loss.detach()}


def salient_mask(values: Tensor, image: Tensor, quantile: float, channels: int = CHANNELS) -> Tensor:
    """M_rho of the first critic (eq. 2), by guided backpropagation of its value.

    Args:
        values: (heads, B), with a graph back to ``image``.
        image: (B, C, H, W).
        quantile: rho.
        channels: of one of the stacked frames.

    Returns:
        ``bool`` (B, C, H, W).
    """
    with phase("saliency"):
        return quantile_mask(pixel_gradient(values[0], image, guided=True), quantile, channels)


def fill_masked(image: Tensor, mask: Tensor, generator: torch.Generator) -> Tensor:
    """Images whose pixels outside the mask are one random scalar for the whole batch, uniform in its range."""
    low, high = image.amin(), image.amax()
    scalar = low + (high - low) * torch.rand((), generator=generator, device=image.device)
    layout = torch.channels_last  # the mask's: mixing layouts costs several times the arithmetic
    # With weights of 0 and 1 a lerp is exact, and on a CPU it is faster than a where.
    weights = mask.view(torch.uint8).to(image.dtype)
    return torch.lerp(scalar.to(image.dtype), image.contiguous(memory_format=layout), weights)


def consistency(values: Tensor, masked_values: Tensor) -> Tensor:
    """Sum over the critics of the mean squared difference of their values, (heads, B) each."""
    return (values - masked_values).square().mean(1).sum()
