"""Augmentations against plain per-sample loops over the same draws; pictures against their promises."""

from __future__ import annotations

import itertools
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from foveal.augmentations import (
    AUGMENTATIONS,
    Augmentation,
    AugmentationOptions,
    PictureBank,
    center_crop,
    overlay,
    pictures,
    random_conv,
    random_crop,
    random_shift,
)
from foveal.augmentations.generated import BLOCK
from foveal.augmentations.patterns import FAMILIES, Family
from foveal.errors import FovealError

small = st.integers(1, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 5, frames: int = 3, height: int = 16, width: int = 16, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (batch, 3 * frames, height, width), generator=generator(seed)).float()


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return pictures("generated", size=16, count=40, seed=3)


def photos(folder: Path, count: int, width: int = 40, height: int = 30) -> Path:
    """A folder of images, in subfolders and several formats, each of one colour of its own: (i, 255 - i, 7)."""
    for i in range(count):
        parent = folder / f"class_{i % 3}" / "deep"
        parent.mkdir(parents=True, exist_ok=True)
        pixels = np.broadcast_to(np.array([i, 255 - i, 7], np.uint8), (height, width, 3))
        Image.fromarray(pixels).save(parent / f"{i}.{('png', 'bmp', 'PNG')[i % 3]}")
    return folder


# --- crops and shifts -------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(small, small, st.integers(5, 20), st.integers(5, 20), st.integers(1, 5), st.integers(0, 99))
def test_random_crop_equals_a_loop(batch: int, frames: int, height: int, width: int, size: int, seed: int) -> None:
    x = images(batch, frames, height, width, seed)
    draws = generator(seed)
    top = torch.randint(height - size + 1, (batch,), generator=draws)
    left = torch.randint(width - size + 1, (batch,), generator=draws)
    expected = [x[i, :, t : t + size, k : k + size] for i, (t, k) in enumerate(zip(top, left, strict=True))]
    assert torch.equal(random_crop(x, size, generator(seed)), torch.stack(expected))


def test_random_crop_reaches_every_position_equally_often() -> None:
    x = torch.arange(16.0).view(1, 1, 4, 4).expand(8000, -1, -1, -1)
    corner = random_crop(x, 2, generator())[:, 0, 0, 0]
    counts = torch.bincount(corner.long(), minlength=11)
    assert counts.nonzero().flatten().tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10]
    assert counts.max() - counts[counts > 0].min() < 250  # 889 expected, standard deviation 28


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_crops_keep_the_dtype_and_the_whole_image_where_it_fits_exactly(dtype: torch.dtype) -> None:
    x = images().to(dtype)
    for cropped in (random_crop(x, 16, generator()), center_crop(x, 16)):
        assert cropped.dtype == dtype
        assert torch.equal(cropped, x)


def test_center_crop_takes_the_middle() -> None:
    x = torch.arange(36.0).view(1, 1, 6, 6)
    assert center_crop(x, 2).flatten().tolist() == [14, 15, 20, 21]
    assert center_crop(images(height=100, width=100), 84).shape == (5, 9, 84, 84)
    assert torch.equal(center_crop(images(height=100, width=100), 84), images(height=100, width=100)[..., 8:92, 8:92])


@pytest.mark.parametrize("size", [0, 17, -3])
def test_a_crop_that_does_not_fit_is_refused(size: int) -> None:
    with pytest.raises(FovealError, match="cannot crop"):
        random_crop(images(), size, generator())
    with pytest.raises(FovealError, match="cannot crop"):
        center_crop(images(), size)
    with pytest.raises(FovealError, match=r"\(B, C, H, W\)"):
        random_crop(images()[0], 4, generator())


@settings(max_examples=40)
@given(small, small, st.integers(5, 12), st.integers(5, 12), st.integers(0, 4), st.integers(0, 99))
def test_random_shift_equals_padding_and_cropping(
    batch: int, frames: int, height: int, width: int, pad: int, seed: int
) -> None:
    x = images(batch, frames, height, width, seed)
    padded = F.pad(x, (pad, pad, pad, pad), mode="replicate")
    down, across = (torch.randint(-pad, pad + 1, (2, batch), generator=generator(seed)) + pad).tolist()
    expected = [padded[i, :, t : t + height, k : k + width] for i, (t, k) in enumerate(zip(down, across, strict=True))]
    assert torch.equal(random_shift(x, pad, generator(seed)), torch.stack(expected))


