"""The interface of encoders, the settings that choose one, and the projection that actor and critic each own."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Annotated, ClassVar

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
class EncoderConfig(Bounded, section="encoder"):
    """Shape of the encoder. The defaults are DMC-GB's (Hansen and Wang 2021), which SGQN shares.

    Attributes:
        name: of the encoder, in ``ENCODERS``. It may have further settings and ignore some of these.
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

    name: Annotated[str, registered(ENCODERS)] = "conv"
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

    def named(self, name: str) -> EncoderConfig:
        """The settings of the encoder of that name, which keep the values of those that both have.

        Raises:
            FovealError: there is no encoder of that name.
        """
        kind = ENCODERS.get(name).Config
        kept = {f.name: getattr(self, f.name) for f in dataclasses.fields(kind) if hasattr(self, f.name)}
        return kind(**{**kept, "name": name})


class Encoder(nn.Module):
    """From stacked frames to features, shared by actor and critic: (B, C, H, W) in [0, 255] -> (B, F) ``float32``.

    Subclasses set ``output_shape`` and ``output_size`` and define ``forward``. Weights are kept in float32; only
    convolutions compute in ``dtype``.

    Args:
        image_shape: (C, H, W) of the observation: frames oldest first, three channels each.
        config: an instance of ``Config``.
        dtype: of the convolutions.

    Attributes:
        output_shape: (C, h, w) of the features before they are flattened.
        output_size: F.
        rendering: which pixels a position of ``attention`` stands for; None without an attention module.
        attention: (B, 1, h, w) ``float32``, the map of the last forward pass without its graph; None before the first
            pass and without an attention module.
    """

    Config: ClassVar[type[EncoderConfig]] = EncoderConfig
    output_shape: tuple[int, int, int]
    output_size: int

    def __init__(self, image_shape: tuple[int, int, int], config: EncoderConfig, dtype: torch.dtype) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.dtype = dtype
        self.attention: Tensor | None = None
        self.rendering: Rendering | None = None


def build_encoder(image_shape: tuple[int, int, int], config: EncoderConfig, dtype: torch.dtype) -> Encoder:
    """The encoder that the settings name.

    Raises:
        FovealError: no encoder has that name, or it can't be built for such an image.
    """
    kind = ENCODERS.get(config.name)
    return kind(image_shape, config if isinstance(config, kind.Config) else config.named(config.name), dtype)


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
