"""What is done to single frames: let through as they came, or restored."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.fovea.network import LEVELS, FoveaNetwork

RESTORED, MASKED, FOREGROUND = "restored", "masked", "foreground"
OUTPUTS = (RESTORED, MASKED, FOREGROUND)
AS_TRAINED, LITTLE = 1.0, 3.0
"""Frames are let through as they came where they seem to have been changed by less than the first, and would be changed
by less than the second, both by mean absolute difference in levels of 255: either alone can be fooled."""


class Restoring(nn.Module):
    """A trained network at work.

    Frames that look as in training are let through as they came. Others are restored. A network that knows what it sees
    is sure of its mask, and has nothing to change in what it restored: doubt is the geometric mean of how unsure it is,
    4 p (1 - p) averaged over pixels, and of how much it would change its own answer, both in percent.

    Args:
        network: it.
        output: "restored", the frame as it was; "masked", the frame as it came, black outside the task; or
            "foreground", the restored frame, black outside the task.
    """

    def __init__(self, network: FoveaNetwork, output: str = RESTORED) -> None:
        super().__init__()
        self.network, self.output = network, output

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, H, W) in [0, 255] -> frames, as many and whole numbers; masks, (B, H, W); doubts, (B,), in percent."""
        given, restored, masks = self._at_work(pixels)
        again = self.network(restored).restored
        unsure = (4.0 * masks * (1.0 - masks)).mean((1, 2, 3))  # (B,)
        doubt = 100.0 * torch.sqrt(unsure * (again - restored).abs().mean((1, 2, 3)))
        return given, masks[:, 0], doubt

    def frames(self, pixels: Tensor) -> Tensor:
        """The frames alone, in half the time."""
        return self._at_work(pixels)[0]

    def masks(self, pixels: Tensor) -> Tensor:
        """The masks alone, in half the time."""
        return self._at_work(pixels)[2][:, 0]

    def _at_work(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What passes, in whole levels; what was restored, in [0, 1], (B, 3, H, W) each; and masks, (B, 1, H, W).

        The gradient of what passes, with respect to the pixels, is that without rounding.
        """
        seen = pixels.to(torch.float32) / LEVELS
        restored, logits, change = self.network(seen)
        masks = torch.sigmoid(logits)
        would_change = (restored - seen).abs().mean((1, 2, 3))  # (B,)
        passes = (change.exp() * LEVELS < AS_TRAINED) & (would_change * LEVELS < LITTLE)
        given = seen if self.output == MASKED else torch.where(passes[:, None, None, None], seen, restored)
        levels = LEVELS * (given if self.output == RESTORED else given * (masks > 0.5))
        return levels + (levels.round().clamp(0.0, LEVELS) - levels).detach(), restored, masks
