"""Which pixels of stacked frames show the scene's objects: convolutions, a memory from frame to frame, and back."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.networks.decoders import UpsampleConv
from foveal.networks.frames import COLOURS
from foveal.networks.kernels.convolution import Convolution, convolve
from foveal.networks.kernels.interleaving import interleave


class ConvLSTM(nn.Module):
    """A long short-term memory at every position (Shi et al. 2015), its gates from depthwise separable 3x3 kernels."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self.depthwise = nn.Conv2d(2 * size, 2 * size, 3, padding=1, groups=2 * size)
        self.pointwise = nn.Conv2d(2 * size, 4 * size, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """(B, F, C, h, w), oldest first -> what is remembered after each frame, the same shape; nothing before it."""
        hidden = cell = torch.zeros_like(frames[:, 0])
        told = []
        for frame in frames.unbind(1):
            gates = self.pointwise(self.depthwise(torch.cat([frame, hidden], dim=1)))  # (B, 4 * C, h, w)
            enter, keep, tell, new = gates.float().chunk(4, dim=1)
            cell = torch.sigmoid(keep) * cell + torch.sigmoid(enter) * torch.tanh(new)
            hidden = (torch.sigmoid(tell) * torch.tanh(cell)).to(frame.dtype)
            told.append(hidden)
        return torch.stack(told, dim=1)


class Segmenter(nn.Module):
    """One logit for every pixel of every stacked frame (TSTM, Du et al., CVPR 2026).

    Three 3x3 convolutions with ReLUs, the first two followed by a maximum over 2x2; a ``ConvLSTM`` over the frames; two
    nearest upsamplings by two, each followed by a 3x3 convolution and a ReLU; a 1x1 convolution. A frame is known by
    itself and those before it. At first every pixel is thought to show one.

    Args:
        filters: channels of the three convolutions; the memory has the last, and the way back the others, reversed.
        dtype: of the convolutions.
    """

    def __init__(self, filters: tuple[int, int, int], dtype: torch.dtype) -> None:
        super().__init__()
        first, second, third = filters
        self.dtype = dtype
        self.down = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in ((COLOURS, first), (first, second), (second, third))
        )
        self.memory = ConvLSTM(third)
        self.up = nn.ModuleList(UpsampleConv(a, b) for a, b in ((third, second), (second, first)))
        self.last = nn.Conv2d(first, 1, 1)
        nn.init.ones_(self.last.bias)  # type: ignore[arg-type]
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3 * F, H, W) in [0, 255], any dtype -> logits (B, F, H, W) ``float32``."""
        count, (height, width) = images.shape[1] // COLOURS, images.shape[2:]
        frames = images.unflatten(1, (-1, COLOURS)).flatten(0, 1)  # (B * F, 3, H, W)
        hidden = frames.to(self.dtype, memory_format=torch.channels_last) / 255.0
        for index, layer in enumerate(self.down):
            hidden = self._convolved(hidden, layer)
            if index < 2:  # a window that reaches over the border is a smaller one
                hidden = F.max_pool2d(hidden, 2, ceil_mode=True)
        with torch.autocast(hidden.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
            hidden = self.memory(hidden.unflatten(0, (-1, count))).flatten(0, 1)
        for layer in self.up:
            hidden = self._upsampled(hidden, layer)
        logits = F.conv2d(hidden.float(), self.last.weight, self.last.bias)  # (B * F, 1, H', W')
        return logits[:, 0, :height, :width].unflatten(0, (-1, count))

    def _convolved(self, image: Tensor, layer: nn.Module) -> Tensor:
        assert isinstance(layer, nn.Conv2d) and layer.bias is not None
        if torch.compiler.is_exporting():
            return F.relu(F.conv2d(image.float(), layer.weight, layer.bias, padding=1))
        return convolve(image, [Convolution(layer.weight, layer.bias, padding=1)], self.dtype)

    def _upsampled(self, image: Tensor, layer: nn.Module) -> Tensor:
        assert isinstance(layer, UpsampleConv)
        if torch.compiler.is_exporting():
            return F.relu(layer.convolution(F.interpolate(image.float(), scale_factor=2.0)))
        return interleave(convolve(image, [layer.on_small(relu=True)], self.dtype))
