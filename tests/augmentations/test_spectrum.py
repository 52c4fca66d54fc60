"""Spectrum masks against the transform that was published: complex, and over colours as well."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from foveal.augmentations import AUGMENTATIONS, AugmentationOptions, mask_spectrum, random_rings


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 3, frames: int = 3, height: int = 20, width: int = 20) -> Tensor:
    return torch.randint(0, 256, (batch, 3 * frames, height, width), generator=generator()).float()


def edges(seed: int, count: int) -> list[tuple[float, float]]:
    """The ends of the rings that a generator of this seed draws."""
    low, width = torch.rand(2, count, 1, 1, 1, generator=generator(seed)).flatten(1).tolist()
    return [
        (round(0.5 * one, 2), round(0.5 * one, 2) + round(0.05 * other, 2))
        for one, other in zip(low, width, strict=True)
    ]


def published(image: Tensor, low: float, high: float) -> Tensor:
    """(C, H, W): every frame by a transform over colours, rows and columns, frequency by frequency."""
    height, width = image.shape[1:]
    rows, columns = (torch.fft.fftfreq(side).abs().tolist() for side in (height, width))
    kept = torch.ones(height, width)
    for i, row in enumerate(rows):
        for j, column in enumerate(columns):
            largest = max(row, column)
            if low - 1e-6 <= largest < high - 1e-6:
                kept[i, j] = 0.0
    spectrum = torch.fft.fftn(image.unflatten(0, (-1, 3)), dim=(1, 2, 3))
    return torch.fft.ifftn(spectrum * kept, dim=(1, 2, 3)).real.flatten(0, 1)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (21, 16), (16, 21)])
def test_every_sample_loses_its_ring_as_published(height: int, width: int) -> None:
    x = images(6, 2, height, width)
    out = mask_spectrum(x, random_rings(6, height, width, generator(5)))
    for sample, found, (low, high) in zip(x, out, edges(5, 6), strict=True):
        torch.testing.assert_close(found, published(sample, low, high), rtol=0, atol=1e-3)
    assert float((out - x).abs().max()) > 1  # some ring was not empty


def test_one_ring_serves_a_whole_batch() -> None:
    x = images(4)
    low, high = edges(5, 1)[0]
    out = mask_spectrum(x, random_rings(1, 20, 20, generator(5)))
    for sample, found in zip(x, out, strict=True):
        torch.testing.assert_close(found, published(sample, low, high), rtol=0, atol=1e-3)


def test_rings_are_square_and_as_wide_as_they_may_be() -> None:
    rings = random_rings(1500, 199, 199, generator())[:, 0]  # no frequency but 0 is a whole hundredth
    first_row = rings[:, 0].float()  # along it the larger part is the horizontal one
    widths = first_row.sum(1)
    assert int(widths.max()) == 10 and int(widths.min()) == 0  # 0.05 of 199, and nothing
    starts = first_row.argmax(1)[widths > 0]
    assert int(starts.min()) == 0 and int(starts.max()) >= 97  # from 0 to nearly 0.5
    wide = rings[int(((first_row.argmax(1) > 5) & (widths == 10)).nonzero()[0])]
    start = int(wide[0].float().argmax())
    assert wide[start, :start].all() and not wide[start - 1, :start].any()  # a square, with nothing inside


def test_waves_outside_the_ring_stay_and_waves_within_go() -> None:
    place = torch.arange(100) / 100
    slow, fast = (torch.cos(2 * math.pi * cycles * place).expand(1, 3, 100, 100) for cycles in (10, 30))
    ring = torch.zeros(1, 1, 100, 51, dtype=torch.bool)
    ring[..., 25:35] = True
    torch.testing.assert_close(mask_spectrum(128 + 50 * slow + 50 * fast, ring), 128 + 50 * slow, rtol=0, atol=1e-3)


def test_the_strong_augmentation_cuts_what_leaves_the_range() -> None:
    x = (images(50) > 127) * 255.0  # black and white
    augmentation = AUGMENTATIONS.get("spectrum")(AugmentationOptions(20))
    raw = mask_spectrum(x, random_rings(50, 20, 20, generator(1)))
    assert float(raw.min()) < -1 and float(raw.max()) > 256
    assert torch.equal(augmentation(x, generator(1)), raw.clamp(0, 255))
