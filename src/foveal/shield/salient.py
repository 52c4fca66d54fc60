"""Which pixels are the task's own, judged by what a policy looks at over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.evaluation.insides import insides_of
from foveal.shield.motion import dilated
from foveal.training.looking import Acts

AROUND = 2
"""Frames before and after whose saliency counts for a frame."""
WIDER = 1
"""Pixels that masks are widened by."""
SHARE = 0.05
"""Of a frame's pixels that are the task's, before they are widened."""
AT_ONCE = 32

Look: TypeAlias = Callable[[Tensor], Tensor]
"""(B, 3 * frames, H, W) ``uint8`` -> how much each pixel of the newest frame matters, (B, H, W), not negative."""


def saliency_masks(pixels: Tensor, episodes: Tensor, look: Look, depth: int) -> Tensor:
    """The pixels that matter most to a policy, in a frame and in those just before and after.

    What matters flickers from frame to frame, so each frame gets the mean over its neighbours, each in units of its own
    mean.

    Args:
        pixels: (N, 3, H, W) ``uint8``, in order within an episode.
        episodes: (N,), equal for frames of one.
        look: the policy's.
        depth: frames that it sees at once.

    Returns:
        (N, H, W) bool.
    """
    places = stacked(episodes, depth)  # (N, depth)
    strength = torch.cat([look(pixels[part].flatten(1, 2)) for part in places.split(AT_ONCE)])  # (N, H, W)
    strength = strength / strength.mean((1, 2), keepdim=True).clamp_min(1e-12)
    gathered = torch.stack([strength[near] for near in _neighbours(episodes)]).mean(0)  # (N, H, W)
    smooth = F.avg_pool2d(gathered[:, None], 3, 1, 1)  # (N, 1, H, W)
    least = torch.quantile(smooth.flatten(1), 1.0 - SHARE, dim=1)  # (N,)
    chosen = smooth > least[:, None, None, None]
    return dilated(chosen.float(), WIDER)[:, 0].bool()


def stacked(episodes: Tensor, depth: int) -> Tensor:
    """(N, depth): the places of the frames that are seen together, oldest first; at the beginning the first repeats."""
    places = torch.arange(len(episodes))
    begins = torch.searchsorted(episodes, episodes)  # (N,), as episodes are sorted
    back = places[:, None] - torch.arange(depth - 1, -1, -1)
    return torch.maximum(back, begins[:, None])


def _neighbours(episodes: Tensor) -> Iterator[Tensor]:
    """(N,) places for each distance: of the frame so far away, or, where that is of another episode, of the frame."""
    places = torch.arange(len(episodes))
    for distance in range(-AROUND, AROUND + 1):
        near = (places + distance).clamp(0, len(episodes) - 1)
        yield torch.where(episodes[near] == episodes, near, places)


def looking(policy: Acts) -> Look:
    """A policy's own eyes: guided backpropagation of its critic's value of the action that it takes.

    Raises:
        FovealError: the policy is a black box.
    """
    insides = insides_of(policy)
    insides.scalar()  # fails now where there is none

    def look(stacks: Tensor) -> Tensor:
        seen = list(stacks.numpy())
        return insides.look(insides.usual[0], seen, [policy.predict(one, deterministic=True)[0] for one in seen])

    return look
