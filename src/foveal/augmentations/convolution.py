"""Random convolution: new colours and local textures for the same scene."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, frames


def random_conv(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every sample through a random 3x3 convolution of its own, then a sigmoid (SVEA; after Lee et al., 2020).

    Each kernel maps 3 colour channels to 3, has standard normal weights and no bias, and is used on every frame of its
    sample. Images are scaled to [0, 1] and their border is replicated, so the size stays.

    Args:
        images: (B, 3 * frames, H, W) in [0, 255].
        generator: on the images' device.

    Returns:
        ``float32`` of the same shape, in [0, 255].

    Raises:
        FovealError: the channels are no multiple of 3.
    """
    stack = frames(images)  # (B, F, 3, H, W)
    batch, count, _, height, width = stack.shape
    kernels = torch.randn(batch, 3, 3, 3, 3, generator=generator, device=images.device)
    # One group per sample: samples become channels, and frames the batch dimension.
    side_by_side = stack.transpose(0, 1).reshape(count, batch * 3, height, width).float() / 255.0
    padded = F.pad(side_by_side, (1, 1, 1, 1), mode="replicate")
    mixed = F.conv2d(padded, kernels.flatten(0, 1), groups=batch)  # (F, B * 3, H, W)
    mixed = mixed.view(count, batch, 3, height, width).transpose(0, 1)  # (B, F, 3, H, W)
    return (torch.sigmoid(mixed) * 255.0).reshape(images.shape)


@AUGMENTATIONS.register("conv")
class RandomConv:
    """``random_conv`` under the name ``"conv"``."""

    source: str | None = None

    def __init__(self, options: AugmentationOptions) -> None:
        del options  # there is nothing to build: kernels are drawn in each call

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return random_conv(images, generator)
