"""Shifted overlay: the picture that is laid over moves from frame to frame, as backgrounds of videos do (SimGRL)."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from foveal.augmentations.bank import PictureBank
from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, frames
from foveal.augmentations.crop import crops_at
from foveal.augmentations.overlay import Overlay

REACH = 6 / 84
"""The largest motion of the picture from one frame to the next, over the side of the observation."""
FRAMES = 3
"""Frames for which the pictures are as sharp as ``AugmentationOptions.detail`` says."""


def moving_crops(canvas: Tensor, size: int, steps: Tensor, count: int) -> Tensor:
    """Windows that begin in the middle of a picture and move on by the same step from frame to frame.

    Args:
        canvas: (B, C, S, S), with room for ``count - 1`` steps around the window in the middle.
        size: side of the windows.
        steps: (2, B) whole pixels per frame, down and across.
        count: of frames.

    Returns:
        (B, count * C, size, size), oldest frame first.
    """
    middle = (canvas.shape[-1] - size) // 2
    down, across = steps
    windows = [crops_at(canvas, size, middle + i * down, middle + i * across) for i in range(count)]
    return torch.cat(windows, 1)


def shifted_overlay(
    images: Tensor, bank: PictureBank, reach: int, generator: torch.Generator, alpha: float = 0.5
) -> Tensor:
    """``(1 - alpha) * images + alpha * picture``, where the picture moves from frame to frame.

    One random crop of a picture for each sample, larger than the image by ``reach`` pixels on each side for each frame.
    What is laid over frame i (0 is the oldest) is a window of it, i steps from the middle; the step is drawn for the
    sample, uniformly from -reach to reach whole pixels in either direction.

    Args:
        images: (B, frames * C, H, H) in [0, 255].
        bank: of pictures of as many channels as a frame, on the images' device.
        reach: the largest step, in pixels.
        generator: on the same device.
        alpha: weight of the picture.

    Returns:
        ``float32`` of the images' shape, in [0, 255]; ``bfloat16`` where the images are.
    """
    count, size = frames(images, bank.channels).shape[1], images.shape[-1]
    dtype = torch.bfloat16 if images.dtype == torch.bfloat16 else torch.float32
    canvas = bank.sample(len(images), generator, dtype, size + 2 * count * reach)
    steps = torch.randint(-reach, reach + 1, (2, len(images)), generator=generator, device=images.device)
    covers = moving_crops(canvas, size, steps, count)
    # Both are laid out pixel by pixel, as convolutions need it; mixing layouts costs several times the arithmetic.
    layout = torch.channels_last
    return torch.lerp(images.to(dtype, memory_format=layout), covers.contiguous(memory_format=layout), alpha)


@AUGMENTATIONS.register("shifted-overlay")
class ShiftedOverlay(Overlay):
    """``shifted_overlay`` by up to 6 pixels of 84 a frame, with a bank of its own, under ``"shifted-overlay"``.

    Attributes:
        reach: the largest step from frame to frame, in pixels.
    """

    def __init__(self, options: AugmentationOptions) -> None:
        self.reach = max(1, round(REACH * options.image_size))
        canvas = options.image_size + 2 * FRAMES * self.reach
        super().__init__(dataclasses.replace(options, image_size=canvas))

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return shifted_overlay(images, self.bank, self.reach, generator, self.alpha)
