"""A network that says of every pixel how much of it to let through."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from foveal.networks.frames import COLOURS, apart
from foveal.networks.initialization import orthogonal_
from foveal.networks.kernels.convolution import Convolution, convolve


class Masker(nn.Module):
    """Three 3x3 convolutions over each frame by itself, without strides, and a sigmoid (MaDi).

    Convolutions run in ``dtype``; weights are kept in float32, and the mask is float32.

    Args:
        filters: channels of the two hidden layers.
        dtype: of the convolutions.
        channels: C of a frame: 3, or 1 where frames are grey.
    """

    def __init__(self, filters: int, dtype: torch.dtype, channels: int = COLOURS) -> None:
        super().__init__()
        self.channels = channels
        sizes = (channels, filters, filters, 1)
        self.layers = nn.ModuleList(nn.Conv2d(*pair, 3, padding=1) for pair in itertools.pairwise(sizes))
        self.dtype = dtype
        self.apply(orthogonal_)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        """(B, F * C, H, W) in [0, 255], floating point -> the mask of each frame, (B, F, H, W) in [0, 1]."""
        count = image.shape[1] // self.channels
        frames = apart(image, count)  # (B * F, C, H, W)
        logits = convolve(frames, [self._convolution(index) for index in range(3)], self.dtype)  # (B * F, 1, H, W)
        return torch.sigmoid(logits.float()).unflatten(0, (-1, count)).squeeze(2)

    def masked(self, image: Tensor) -> Tensor:
        """The image times its mask: (B, F * C, H, W), of its own dtype."""
        mask = self(image).to(image.dtype).permute(0, 2, 3, 1)  # (B, H, W, F), pixel by pixel like the image
        pixels = image.permute(0, 2, 3, 1).unflatten(3, (-1, self.channels))  # (B, H, W, F, C)
        return (pixels * mask[..., None]).flatten(3).permute(0, 3, 1, 2)  # (B, F * C, H, W)

    def _convolution(self, index: int) -> Convolution:
        """A layer; the first has the scaling of pixels, image / 255, folded into its weights."""
        layer: nn.Conv2d = self.layers[index]  # type: ignore[assignment]
        assert layer.bias is not None
        weight = layer.weight if index else layer.weight / 255.0
        return Convolution(weight, layer.bias, padding=1, relu=index + 1 < len(self.layers))