def test_random_shift_reaches_every_shift_equally_often() -> None:
    ramp = torch.arange(81.0).view(1, 1, 9, 9).expand(9000, -1, -1, -1)
    middle = random_shift(ramp, 1, generator())[:, 0, 4, 4] - ramp[0, 0, 4, 4]
    values, counts = middle.unique(return_counts=True)
    assert values.tolist() == [-10, -9, -8, -1, 0, 1, 8, 9, 10]
    assert 850 < int(counts.min()) <= int(counts.max()) < 1150  # 1000 expected, standard deviation 30


# --- random convolution -----------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(small, small, st.integers(3, 9), st.integers(3, 9), st.integers(0, 99))
def test_random_conv_equals_a_loop(batch: int, frames: int, height: int, width: int, seed: int) -> None:
    x = images(batch, frames, height, width, seed)
    kernels = torch.randn(batch, 3, 3, 3, 3, generator=generator(seed))
    expected = torch.empty_like(x)
    for i in range(batch):
        for f in range(frames):
            frame = F.pad(x[i : i + 1, 3 * f : 3 * f + 3] / 255, (1, 1, 1, 1), mode="replicate")
            expected[i, 3 * f : 3 * f + 3] = 255 * torch.sigmoid(F.conv2d(frame, kernels[i]))[0]
    torch.testing.assert_close(random_conv(x, generator(seed)), expected, rtol=0, atol=1e-3)


def test_random_conv_differs_between_samples() -> None:
    x = images(1).expand(4, -1, -1, -1)
    out = random_conv(x, generator())
    assert all((out[0] - out[i]).abs().mean() > 1 for i in range(1, 4))


# --- overlay ----------------------------------------------------------------------------------------------------------


@settings(max_examples=25)
@given(small, small, st.floats(0, 1), st.integers(0, 99))
def test_overlay_equals_a_loop(batch: int, frames: int, alpha: float, seed: int) -> None:
    x = images(batch, frames, seed=seed)
    over = torch.rand(batch, 3, 16, 16, generator=generator(seed)) * 255
    expected = torch.empty_like(x)
    for i in range(batch):
        for f in range(frames):
            channels = slice(3 * f, 3 * f + 3)
            expected[i, channels] = (1 - alpha) * x[i, channels] + alpha * over[i]
    torch.testing.assert_close(overlay(x, over, alpha=alpha), expected, rtol=0, atol=1e-4)


def test_overlay_by_hand() -> None:
    x = torch.full((1, 6, 8, 8), 200.0)
    assert overlay(x, torch.full((1, 3, 8, 8), 50.0)).unique().tolist() == [125.0]
    assert overlay(x, torch.full((1, 3, 8, 8), 50.0), alpha=0.2).unique().tolist() == [170.0]


def test_overlay_from_a_bank_is_overlay_of_its_sample(bank: PictureBank) -> None:
    drawn = bank.sample(5, generator(1))
    assert torch.equal(overlay(images(), bank, generator(1)), overlay(images(), drawn))


def test_overlay_says_what_does_not_fit(bank: PictureBank) -> None:
    with pytest.raises(FovealError, match="size=20"):
        overlay(images(height=20, width=20), bank, generator())
    with pytest.raises(FovealError, match="cannot be laid over"):
        overlay(images(batch=5), torch.zeros(1, 3, 16, 16))
    with pytest.raises(FovealError, match="generator"):
        overlay(images(), bank)
    with pytest.raises(FovealError, match="alpha"):
        overlay(images(), bank, generator(), alpha=1.5)
    with pytest.raises(FovealError, match="stacked colour images"):
        overlay(torch.zeros(2, 4, 16, 16), bank, generator())
    with pytest.raises(FovealError, match="move one of them"):
        overlay(images(), torch.zeros(5, 3, 16, 16, device="meta"))


# --- the contract of every registered augmentation --------------------------------------------------------------------


@pytest.fixture(scope="module", params=AUGMENTATIONS.names())
def augmentation(request: pytest.FixtureRequest) -> Augmentation:
    return AUGMENTATIONS.get(request.param)(AugmentationOptions(image_size=16, picture_count=20))


