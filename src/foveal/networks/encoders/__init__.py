"""From stacked frames to features: encoders by name, shared by actor and critic."""

from foveal.networks.encoders.base import (
    ENCODERS,
    Encoder,
    EncoderChoice,
    EncoderConfig,
    Projection,
    build_encoder,
    projection_behind,
)
from foveal.networks.encoders.conv import ConvEncoder

__all__ = [
    "ENCODERS",
    "ConvEncoder",
    "Encoder",
    "EncoderChoice",
    "EncoderConfig",
    "Projection",
    "build_encoder",
    "projection_behind",
]
