"""Convolutions over stacked frames, by default those of DMC-GB, with or without an attention module after them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveal.networks.attention import FLS, Rendering
from foveal.networks.encoders.base import ENCODERS, Encoder, EncoderConfig
from foveal.networks.initialization import INITIALIZATIONS, relu_orthogonal_
from foveal.networks.kernels.convolution import Convolution, convolve


@ENCODERS.register("conv")
class ConvEncoder(Encoder):
    """Convolutions with ReLUs between them; the last has one if the settings say so, or an attention module follows it.

    Convolutions run in ``dtype``, weights are kept in float32. The gradient of a float32 image is computed in float32,
    because in bfloat16 many pixels would tie at the quantile of a mask.

    Attributes:
        by_layer: run ``layers`` one by one and not as one fused operation: slower, but hooks on them work.

    Raises:
        FovealError: the image is too small for that many convolutions.
    """

    def __init__(self, image_shape: tuple[int, int, int], config: EncoderConfig, dtype: torch.dtype) -> None:
        super().__init__(image_shape, config, dtype)
        height, width = config.shape_after(*image_shape[1:])
        layers: list[nn.Module] = []
        channels = image_shape[0]
        for kernel, stride in zip(config.kernels(), config.strides, strict=True):
            layers += [nn.Conv2d(channels, config.filters, kernel, stride=stride), nn.ReLU()]
            channels = config.filters
        self.layers = nn.Sequential(*(layers if config.last_relu else layers[:-1]))
        self.output_shape = (channels, height, width)
        self.output_size = channels * height * width
        self.by_layer = False
        self.offset = 0.5 if config.centred else 0.0
        self.apply(INITIALIZATIONS[config.initialization])
        self.attend: nn.Sequential | None = None
        if config.attention == "fls":  # drawn last, so that the other weights are those of an encoder without it
            module = FLS(channels, config.attention_filters).apply(relu_orthogonal_)
            self.attend = nn.Sequential(nn.ReLU(), module)
            self.rendering = Rendering.of(layer for layer in self.layers if isinstance(layer, nn.Conv2d))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 255] -> (B, F) ``float32``."""
        if self.by_layer or torch.compiler.is_exporting():
            hidden = self._layer_by_layer(image)
        else:
            fused = [self._convolution(index) for index in range(0, len(self.layers), 2)]
            hidden = convolve(image, fused, self.dtype)
        if self.attend is not None:
            hidden = self._attended(hidden)
        # Pixel by pixel, as the convolutions leave it in memory. The published code's order, channel by channel, would
        # cost a transposition each way, and the weights that follow are drawn without regard to the order.
        return hidden.permute(0, 2, 3, 1).flatten(1).float()  # (B, F)

    def _layer_by_layer(self, image: Tensor) -> Tensor:
        pixels = image.to(torch.float32, memory_format=torch.channels_last)
        first = self._convolution(0)
        return self.layers[1:](F.conv2d(pixels, first.weight, first.bias, stride=first.stride))

    def _convolution(self, index: int) -> Convolution:
        """A layer; the first has the scaling of pixels, image / 255 - offset, folded into its weights."""
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
        if not torch.compiler.is_exporting():  # an exported graph has no attributes to write to
            self.attention = attention.detach()
        return features