def test_the_registry_holds_the_strong_augmentations() -> None:
    assert {"overlay", "conv"} <= set(AUGMENTATIONS.names())
    with pytest.raises(FovealError, match="did you mean 'overlay'"):
        AUGMENTATIONS.get("overlya")


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_contract_shape_dtype_range(
    augmentation: Augmentation, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    x = images().to(dtype).contiguous(memory_format=memory_format)
    before = x.clone()
    out = augmentation(x, generator())
    assert out.shape == x.shape
    assert out.dtype == torch.float32
    assert 0 <= float(out.min()) <= float(out.max()) <= 255
    assert torch.equal(x, before)
    assert not torch.equal(out, x.float())
    torch.testing.assert_close(out, augmentation(images(), generator()), rtol=0, atol=1e-3)


def test_contract_all_draws_come_from_the_generator(augmentation: Augmentation) -> None:
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    draws = generator(5)
    first, second = augmentation(images(), draws), augmentation(images(), draws)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]  # noqa: NPY002
    assert torch.equal(first, augmentation(images(), generator(5)))
    assert not torch.equal(first, second)


def test_contract_equal_frames_stay_equal(augmentation: Augmentation) -> None:
    out = augmentation(images(frames=1).repeat(1, 3, 1, 1), generator())
    assert torch.equal(out[:, :3], out[:, 3:6])
    assert torch.equal(out[:, :3], out[:, 6:])


def test_contract_gradients_pass_and_odd_channels_are_refused(augmentation: Augmentation) -> None:
    x = images().requires_grad_()
    augmentation(x, generator()).sum().backward()
    assert x.grad is not None and float(x.grad.abs().sum()) > 0
    with pytest.raises(FovealError, match="stacked colour images"):
        augmentation(torch.zeros(2, 4, 16, 16), generator())


def test_overlay_records_its_source_and_takes_its_options(tmp_path: Path) -> None:
    build = AUGMENTATIONS.get("overlay")
    assert build(AugmentationOptions(image_size=16, picture_count=2)).source == "generated"
    folder = photos(tmp_path, 4)
    from_folder = build(AugmentationOptions(image_size=16, picture_count=2, pictures=str(folder)))
    assert from_folder.source == str(folder)
    assert AUGMENTATIONS.get("conv")(AugmentationOptions()).source is None


@pytest.mark.gpu
@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_contract_on_a_gpu(name: str) -> None:
    augmentation = AUGMENTATIONS.get(name)(AugmentationOptions(image_size=16, picture_count=20, device="cuda"))
    x = images().cuda()
    out = augmentation(x, torch.Generator("cuda").manual_seed(0))
    assert out.device == x.device and out.shape == x.shape and out.dtype == torch.float32
    assert 0 <= float(out.min()) <= float(out.max()) <= 255
    assert torch.equal(out, augmentation(x, torch.Generator("cuda").manual_seed(0)))


# --- the bank ---------------------------------------------------------------------------------------------------------


def test_a_bank_is_a_function_of_its_arguments(bank: PictureBank) -> None:
    assert bank.pictures.shape == (40, 3, 16, 16)
    assert bank.pictures.dtype == torch.uint8
    assert len(bank) == 40
    assert torch.equal(bank.pictures, pictures("generated", 16, 40, 3).pictures)
    assert not torch.equal(bank.pictures, pictures("generated", 16, 40, 4).pictures)
    longer = pictures("generated", 16, BLOCK + 5, 3).pictures
    assert torch.equal(longer[:40], bank.pictures)
    assert not torch.equal(longer[BLOCK:], longer[:5])


def test_sample_draws_uniformly_with_replacement(bank: PictureBank) -> None:
    sample = bank.sample(4000, generator())
    assert sample.shape == (4000, 3, 16, 16)
    assert sample.dtype == torch.float32
    assert torch.equal(sample, bank.sample(4000, generator()))
    of_each = (sample[:, :, :2, :2].flatten(1)[:, None] == bank.pictures[:, :, :2, :2].flatten(1)).all(-1).sum(0)
    assert 50 < int(of_each.min()) <= int(of_each.max()) < 160  # 100 expected, standard deviation 10


def test_hold_brings_the_next_pictures_into_the_oldest_places_of_the_same_tensor() -> None:
    all_of_them = pictures("generated", 16, 30, 3).pictures
    bank = pictures("generated", 16, 8, 3)
    address = bank.pictures.data_ptr()
    bank.hold(11)
    assert torch.equal(bank.pictures, torch.cat([all_of_them[8:11], all_of_them[3:8]]))
    bank.hold(18)  # 11..17 into slots 3..7, 0, 1
    assert torch.equal(bank.pictures, torch.cat([all_of_them[16:18], all_of_them[10:16]]))
    bank.hold(30)  # more than it holds: the last eight remain
    assert torch.equal(bank.pictures[torch.arange(22, 30) % 8], all_of_them[22:30])
    bank.hold(18)  # and back
    assert torch.equal(bank.pictures, torch.cat([all_of_them[16:18], all_of_them[10:16]]))
    assert bank.pictures.data_ptr() == address
    bank.hold(18)
    assert bank.drawn == 18
    with pytest.raises(FovealError, match="was count changed"):
        bank.hold(7)


