"""Random convolution: new colours and local textures for the same scene."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, Stateless, frames


def random_conv(images: Tensor, generator: torch.Generator, channels: int = 3) -> Tensor:
    """Every sample through a random 3x3 convolution of its own, then a sigmoid (SVEA; after Lee et al., 2020).

    Each kernel maps the colour channels of a frame to as many, has standard normal weights and no bias, and is used on
    every frame of its sample. Images are scaled to [0, 1] and their border is replicated, so the size stays.

    Args:
        images: (B, frames * C, H, W) in [0, 255].
        generator: on the images' device.
        channels: C of a frame, 3 or 1.

    Returns:
        ``float32`` of the same shape, in [0, 255].

    Raises:
        FovealError: the images' channels are no multiple of ``channels``.
    """
    stack = frames(images, channels)  # (B, F, C, H, W)
    batch, count, _, height, width = stack.shape
    kernels = torch.randn(batch, channels, channels, 3, 3, generator=generator, device=images.device)
    # One group per sample: samples become channels, and frames the batch dimension.
    side_by_side = stack.transpose(0, 1).reshape(count, batch * channels, height, width).float() / 255.0
    padded = F.pad(side_by_side, (1, 1, 1, 1), mode="replicate")
    mixed = F.conv2d(padded, kernels.flatten(0, 1), groups=batch)  # (F, B * C, H, W)
    mixed = mixed.view(count, batch, channels, height, width).transpose(0, 1)  # (B, F, C, H, W)
    return (torch.sigmoid(mixed) * 255.0).reshape(images.shape)


@AUGMENTATIONS.register("conv")
class RandomConv(Stateless):
    """``random_conv`` under the name ``"conv"``."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return random_conv(images, generator, self._channels)
