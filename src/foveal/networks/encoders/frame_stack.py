"""Frames encoded one by one before their features are stacked (SimGRL's feature-level frame stack)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from foveal.config.bounds import at_least, registered
from foveal.errors import FovealError
from foveal.networks.encoders.base import ENCODERS, Encoder, EncoderConfig
from foveal.networks.frames import COLOURS, apart, together
from foveal.networks.initialization import INITIALIZATIONS
from foveal.networks.kernels.convolution import Convolution, convolve


@dataclass(frozen=True)
class FrameStackConfig(EncoderConfig):
    """Shape of the encoder. The defaults are SimGRL's: 3 convolutions of each frame, then 8 of all.

    Attributes:
        frame_layers: how many of the convolutions see each frame by itself: fewer than there are.
        frame_filters: output channels of these.
    """

    name: Annotated[str, registered(ENCODERS)] = "frame-stack"
    frame_layers: Annotated[int, at_least(1)] = 3
    frame_filters: Annotated[int, at_least(1)] = 16


@ENCODERS.register("frame-stack")
class FrameStackEncoder(Encoder):
    """The same convolutions of each frame, then convolutions of all frames' features, with ReLUs between them.

    Convolutions run in ``dtype``, weights are kept in float32. The gradient of a float32 image is computed in float32,
    as in ``ConvEncoder``.

    Attributes:
        frames: how many an observation has.

    Raises:
        FovealError: frames have no three colours, an attention module is asked for, no convolution is left for all
            frames together, or the image is too small for that many.
    """

    Config = FrameStackConfig

    def __init__(self, image_shape: tuple[int, int, int], config: FrameStackConfig, dtype: torch.dtype) -> None:
        super().__init__(image_shape, config, dtype)
        _check(image_shape, config)
        height, width = config.shape_after(*image_shape[1:])
        self.frames = image_shape[0] // COLOURS
        self.frame_layers = config.frame_layers
        self.layers = nn.ModuleList()
        inputs = COLOURS
        for index, (kernel, stride) in enumerate(zip(config.kernels(), config.strides, strict=True)):
            outputs = config.frame_filters if index < self.frame_layers else config.filters
            self.layers.append(nn.Conv2d(inputs, outputs, kernel, stride=stride))
            inputs = outputs * (self.frames if index + 1 == self.frame_layers else 1)
        self.output_shape = (config.filters, height, width)
        self.output_size = config.filters * height * width
        self.last_relu = config.last_relu
        self.offset = 0.5 if config.centred else 0.0
        self.own: Tensor  # a buffer, because a CUDA graph can't copy it to the device
        self.register_buffer("own", torch.eye(self.frames), persistent=False)
        self.apply(INITIALIZATIONS[config.initialization])
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3 * frames, H, W) in [0, 255] -> (B, F) ``float32``."""
        layers = [self._first(), *(self._convolution(index) for index in range(1, len(self.layers)))]
        hidden = convolve(image, layers[:1], self.dtype)  # (B, frames * C', h, w)
        if self.frame_layers > 1:
            each = convolve(apart(hidden, self.frames), layers[1 : self.frame_layers], self.dtype)
            hidden = together(each, self.frames)
        hidden = convolve(hidden, layers[self.frame_layers :], self.dtype)
        return hidden.permute(0, 2, 3, 1).flatten(1).float()  # (B, F), pixel by pixel like ``ConvEncoder``

    def _first(self) -> Convolution:
        """The first layer as one convolution of the whole stack, whose kernels are zero but for their own frame.

        So pixels stay where they are and get gradients as those of ``ConvEncoder`` do. The scaling of pixels, image /
        255 - offset, is folded into the weights.
        """
        weight, bias, stride, _, relu = self._convolution(0)
        bias = (bias - self.offset * weight.sum((1, 2, 3))).repeat(self.frames)
        spread = torch.einsum("fg,ocij->fogcij", self.own, weight / 255.0).flatten(0, 1).flatten(1, 2)
        return Convolution(spread.contiguous(memory_format=torch.channels_last), bias, stride, relu=relu)

    def _convolution(self, index: int) -> Convolution:
        layer: nn.Conv2d = self.layers[index]  # type: ignore[assignment]
        assert layer.bias is not None
        return Convolution(
            layer.weight, layer.bias, layer.stride[0], relu=self.last_relu or index + 1 < len(self.layers)
        )


def _check(image_shape: tuple[int, int, int], config: FrameStackConfig) -> None:
    if image_shape[0] % COLOURS:
        raise FovealError(f"the encoder 'frame-stack' wants frames of three colours, not {image_shape[0]} channels")
    if config.attention != "none":
        raise FovealError("the encoder 'frame-stack' has no attention module: leave encoder.attention at 'none'")
    if config.frame_layers >= len(config.strides):
        raise FovealError(
            f"encoder.frame_layers must be below the number of encoder.strides, which is {len(config.strides)}, "
            f"not {config.frame_layers}"
        )