@pytest.mark.parametrize("source", ["generated", "folder"])
def test_what_a_bank_holds_depends_on_how_many_it_has_drawn_alone(source: str, tmp_path: Path) -> None:
    origin = photos(tmp_path, 12) if source == "folder" else source
    bank, other = pictures(origin, 16, 5, 1), pictures(origin, 16, 5, 1)
    for drawn in (6, 9, 12):
        bank.hold(drawn)
    other.hold(12)
    assert torch.equal(bank.pictures, other.pictures)


def test_pictures_of_a_folder_are_replaced_as_training_goes_on(tmp_path: Path) -> None:
    folder = str(photos(tmp_path, 12))
    options = AugmentationOptions(image_size=16, picture_count=20, pictures=folder, refresh=0.1)
    augmentation: Any = AUGMENTATIONS.get("overlay")(options)
    drawn = []
    for update in (0, 159, 160, 319, 320, 0):
        augmentation.refresh(update)
        drawn.append(augmentation.bank.drawn)
    assert drawn == [20, 20, 36, 36, 52, 20]
    generated: Any = AUGMENTATIONS.get("overlay")(replace(options, pictures="generated"))
    generated.refresh(1000)
    assert generated.bank.drawn == 20


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 4}, {"seed": -1}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(FovealError, match="got"):
        pictures("generated", **wrong)


# --- generated pictures -----------------------------------------------------------------------------------------------


def power_slope(grey: np.ndarray) -> float:
    """Exponent of the power spectrum over frequency, fitted between 2 and 36 periods a picture."""
    size = grey.shape[0]
    window = np.hanning(size)[:, None] * np.hanning(size)
    power = np.abs(np.fft.fft2((grey - grey.mean()) * window)) ** 2
    axis = np.fft.fftfreq(size)
    radius = np.hypot(axis[:, None], axis)
    edges = np.geomspace(2 / size, 36 / size, 12)
    rings = [(radius >= low) & (radius < high) for low, high in itertools.pairwise(edges)]
    means = [np.log(power[ring].mean() + 1e-9) for ring in rings]
    return float(np.polyfit([np.log(radius[ring].mean()) for ring in rings], means, 1)[0])


def test_generated_pictures_are_as_varied_as_photographs() -> None:
    drawn = pictures("generated", 84, 2 * BLOCK, 0).pictures.numpy().astype(np.float32)
    # 84-pixel frames of ordinary videos have a median slope of about -2.8, nine in ten between -3.7 and -2.
    slopes = [power_slope(picture.mean(0)) for picture in drawn]
    assert -3.3 < np.median(slopes) < -2.3
    assert np.percentile(slopes, 90) - np.percentile(slopes, 10) > 0.8
    correlation = [np.corrcoef(picture.reshape(3, -1))[np.triu_indices(3, 1)].mean() for picture in drawn]
    assert np.median(correlation) > 0.6
    brightness, contrast = drawn.mean(axis=(1, 2, 3)), drawn.std(axis=(1, 2, 3))
    assert brightness.std() > 20 and 90 < brightness.mean() < 150
    assert contrast.min() > 10 and contrast.std() > 8
    assert drawn.mean(axis=(2, 3)).std(axis=0).min() > 20  # mean colours
    assert float(((drawn == 0) | (drawn == 255)).mean()) < 0.12
    thumbnails = drawn.reshape(len(drawn), 3, 12, 7, 12, 7).mean(axis=(3, 5)).reshape(len(drawn), -1)
    distance = np.sqrt(((thumbnails[:, None] - thumbnails) ** 2).mean(-1)) + 1e9 * np.eye(len(drawn))
    assert distance.min() > 8  # no two alike


@pytest.mark.parametrize("family", [family for family, _ in FAMILIES], ids=lambda family: family.__name__)
@pytest.mark.parametrize("size", [8, 33, 84])
def test_every_family_makes_finite_varied_pictures_of_any_size(family: Family, size: int) -> None:
    made = family(np.random.default_rng(0), 6, size)
    assert made.shape == (6, 3, size, size)
    assert made.dtype == np.float32
    assert np.isfinite(made).all()
    assert np.abs(made - 0.5).mean() < 0.6
    assert (made.std(axis=(1, 2, 3)) > 1e-3).sum() >= 5
    assert len({picture.tobytes() for picture in made}) == 6
    assert np.array_equal(made, family(np.random.default_rng(0), 6, size))


