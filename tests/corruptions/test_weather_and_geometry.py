"""Closed forms of exposure, motion blur, geometry and weather. The contract of all is in test_corruptions.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor

from foveal.corruptions import CORRUPTIONS, CorruptionOptions, Frames
from foveal.corruptions.weather import moved

SIZE, COUNT = 40, 3


def made(name: str) -> Any:
    return CORRUPTIONS.get(name)(CorruptionOptions(SIZE))


def frames(pixels: Tensor, strength: float, time: float = 0.0) -> Frames:
    count = len(pixels)
    draws = torch.Generator().manual_seed(0)
    return Frames(pixels, torch.full((count, 1, 1, 1), strength), torch.full((count,), time), draws)


def noisy(seed: int = 0) -> Tensor:
    return 255 * torch.rand(COUNT, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def flat(value: float) -> Tensor:
    return torch.full((COUNT, 3, SIZE, SIZE), value)


def test_brightness_adds_the_same_everywhere() -> None:
    sign = torch.tensor([1.0, -1.0, 1.0]).view(3, 1, 1, 1)
    after = made("brightness").apply(frames(flat(100.0), 0.2), {"sign": sign})
    assert after[:, 0, 0, 0].tolist() == pytest.approx([151.0, 49.0, 151.0])
    assert after.flatten(1).std(1).max() == 0


def test_low_light_has_a_sensors_mean_and_variance() -> None:
    corruption = made("low_light")
    after = corruption.apply(frames(flat(204.0), 0.75), {})
    signal = 0.25 * 0.8 * corruption.electrons  # electrons of a pixel of 204 of 255, in a quarter of the light
    assert float(after.mean()) == pytest.approx(51.0, abs=0.5)
    expected = 255 / corruption.electrons * (signal + corruption.readout**2) ** 0.5
    assert float(after.std()) == pytest.approx(expected, rel=0.02)


def test_motion_blur_is_the_mean_of_the_picture_along_a_line() -> None:
    corruption, angle, length = made("motion_blur"), 0.7, 0.2
    pixels = noisy()
    after = corruption.apply(frames(pixels, length), {"angle": torch.full((COUNT,), angle)})
    places = np.linspace(-0.5, 0.5, corruption.exposures) * length * SIZE
    picture = pixels[1, 2].numpy()
    shifted = [
        ndimage.shift(picture, (-place * np.sin(angle), -place * np.cos(angle)), order=1, mode="nearest")
        for place in places
    ]
    np.testing.assert_allclose(after[1, 2].numpy(), np.mean(shifted, axis=0), atol=0.02)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    after = made("rotate").apply(frames(noisy(), 90.0), {"sign": torch.ones(COUNT)})
    torch.testing.assert_close(after, torch.rot90(noisy(), 1, (2, 3)), atol=0.01, rtol=0)
    back = made("rotate").apply(frames(after, 90.0), {"sign": -torch.ones(COUNT)})
    torch.testing.assert_close(back, noisy(), atol=0.02, rtol=0)


def test_zoom_enlarges_about_the_centre() -> None:
    strength = float(np.log(2.0))
    after = made("zoom").apply(frames(noisy(), strength), {"sign": torch.ones(COUNT)})
    centre = noisy()[:, :, SIZE // 4 - 1 : 3 * SIZE // 4 + 1, SIZE // 4 - 1 : 3 * SIZE // 4 + 1]
    larger = torch.nn.functional.interpolate(centre, scale_factor=2, mode="bilinear", align_corners=False)
    torch.testing.assert_close(after, larger[:, :, 2:-2, 2:-2], atol=0.01, rtol=0)


def test_fog_follows_koschmieders_law() -> None:
    drawn = {
        "banks": torch.full((COUNT, 2, 5, 5), 0.8),
        "phase": torch.zeros(COUNT, 1, 1, 1),
        "light": torch.full((COUNT, 1, 1, 1), 200.0),
    }
    after = made("fog").apply(frames(flat(40.0), 1.5), drawn)
    remains = np.exp(-1.5 * 0.8)
    assert after.flatten().numpy() == pytest.approx(40 * remains + 200 * (1 - remains), abs=0.01)


def one_drop(down: int, right: int, slant: float) -> dict[str, Tensor]:
    field = torch.ones(COUNT, SIZE, SIZE)
    field[:, down, right] = 0.0
    return {"field": field, "slant": torch.full((COUNT,), slant)}


def test_a_drop_of_rain_leaves_a_streak_along_its_fall() -> None:
    rain = made("rain")
    after = rain.apply(frames(flat(20.0), 0.01, time=2.0), one_drop(4, 10, 0.0))
    fallen, length = round(2 * rain.speed * SIZE), round(rain.length * SIZE)
    rows, columns = np.nonzero((after[0, 0] != 20.0).numpy())
    assert rows.tolist() == [(4 + fallen + further) % SIZE for further in range(length)]
    assert set(columns.tolist()) == {10}
    assert after.max() == pytest.approx(20 + 0.6 * (220 - 20))


def test_a_flake_of_snow_is_three_pixels_wide_and_falls_slowly() -> None:
    snow = made("snow")
    after = snow.apply(frames(flat(20.0), 0.01, time=1.0), one_drop(20, 10, 0.0))
    rows, columns = np.nonzero((after[0, 0] != 20.0).numpy())
    centre = 20 + round(snow.speed * SIZE)
    assert (rows.min(), rows.max()) == (centre - 1, centre + 1)
    assert (columns.min(), columns.max()) == (9, 11)


@given(down=st.integers(-100, 100), right=st.integers(-100, 100))
def test_a_field_that_repeats_itself_moves_as_torch_rolls(down: int, right: int) -> None:
    field = torch.rand(1, 7, 7, generator=torch.Generator().manual_seed(1))
    expected = field.roll((down, right), (1, 2))
    assert moved(field, torch.tensor([down]), torch.tensor([right])).equal(expected)
