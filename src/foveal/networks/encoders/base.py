"""The interface of encoders, the settings that choose one, and the projection that actor and critic each own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import torch
from torch import Tensor, nn

from foveal.config.bounds import Bounded, at_least, one_of, registered
from foveal.errors import FovealError
from foveal.networks.attention import Rendering
from foveal.networks.initialization import INITIALIZATIONS, orthogonal_
from foveal.registry import Registry

ENCODERS: Registry[type[Encoder]] = Registry("encoder", "foveal.networks.encoders")

ATTENTION = ("none", "fls")


@dataclass(frozen=True)
class EncoderChoice(Bounded, section="encoder"):
    """Which encoder; those with settings of their own have them in a subclass.

    Attributes:
        name: of the encoder, in ``ENCODERS``.
        projection: size of the latent behind it. Unused by ``ppo`` and ``dqn`` on one that ends in a dense layer.
    """

    name: Annotated[str, registered(ENCODERS)] = "nature"
    projection: Annotated[int, at_least(1)] = 100

    def named(self, name: str) -> EncoderChoice:
        """The settings of the encoder of that name: its own, and what these say of those that both have.

        Raises:
            FovealError: there is no encoder of that name.
        """
        kind = ENCODERS.get(name).Config
        shared = {field.name for field in dataclasses.fields(kind)} & {field.name for field in dataclasses.fields(self)}
        return kind(**{**{key: getattr(self, key) for key in shared}, "name": name})


@dataclass(frozen=True)
class EncoderConfig(EncoderChoice):
    """Shape of an encoder of convolutions. The defaults are DMC-GB's (Hansen and Wang 2021), which SGQN shares.

    Attributes:
        name: of the encoder, in ``ENCODERS``; it may have further settings, and leave some of these unused.
        projection: size of the latent.
        strides: one convolution per entry.
        filters: output channels of every convolution.
        first_kernel: side of the first convolution's kernels, in pixels.
        kernel: side of all other kernels.
        initialization: of the kernels, "delta-orthogonal" (all but the centre tap is zero) or "orthogonal".
        centred: feed pixels in [-0.5, 0.5] instead of [0, 1].
        last_relu: end in a ReLU, as DrQ-v2's encoder does, and not in the last convolution.
        attention: "none", or "fls": Sparse FLS, whose map multiplies the last convolution's features after a ReLU.
        attention_filters: channels between the two convolutions of the attention module.
    """

    name: Annotated[str, registered(ENCODERS)] = "conv"
    strides: Annotated[tuple[int, ...], at_least(1)] = (2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1)
    filters: Annotated[int, at_least(1)] = 32
    first_kernel: Annotated[int, at_least(1)] = 3
    kernel: Annotated[int, at_least(1)] = 3
    initialization: Annotated[str, one_of(*INITIALIZATIONS)] = "delta-orthogonal"
    centred: bool = False
    last_relu: bool = False
    attention: Annotated[str, one_of(*ATTENTION)] = "none"
    attention_filters: Annotated[int, at_least(1)] = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.strides:
            raise FovealError("encoder.strides must have at least one entry, one for each convolution")

    def kernels(self) -> list[int]:
        """Sides of the kernels, one for each convolution."""
        return [self.first_kernel] + [self.kernel] * (len(self.strides) - 1)

    def shape_after(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of the features of an image of this height and width.

        Raises:
            FovealError: it is too small for that many convolutions.
        """
        sides = [height, width]
        for kernel, stride in zip(self.kernels(), self.strides, strict=True):
            sides = [(side - kernel) // stride + 1 for side in sides]
        if min(sides) < 1:
            raise FovealError(
                f"an image of {height}x{width} pixels is too small for {len(self.strides)} convolutions with strides "
                f"{self.strides}; raise image_size or use fewer convolutions"
            )
        return sides[0], sides[1]


class Encoder(nn.Module):
    """From stacked frames to features, shared by actor and critic: (B, C, H, W) in [0, 255] -> (B, F) ``float32``.

    Subclasses set ``output_shape`` and ``output_size`` and define ``forward``. Weights are kept in float32; only
    convolutions compute in ``dtype``.

    Args:
        image_shape: (C, H, W) of the observation: frames oldest first, three channels each, or one where they are grey.
        config: an instance of ``Config``.
        dtype: of the convolutions.

    Attributes:
        output_shape: (C, h, w) of the features before they are flattened.
        output_size: F.
        rendering: which pixels a position of ``attention`` stands for; None without an attention module.
        attention: (B, 1, h, w) ``float32``, the map of the last forward pass without its graph; None before the first
            and without an attention module.
        dense: whether it ends in a fully connected layer, on which actor and critic may be linear.
    """

    Config: ClassVar[type[EncoderChoice]] = EncoderConfig
    dense: ClassVar[bool] = False
    output_shape: tuple[int, int, int]
    output_size: int

    def __init__(self, image_shape: tuple[int, int, int], config: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.dtype = dtype
        self.attention: Tensor | None = None
        self.rendering: Rendering | None = None


def build_encoder(image_shape: tuple[int, int, int], config: EncoderChoice, dtype: torch.dtype) -> Encoder:
    """The encoder that the settings name.

    Raises:
        FovealError: no encoder has that name, or it can't be built for such an image.
    """
    kind = ENCODERS.get(config.name)
    return kind(image_shape, config if isinstance(config, kind.Config) else config.named(config.name), dtype)


def projection_behind(encoder: Encoder, size: int) -> nn.Module:
    """From features to the latent of values: a ``Projection``, or nothing behind an encoder that ends in a dense layer.

    Such an encoder and values linear on it are the whole network of Mnih et al. (2015).
    """
    return nn.Identity() if encoder.dense else Projection(encoder.output_size, size)


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