def test_shares_of_families_add_up() -> None:
    assert sum(share for _, share in FAMILIES) == pytest.approx(1.0)


# --- folders of photographs -------------------------------------------------------------------------------------------


def test_a_folder_is_searched_at_any_depth_and_shuffled(tmp_path: Path) -> None:
    photos(tmp_path, 12)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"no image either")
    bank = pictures(str(tmp_path), size=16, count=12, seed=0)
    assert bank.source == str(tmp_path)
    which = bank.pictures[:, 0, 0, 0].tolist()
    assert sorted(which) == list(range(12))  # every file once before any comes again
    assert which != sorted(which)
    for i, picture in zip(which, bank.pictures, strict=True):
        assert [c.unique().tolist() for c in picture] == [[i], [255 - i], [7]]
    assert torch.equal(bank.pictures, pictures(tmp_path, 16, 12, 0).pictures)
    assert which != pictures(tmp_path, 16, 12, 1).pictures[:, 0, 0, 0].tolist()
    assert pictures(tmp_path, 16, 30, 0).pictures[12:24, 0, 0, 0].tolist() == which  # goes round


def test_crops_of_a_photograph_differ_and_stay_inside_it(tmp_path: Path) -> None:
    ramp = np.zeros((60, 90, 3), np.uint8)
    ramp[..., 0], ramp[..., 1], ramp[..., 2] = np.arange(90) + 50, np.arange(60)[:, None] + 50, 77
    Image.fromarray(ramp).save(tmp_path / "ramp.webp", lossless=True)
    drawn = pictures(tmp_path, size=16, count=200, seed=0).pictures
    assert drawn[:, 2].unique().tolist() == [77]  # nothing from outside of the image
    red, green = drawn[:, 0].int(), drawn[:, 1].int()
    assert int(red.min()) in range(50, 53) and int(red.max()) in range(136, 140)
    assert int(green.min()) in range(50, 53) and int(green.max()) in range(106, 110)
    mirrored = int((red[:, 0, 0] > red[:, 0, -1]).sum())
    assert 70 < mirrored < 130
    assert bool((green[:, 0, 0] < green[:, -1, 0]).all())  # never upside down
    across, down = (red[:, 8, -1] - red[:, 8, 0]).abs(), green[:, -1, 8] - green[:, 0, 8]
    area = (across * 16 / 15) * (down * 16 / 15) / (60 * 90)
    assert float(area.min()) < 0.2 and float(area.max()) > 0.7 and 0.35 < float(area.mean()) < 0.6


def test_files_that_cannot_be_decoded_are_skipped_with_one_warning(tmp_path: Path) -> None:
    photos(tmp_path, 6)
    for name in ("a.jpg", "b.png", "c.bmp", "d.webp"):
        (tmp_path / name).write_bytes(b"this is no image")
    good = (tmp_path / "class_0" / "deep" / "0.png").read_bytes()
    (tmp_path / "cut_short.png").write_bytes(good[: len(good) // 2])
    with pytest.warns(UserWarning, match="cannot be decoded, the first is .*") as caught:
        bank = pictures(tmp_path, size=16, count=33, seed=0)
    assert len(caught) == 1
    assert set(bank.pictures[:, 0, 0, 0].tolist()) == set(range(6))
    assert bank.pictures[:, 2].unique().tolist() == [7]


def test_other_modes_than_rgb_are_converted(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 120).save(tmp_path / "grey.png")
    Image.new("RGBA", (20, 20), (10, 20, 30, 128)).save(tmp_path / "alpha.png")
    Image.new("CMYK", (20, 20), (255, 0, 0, 0)).save(tmp_path / "print.jpg")
    Image.new("P", (20, 20)).save(tmp_path / "palette.png")
    assert pictures(tmp_path, size=16, count=8, seed=0).pictures.shape == (8, 3, 16, 16)


def test_a_wrong_folder_is_refused_with_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"no folder of pictures .*'generated'"):
        pictures(tmp_path / "nowhere")
    with pytest.raises(FovealError, match=r"holds no image at any depth; expected files ending in \.jpg"):
        pictures(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(FovealError, match=r"none of 1 image files .* can be decoded"):
            pictures(tmp_path)
