"""From the map of an attention module to pictures of a recording, as FLS draws them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.networks.attention import Rendering

OBSERVED = (84, 84)
"""(H, W) of what an Atari agent sees."""

SCREEN = (210, 160)
"""(H, W) of the game's own picture, all of which the observation shows."""


def render_maps(attention: Tensor, rendering: Rendering | None, size: tuple[int, int] = OBSERVED) -> Tensor:
    """Draw maps of positions on the pixels that the positions saw.

    Args:
        attention: (N, 1, h, w), an encoder's ``attention``.
        rendering: its ``rendering``.
        size: (H, W) of the result: (84, 84), or (210, 160) for the game's own picture.

    Returns:
        (N, H, W) ``float32``, not negative, in the module's own unit: see ``scale_recording``.

    Raises:
        FovealError: the encoder has no attention, or the maps have another shape.
    """
    if rendering is None:
        raise FovealError("this network has no attention, so there is no map to draw; sparse-fls is one that has")
    if attention.ndim != 4 or attention.shape[1] != 1:
        raise FovealError(f"render_maps wants maps of shape (N, 1, h, w), not {tuple(attention.shape)}")
    return resize_maps(rendering.render(attention.detach(), OBSERVED), size)


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(N, h, w) -> (N, H, W) by bilinear interpolation."""
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps[:, None], size=size, mode="bilinear", align_corners=False)[:, 0]


def scale_recording(maps: Tensor) -> Tensor:
    """Divide by the largest value of the whole recording, so that frames can be compared with one another.

    Published pictures are scaled at 84x84 and then resized: ``resize_maps(scale_recording(maps), SCREEN)``.

    Args:
        maps: (N, H, W), not negative.

    Returns:
        (N, H, W) in [0, 1]; all 0 if they were.
    """
    largest = maps.amax()
    return maps / largest.where(largest > 0, 1.0)
