"""Attention maps as pictures."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor


def render_maps(attention: Tensor, rendering: Any, size: tuple[int, int] = (84, 84)) -> Tensor:
    """Maps (N, 1, h, w) as pictures (N, H, W), not negative; unscaled."""
    pictures = rendering.render(attention, (84, 84))
    if size == (84, 84):
        return pictures
    return F.interpolate(pictures[:, None], size, mode="bilinear", align_corners=False)[:, 0]
