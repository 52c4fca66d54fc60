"""From a latent back to an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.networks.kernels.convolution import Convolution, convolve
from foveal.networks.kernels.interleaving import interleave

FOLD = [[[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]]
"""(parity, tap of the small image, tap of the upsampled one), along either dimension of a kernel."""


class UpsampleConv(nn.Module):
    """Nearest upsampling by two followed by a 3x3 convolution with zero padding, computed on the small image.

    An output pixel sees 2x2 different pixels of the small image, and the parities of its row and column decide which
    taps of the kernel fall on which of them. So one 2x2 convolution of the small image, with taps summed, computes the
    four parities as four sets of channels, which are then interleaved. The result is the same up to rounding, borders
    included, for 4/9 of the arithmetic, and the upsampled image is never written to memory.
    """

    def __init__(self, channels: int, output_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, output_channels, 3, padding=1)
        self.fold: Tensor  # a buffer, because a CUDA graph can't copy it to the device
        self.register_buffer("fold", torch.tensor(FOLD), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', 2H, 2W)."""
        return interleave(convolve(image, [self.on_small(relu=False)], torch.float32))

    def on_small(self, *, relu: bool) -> Convolution:
        """The convolution of the small image, before ``interleave``."""
        weight, bias = self.convolution.weight, self.convolution.bias
        assert bias is not None
        return Convolution(parity_kernels(weight, self.fold), bias.repeat(4), padding=1, relu=relu)


def parity_kernels(weight: Tensor, fold: Tensor) -> Tensor:
    """3x3 kernels (C', C, 3, 3) -> 2x2 kernels of the four parities, (4 * C', C, 2, 2), one parity after another."""
    kernels = torch.einsum("pyi,qxj,ocij->pqocyx", fold, fold, weight)  # (2, 2, C', C, 2, 2)
    return kernels.flatten(0, 2).contiguous(memory_format=torch.channels_last)


class PixelDecoder(nn.Module):
    """From a latent to one logit per pixel and channel.

    Linear to (filters[0], H/4, W/4), then 3x3 convolutions to filters[1], filters[2] and C channels, the last two
    each after a nearest upsampling by two. Sides that are no multiple of four are decoded at the next multiple and
    cropped.
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

    def forward(self, latent: Tensor) -> Tensor:
        """(B, D) -> logits (B, C, H, W) in the convolutions' dtype."""
        small = self.linear(latent).view(-1, *self.small_shape)
        return self._decoded(small)[:, :, : self.image_shape[1], : self.image_shape[2]]

    def _decoded(self, small: Tensor) -> Tensor:
        """Run ``layers`` with each ReLU fused into the convolution before it."""
        first: nn.Conv2d = self.layers[1]  # type: ignore[assignment]
        second: UpsampleConv = self.layers[3]  # type: ignore[assignment]
        third: UpsampleConv = self.layers[5]  # type: ignore[assignment]
        assert first.bias is not None
        layers = [Convolution(first.weight, first.bias, padding=1), second.on_small(relu=True)]
        pixels = small.to(self.dtype, memory_format=torch.channels_last).relu()
        hidden = interleave(convolve(pixels, layers, self.dtype, own_gradient=True))
        return interleave(convolve(hidden, [third.on_small(relu=False)], self.dtype))


class MaskDecoder(PixelDecoder):
    """SGQN's attribution decoder, of a latent and an action; the published one has filters (32, 128, 64)."""

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:  # type: ignore[override]
        """(B, D), (B, A) -> logits (B, C, H, W) in the convolutions' dtype."""
        return super().forward(torch.cat([latent, action], dim=1))
