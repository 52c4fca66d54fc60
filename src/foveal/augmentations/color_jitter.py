"""Color jitter: other brightness, hue, saturation and contrast (RAD, Laskin et al., NeurIPS 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, Stateless, frames
from foveal.errors import FovealError

STRENGTH = 0.4
"""Brightness, saturation and contrast are multiplied by a number uniform in [1 - STRENGTH, 1 + STRENGTH]."""
HUE = 0.5 * 255 / 360
"""The hue is turned by a number uniform in [-HUE, HUE], in whole turns. RAD's code scales it by 255 / 360."""


def random_color_jitter(images: Tensor, generator: torch.Generator) -> Tensor:
    """Every sample with other colours, the same change on all its frames.

    Brightness, hue and saturation are changed as value, hue and saturation of a pixel (HSV). The contrast, about the
    mean of each channel, is changed before that in one half of the batches and after it in the other.

    Args:
        images: (B, 3 * frames, H, W) in [0, 255].
        generator: on the images' device.

    Returns:
        ``float32`` of the same shape, in [0, 255].

    Raises:
        FovealError: the channels are no multiple of 3.
    """
    stack = frames(images).float() / 255.0  # (B, F, 3, H, W)
    device = images.device
    draws = torch.rand(4, len(images), 1, 1, 1, 1, generator=generator, device=device)
    brightness, saturation, contrast = 1 - STRENGTH + 2 * STRENGTH * draws[:3]  # (B, 1, 1, 1, 1) each
    turn = HUE * (2 * draws[3] - 1)
    first = torch.rand((), generator=generator, device=device) < 0.5
    # A contrast of 1 changes nothing, so that the order is chosen without a value that the host must read.
    stack = _contrasted(stack, torch.where(first, contrast, 1.0))
    hue, chroma, value = rgb_to_hsv(stack)  # (B, F, H, W) each
    stack = hsv_to_rgb(
        (hue + turn[..., 0]) % 1.0,
        (chroma * saturation[..., 0]).clamp(0, 1),
        (value * brightness[..., 0]).clamp(0, 1),
    )
    stack = _contrasted(stack, torch.where(first, 1.0, contrast))
    return (255.0 * stack).reshape(images.shape)


def _contrasted(stack: Tensor, factor: Tensor) -> Tensor:
    """(B, F, 3, H, W) in [0, 1], with each channel's distance from its mean multiplied by (B, 1, 1, 1, 1)."""
    mean = stack.mean((3, 4), keepdim=True)
    return ((stack - mean) * factor + mean).clamp(0, 1)


def rgb_to_hsv(stack: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(..., 3, H, W) in [0, 1] -> hue in turns, saturation and value, (..., H, W) each in [0, 1]."""
    red, green, blue = stack.unbind(-3)
    value, least = stack.amax(-3), stack.amin(-3)
    spread = value - least
    divisor = torch.where(spread > 0, spread, 1.0)  # grey has no hue: 0
    sixths = torch.where(
        value == red,
        (green - blue) / divisor % 6,
        torch.where(value == green, 2 + (blue - red) / divisor, 4 + (red - green) / divisor),
    )
    return sixths / 6, spread / torch.where(value > 0, value, 1.0), value


def hsv_to_rgb(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Undo of ``rgb_to_hsv``: (..., H, W) each -> (..., 3, H, W)."""
    channels = []
    for offset in (5, 3, 1):  # red, green, blue: each falls from value where its colour is far around the circle
        place = (offset + 6 * hue) % 6
        channels.append(value - value * saturation * torch.minimum(place, 4 - place).clamp(0, 1))
    return torch.stack(channels, dim=-3)


@AUGMENTATIONS.register("color_jitter")
class ColorJitter(Stateless):
    """``random_color_jitter`` under the name ``"color_jitter"``.

    Raises:
        FovealError: the frames are to be grey.
    """

    def __init__(self, options: AugmentationOptions) -> None:
        super().__init__(options)
        if options.channels != 3:
            raise FovealError(
                "the augmentation 'color_jitter' changes colours, and these frames are grey: choose another one"
            )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return random_color_jitter(images, generator)
