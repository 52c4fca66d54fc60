"""Random shift: pad by replication, crop at random (Kostrikov et al. 2020, "Image augmentation is all you need")."""

from __future__ import annotations

import torch
from torch import Tensor


def random_shift(images: Tensor, pad: int, generator: torch.Generator | None = None) -> Tensor:
    """Move each image by its own whole number of pixels, replicating the border.

    Args:
        images: (B, C, H, W), any dtype.
        pad: the largest shift in either direction, in pixels.
        generator: of the shifts, on the images' device.

    Returns:
        (B, C, H, W) of the same dtype, in ``channels_last`` layout; all channels of a sample, hence all stacked frames,
        move together.
    """
    if pad == 0:
        return images
    batch, channels, height, width = images.shape
    offsets = torch.randint(-pad, pad + 1, (2, batch), generator=generator, device=images.device)
    rows = (torch.arange(height, device=images.device) + offsets[0, :, None]).clamp_(0, height - 1)  # (B, H)
    columns = (torch.arange(width, device=images.device) + offsets[1, :, None]).clamp_(0, width - 1)  # (B, W)
    # Clamping the index replicates the border without a padded copy; pixels are gathered with all their channels.
    sample = torch.arange(batch, device=images.device)[:, None, None] * (height * width)
    index = sample + rows[:, :, None] * width + columns[:, None, :]  # (B, H, W)
    pixels = images.permute(0, 2, 3, 1).reshape(-1, channels)  # (B * H * W, C)
    return pixels.index_select(0, index.flatten()).view(batch, height, width, channels).permute(0, 3, 1, 2)
