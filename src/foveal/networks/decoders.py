"""From a latent back to an image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.networks.convolution import Convolution, convolve

FOLD = [[[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], [[0.0, 0, 0], [1, 1, 0], [0, 0, 1]]]
"""(parity, to, from), one dimension of ``parity_kernels``."""


class UpsampleConv(nn.Module):
    """Nearest upsampling by two followed by a 3x3 convolution with zero padding, computed on the small image.

    An output pixel sees at most 2x2 different input pixels, and which taps fall on which of them depends on the
    parities of its row and column alone. So the four parities are four sets of output channels of one convolution of
    the small image, with taps summed, which are then interleaved: the same result, borders included, up to rounding,
    without ever writing the upsampled input to memory.
    """

    def __init__(self, channels: int, output_channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, output_channels, 3, padding=1)
        self.fold: Tensor
        self.register_buffer(
            "fold", torch.tensor(FOLD), persistent=False
        )  # on the device: a graph can't bring it there

    def forward(self, image: Tensor, dtype: torch.dtype = torch.float32, *, relu: bool = False) -> Tensor:
        """(B, C, H, W) -> (B, C', 2H, 2W), computed in ``dtype``, with a ReLU at the end if asked for."""
        weight, bias = self.convolution.weight, self.convolution.bias
        assert bias is not None
        layer = Convolution(parity_kernels(weight, self.fold), bias.repeat(4), padding=1, relu=relu)
        return interleave(convolve(image, [layer], dtype))


def parity_kernels(weight: Tensor, fold: Tensor) -> Tensor:
    """3x3 kernels (C', C, 3, 3) -> those of the four parities, (4 * C', C, 3, 3), all of one parity in a row.

    ``fold``, (parity, to, from), says which taps of the upsampled image fall on which pixel of the small one.
    """
    kernels = torch.einsum("pyi,qxj,ocij->pqocyx", fold, fold, weight)  # (2, 2, C', C, 3, 3)
    return kernels.flatten(0, 2).contiguous(memory_format=torch.channels_last)


def interleave(parities: Tensor) -> Tensor:
    """(B, 4 * C, H, W), row and column parity before the channel -> (B, C, 2H, 2W), pixel by pixel in memory.

    A pixel shuffle in the order in which whole pixels are copied: PyTorch's own is several times slower.
    """
    height, width = parities.shape[2:]
    pixels = parities.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))  # (B, H, W, 2, 2, C)
    rows = pixels.permute(0, 1, 3, 2, 4, 5).reshape(len(parities), 2 * height, 2 * width, -1)
    return rows.permute(0, 3, 1, 2)


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
        logits = self._layer_by_layer(small) if self.dtype == torch.float32 else self._fused(small)
        return logits[:, :, : self.image_shape[1], : self.image_shape[2]].float()

    def _layer_by_layer(self, small: Tensor) -> Tensor:
        return self.layers(small.contiguous(memory_format=torch.channels_last))

    def _fused(self, small: Tensor) -> Tensor:
        """In another dtype, every ReLU in one operation with its convolution."""
        first: nn.Conv2d = self.layers[1]  # type: ignore[assignment]
        second, third = self.layers[3], self.layers[5]
        assert first.bias is not None
        hidden = convolve(small.relu().to(self.dtype), [Convolution(first.weight, first.bias, padding=1)], self.dtype)
        return third(second(hidden, self.dtype, relu=True), self.dtype)
