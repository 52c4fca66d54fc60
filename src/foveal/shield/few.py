"""Masks of a few frames, spread over all frames of the same camera by a network that learned from these."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.corruptions import CorruptionOptions
from foveal.corruptions.geometry import sampled
from foveal.fovea.config import TRAINED_ON
from foveal.fovea.mixture import Mixture
from foveal.fovea.network import LEVELS, FoveaNetwork
from foveal.networks.optimization import adam, half_cosine, minimize
from foveal.progress import watched

FILTERS, DEPTH = 8, 2
STEPS = 400
BATCH = 8
LEARNING_RATE = 2e-3
SHIFT, ZOOM = 0.15, 1.25
"""How far frames are moved, in sides, and how much enlarged or reduced, at most."""
SUFFERED = (*TRAINED_ON, "contrast", "hue", "jpeg", "shadow")
CLEAN, TWICE = 0.75, 0.0
"""Shares of frames without a corruption, and of the others with two."""
AT_ONCE = 64


def masks_from_few(
    pixels: Tensor, chosen: Tensor, masks: Tensor, seed: int = 0, *, steps: int = STEPS, progress: bool = False
) -> Tensor:
    """Masks of all frames, learned from some frames' masks; those that were given stay as they are.

    A small U-Net learns from the given ones, moved, turned over and under every corruption, so that it can't learn
    them by heart, and labels the rest.

    Args:
        pixels: (N, 3, S, S) ``uint8``.
        chosen: (K,), which of them have a mask.
        masks: (K, S, S) bool.
        seed: of everything random.
        steps: of the optimizer.
        progress: show a bar.

    Returns:
        (N, S, S) bool.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = FoveaNetwork(FILTERS, DEPTH)
    parameters = list(network.parameters())
    optimizer = adam(parameters, LEARNING_RATE)
    known, size = pixels[chosen], pixels.shape[-1]
    mixture = Mixture(SUFFERED, CorruptionOptions(size, picture_count=128, seed=seed), CLEAN, TWICE)
    for step in watched(range(steps), steps, "masks from few", visible=progress, unit="step"):
        optimizer.param_groups[0]["lr"] = half_cosine(LEARNING_RATE, step, steps)
        drawn = torch.randint(len(chosen), (BATCH,), generator=generator)
        shown, wanted = moved(known[drawn], masks[drawn], generator)
        logits = network(mixture(shown, wanted, generator).float() / LEVELS).mask[:, 0]
        minimize(loss(logits, wanted.float()), optimizer, parameters)
    found = _labelled(network.eval(), pixels)
    found[chosen] = masks
    return found


def loss(logits: Tensor, wanted: Tensor) -> Tensor:
    """Cross-entropy, and one minus the overlap with soft masks, which a small task counts in as much as a large one.

    Args:
        logits: (B, S, S).
        wanted: (B, S, S), 0 or 1.
    """
    likely = torch.sigmoid(logits)
    both = (likely * wanted).sum((1, 2))  # (B,)
    either = (likely + wanted - likely * wanted).sum((1, 2))
    overlap = (both + 1.0) / (either + 1.0)
    return F.binary_cross_entropy_with_logits(logits, wanted) + (1.0 - overlap).mean()


def moved(pixels: Tensor, masks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Frames and their masks, each shifted, resized and perhaps turned over in its own way; edges are continued.

    Args:
        pixels: (B, 3, S, S) ``uint8``.
        masks: (B, S, S) bool.
        generator: of the draws.
    """
    draw = torch.rand(len(pixels), 4, generator=generator)
    zoom = ZOOM ** (2.0 * draw[:, 0] - 1.0)  # (B,)
    sign = torch.where(draw[:, 1] < 0.5, -1.0, 1.0)
    shift = 2.0 * SHIFT * (2.0 * draw[:, 2:] - 1.0)  # (B, 2), in half sides
    place = torch.zeros(len(pixels), 2, 3)
    place[:, 0, 0], place[:, 1, 1], place[:, :, 2] = zoom * sign, zoom, shift
    both = torch.cat([pixels.float(), masks[:, None].float()], 1)  # (B, 4, S, S)
    seen = sampled(both, place)
    return seen[:, :3].round().to(torch.uint8), seen[:, 3] > 0.5


@torch.no_grad()
def _labelled(network: FoveaNetwork, pixels: Tensor) -> Tensor:
    """(N, 3, S, S) ``uint8`` -> (N, S, S) bool."""
    return torch.cat([network(part.float() / LEVELS).mask[:, 0] > 0 for part in pixels.split(AT_ONCE)])
