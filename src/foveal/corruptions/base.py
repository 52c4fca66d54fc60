"""The interface of corruptions, and their registry."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.pictures import GENERATED
from foveal.registry import Registry

SEVERITIES = (1, 2, 3, 4, 5)

Drawn: TypeAlias = dict[str, Tensor]
"""What was drawn for whole episodes: (B, ...) each."""


@dataclass(frozen=True)
class CorruptionOptions:
    """What a corruption is made with.

    Attributes:
        size: height and width of the frames in pixels.
        pictures: where pictures of other places come from: ``"generated"``, or a folder of photographs.
        picture_count: how many of them are kept in memory.
        seed: of the order of these. All other draws come from the generator of a call.
        device: of the frames.
    """

    size: int
    pictures: str = GENERATED
    picture_count: int = 512
    seed: int = 0
    device: torch.device | str = "cpu"


@dataclass(frozen=True)
class Frames:
    """Frames of B episodes, one of each.

    Attributes:
        pixels: (B, 3, H, W) ``float32`` in [0, 255].
        strength: (B, 1, 1, 1), the corruption's level at the severity that was asked for.
        time: (B,), agent steps since the episode began.
        generator: of what differs from frame to frame, on the pixels' device.
        mask: (B, 1, H, W) in [0, 1], 1 where a pixel is the task's own; None where nobody knows.
    """

    pixels: Tensor
    strength: Tensor
    time: Tensor
    generator: torch.Generator
    mask: Tensor | None = None

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        """Numbers for this frame alone, (B, ...)."""
        return uniform(len(self.pixels), low, high, shape, self.generator)


class Corruption(ABC):
    """A change of the picture that goes on through an episode.

    Args:
        options: see ``CorruptionOptions``.

    Attributes:
        levels: its strength at the severities 1 to 5, in a unit of its own.
        needs_mask: whether it must know which pixels are the task's own.
    """

    levels: ClassVar[tuple[float, float, float, float, float]]
    needs_mask: ClassVar[bool] = False

    def __init__(self, options: CorruptionOptions) -> None:
        self.options = options
        self.size = options.size

    def draw(self, count: int, generator: torch.Generator) -> Drawn:
        """What stays as it is through an episode, for ``count`` of them."""
        return {}

    @abstractmethod
    def apply(self, frames: Frames, drawn: Drawn) -> Tensor:
        """The changed frames, (B, 3, H, W) ``float32``; they are clipped to [0, 255] afterwards."""


CORRUPTIONS: Registry[type[Corruption]] = Registry("corruption", "foveal.corruptions")


def corrupted(
    corruption: Corruption,
    pixels: Tensor,
    severity: Tensor | int,
    drawn: Drawn,
    generator: torch.Generator,
    time: Tensor | int = 0,
    mask: Tensor | None = None,
) -> Tensor:
    """Frames of B episodes as a camera would give them under a corruption.

    Args:
        corruption: which.
        pixels: (B, 3, H, W) in [0, 255], ``uint8`` or floating point.
        severity: 1 to 5, one for all or (B,).
        drawn: what ``corruption.draw(B, generator)`` gave when the episodes began.
        generator: of what differs from frame to frame.
        time: agent steps since the episodes began, one for all or (B,).
        mask: (B, H, W) or (B, 1, H, W), true where a pixel is the task's own.

    Returns:
        (B, 3, H, W) ``uint8``.

    Raises:
        FovealError: shapes do not fit, a severity is none, or the corruption needs a mask.
    """
    count, _, *size = pixels.shape
    if pixels.dim() != 4 or pixels.shape[1] != 3 or size != [corruption.size] * 2:
        wanted = f"(B, 3, {corruption.size}, {corruption.size})"
        raise FovealError(f"this corruption was made for frames {wanted}, not {tuple(pixels.shape)}")
    if mask is None and corruption.needs_mask:
        raise FovealError(
            f"{type(corruption).__name__} changes the background alone, so it must know which pixels are the task's: "
            "give masks, or choose a corruption of the whole picture"
        )
    levels = torch.as_tensor(severity, device=pixels.device).expand(count)  # (B,)
    if bool(((levels < 1) | (levels > len(SEVERITIES))).any()):
        raise FovealError(f"a severity is a whole number from 1 to {len(SEVERITIES)}, not {severity}")
    strength = torch.tensor(corruption.levels, device=pixels.device)[levels - 1]
    frames = Frames(
        pixels.float(),
        strength[:, None, None, None],
        torch.as_tensor(time, dtype=torch.float32, device=pixels.device).expand(count),
        generator,
        None if mask is None else mask.float().reshape(count, 1, *size),
    )
    return corruption.apply(frames, drawn).round().clamp(0, 255).to(torch.uint8)


def uniform(count: int, low: float, high: float, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(count, *shape) numbers, uniform in [low, high)."""
    drawn = torch.rand(count, *shape, generator=generator, device=generator.device)
    return low + (high - low) * drawn


def looked_up(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """(B, C, H, W) pictures, each at rows and columns of its own, (B, h) and (B, w): (B, C, h, w)."""
    sample = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    return pictures.permute(0, 2, 3, 1)[sample, rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)


def signs(count: int, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """(count, *shape) of -1 and 1, equally likely: in which of two directions."""
    return torch.where(uniform(count, 0.0, 1.0, shape, generator) < 0.5, -1.0, 1.0)
