"""Is a map true? What the value does where the pixels that it calls important are taken away, or alone are left.

Deletion and insertion (Petsiuk et al. 2018, section 4.2, after Samek et al. 2017): pixels are blurred away, most
important first, or given back to a blurred picture in that order. Curves are in units of what there is to lose: 1 where
the value is the whole picture's, 0 where it is as far from that as the blurred picture's. So deletion is small where
the map is true, and insertion large. Both take scalars and vectors, such as actions, alike.

A number means little alone: how much a picture with holes disturbs a network differs from network to network. What a
map is worth shows beside a map that can't be true, its own shifted elsewhere (``shifted``).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import ScalarFunction
from foveal.saliency.values import blurred, seeded, values_of

STEPS = 10
"""Shares of the picture that are tried, beside none."""
NEAREST_SHIFT = 0.25
"""Least shift of a map elsewhere, as a share of a side."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Curve:
    """What happened to the value of some observations along the way.

    Attributes:
        shares: (K + 1,) of each picture's pixels that were taken away or given back, from 0 to 1.
        moved: (B, K + 1) how far the value is from the whole picture's.
        whole: (B,) how far that of the blurred picture is.
    """

    shares: Numbers
    moved: Numbers
    whole: Numbers

    @property
    def kept(self) -> Numbers:
        """(K + 1,) of all observations together; NaN where the blurred picture has the whole one's value.

        Distances are added up before they are divided, so that observations without anything to lose do not count.
        """
        whole = self.whole.sum()
        return 1.0 - self.moved.sum(0) / whole if whole > 0 else np.full(len(self.shares), np.nan)

    @property
    def area(self) -> float:
        """Under ``kept``, by the trapezoidal rule."""
        return float(np.trapezoid(self.kept, self.shares))


def deletion(
    fn: ScalarFunction, obs: Tensor, strength: Tensor, *, steps: int = STEPS, baseline: Tensor | None = None
) -> Curve:
    """The most important pixels are taken away first: where the map is true the value is soon lost.

    Args:
        fn: maps (B, C, H, W) to (B,) or (B, A); it is asked for all samples at once.
        obs: (B, C, H, W), any dtype; the function receives it as floating point.
        strength: (B, H, W), how much each pixel matters, in all channels. Pixels that matter alike are in random order.
        steps: shares of the picture that are tried.
        baseline: (B, C, H, W) what takes the pixels' place; by default the picture blurred (``blurred``).

    Raises:
        FovealError: shapes do not fit, there is no step, or ``fn`` gives no value per sample.
    """
    return _along(fn, obs, strength, steps, baseline, inserting=False)


def insertion(
    fn: ScalarFunction, obs: Tensor, strength: Tensor, *, steps: int = STEPS, baseline: Tensor | None = None
) -> Curve:
    """The most important pixels are given back first: where the map is true the value is soon there.

    Arguments and errors as for ``deletion``.
    """
    return _along(fn, obs, strength, steps, baseline, inserting=True)


def shifted(strength: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Maps that are as rough or as smooth, and can't be true: each moved elsewhere, over the border to the other side.

    Args:
        strength: (B, H, W).
        generator: of the distances, on the CPU; each is at least a quarter of a side, both ways.
    """
    draws = seeded(generator)
    moved = []
    for one in strength:
        shifts = [_shift(side, draws) for side in one.shape]
        moved.append(one.roll(shifts, (0, 1)))
    return torch.stack(moved)


def top(strength: Tensor, share: float) -> Tensor:
    """The most important pixels, exactly that share of them, (B, H, W) bool; of those that matter alike, any."""
    count = round(share * strength[0].numel())
    return (_ranks(strength) < count).view(strength.shape)


def _along(
    fn: ScalarFunction, obs: Tensor, strength: Tensor, steps: int, baseline: Tensor | None, *, inserting: bool
) -> Curve:
    if steps < 1 or obs.ndim != 4 or strength.shape != (len(obs), *obs.shape[2:]):
        raise FovealError(
            f"deletion and insertion want observations (B, C, H, W), maps (B, H, W) and at least one step, not "
            f"{tuple(obs.shape)}, {tuple(strength.shape)} and {steps}"
        )
    pixels = obs.detach().float()
    blank = blurred(pixels) if baseline is None else baseline.to(pixels)
    ranks = _ranks(strength.to(pixels.device)).view(len(pixels), 1, *pixels.shape[2:])
    reference = values_of(fn, pixels)
    before, after = (blank, pixels) if inserting else (pixels, blank)
    shares, moved = np.linspace(0.0, 1.0, steps + 1), []
    for share in shares:
        done = ranks < round(float(share) * ranks[0].numel())
        moved.append(_distance(values_of(fn, torch.where(done, after, before)), reference))
    ends = moved[0] if inserting else moved[-1]
    return Curve(shares, np.stack(moved, 1), ends)


def _ranks(strength: Tensor) -> Tensor:
    """(B, H * W): 0 for the most important pixel, and so on."""
    flat = strength.detach().float().flatten(1)
    mixed = torch.randperm(flat.shape[1], generator=seeded(None)).to(flat.device)  # ties would go row by row
    order = mixed[flat[:, mixed].argsort(dim=1, descending=True, stable=True)]
    return order.argsort(dim=1)


def _distance(values: Tensor, reference: Tensor) -> Numbers:
    distance: Numbers = (values - reference).norm(dim=1).double().cpu().numpy()
    return distance


def _shift(side: int, draws: torch.Generator) -> int:
    least = max(1, round(NEAREST_SHIFT * side))
    return int(torch.randint(least, max(least + 1, side - least + 1), (), generator=draws))
