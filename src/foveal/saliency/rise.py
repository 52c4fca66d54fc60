"""RISE: the value where random parts of the picture are kept; needs no gradient (Petsiuk et al. 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import SALIENCY, ScalarFunction, black_box
from foveal.saliency.values import channel_means, fallen, seeded, values_of

MASKS, CELLS, KEPT = 512, 7, 0.5
"""The paper's grid and share; its 4,000 to 8,000 masks are for pictures of 224 pixels."""


@SALIENCY.register("rise")
@black_box
def rise(
    fn: ScalarFunction,
    obs: Tensor,
    *,
    masks: int = MASKS,
    cells: int = CELLS,
    kept: float = KEPT,
    generator: torch.Generator | None = None,
) -> Tensor:
    """RISE of ``fn`` (Petsiuk et al. 2018, section 3), of values less their mean.

    Pixels fade to their channel's mean instead of black, which is a colour like any other here. The paper's map is the
    masks' mean weighted by the value, and so has a multiple of the masks' own mean in it, as noise; the values here are
    taken less their mean, which leaves none of it. Of a function to vectors the value is how near they stay to the
    whole picture's.

    Args:
        fn: maps (B, C, H, W) to (B,), (B, 1) or (B, A). It is asked for all samples at once, one mask after the other.
        obs: (B, C, H, W), any dtype; the function receives it as floating point.
        masks: how many; the noise of the map falls with their square root.
        cells: of a mask along a side.
        kept: probability that a cell is kept.
        generator: of the masks, on the CPU; by default one that is seeded alike each time.

    Returns:
        (B, 1, H, W), positive where keeping a pixel raises the value.

    Raises:
        FovealError: ``fn`` does not give a value or a vector per sample, there are fewer than two masks or cells, or
            the probability is not between 0 and 1.
    """
    if masks < 2 or cells < 2 or not 0 < kept < 1:
        raise FovealError(
            f"rise wants at least 2 masks and cells, and a probability between 0 and 1, not {masks}, {cells} and {kept}"
        )
    draws = seeded(generator)
    pixels = obs.detach().float()
    means = channel_means(pixels)
    reference = values_of(fn, pixels)
    height, width = pixels.shape[2:]
    weighted = pixels.new_zeros(len(pixels), 1, height, width)
    whole, total = torch.zeros(1, 1, height, width, device=pixels.device), pixels.new_zeros(len(pixels), 1, 1, 1)
    for _ in range(masks):
        mask = _mask(height, width, cells, kept, draws).to(pixels.device)  # (1, 1, H, W)
        gained = -fallen(values_of(fn, means + mask * (pixels - means)), reference).view(-1, 1, 1, 1)
        weighted += gained * mask
        whole += mask
        total += gained
    return (weighted - total / masks * whole) / whole.clamp(min=torch.finfo(torch.float32).tiny)


def _mask(height: int, width: int, cells: int, kept: float, draws: torch.Generator) -> Tensor:
    """A coarse grid of zeros and ones, made larger and shifted by less than a cell (their section 3.2)."""
    down, across = -(-height // cells), -(-width // cells)  # pixels of a cell
    grid = (torch.rand(1, 1, cells, cells, generator=draws) < kept).float()
    size = ((cells + 1) * down, (cells + 1) * across)
    large = F.interpolate(grid, size=size, mode="bilinear", align_corners=False)
    top = int(torch.randint(down, (), generator=draws))
    left = int(torch.randint(across, (), generator=draws))
    return large[:, :, top : top + height, left : left + width]
