"""The network that gives frames back: a U-Net on single frames (Ronneberger, Fischer and Brox 2015)."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import fuse_conv_bn_eval

from foveal.networks.kernels.convolution import Convolution, convolve

LEVELS = 255.0
"""Of a byte: what pixels are divided by before the network sees them."""
LEAST_CHANGE = 0.1 / LEVELS
"""Changes of less than a tenth of a level are all the same to the estimate of them."""


class Output(NamedTuple):
    """What the network says of B frames.

    Attributes:
        restored: (B, 3, H, W) in [0, 1].
        mask: (B, 1, H, W) logits, above 0 where a pixel is the task's own.
        change: (B,), its estimate of the logarithm of how far the frame, as it came, is from what it was, by mean
            absolute error.
    """

    restored: Tensor
    mask: Tensor
    change: Tensor


class Conv3x3(nn.Conv2d):
    """A convolution of 3x3 with a border of zeros, which learns by the fastest kernels that there are here."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__(channels, filters, 3, padding=1, bias=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H, W)."""
        if not self.training:  # single frames, for which PyTorch's own takes less time
            return super().forward(image)
        none = self.weight.new_zeros(len(self.weight))
        return convolve(image, [Convolution(self.weight, none, padding=1, relu=False)], self.weight.dtype)


class FoveaNetwork(nn.Module):
    """Frames as they were, which pixels are the task's, and how much was changed.

    What is restored is a blend, pixel by pixel, of the input and of a drawn picture.

    Args:
        filters: channels of the finest level; each coarser one has twice as many.
        depth: how often the frame is halved.
    """

    def __init__(self, filters: int, depth: int) -> None:
        super().__init__()
        widths = [filters * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(_block(a, b) for a, b in zip([3, *widths], widths, strict=False))
        self.up = nn.ModuleList(_block(a + b, b) for a, b in zip(widths[:0:-1], widths[-2::-1], strict=True))
        self.draw = nn.Conv2d(filters, 5, 1)  # three colours, the blend's weight, the mask
        self.change = nn.Sequential(nn.Linear(2 * widths[-1] + 6, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, frames: Tensor) -> Output:
        """(B, 3, H, W) in [0, 1], of any size."""
        features = frames.contiguous(memory_format=torch.channels_last)
        passed: list[Tensor] = []
        for level, block in enumerate(self.down):
            features = block(features if level == 0 else F.max_pool2d(features, 2, ceil_mode=True))
            passed.append(features)
        features = coarsest = passed.pop()
        for block in self.up:
            beside = passed.pop()
            features = block(torch.cat([F.interpolate(features, beside.shape[-2:]), beside], 1))
        drawn, weight, mask = self.draw(features).split([3, 1, 1], 1)
        restored = torch.lerp(frames, torch.sigmoid(drawn), torch.sigmoid(weight))
        return Output(restored, mask, self._change(coarsest, frames, restored, weight, mask))

    def _change(self, coarsest: Tensor, frames: Tensor, restored: Tensor, weight: Tensor, mask: Tensor) -> Tensor:
        """From what is known of the frame already; it has no say in how frames are restored."""
        changed = (restored - frames).abs().mean(1, keepdim=True)
        seen = [changed, torch.sigmoid(weight), torch.sigmoid(mask)]
        known = [coarsest.mean((2, 3)), coarsest.amax((2, 3))]
        known += [statistic for plane in seen for statistic in (plane.mean((2, 3)), plane.std((2, 3)))]
        return self.change(torch.cat(known, 1).detach()).squeeze(1)


def _block(channels: int, filters: int) -> nn.Sequential:
    """Batch normalisation makes it learn in a fraction of the steps."""
    layers = [(Conv3x3(a, filters), nn.BatchNorm2d(filters)) for a in (channels, filters)]
    return nn.Sequential(*(part for convolution, norm in layers for part in (convolution, norm, nn.ReLU())))


def folded(network: FoveaNetwork) -> FoveaNetwork:
    """A copy that does the same in less time and can't be trained: normalisation is part of the convolutions."""
    copy = deepcopy(network).eval().requires_grad_(False)
    blocks: list[Any] = [*copy.down, *copy.up]
    for block in blocks:
        for place in (0, 3):
            block[place], block[place + 1] = fuse_conv_bn_eval(block[place], block[place + 1]), nn.Identity()
    return copy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
