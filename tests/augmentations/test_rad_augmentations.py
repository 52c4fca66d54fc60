"""RAD's augmentations against plain per-sample loops over the same draws; colours against Python's ``colorsys``."""

from __future__ import annotations

import colorsys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.augmentations import center_translate, random_color_jitter, random_cutout, random_translate
from foveal.augmentations.color_jitter import hsv_to_rgb, rgb_to_hsv
from foveal.errors import FovealError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 4, frames: int = 3, side: int = 12, seed: int = 0) -> Tensor:
    return torch.randint(1, 256, (batch, 3 * frames, side, side), generator=generator(seed)).float()


# --- translate --------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(3, 9), st.integers(0, 6), st.integers(0, 99))
def test_a_translation_is_a_copy_at_the_drawn_place(batch: int, side: int, room: int, seed: int) -> None:
    x = images(batch, 1, side, seed)
    draws = generator(seed)
    top = torch.randint(room + 1, (batch,), generator=draws).tolist()
    left = torch.randint(room + 1, (batch,), generator=draws).tolist()
    expected = torch.zeros(batch, 3, side + room, side + room)
    for i, (t, k) in enumerate(zip(top, left, strict=True)):
        # the window of the padded picture begins at (t, k), so the picture itself at (room - t, room - k)
        expected[i, :, room - t : room - t + side, room - k : room - k + side] = x[i]
    assert torch.equal(random_translate(x, side + room, generator(seed)), expected)


def test_a_translation_reaches_every_place_equally_often() -> None:
    x = torch.full((8000, 1, 1, 1), 7, dtype=torch.uint8)
    moved = random_translate(x, 3, generator())
    assert moved.dtype == torch.uint8 and moved.sum() == 7 * 8000
    counts = moved.int().sum(0).flatten() / 7
    assert 780 < float(counts.min()) <= float(counts.max()) < 1000  # 889 expected, standard deviation 28


def test_the_middle_of_a_black_square() -> None:
    square = center_translate(torch.ones(1, 1, 2, 2), 5)[0, 0]
    assert square.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2]]
    assert torch.equal(center_translate(images(), 12), images())


@pytest.mark.parametrize("move", [lambda x, size: random_translate(x, size, generator()), center_translate])
def test_what_does_not_fit_is_refused(move: object) -> None:
    with pytest.raises(FovealError, match="can't be moved within 11"):
        move(images(), 11)  # type: ignore[operator]
    with pytest.raises(FovealError, match="square images"):
        move(torch.zeros(1, 3, 4, 5), 11)  # type: ignore[operator]


# --- cutout -----------------------------------------------------------------------------------------------------------


def test_a_cutout_begins_at_its_own_size() -> None:
    """As RAD's code has it: the number that says how tall the rectangle is says where it begins, too."""
    x = images(6, 2, 84)
    draws = generator(3)
    heights = torch.randint(10, 30, (6, 1), generator=draws).flatten().tolist()
    widths = torch.randint(10, 30, (6, 1), generator=draws).flatten().tolist()
    expected = x.clone()
    for i, (h, w) in enumerate(zip(heights, widths, strict=True)):
        expected[i, :, h : 2 * h, w : 2 * w] = 0.0
    assert torch.equal(random_cutout(x, generator(3)), expected)


def test_cutouts_are_in_proportion_to_the_picture() -> None:
    x = torch.ones(500, 3, 42, 42)
    black = 1 - random_cutout(x, generator())[:, 0]
    heights = black.amax(2).sum(1)
    assert (float(heights.min()), float(heights.max())) == (5.0, 14.0)


# --- color jitter -----------------------------------------------------------------------------------------------------


def test_hue_saturation_and_value_are_pythons() -> None:
    pixels = torch.rand(1, 3, 9, 9, generator=generator())
    pixels[..., 0, :3] = torch.tensor([[0.0, 0.4, 1.0]] * 3)  # black, grey and white
    pixels[0, :, 1, 0] = torch.tensor([0.5, 0.5, 0.1])  # two channels are largest
    hue, saturation, value = rgb_to_hsv(pixels)
    for row in range(9):
        for column in range(9):
            expected = colorsys.rgb_to_hsv(*pixels[0, :, row, column].tolist())
            ours = [float(part[0, row, column]) for part in (hue, saturation, value)]
            assert ours == pytest.approx(expected, abs=1e-6)
            back = hsv_to_rgb(hue, saturation, value)[0, :, row, column].tolist()
            assert back == pytest.approx(colorsys.hsv_to_rgb(*expected), abs=1e-6)


def jittered(frame: Tensor, contrast_first: bool, brightness: float, saturation: float, contrast: float, turn: float):  # type: ignore[no-untyped-def]
    """One frame (3, H, W) in [0, 1], pixel by pixel."""

    def contrasted(frame: Tensor) -> Tensor:
        means = frame.mean((1, 2))[:, None, None]
        return ((frame - means) * contrast + means).clamp(0, 1)

    frame = contrasted(frame) if contrast_first else frame
    out = torch.empty_like(frame)
    for row in range(frame.shape[1]):
        for column in range(frame.shape[2]):
            h, s, v = colorsys.rgb_to_hsv(*frame[:, row, column].tolist())
            pixel = colorsys.hsv_to_rgb((h + turn) % 1, min(s * saturation, 1.0), min(v * brightness, 1.0))
            out[:, row, column] = torch.tensor(pixel)
    return out if contrast_first else contrasted(out)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_jitter_is_rads_by_pixels(seed: int) -> None:
    x = images(3, 2, 5, seed)
    draws = generator(seed)
    four = torch.rand(4, 3, 1, 1, 1, 1, generator=draws).flatten(1)
    contrast_first = bool(torch.rand((), generator=draws) < 0.5)
    factors = (0.6 + 0.8 * four[:3]).T.tolist()
    turns = ((four[3] - 0.5) * 255 / 360).tolist()
    expected = torch.stack(
        [
            torch.cat(
                [
                    jittered(frame, contrast_first, *factor, turn)
                    for frame in (sample / 255).unflatten(0, (-1, 3)).unbind()
                ]
            )
            for sample, factor, turn in zip(x, factors, turns, strict=True)
        ]
    )
    torch.testing.assert_close(random_color_jitter(x, generator(seed)), 255 * expected, rtol=0, atol=2e-2)


def test_both_orders_of_the_contrast_come() -> None:
    orders = set()
    for seed in range(8):
        draws = generator(seed)
        torch.rand(4, 3, 1, 1, 1, 1, generator=draws)
        orders.add(bool(torch.rand((), generator=draws) < 0.5))
    assert orders == {True, False}
    # whatever the order, grey stays grey: neither hue nor saturation has anything to change
    grey = images(4, 1)[:, :1].repeat(1, 3, 1, 1)
    for seed in range(8):
        out = random_color_jitter(grey, generator(seed))
        torch.testing.assert_close(out[:, 0], out[:, 2], rtol=0, atol=1e-3)
