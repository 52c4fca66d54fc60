"""A conditioned residual network: FiLM in every block scales and shifts its channels by a condition.

Perez et al. 2018, "FiLM: visual reasoning with a general conditioning layer"; as HRL-BC's skills use it (Strudel et al.
2020): ``out * (1 + gamma) + beta`` after a block's second norm, gamma and beta linear in the skill's one-hot.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

POOLINGS = ("average", "points")
POINTS = 32


class SpatialPoints(nn.Module):
    """Spatial softmax: the expected position of each of ``POINTS`` learned maps, and the mean of all features.

    A softmax over positions turns a map into a distribution, whose mean is a point (Levine et al. 2016, "End-to-end
    training of deep visuomotor policies"). Two linear layers follow.

    Args:
        channels: of the features.
        outputs: of the second layer.
        hidden: units of the first.
    """

    def __init__(self, channels: int, outputs: int, hidden: int = 128) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, POINTS, 1)
        self.layers = nn.Sequential(nn.Linear(2 * POINTS + channels, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) -> (B, outputs)."""
        height, width = features.shape[2:]
        chance = self.maps(features).flatten(2).softmax(2).unflatten(2, (height, width))  # (B, P, h, w)
        x = (chance.sum(2) * _places(width, features)).sum(2)  # (B, P), in [-1, 1]
        y = (chance.sum(3) * _places(height, features)).sum(2)
        return self.layers(torch.cat([x, y, features.mean((2, 3))], dim=1))


def _places(count: int, like: Tensor) -> Tensor:
    """(count,): the midpoints of equal parts of [-1, 1]."""
    return (torch.arange(count, device=like.device, dtype=like.dtype) * 2.0 + 1.0) / count - 1.0


class Relief(nn.Module):
    """Depth frames with further channels: how far each pixel stands out from its surroundings.

    A cube on a table changes depth by a hundredth of what an arm before it does, in bfloat16 by a rounding error. It
    does stand out from the mean over a twelfth of the picture to every side. Missing pixels and the edges of near
    objects are clipped.

    Args:
        height: the height over the surroundings that becomes 1, in the unit of the frames; as much below becomes -1.
    """

    def __init__(self, height: float) -> None:
        super().__init__()
        self.height = height

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 C, H, W) ``float32``: the frames and their relief."""
        image = image.float()
        rows, columns = (_averaging(size, image) for size in image.shape[2:])
        around = rows @ (image @ columns.T)  # several times as fast as average pooling with such windows
        return torch.cat([image, ((around - image) / self.height).clamp(-1.0, 1.0)], dim=1)


def _averaging(size: int, like: Tensor) -> Tensor:
    """(size, size): each row averages over a twelfth of ``size`` to either side, or less at the ends."""
    places = torch.arange(size, device=like.device)
    near = ((places[:, None] - places).abs() <= size // 12).to(like.dtype)
    return near / near.sum(1, keepdim=True)


class FilmBlock(nn.Module):
    """Two 3x3 convolutions with a shortcut, conditioned.

    Args:
        channels, out_channels: before and after.
        stride: of the first convolution and the shortcut.
        conditions: length of the condition.
    """

    def __init__(self, channels: int, out_channels: int, stride: int, conditions: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, out_channels, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(out_channels)
        self.second = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(out_channels)
        self.film = nn.Linear(conditions, 2 * out_channels)
        nn.init.zeros_(self.film.bias)
        self.inner, self.outer = nn.ReLU(), nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W), (B, K) -> (B, C', H', W')."""
        out = self.inner(self.first_norm(self.first(x)))
        out = self.second_norm(self.second(out))
        gamma, beta = self.film(condition)[:, :, None, None].chunk(2, dim=1)  # (B, C', 1, 1) each
        return self.outer(out * (1.0 + gamma) + beta + self.shortcut(x))


class FilmResNet(nn.Module):
    """Stem, four stages of conditioned blocks, and a head.

    ``blocks=(2, 2, 2, 2)`` is ResNet-18, ``(1, 1, 1, 1)`` ResNet-10. Convolutions run in ``dtype``; the head is
    ``float32``.

    Args:
        shape: (C, H, W) of the pictures.
        conditions: length K of the condition.
        outputs: of the head.
        stem: channels of the first convolution, 7x7 with stride 2, which a max pool of stride 2 follows.
        widths: channels of the stages.
        blocks: in each stage.
        strides: of each stage's first block.
        pooling: ``"average"`` over positions and one linear layer, as in ResNets, or ``"points"``, ``SpatialPoints``.
        relief: the height of a ``Relief`` before the stem; 0 for none.
        dtype: of the convolutions.

    Attributes:
        feature_shape: (C', h, w) of the output of ``features``.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        conditions: int,
        outputs: int,
        *,
        stem: int = 64,
        widths: Sequence[int] = (32, 64, 128, 256),
        blocks: Sequence[int] = (2, 2, 2, 2),
        strides: Sequence[int] = (1, 2, 2, 2),
        pooling: str = "average",
        relief: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        self.dtype = dtype
        self.relief = Relief(relief) if relief else nn.Identity()
        self.stem = nn.Conv2d(shape[0] * (2 if relief else 1), stem, 7, 2, 3, bias=False)
        self.stem_norm = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.blocks = nn.ModuleList()
        before = stem
        for width, count, stride in zip(widths, blocks, strides, strict=True):
            for index in range(count):
                self.blocks.append(FilmBlock(before, width, stride if index == 0 else 1, conditions))
                before = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        self.feature_shape = self._shape_after(shape, conditions)
        self.head: nn.Module
        if pooling == "points":
            self.head = SpatialPoints(before, outputs)
        else:
            self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, outputs))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, image: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, K), floating point -> (B, C', h, w) in ``dtype``, not negative."""
        seen = self.relief(image)  # in float32: bfloat16 would round these differences away
        with torch.autocast(image.device.type, self.dtype, enabled=self.dtype != torch.float32):
            x = seen.contiguous(memory_format=torch.channels_last)
            x = self.pool(self.relu(self.stem_norm(self.stem(x))))
            for block in self.blocks:
                x = block(x, condition)
        return x

    def act(self, features: Tensor) -> Tensor:
        """The head: features (B, C', h, w) -> (B, outputs) ``float32``."""
        return self.head(features.float())

    def forward(self, image: Tensor, condition: Tensor) -> Tensor:
        """(B, C, H, W) and (B, K) -> (B, outputs)."""
        return self.act(self.features(image, condition))

    def _shape_after(self, shape: tuple[int, int, int], conditions: int) -> tuple[int, int, int]:
        training = self.training
        self.eval()
        with torch.no_grad():
            out = self.features(torch.zeros(1, *shape), torch.zeros(1, conditions))
        self.train(training)
        channels, height, width = out.shape[1:]
        return channels, height, width
