"""Augmentations against plain per-sample loops over the same draws; pictures against their promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.augmentations import (
    ALL,
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
from foveal.errors import FovealError
from photos import photos

small = st.integers(1, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 5, frames: int = 3, height: int = 16, width: int = 16, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (batch, 3 * frames, height, width), generator=generator(seed)).float()


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return pictures("generated", size=16, count=40, seed=3)


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


MOVING = {"shifted-overlay"}
"""Those that change one frame of a sample unlike another, on purpose."""


def built(name: str) -> Augmentation:
    return AUGMENTATIONS.get(name)(AugmentationOptions(image_size=16, picture_count=20))


@pytest.fixture(scope="module", params=AUGMENTATIONS.names())
def augmentation(request: pytest.FixtureRequest) -> Augmentation:
    return built(request.param)


def test_the_registry_holds_the_strong_augmentations() -> None:
    assert {"overlay", "conv", "mixture", "shifted-overlay", *ALL} <= set(AUGMENTATIONS.names())
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


@pytest.mark.parametrize("name", AUGMENTATIONS.names())
def test_contract_equal_frames_stay_equal(name: str) -> None:
    first, *others = built(name)(images(frames=1).repeat(1, 3, 1, 1), generator()).split(3, dim=1)
    assert [torch.equal(first, other) for other in others] == [name not in MOVING] * 2


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
