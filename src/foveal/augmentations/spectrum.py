"""Spectrum random masking: pictures without a ring of their frequencies (SRM, Huang et al., NeurIPS 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, Stateless, frames

LARGEST = 0.5
"""The ring's low edge is uniform between 0 and this, in cycles per pixel; 0.5 is the finest pattern there is."""
WIDEST = 0.05
"""The ring's width is uniform between 0 and this."""


def random_rings(count: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Random square rings of frequencies, as ``mask_spectrum`` takes them.

    A frequency is in a ring if the larger of its vertical and its horizontal part lies in [low, low + width). Both
    numbers are rounded to two decimals, as in the published code, so that one ring in ten is empty.

    Args:
        count: how many.
        height, width: of the images.
        generator: on their device. Low edges are drawn first.

    Returns:
        (count, 1, height, width // 2 + 1) ``bool``, on the generator's device.
    """
    device = generator.device
    edge, extent = torch.rand(2, count, 1, 1, 1, generator=generator, device=device)
    first = (100 * LARGEST * edge).round()  # in hundredths, whose sum is exact
    last = first + (100 * WIDEST * extent).round()
    rows = torch.fft.fftfreq(height, device=device).abs()
    columns = torch.fft.rfftfreq(width, device=device)
    largest = torch.maximum(rows[:, None], columns[None, :])  # (height, width // 2 + 1)
    return (largest >= first / 100) & (largest < last / 100)


def mask_spectrum(images: Tensor, rings: Tensor, channels: int = 3) -> Tensor:
    """The images without some of their frequencies, which may leave [0, 255].

    The published code transforms over colours as well. Since it deletes a frequency for all colours alike, that part of
    the transform cancels.

    Args:
        images: (B, frames * C, H, W) in [0, 255].
        rings: (B, 1, H, W // 2 + 1) ``bool``, the frequencies to delete; or (1, 1, H, W // 2 + 1) for all samples.
        channels: C of a frame, 3 or 1.

    Returns:
        ``float32`` of the same shape.

    Raises:
        FovealError: the images' channels are no multiple of ``channels``.
    """
    frames(images, channels)
    spectrum = torch.fft.rfft2(images.float())
    return torch.fft.irfft2(spectrum.masked_fill(rings, 0.0), s=images.shape[2:])


@AUGMENTATIONS.register("spectrum")
class Spectrum(Stateless):
    """Every sample without a random ring of its own, under the name ``"spectrum"``; pixels are cut to [0, 255]."""

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        rings = random_rings(len(images), images.shape[2], images.shape[3], generator)
        return mask_spectrum(images, rings, self._channels).clamp(0.0, 255.0)
