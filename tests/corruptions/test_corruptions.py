"""Changes of the picture: a contract that all keep, and closed forms."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch import Tensor

from foveal.corruptions import CORRUPTIONS, SEVERITIES, Corruption, CorruptionOptions, Frames, corrupted
from foveal.corruptions.pictures import panned
from foveal.errors import FovealError

SIZE, COUNT = 40, 16
OPTIONS = CorruptionOptions(SIZE, picture_count=16)
NAMES = CORRUPTIONS.names()
ANEW = ("background_flicker", "noise", "rain", "snow")
"""Those that are others in every frame."""


def made(name: str) -> Corruption:
    return CORRUPTIONS.get(name)(OPTIONS)


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scene() -> tuple[Tensor, Tensor]:
    """A smooth coloured picture with a bright square, and where the square is: (B, 3, S, S) ``uint8``, (B, S, S)."""
    axis = torch.linspace(0, 1, SIZE)
    smooth = torch.stack(
        [axis[:, None] * 150 + 0 * axis, axis * 120 + 40 + 0 * axis[:, None], 60 + 0 * axis * axis[:, None]]
    )
    pixels = smooth.repeat(COUNT, 1, 1, 1)
    mask = torch.zeros(COUNT, SIZE, SIZE, dtype=torch.bool)
    mask[:, 8:16, 6:12] = True
    pixels[mask[:, None].expand_as(pixels)] = 220.0
    return pixels.to(torch.uint8), mask


def changed(name: str, severity: Any = 3, time: Any = 0, seed: int = 0, pixels: Tensor | None = None) -> Tensor:
    corruption, (usual, mask) = made(name), scene()
    drawn = corruption.draw(COUNT, draws(seed))
    pixels = usual if pixels is None else pixels
    return corrupted(corruption, pixels, severity, drawn, draws(seed + 1), time, mask)


def difference(name: str, severity: int) -> float:
    return float((changed(name, severity).float() - scene()[0].float()).abs().mean())


# --- the contract -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_frames_keep_their_shape_and_the_same_seed_gives_the_same_frames(name: str) -> None:
    first, again, other = changed(name), changed(name), changed(name, seed=7)
    assert first.shape == (COUNT, 3, SIZE, SIZE) and first.dtype == torch.uint8
    assert first.equal(again)
    if made(name).draw(2, draws()) or name == "noise":
        assert not first.equal(other)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_each_severity_changes_more_than_the_one_below(name: str) -> None:
    sizes = [difference(name, severity) for severity in SEVERITIES]
    assert sizes[0] > 0
    assert sizes == sorted(sizes)
    levels = made(name).levels
    assert list(levels) == sorted(set(levels))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ANEW])
def test_severities_of_one_batch_are_those_asked_for(name: str) -> None:
    mixed = changed(name, torch.tensor([1, 5] * (COUNT // 2)))
    assert mixed[0::2].equal(changed(name, 1)[0::2])
    assert mixed[1::2].equal(changed(name, 5)[1::2])


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ANEW])
def test_an_episode_goes_on_without_jumps(name: str) -> None:
    now, later = changed(name, 3, time=10), changed(name, 3, time=11)
    assert (now.float() - later.float()).abs().mean() <= 0.5 * difference(name, 3)
    assert changed(name, 3, time=torch.arange(COUNT))[3].equal(changed(name, 3, time=3)[3])


@pytest.mark.parametrize("name", ANEW)
def test_some_are_others_in_every_frame(name: str) -> None:
    corruption, (pixels, mask) = made(name), scene()
    drawn, generator = corruption.draw(COUNT, draws()), draws()
    first, second = (corrupted(corruption, pixels, 3, drawn, generator, time, mask) for time in (0, 1))
    assert (first.float() - second.float()).abs().mean() > 0.5 * difference(name, 3)


@pytest.mark.parametrize("name", [name for name in NAMES if made(name).needs_mask])
def test_what_needs_a_mask_says_so(name: str) -> None:
    corruption = made(name)
    with pytest.raises(FovealError, match="which pixels are the task's"):
        corrupted(corruption, scene()[0], 3, corruption.draw(COUNT, draws()), draws())


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("background")])
def test_backgrounds_leave_the_task_as_it_is(name: str) -> None:
    pixels, mask = scene()
    after = changed(name, 5)
    inside = mask[:, None].expand_as(pixels)
    assert after[inside].equal(pixels[inside])
    assert (after[~inside].float() - pixels[~inside].float()).abs().mean() > 5


@pytest.mark.parametrize(("severity", "said"), [(0, "from 1 to 5"), (6, "from 1 to 5")])
def test_a_severity_out_of_range_is_refused(severity: int, said: str) -> None:
    with pytest.raises(FovealError, match=said):
        changed("noise", severity)


def test_frames_of_another_size_are_refused() -> None:
    with pytest.raises(FovealError, match=r"frames \(B, 3, 40, 40\), not \(2, 3, 10, 10\)"):
        corrupted(made("noise"), torch.zeros(2, 3, 10, 10), 1, {}, draws())


# --- closed forms -----------------------------------------------------------------------------------------------------


def flat(value: float) -> Tensor:
    return torch.full((COUNT, 3, SIZE, SIZE), value).to(torch.uint8)


def test_contrast_pulls_towards_the_mean() -> None:
    pixels = scene()[0]
    mean = pixels.float().mean((1, 2, 3), keepdim=True)
    expected = (mean + 0.7 * (pixels.float() - mean)).round().to(torch.uint8)
    assert changed("contrast", 2).equal(expected)


def test_gamma_keeps_black_and_white_and_moves_grey_within_its_bounds() -> None:
    assert changed("gamma", 5, pixels=flat(0)).eq(0).all()
    assert changed("gamma", 5, pixels=flat(255)).eq(255).all()
    grey = changed("gamma", 5, pixels=flat(128)).float() / 255
    assert (grey >= (128 / 255) ** np.e - 0.01).all() and (grey <= (128 / 255) ** (1 / np.e) + 0.01).all()


def test_a_hue_turned_by_a_third_of_a_circle_swaps_the_channels() -> None:
    corruption: Any = made("hue")
    pixels = scene()[0].float()
    strength = torch.full((COUNT, 1, 1, 1), 120.0)
    frames = Frames(pixels, strength, torch.zeros(COUNT), draws())
    turned = corruption.apply(frames, {"sign": torch.ones(COUNT)})
    torch.testing.assert_close(turned, pixels.roll(1, 1), atol=1e-3, rtol=0)


def test_hue_leaves_grey_alone() -> None:
    assert changed("hue", 5, pixels=flat(77)).eq(77).all()


def test_tint_multiplies_channels() -> None:
    after = changed("tint", 3, pixels=flat(100)).float()
    assert after.flatten(2).std(2).max() == 0
    assert after.max() <= round(100 * np.exp(0.35)) and after.min() >= round(100 * np.exp(-0.35))
    assert after[:, :, 0, 0].std(1).min() > 0  # channels differ


def test_recolor_gives_the_task_colours_of_its_own() -> None:
    _, mask = scene()
    after = changed("recolor", 3, pixels=flat(100))
    inside, outside = after[:, :, 10, 8], after[:, :, 0, 0]
    assert (inside != outside).any(1).all()
    assert after[:, 0][mask].view(COUNT, -1).float().std(1).max() == 0


def test_blur_is_a_gaussian_filter() -> None:
    pixels = scene()[0]
    for severity in (2, 5):
        sigma = made("blur").levels[severity - 1] * SIZE
        expected = gaussian_filter(pixels[0].numpy().astype(float), (0, sigma, sigma), mode="nearest", truncate=8)
        assert np.abs(changed("blur", severity)[0].numpy() - expected).max() <= 1.0


def test_noise_has_the_deviation_that_it_says_and_is_another_in_every_frame() -> None:
    after = changed("noise", 3, pixels=flat(128)).float() - 128
    assert float(after.std()) == pytest.approx(18.0, rel=0.03)
    assert float(after.mean()) == pytest.approx(0.0, abs=0.5)


def test_jpeg_is_pillows() -> None:
    pixels = scene()[0]
    memory = io.BytesIO()
    Image.fromarray(pixels[0].permute(1, 2, 0).numpy()).save(memory, "JPEG", quality=25)
    assert np.array_equal(changed("jpeg", 3)[0].permute(1, 2, 0).numpy(), np.asarray(Image.open(memory)))


def test_shift_moves_by_whole_pixels_in_the_drawn_direction() -> None:
    corruption: Any = made("shift")
    pixels = scene()[0].float()
    frames = Frames(pixels, torch.full((COUNT, 1, 1, 1), 2 / SIZE), torch.zeros(COUNT), draws())
    moved = corruption.apply(frames, {"angle": torch.full((COUNT, 1), torch.pi / 2)})  # downwards
    assert moved[:, :, :-2].equal(pixels[:, :, 2:])
    assert moved[:, :, -1].equal(pixels[:, :, -1])


def test_lamp_and_shadow_change_brightness_and_no_colour() -> None:
    for name in ("lamp", "shadow"):
        after = changed(name, 3, pixels=flat(100)).float()
        assert (after.amax(1) - after.amin(1)).max() == 0
        assert after.flatten(1).std(1).min() > 1


def test_an_occluder_covers_about_its_area_with_one_colour() -> None:
    corruption: Any = made("occluder")
    middle = {
        "place": torch.full((COUNT, 2), 0.5),
        "velocity": torch.zeros(COUNT, 2),
        "stretch": torch.zeros(COUNT),
        "color": torch.full((COUNT, 3, 1, 1), 7.0),
    }
    frames = Frames(flat(200).float(), torch.full((COUNT, 1, 1, 1), 0.5), torch.zeros(COUNT), draws())
    covered = corruption.apply(frames, middle).eq(7.0).float().mean()
    assert float(covered) == pytest.approx(np.pi * 0.25**2, rel=0.1)


def test_a_partial_background_covers_its_share() -> None:
    corruption: Any = made("background_part")
    drawn = corruption.draw(COUNT, draws()) | {"angle": torch.zeros(COUNT)}
    for severity, share in zip(SEVERITIES, corruption.levels, strict=True):
        strength = torch.full((COUNT, 1, 1, 1), corruption.levels[severity - 1])
        opacity = corruption.opacity(Frames(flat(0).float(), strength, torch.zeros(COUNT), draws()), drawn)
        assert float(opacity.mean()) == pytest.approx(share, abs=0.03)


@given(down=st.integers(-100, 100), right=st.integers(-100, 100))
def test_a_panned_picture_goes_on_as_in_a_mirror(down: int, right: int) -> None:
    picture = torch.rand(1, 3, 5, 5, generator=draws())
    tile = torch.cat([picture, picture.flip(2)], 2)
    tile = torch.cat([tile, tile.flip(3)], 3)  # (1, 3, 10, 10), repeats without a seam
    expected = tile.roll((-down, -right), (2, 3))[..., :5, :5]
    assert panned(picture, torch.tensor([[down, right]])).equal(expected)
