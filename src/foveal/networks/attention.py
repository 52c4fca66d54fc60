"""Attention inside a network: modules that weight features by a map of positions, and how to draw such a map.

The modules are those that "Free-Lunch Saliency via Attention in Atari Agents" (Nikulin et al. 2019) proposes and
compares. Each turns features (B, C, h, w) into the weighted features and the map (B, 1, h, w), both ``float32``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Rendering:
    """Which pixels a position of a map stands for: the receptive field of the features there.

    The convolutions of the attention module itself don't widen the field, as published: the map is a weight of features
    that have this field.

    Attributes:
        receptive_field: side in pixels of the square that one position sees.
        stride: distance in pixels between the fields of two neighbouring positions.
        padding: pixels by which the first field begins before the picture.
    """

    receptive_field: int
    stride: int
    padding: int

    @classmethod
    def of(cls, convolutions: Iterable[nn.Conv2d]) -> Rendering:
        """The receptive field of square convolutions, first to last."""
        field, stride, padding = 1, 1, 0
        for convolution in convolutions:
            (kernel, _), (step, _) = convolution.kernel_size, convolution.stride
            assert isinstance(convolution.padding, tuple)  # PyTorch also takes words, such as "same"
            field += (kernel - 1) * stride
            padding += convolution.padding[0] * stride
            stride *= step
        return cls(field, stride, padding)

    def render(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Add every position's value to all pixels of its receptive field, by a transposed convolution with ones.

        Args:
            maps: (N, 1, h, w), of any dtype.
            size: (H, W) of the picture that the network saw.

        Returns:
            (N, H, W) ``float32``, not negative. Pixels that no position sees are 0.
        """
        ones = torch.ones(1, 1, self.receptive_field, self.receptive_field, device=maps.device)
        with torch.autocast(maps.device.type, enabled=False):
            whole = F.conv_transpose2d(maps.float(), ones, stride=self.stride).clamp_(min=0)
        height, width = size
        pad, (tall, wide) = self.padding, whole.shape[-2:]
        return F.pad(whole, (-pad, width + pad - wide, -pad, height + pad - tall))[:, 0]  # negative padding crops


class FLS(nn.Module):
    """The paper's own module: two convolutions to one channel, then softplus. The map needn't sum to 1.

    Args:
        channels: of the features.
        hidden: channels between the two convolutions.
        kernel: side of both; 3 in the paper, 1 in an ablation.
        base: of the logarithm and the power in softplus; e in the paper, 2 in an ablation.
        normalized: whether the map is divided by its sum, an ablation.
    """

    def __init__(
        self, channels: int, hidden: int = 256, kernel: int = 3, base: float = math.e, *, normalized: bool = False
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, kernel, padding=kernel // 2),
            nn.ReLU(),
            nn.Conv2d(hidden, 1, kernel, padding=kernel // 2),
        )
        self.sharpness = math.log(base)  # log_b(1 + b^z) = log(1 + e^(z log b)) / log b
        self.normalized = normalized

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, h, w) -> weighted features and map (B, 1, h, w)."""
        scores = self.layers(features).float()  # (B, 1, h, w); the map itself is never in half precision
        attention = F.softplus(scores, beta=self.sharpness)
        if self.normalized:
            attention = attention / attention.sum((2, 3), keepdim=True)
        return features * attention, attention  # (B, C, h, w) * (B, 1, h, w)


class SoftAttention(nn.Module):
    """DAQN's module (Mousavi et al. 2016): 1x1 convolutions around a tanh score positions, then a softmax over them.

    Args:
        channels: of the features.
        hidden: channels between the two convolutions.
    """

    def __init__(self, channels: int, hidden: int = 256) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.Tanh(), nn.Conv2d(hidden, 1, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, h, w) -> weighted features and map (B, 1, h, w), which sums to 1."""
        attention = spatial_softmax(self.layers(features))
        return features * attention, attention  # (B, C, h, w) * (B, 1, h, w)


class RegionSensitive(nn.Module):
    """RS-Rainbow's module (Yang et al. 2018): features of length 1 at every position, weighted by the sum of two maps.

    Args:
        channels: of the features.
        hidden: channels between the two convolutions.
        regions: number of maps.
    """

    def __init__(self, channels: int, hidden: int = 512, regions: int = 2) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.ELU(), nn.Conv2d(hidden, regions, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, C, h, w) -> weighted features and the sum of the maps (B, 1, h, w)."""
        directions = F.normalize(features.float(), dim=1)
        attention = spatial_softmax(self.layers(directions)).sum(1, keepdim=True)  # (B, regions, h, w) -> (B, 1, h, w)
        return directions * attention, attention  # (B, C, h, w) * (B, 1, h, w)


def spatial_softmax(scores: Tensor) -> Tensor:
    """Softmax over the positions of every channel, in ``float32``: (B, M, h, w) -> the same."""
    return scores.float().flatten(2).softmax(2).unflatten(2, scores.shape[2:])
