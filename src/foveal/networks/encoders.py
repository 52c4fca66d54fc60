"""From stacked frames to features: convolutions shared by actor and critic, and the projection that each one owns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.bounds import Bounded, at_least, one_of
from foveal.errors import FovealError
from foveal.networks.attention import FLS, Rendering
from foveal.networks.initialization import INITIALIZATIONS, convolution_initialization, orthogonal_, relu_orthogonal_
from foveal.networks.kernels.convolution import Convolution, convolve
from foveal.registry import nearest

ATTENTION = ("none", "fls")


@dataclass(frozen=True)
class EncoderConfig(Bounded, section="encoder"):
    """Shape of the convolutional encoder. The defaults are DMC-GB's (Hansen and Wang 2021), which SGQN shares.

    Attributes:
        strides: one convolution per entry.
        filters: output channels of every convolution.
        first_kernel: side of the first convolution's kernels, in pixels.
        kernel: side of all other kernels.
        initialization: of the kernels, "delta-orthogonal" (all but the centre tap is zero) or "orthogonal".
        projection: size of the latent.
        centred: feed pixels in [-0.5, 0.5] instead of [0, 1].
        attention: "none", or "fls": Sparse FLS, whose map multiplies the last convolution's features after a ReLU.
        attention_filters: channels between the two convolutions of the attention module.
    """

    strides: Annotated[tuple[int, ...], at_least(1)] = (2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    filters: Annotated[int, at_least(1)] = 32
    first_kernel: Annotated[int, at_least(1)] = 3
    kernel: Annotated[int, at_least(1)] = 3
    initialization: Annotated[str, one_of(*INITIALIZATIONS)] = "delta-orthogonal"
    projection: Annotated[int, at_least(1)] = 100
    centred: bool = False
    attention: Annotated[str, one_of(*ATTENTION)] = "none"
    attention_filters: Annotated[int, at_least(1)] = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.strides:
            raise FovealError("encoder.strides must have at least one entry, one for each convolution")


class ConvEncoder(nn.Module):
    """Convolutions with a ReLU between each two, and none after the last but where an attention module follows it.

    Convolutions run in ``dtype``, weights are kept in float32. The gradient of a float32 image is float32 arithmetic:
    in bfloat16 it would tie at the quantile of a mask.

    Args:
        image_shape: (C, H, W) of the observation.
        dtype: of the convolutions.

    Attributes:
        by_layer: go through ``layers`` one by one instead of all at once, more slowly: for whoever hooks into them.
        rendering: which pixels a position of ``attention`` stands for; None without an attention module.
        attention: (B, 1, h, w) ``float32``, the map of the last forward pass without its graph; None before the first
            and without an attention module.

    Raises:
        FovealError: the image is too small for that many convolutions, or an initialization or an attention module has
            no such name.
    """

    def __init__(self, image_shape: tuple[int, int, int], config: EncoderConfig, dtype: torch.dtype) -> None:
        super().__init__()
        if config.attention not in ATTENTION:
            raise FovealError(f"unknown attention {config.attention!r}: {nearest(config.attention, list(ATTENTION))}")
        channels, height, width = image_shape
        layers: list[nn.Module] = []
        for index, stride in enumerate(config.strides):
            kernel = config.kernel if index else config.first_kernel
            height, width = ((side - kernel) // stride + 1 for side in (height, width))
            if min(height, width) < 1:
                raise FovealError(
                    f"an image of {image_shape[1]}x{image_shape[2]} pixels is too small for {len(config.strides)} "
                    f"convolutions with strides {config.strides}; raise image_size or use fewer convolutions"
                )
            layers += [nn.Conv2d(channels, config.filters, kernel, stride=stride), nn.ReLU()]
            channels = config.filters
        self.layers = nn.Sequential(*layers[:-1])
        self.image_shape = image_shape
        self.output_shape = (channels, height, width)
        self.output_size = channels * height * width
        self.dtype = dtype
        self.by_layer = False
        self.offset = 0.5 if config.centred else 0.0
        self.apply(convolution_initialization(config.initialization))
        self.attend: nn.Sequential | None = None
        self.attention: Tensor | None = None
        self.rendering: Rendering | None = None
        if config.attention == "fls":  # drawn last: the weights before it are those of an encoder without
            module = FLS(channels, config.attention_filters).apply(relu_orthogonal_)
            self.attend = nn.Sequential(nn.ReLU(), module)
            self.rendering = Rendering.of(layer for layer in self.layers if isinstance(layer, nn.Conv2d))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 255] -> (B, F) ``float32``."""
        hidden = self._layer_by_layer(image) if self.by_layer or torch.compiler.is_exporting() else self._fused(image)
        if self.attend is not None:
            hidden = self._attended(hidden)
        # Pixel by pixel, as the convolutions leave it in memory: the published code's order would cost a transposition
        # each way, and the weights that follow are drawn alike for any order.
        return hidden.permute(0, 2, 3, 1).flatten(1).float()  # (B, F)

    def _layer_by_layer(self, image: Tensor) -> Tensor:
        pixels = image.to(torch.float32, memory_format=torch.channels_last)
        first = self._convolution(0)
        return self.layers[1:](F.conv2d(pixels, first.weight, first.bias, stride=first.stride))

    def _fused(self, image: Tensor) -> Tensor:
        return convolve(image, [self._convolution(index) for index in range(0, len(self.layers), 2)], self.dtype)

    def _convolution(self, index: int) -> Convolution:
        """A layer as it is computed: the first one normalises pixels, image / 255 - offset, in its few weights."""
        layer: nn.Conv2d = self.layers[index]  # type: ignore[assignment]
        weight, bias = layer.weight, layer.bias
        assert bias is not None
        if index == 0:
            weight, bias = weight / 255.0, bias - self.offset * weight.sum((1, 2, 3))
        return Convolution(weight, bias, layer.stride[0], relu=index + 1 < len(self.layers))

    def _attended(self, features: Tensor) -> Tensor:
        assert self.attend is not None
        with torch.autocast(features.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
            features, attention = self.attend(features)
        if not torch.compiler.is_exporting():  # a policy on its own has no attributes to write to
            self.attention = attention.detach()
        return features


class Projection(nn.Module):
    """Linear, layer normalisation, tanh: (B, F) -> (B, D) in [-1, 1]."""

    def __init__(self, size: int, output_size: int) -> None:
        super().__init__()
        self.linear = nn.Linear(size, output_size)
        self.norm = nn.LayerNorm(output_size)
        self.output_size = output_size
        self.apply(orthogonal_)

    def forward(self, features: Tensor) -> Tensor:
        """(B, F) -> (B, D)."""
        return torch.tanh(self.norm(self.linear(features)))
