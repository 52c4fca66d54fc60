"""Augmentation of depth: eight transforms, and policies that say how strong and how often each is.

The transforms are of the kinds that Pashevich et al. search over (2019, "Learning to augment synthetic images for
sim2real policy transfer"), which HRL-BC trains its skills with. They work on depth as networks see it, in [-1, 1] with
the nearest at -1, where a pixel that the camera missed is. All frames of one sample change alike; every draw comes from
the generator that is passed in.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.registry import nearest

MISSING = -1.0
NONE = "none"
"""Stands for no augmentation, where a file of a policy is asked for."""
Transform = Callable[[Tensor, float, torch.Generator], Tensor]
AugmentationPolicy = tuple[tuple[str, float, float], ...]
"""(name, magnitude, probability), in the order in which they are applied."""


def _uniform(low: float, high: float, shape: Sequence[int], generator: torch.Generator) -> Tensor:
    return low + (high - low) * torch.rand(tuple(shape), generator=generator)


def scale(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Distances are measured wrongly: stretched by up to 10 % and shifted by up to 15 % of the range."""
    stretch = _uniform(-0.10 * magnitude, 0.10 * magnitude, (len(image), 1, 1, 1), generator)
    shift = _uniform(-0.15 * magnitude, 0.15 * magnitude, (len(image), 1, 1, 1), generator)
    return (image * (1.0 + stretch) + shift).clamp(-1.0, 1.0)


