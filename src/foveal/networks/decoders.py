"""From a latent back to an image."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UpsampleConv(nn.Module):
    """Nearest upsampling by two followed by a 3x3 convolution with zero padding, computed on the small image.

    An output pixel sees at most 2x2 different input pixels, and which taps fall on which of them depends on the
    parities of its row and column alone. So the four parities are four sets of output channels of one convolution of
    the small image, with taps summed, and a pixel shuffle interleaves them: the same result, borders included, up to
    rounding, without ever writing the upsampled input to memory.
    """

    def __init__(self, channels: int, output_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, output_channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', 2H, 2W)."""
        kernels, bias = parity_kernels(self.convolution.weight), self.convolution.bias
        parities = F.conv2d(image, kernels, None if bias is None else bias.repeat_interleave(4), padding=1)
        return F.pixel_shuffle(parities, 2)


def parity_kernels(weight: Tensor) -> Tensor:
    """3x3 kernels (C', C, 3, 3) -> the kernels of the four parities, in pixel_shuffle's order (C' * 4, C, 3, 3)."""
    fold = weight.new_tensor(
        [[[1, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]]
    )  # (parity, to, from)
    kernels = torch.einsum("pyi,qxj,ocij->opqcyx", fold, fold, weight)  # (C', 2, 2, C, 3, 3)
    return kernels.flatten(0, 2).contiguous(memory_format=torch.channels_last)


class MaskDecoder(nn.Module):
    """SGQN's attribution decoder: latent and action -> one logit per pixel and channel of the observation.

    Linear to (filters[0], H/4, W/4), then 3x3 convolutions to filters[1], filters[2] and C channels, the last two
    each after a nearest upsampling by two. The published one has filters (32, 128, 64). Sides that are no multiple
    of four are decoded at the next multiple and cropped.
    """

    def __init__(
        self, size: int, image_shape: tuple[int, int, int], filters: tuple[int, int, int], dtype: torch.dtype
    ) -> None:
        super().__init__()
        channels, height, width = image_shape
        self.image_shape = image_shape
        self.small_shape = (filters[0], -(-height // 4), -(-width // 4))
        self.linear = nn.Linear(size, filters[0] * self.small_shape[1] * self.small_shape[2])
        # The published order is ReLU, upsample; nearest upsampling commutes with ReLU.
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(filters[0], filters[1], 3, padding=1),
            nn.ReLU(),
            UpsampleConv(filters[1], filters[2]),
            nn.ReLU(),
            UpsampleConv(filters[2], channels),
        )
        self.dtype = dtype
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """(B, D), (B, A) -> logits (B, C, H, W) ``float32``."""
        small = self.linear(torch.cat([latent, action], dim=1)).view(-1, *self.small_shape)
        small = small.contiguous(memory_format=torch.channels_last)
        with torch.autocast(latent.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
            logits = self.layers(small)
        return logits[:, :, : self.image_shape[1], : self.image_shape[2]].float()
