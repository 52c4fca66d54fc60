"""SARFA: what in the picture makes this action the one to choose, of discrete ones (Puri et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.saliency.maps import SALIENCY, ScalarFunction, black_box, of_choices
from foveal.saliency.values import blurred, values_of

PLACES = 16
"""A side of the picture over the distance of two blurred places: 5 pixels at 84, as Greydanus et al. 2018."""


@SALIENCY.register("sarfa")
@of_choices
@black_box
def sarfa(fn: ScalarFunction, obs: Tensor, *, action: Tensor | None = None, stride: int | None = None) -> Tensor:
    """Specific and relevant feature attribution of one action (Puri et al. 2020, section 3).

    Each place is blurred, by a Gaussian as wide as places are apart. Its saliency is the harmonic mean of two numbers:
    how far the action's probability among all falls (specific to it), and 1 / (1 + KL) of the other actions'
    probabilities among themselves, before from after (it changes little else). 0 where the probability does not fall.

    Args:
        fn: maps (B, C, H, W) to (B, A): values of all A actions, or logits; their softmax are the probabilities.
        obs: (B, C, H, W), any dtype; the function receives it as floating point.
        action: (B,) which one; by default that of the largest number.
        stride: pixels from one place to the next; by default a sixteenth of the longer side.

    Returns:
        (B, 1, H, W) in [0, 1].

    Raises:
        FovealError: ``fn`` gives fewer than two numbers per sample, or the stride is less than a pixel.
    """
    pixels = obs.detach().float()
    values = values_of(fn, pixels)
    if values.shape[1] < 2:
        raise FovealError(
            "sarfa asks why one of several actions is chosen: the function must give the values of all, (B, A), as "
            "lambda obs: network(obs) does of a DQN"
        )
    height, width = pixels.shape[2:]
    stride = max(1, round(max(height, width) / PLACES)) if stride is None else stride
    if stride < 1:
        raise FovealError(f"sarfa wants places at least 1 pixel apart, not {stride}")
    chosen = values.argmax(1) if action is None else action.to(values.device)
    blur = blurred(pixels)
    rows, columns = (torch.arange(side, device=pixels.device).float() for side in (height, width))
    found = pixels.new_zeros(len(pixels), 1, height, width)
    for top in range(stride // 2, height, stride):
        for left in range(stride // 2, width, stride):
            bump = torch.exp(-0.5 * (((rows - top) ** 2)[:, None] + ((columns - left) ** 2)[None]) / stride**2)
            here = specific(values, values_of(fn, torch.lerp(pixels, blur, bump.expand_as(pixels))), chosen)
            found = torch.maximum(found, here.view(-1, 1, 1, 1) * bump)
    return found


def specific(before: Tensor, after: Tensor, action: Tensor) -> Tensor:
    """The harmonic mean of the fall of an action's probability and of how little the others change; see ``sarfa``.

    Args:
        before, after: (B, A) values.
        action: (B,).

    Returns:
        (B,) in [0, 1].
    """
    fall = _of(before.softmax(1), action) - _of(after.softmax(1), action)
    old, new = (_others(values, action).log_softmax(1) for values in (before, after))  # (B, A - 1)
    divergence = (old.exp() * (old - new)).sum(1)
    alike = 1.0 / (1.0 + divergence)
    return torch.where(fall > 0, 2.0 * alike * fall / (alike + fall), torch.zeros_like(fall))


def _of(table: Tensor, action: Tensor) -> Tensor:
    return table.gather(1, action[:, None])[:, 0]


def _others(values: Tensor, action: Tensor) -> Tensor:
    """(B, A) without the action's: (B, A - 1)."""
    numbers = torch.arange(values.shape[1], device=values.device)
    return values[numbers[None] != action[:, None]].view(len(values), -1)
