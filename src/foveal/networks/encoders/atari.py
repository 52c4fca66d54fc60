"""Encoders for Atari: the network of Mnih et al. (2015), and those with attention inside that FLS compares.

"Free-Lunch Saliency via Attention in Atari Agents" (Nikulin et al. 2019) adds its module to Mnih's network (Sparse FLS)
and to one without strides (Dense FLS), has ablations of both, and compares them with DAQN (Mousavi et al. 2016) and
with RS-Rainbow's module (Yang et al. 2018), all trained by PPO.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.networks.attention import FLS, RegionSensitive, Rendering, SoftAttention
from foveal.networks.encoders.base import ENCODERS, Encoder, EncoderChoice
from foveal.networks.initialization import relu_orthogonal_

FEATURES = 512
"""Size of the layer that actor and critic share."""


@dataclass(frozen=True)
class Convolution:
    """One convolution; all sizes in positions of its input."""

    filters: int
    kernel: int
    stride: int = 1
    padding: int = 0


NATURE = (Convolution(32, 8, 4), Convolution(64, 4, 2), Convolution(64, 3))
PADDED = (Convolution(32, 8, 4, padding=1), *NATURE[1:])
DENSE = (Convolution(32, 7, padding=3), Convolution(64, 5, padding=2), Convolution(64, 3, padding=1))


@dataclass(frozen=True)
class Architecture:
    """What differs between the networks.

    Attributes:
        about: what it is, in a line.
        convolutions: first to last, a ReLU after each.
        attention: makes the attention module for features of so many channels, or None.
        after: the numbers, from 0 and ascending, of the convolutions that are followed by such a module.
        last_relu: whether the last convolution has its ReLU.
        pool: sum the last features over all positions, instead of keeping each position's.
    """

    about: str
    convolutions: tuple[Convolution, ...] = NATURE
    attention: Callable[[int], nn.Module] | None = None
    after: tuple[int, ...] = (2,)
    last_relu: bool = True
    pool: bool = False


class AtariEncoder(Encoder):
    """Stacked frames to the features that actor and critic share; ``network`` makes the subclass of an architecture.

    Convolutions run in ``dtype``; weights, maps and the linear layer are float32. Where pixel gradients are wanted, the
    first convolution runs in float32 as well, because its backward pass makes them. Where there are several attention
    modules, their maps are added on the grid of the first one's.

    Raises:
        FovealError: the image is too small for the convolutions.
    """

    Config = EncoderChoice
    dense = True
    architecture: ClassVar[Architecture]

    def __init__(self, image_shape: tuple[int, int, int], config: EncoderChoice, dtype: torch.dtype) -> None:
        super().__init__(image_shape, config, dtype)
        architecture = self.architecture
        convolutions, (channels, height, width) = _convolutions(architecture.convolutions, image_shape)
        self.stages = nn.ModuleList(nn.Sequential(convolution, nn.ReLU()) for convolution in convolutions)
        if not architecture.last_relu:
            self.stages[-1] = nn.Sequential(convolutions[-1])
        self.attend = nn.ModuleDict()
        if architecture.attention is not None:
            after = architecture.after
            self.attend.update({str(i): architecture.attention(convolutions[i].out_channels) for i in after})
            self.rendering = Rendering.of(convolutions[: after[0] + 1])
            self._on_first_grid = {str(i): Rendering.of(convolutions[after[0] + 1 : i + 1]) for i in after}
        self.pool = architecture.pool
        self.output_shape, self.output_size = (FEATURES, 1, 1), FEATURES
        self.linear = nn.Linear(channels * (1 if self.pool else height * width), FEATURES)
        self.relu = nn.ReLU()
        # Kernels are not channels last: Stable-Baselines3 draws them anew, which PyTorch can't do in that layout.
        self.apply(relu_orthogonal_)

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 255], ``uint8`` or floating point -> (B, 512) ``float32``."""
        if image.is_floating_point():
            return self.features(image.float() / 255.0)
        # One step to the type and the memory layout of the convolutions.
        return self.features(image.to(self.dtype, memory_format=torch.channels_last).div_(255.0))

    def features(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 512) ``float32``."""
        features = image.contiguous(memory_format=torch.channels_last)
        maps: dict[str, Tensor] = {}
        for index, stage in enumerate(self.stages):
            with self._autocast(image.device.type, full=index == 0 and image.requires_grad):
                features = stage(features)
            if (key := str(index)) in self.attend:
                with self._autocast(image.device.type):
                    features, maps[key] = self.attend[key](features)
        self._keep(maps)
        features = features.float().sum((2, 3)) if self.pool else features.permute(0, 2, 3, 1).flatten(1).float()
        return self.relu(self.linear(features))  # (B, C) or (B, h * w * C) -> (B, 512)

    def _autocast(self, device: str, *, full: bool = False) -> AbstractContextManager[object]:
        enabled = self.dtype != torch.float32 and not full
        return torch.autocast(device, self.dtype, enabled=enabled, cache_enabled=False)

    @torch.no_grad()
    def _keep(self, maps: dict[str, Tensor]) -> None:
        """Remember the sum of the maps, on the grid of the first."""
        if not maps or torch.compiler.is_exporting():  # an exported graph has no attributes to write to
            return
        height, width = next(iter(maps.values())).shape[-2:]
        drawn = [self._on_first_grid[key].render(attention, (height, width)) for key, attention in maps.items()]
        self.attention = torch.stack(drawn).sum(0)[:, None]  # (modules, B, h, w) -> (B, 1, h, w)


def _convolutions(
    entries: tuple[Convolution, ...], image_shape: tuple[int, int, int]
) -> tuple[list[nn.Conv2d], tuple[int, int, int]]:
    """The layers, and the shape (C, h, w) of the last one's output."""
    made: list[nn.Conv2d] = []
    channels, height, width = image_shape
    for entry in entries:
        height, width = ((side + 2 * entry.padding - entry.kernel) // entry.stride + 1 for side in (height, width))
        if min(height, width) < 1:
            raise FovealError(f"an image of {image_shape[1]}x{image_shape[2]} pixels is too small for this network")
        made.append(nn.Conv2d(channels, entry.filters, entry.kernel, entry.stride, entry.padding))
        channels = entry.filters
    return made, (channels, height, width)


def network(architecture: Architecture) -> type[AtariEncoder]:
    """An encoder of this architecture, to be registered under a name in ``ENCODERS``."""
    return type(
        "AtariEncoder",
        (AtariEncoder,),
        {"architecture": architecture, "__module__": __name__, "__doc__": architecture.about},
    )


ATARI_ENCODERS = {
    "nature": Architecture("Three convolutions and a dense layer (Mnih et al., Nature 2015)."),
    "sparse-fls": Architecture(
        "Sparse FLS: attention after the last convolution of 'nature' (Nikulin et al. 2019).", attention=FLS
    ),
    "dense-fls": Architecture(
        "Dense FLS: attention after three convolutions without strides (Nikulin et al. 2019).", DENSE, FLS, pool=True
    ),
    "sparse-fls-pool": Architecture("Sparse FLS whose features are summed over positions.", attention=FLS, pool=True),
    "sparse-fls-norm": Architecture("Sparse FLS whose map sums to 1.", attention=partial(FLS, normalized=True)),
    "sparse-fls-1x1": Architecture("Sparse FLS with kernels of one position.", attention=partial(FLS, kernel=1)),
    "sparse-fls-sp2": Architecture("Sparse FLS with softplus of base 2.", attention=partial(FLS, base=2)),
    "sparse-fls-norelu": Architecture("Sparse FLS on features before their ReLU.", attention=FLS, last_relu=False),
    "sparse-fls-norelu-pool": Architecture(
        "Sparse FLS before the ReLU, summed over positions.", attention=FLS, last_relu=False, pool=True
    ),
    "dense-fls-norelu": Architecture(
        "Dense FLS on features before their ReLU.", DENSE, FLS, last_relu=False, pool=True
    ),
    "sparse-fls-h1": Architecture("FLS's attention after the first convolution: 20x20.", attention=FLS, after=(0,)),
    "sparse-fls-x3": Architecture("FLS's attention after each convolution.", attention=FLS, after=(0, 1, 2)),
    "daqn": Architecture("Soft attention (DAQN, Mousavi et al. 2016).", attention=SoftAttention, pool=True),
    "rs-ppo": Architecture("Region-sensitive attention (RS-Rainbow, Yang et al. 2018).", PADDED, RegionSensitive),
    "rs-ppo-no-pad": Architecture(
        "Region-sensitive attention, its convolutions without padding.", attention=RegionSensitive
    ),
}
"""The networks of the paper by name."""

for _name, _architecture in ATARI_ENCODERS.items():
    ENCODERS.register(_name)(network(_architecture))