def affine(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """The camera stands elsewhere: turned by up to 12 degrees, moved by up to 10 % of the picture, zoomed by 15 %."""
    batch = len(image)
    angle = _uniform(-1.0, 1.0, (batch,), generator) * magnitude * math.radians(12.0)
    zoom = 1.0 + _uniform(-0.15, 0.15, (batch,), generator) * magnitude
    shift = _uniform(-0.2, 0.2, (batch, 2), generator) * magnitude  # of a picture that spans -1 to 1
    cosine, sine = zoom * angle.cos(), zoom * angle.sin()
    rows = torch.stack(
        [torch.stack([cosine, -sine, shift[:, 0]], 1), torch.stack([sine, cosine, shift[:, 1]], 1)], dim=1
    )  # (B, 2, 3)
    grid = F.affine_grid(rows, list(image.shape), align_corners=False)
    # The nearest pixel: a mean of near and far is a place where nothing is.
    return F.grid_sample(image, grid, mode="nearest", padding_mode="border", align_corners=False)


def cutout(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """A box at any distance stands in the way, up to 30 % of the picture wide and high."""
    inside = _boxes(image, 0.30 * magnitude, generator)
    return torch.where(inside, _uniform(-1.0, 1.0, (len(image), 1, 1, 1), generator), image)


def erase_object(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """What stands out within a box, up to 40 % of the picture wide and high, is gone: it is as far as what is around.

    Every pixel of the box becomes the furthest within 5 to its sides.
    """
    inside = _boxes(image, 0.40 * magnitude, generator)
    return torch.where(inside, _furthest_within_5(image), image)


def black_noise(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Up to 15 % of the pixels are missing, in patches of two by two."""
    batch, _, height, width = image.shape
    coarse = torch.rand((batch, 1, -(-height // 2), -(-width // 2)), generator=generator)
    gone = F.interpolate(coarse, scale_factor=2.0)[..., :height, :width] < 0.15 * magnitude
    return image.masked_fill(gone, MISSING)


def white_noise(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Errors of neighbouring pixels that go together, with a standard deviation of up to 10 % of the range.

    They grow with the square of the distance, as a stereo camera's do; the nearest pixels have a tenth of the furthest.
    """
    raw = torch.randn(image.shape, generator=generator)
    smooth = F.avg_pool2d(raw, 3, 1, 1, count_include_pad=False) * 3.0
    far = (image + 1.0) * 0.5
    return (image + 0.2 * magnitude * smooth * (0.1 + 0.9 * far.square())).clamp(-1.0, 1.0)


def edge_noise(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Beside jumps in depth, pixels are missing or take a neighbour's depth: up to all of them at full magnitude."""
    jump = F.max_pool2d(image, 3, 1, 1) + F.max_pool2d(-image, 3, 1, 1) > 0.05
    chance = torch.rand(image.shape, generator=generator)
    down, across = torch.randint(-1, 2, (2,), generator=generator).tolist()
    moved = torch.roll(image, (down, across), (2, 3))
    changed = torch.where(chance < 0.5 * magnitude, torch.full_like(image, MISSING), moved)
    return torch.where(jump & (chance < magnitude), changed, image)


def posterize(image: Tensor, magnitude: float, generator: torch.Generator) -> Tensor:
    """Depth comes in steps of up to 8 % of the range."""
    step = (_uniform(0.0, 0.16 * magnitude, (len(image), 1, 1, 1), generator)).clamp_min(1e-4)
    return ((image / step).round() * step).clamp(-1.0, 1.0)


def _furthest_within_5(image: Tensor) -> Tensor:
    """``F.max_pool2d(image, 11, 1, 5)``, from maxima of 2, 4, 8 and 11 along each axis: 40 times as fast."""
    for axis, margins in ((2, (0, 0, 5, 5)), (3, (5, 5, 0, 0))):
        image = F.pad(image, margins, value=-math.inf)
        for shift in (1, 2, 4, 3):
            length = image.shape[axis] - shift
            image = torch.maximum(image.narrow(axis, 0, length), image.narrow(axis, shift, length))
    return image


def _boxes(image: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    """(B, 1, H, W) bool: within a box of each sample, its sides up to ``largest`` of the picture's."""
    batch, _, height, width = image.shape
    half = _uniform(0.0, 0.5 * largest, (2, batch, 1, 1, 1), generator)
    centre = torch.rand((2, batch, 1, 1, 1), generator=generator)
    rows = (torch.arange(height) + 0.5).div(height).view(1, 1, height, 1)
    columns = (torch.arange(width) + 0.5).div(width).view(1, 1, 1, width)
    return ((rows - centre[0]).abs() < half[0]) & ((columns - centre[1]).abs() < half[1])


TRANSFORMS: dict[str, Transform] = {
    "scale": scale,
    "affine": affine,
    "cutout": cutout,
    "erase_object": erase_object,
    "black_noise": black_noise,
    "white_noise": white_noise,
    "edge_noise": edge_noise,
    "posterize": posterize,
}


class Augmentation:
    """A policy, applied to batches.

    Args:
        policy: (name, magnitude in [0, 1], probability in [0, 1]) of transforms, in their order.

    Raises:
        FovealError: an unknown transform, or a number out of range.
    """

    def __init__(self, policy: AugmentationPolicy) -> None:
        for name, magnitude, probability in policy:
            if name not in TRANSFORMS:
                raise FovealError(f"unknown transform of depth {name!r}: {nearest(name, list(TRANSFORMS))}")
            if not (0.0 <= magnitude <= 1.0 and 0.0 <= probability <= 1.0):
                raise FovealError(f"{name}: magnitude {magnitude} and probability {probability} must be in [0, 1]")
        self.policy = policy

    def __call__(self, image: Tensor, generator: torch.Generator) -> Tensor:
        """(B, frames, H, W) in [-1, 1] -> the same; each sample is transformed or not by itself."""
        for name, magnitude, probability in self.policy:
            chosen = torch.rand(len(image), generator=generator) < probability
            if magnitude > 0.0 and chosen.any():
                image = image.clone()
                image[chosen] = TRANSFORMS[name](image[chosen], magnitude, generator)
        return image


def read_augmentation(path: Path) -> AugmentationPolicy:
    """The augmentation policy of a JSON file; that of ``none`` is empty.

    Raises:
        FovealError: it can't be read, or holds something else.
    """
    if str(path) == NONE:
        return ()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return tuple((str(name), float(magnitude), float(chance)) for name, magnitude, chance in content["policy"])
    except OSError as error:
        raise FovealError(f"can't read the augmentation {path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise FovealError(
            f"{path} holds no augmentation policy, as benchmarks/augmentation_search.py writes it"
        ) from error
