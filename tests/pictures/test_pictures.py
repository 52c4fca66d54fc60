"""Pictures for overlays against their promises, and random resized crops against Pillow's, one at a time."""

from __future__ import annotations

import itertools
import os
import signal
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from foveal.augmentations import AUGMENTATIONS, AugmentationOptions, PictureBank, pictures
from foveal.augmentations.overlay import AT_FIRST
from foveal.augmentations.resized_crop import Boxes, filters, random_boxes, resized
from foveal.errors import FovealError
from foveal.pictures import BLOCK, Prefetcher, open_source
from foveal.pictures.patterns import FAMILIES, Family, ellipse, fallen
from photos import photos


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def drawn_pictures(source: str | Path, side: int, seed: int, count: int) -> Tensor:
    """The first pictures of a source, one block after the other in this process."""
    origin = open_source(source, side, seed)
    blocks = [origin.block(number).pixels for number in range(-(-count // BLOCK))]
    return torch.from_numpy(np.concatenate(blocks)[:count])


# --- crops ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@settings(max_examples=60)
@given(
    st.integers(8, 40),
    st.floats(0.29, 1.0),
    st.floats(0.29, 1.0),
    st.floats(0, 1),
    st.floats(0, 1),
    st.booleans(),
    st.integers(0, 99),
)
def test_a_crop_is_what_pillow_makes_of_the_box(
    size: int, width: float, height: float, across: float, down: float, flipped: bool, seed: int
) -> None:
    side = 30
    picture = torch.randint(0, 256, (side, side, 3), generator=generator(seed)).to(torch.uint8)
    left, top = across * (1 - width), down * (1 - height)
    box = side * left, side * top, min(side * (left + width), side), min(side * (top + height), side)
    image = Image.fromarray(picture.numpy()).resize((size, size), Image.Resampling.BILINEAR, box=box)
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1).float()
    boxes = Boxes(*(torch.tensor([value]) for value in (left, top, width, height, flipped)))
    (crop,) = resized(picture.transpose(1, 2)[None], boxes, size)
    # Pillow rounds to bytes after each axis.
    torch.testing.assert_close(crop, expected.flip(2) if flipped else expected, rtol=0, atol=1.6)


def test_filters_take_the_mean_of_pixels_where_they_reduce_by_whole_numbers() -> None:
    """Two pixels become one: weights of a triangle of radius 2 at distances 1/2 and 3/2, normalised at the border."""
    weights = filters(torch.tensor([0.0]), torch.tensor([1.0]), 8, 4)[0]
    assert weights[1].tolist() == pytest.approx([0, 1 / 8, 3 / 8, 3 / 8, 1 / 8, 0, 0, 0])
    assert weights[0].tolist() == pytest.approx([3 / 7, 3 / 7, 1 / 7, 0, 0, 0, 0, 0])
    backwards = filters(torch.tensor([1.0]), torch.tensor([-1.0]), 8, 4)[0]
    assert torch.equal(backwards, weights.flip(0))


def test_crops_in_bfloat16_are_within_two_levels_of_those_in_float32() -> None:
    bank = pictures("generated", 40, 64, seed=1)
    exact, rounded = (bank.sample(64, generator(), dtype) for dtype in (torch.float32, torch.bfloat16))
    assert rounded.dtype == torch.bfloat16
    assert float((exact - rounded.float()).abs().max()) < 4
    assert float((exact - rounded.float()).abs().mean()) < 0.5


def reference_box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """Area, aspect, and left and top in shares of what is free: one window as torchvision describes it, in pixels."""
    for _ in range(10):
        area, aspect = width * height * rng.uniform(0.08, 1), np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        across, down = np.sqrt(area * aspect), np.sqrt(area / aspect)
        if across <= width and down <= height:
            return across, down, rng.uniform(0, width - across), rng.uniform(0, height - down)
    across, down = min(width, height * 4 / 3), min(height, width * 4 / 3)
    return across, down, (width - across) / 2, (height - down) / 2


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(256, 256), (300, 200), (100, 400), (900, 100)])
def test_boxes_have_the_distribution_of_one_drawn_after_the_other(width: int, height: int) -> None:
    n = 4000
    boxes = random_boxes(torch.full((n,), width / height), generator(1))
    found = torch.stack([boxes.width * width, boxes.height * height, boxes.left * width, boxes.top * height]).numpy()
    rng = np.random.default_rng(0)
    expected = np.array([reference_box(width, height, rng) for _ in range(n)]).T
    shares = np.linspace(0.02, 0.98, 25)
    scale = np.array([width, height, width, height])[:, None]
    difference = np.quantile(found, shares, axis=1).T - np.quantile(expected, shares, axis=1).T
    assert np.abs(difference / scale).max() < 0.04
    assert float(boxes.left.min()) >= 0 and float((boxes.left + boxes.width).max()) <= 1 + 1e-6
    assert float(boxes.top.min()) >= 0 and float((boxes.top + boxes.height).max()) <= 1 + 1e-6
    assert 0.46 < float(boxes.flipped.float().mean()) < 0.54


def test_a_picture_too_long_for_any_window_gives_its_middle() -> None:
    boxes = random_boxes(torch.tensor([40.0, 1 / 40]), generator())
    assert boxes.width.tolist() == pytest.approx([4 / 3 / 40, 1])
    assert boxes.height.tolist() == pytest.approx([1, 4 / 3 / 40])
    assert boxes.left.tolist() == pytest.approx([0.5 - 2 / 3 / 40, 0])
    assert boxes.top.tolist() == pytest.approx([0, 0.5 - 2 / 3 / 40])


# --- the bank ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return pictures("generated", size=16, count=40, seed=3)


@pytest.mark.slow
def test_a_bank_is_a_function_of_its_arguments(bank: PictureBank) -> None:
    assert bank.pictures.shape == (40, 24, 3, 24)
    assert bank.pictures.dtype == torch.uint8
    assert len(bank) == bank.drawn == 40
    assert torch.equal(bank.pictures, drawn_pictures("generated", 24, 3, 40))
    assert not torch.equal(bank.pictures, pictures("generated", 16, 40, seed=4).pictures)
    longer = pictures("generated", 16, BLOCK + 5, seed=3).pictures
    assert torch.equal(longer[:40], bank.pictures)
    assert not torch.equal(longer[BLOCK:], longer[:5])
    assert pictures("generated", 16, 3, detail=1.0).pictures.shape == (3, 16, 3, 16)


def test_every_sample_is_a_new_crop(bank: PictureBank) -> None:
    sample = bank.sample(400, generator())
    assert sample.shape == (400, 3, 16, 16)
    assert sample.dtype == torch.float32
    assert 0 <= float(sample.min()) <= float(sample.max()) <= 255
    assert torch.equal(sample, bank.sample(400, generator()))
    assert len({crop.numpy().tobytes() for crop in sample}) == 400
    assert not torch.equal(bank.sample(8, generator(1)), bank.sample(8, generator(2)))


def test_pictures_are_drawn_uniformly_with_replacement(tmp_path: Path) -> None:
    bank = pictures(photos(tmp_path, 40), 16, 100)
    which = bank.sample(4000, generator())[:, 0].mean((1, 2)).round().long()
    counts = torch.bincount(which, minlength=40)
    assert len(counts) == 40
    assert 60 < int(counts.min()) <= int(counts.max()) < 145  # 100 expected, standard deviation 10


@pytest.mark.slow
def test_hold_brings_the_next_pictures_into_the_oldest_places_of_the_same_tensor() -> None:
    all_of_them = drawn_pictures("generated", 24, 3, 200)
    bank = PictureBank("generated", 16, 80, seed=3)
    address = bank.pictures.data_ptr()
    assert bank.drawn == 64
    assert torch.equal(bank.pictures[:64], all_of_them[:64])
    for drawn in (70, 80, 110, 192, 200, 110):
        bank.advance(drawn)
        assert bank.drawn == drawn
        held = torch.arange(drawn - 80, drawn) if drawn > 80 else torch.arange(drawn)
        assert torch.equal(bank.pictures[held % 80], all_of_them[held])
    assert bank.pictures.data_ptr() == address
    bank.close()


@pytest.mark.slow
def test_samples_are_of_the_pictures_that_have_come(tmp_path: Path) -> None:
    bank = PictureBank(photos(tmp_path, 200, 9, 8), 16, 150)
    seen = []
    for drawn in (64, 100, 150):
        bank.advance(drawn)
        seen.append(len(bank.sample(5000, generator())[:, 0].mean((1, 2)).round().unique()))
    bank.close()
    assert seen == [64, 100, 150]


@pytest.mark.parametrize("source", ["generated", "folder"])
@pytest.mark.slow
def test_what_a_bank_holds_depends_on_how_many_it_has_drawn_alone(source: str, tmp_path: Path) -> None:
    origin = photos(tmp_path, 160, 9, 8) if source == "folder" else source
    bank, other = PictureBank(origin, 16, 70, seed=1), PictureBank(origin, 16, 70, seed=1)
    for drawn in (75, 128, 150, 300):
        bank.advance(drawn)
    other.advance(300)
    assert torch.equal(bank.pictures, other.pictures)
    assert torch.equal(bank.aspects, other.aspects)
    assert torch.equal(bank.sample(9, generator()), other.sample(9, generator()))
    bank.close()
    other.close()


@pytest.mark.slow
def test_more_pictures_join_and_then_replace_the_oldest_as_training_goes_on() -> None:
    options = AugmentationOptions(image_size=16, picture_count=700, refresh=0.5, seed=3)
    augmentation: Any = AUGMENTATIONS.get("overlay")(options)
    drawn = []
    for update in (0, 127, 128, 255, 256, 2000, 0):
        augmentation.refresh(update)
        drawn.append(augmentation.bank.drawn)
    assert drawn == [AT_FIRST, AT_FIRST, AT_FIRST + 64, AT_FIRST + 64, AT_FIRST + 128, AT_FIRST + 960, AT_FIRST]
    augmentation.close()
    assert torch.equal(augmentation.bank.pictures[:AT_FIRST], drawn_pictures("generated", 24, 3, AT_FIRST))


def test_a_folder_that_fits_is_kept_whole_and_never_drawn_again(tmp_path: Path) -> None:
    options = AugmentationOptions(image_size=16, picture_count=99, pictures=str(photos(tmp_path, 12)), refresh=9.0)
    augmentation: Any = AUGMENTATIONS.get("overlay")(options)
    augmentation.refresh(1000)
    assert len(augmentation.bank) == augmentation.bank.drawn == 12
    assert sorted(augmentation.bank.pictures[:, 0, 0, 0].tolist()) == list(range(12))


@pytest.mark.parametrize("wrong", [{"count": 0}, {"size": 4}, {"seed": -1}, {"detail": 0.5}, {"detail": 9}])
def test_numbers_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(FovealError, match="got"):
        pictures("generated", **wrong)


def test_a_bank_that_does_not_fit_says_how_much_memory_it_wants() -> None:
    with pytest.raises(FovealError, match=r"10,000,000,000 overlay pictures .* GiB .*lower training.overlay_count"):
        pictures("generated", 84, 10_000_000_000)


@pytest.mark.gpu
def test_a_bank_on_a_gpu_holds_and_crops_the_same_pictures() -> None:
    here, there = pictures("generated", 16, 90), pictures("generated", 16, 90, device="cuda")
    assert torch.equal(here.pictures, there.pictures.cpu())
    sample = there.sample(50, torch.Generator("cuda").manual_seed(0))
    assert sample.shape == (50, 3, 16, 16) and 0 <= float(sample.min()) <= float(sample.max()) <= 256


# --- the process that draws ahead -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_process_draws_the_same_blocks_in_order() -> None:
    ahead, here = Prefetcher("generated", 24, 5, first=2), open_source("generated", 24, 5)
    for number in range(2, 12):
        block = ahead.take()
        assert np.array_equal(block.pixels, here.block(number).pixels)
        assert ahead.next == number + 1
    ahead.close()


@pytest.mark.slow
def test_a_process_that_is_stopped_now_and_then_sends_every_byte_once() -> None:
    """As Ctrl-Z and ``fg`` do, in the middle of a block that the pipe does not hold."""
    ahead, here = Prefetcher("generated", 100, 5, first=0), open_source("generated", 100, 5)
    ended = threading.Event()

    def interrupt() -> None:
        while not ended.wait(0.01):
            ahead._process.send_signal(signal.SIGSTOP)
            ahead._process.send_signal(signal.SIGCONT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    try:
        for _ in range(8):
            time.sleep(0.02)
            block = ahead.take()
    finally:
        ended.set()
        interrupting.join()
    assert np.array_equal(block.pixels, here.block(7).pixels)
    ahead.close()


def alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_the_process_ends_with_its_bank() -> None:
    bank = PictureBank("generated", 16, 200)
    bank.advance(128)
    process = bank._prefetcher._process.pid  # type: ignore[union-attr]
    assert alive(process)
    del bank
    assert not alive(process)


@pytest.mark.slow
def test_a_process_that_nobody_reads_any_more_ends() -> None:
    """As it is when the training that it draws for is killed."""
    ahead = Prefetcher("generated", 24, 5, first=0)
    ahead.take()
    ahead._stream.close()
    deadline = time.monotonic() + 20
    while ahead._process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ahead._process.returncode == 0


def test_a_process_that_was_killed_is_said_to_be() -> None:
    ahead = Prefetcher("generated", 200, 5, first=0)
    ahead._process.send_signal(signal.SIGKILL)
    with pytest.raises(FovealError, match="ended with status -9; was it killed"):
        [ahead.take() for _ in range(50)]


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


@pytest.mark.slow
def test_generated_pictures_are_as_varied_as_photographs() -> None:
    drawn = drawn_pictures("generated", 84, 0, 2 * BLOCK).permute(0, 2, 1, 3).numpy().astype(np.float32)
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


def test_discs_that_wrap_around_hide_one_another_across_borders() -> None:
    """Written out one disc after the other, by distances on a torus."""
    size, counts, smallest = 33, np.array([40, 30]), np.array([2.0, 3.0], np.float32)
    leaves = fallen(np.random.default_rng(0), counts, smallest, 14.0, size, shapes=[ellipse], flattest=1.0, wrap=True)
    assert (leaves.radius >= smallest[leaves.picture]).all() and leaves.radius.max() <= 14.0
    expected = np.zeros((2, size, size), np.int64)
    expected[1] = 40
    for leaf, picture in enumerate(leaves.picture):
        middle = leaves.y[leaf], leaves.x[leaf]
        down, across = ((np.arange(size) - place + size / 2) % size - size / 2 for place in middle)
        expected[picture][np.hypot(down[:, None], across) < leaves.radius[leaf]] = leaf
    assert (leaves.label != expected).mean() < 1e-3  # pixels on an edge


def test_shares_of_families_add_up() -> None:
    assert sum(share for _, share in FAMILIES) == pytest.approx(1.0)


# --- folders of photographs -------------------------------------------------------------------------------------------


def test_a_folder_is_searched_at_any_depth_and_shuffled(tmp_path: Path) -> None:
    photos(tmp_path, 12)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"no image either")
    source = open_source(str(tmp_path), 24, 0)
    assert (source.name, source.distinct) == (str(tmp_path), 12)
    block = source.block(0)
    which = block.pixels[:, 0, 0, 0].tolist()
    assert sorted(which[:12]) == list(range(12))  # every file once before any comes again
    assert which == (which[:12] * 6)[:BLOCK]  # goes round
    assert which[:12] != sorted(which[:12])
    for i, picture in zip(which, block.pixels.transpose(0, 2, 1, 3), strict=True):
        assert [np.unique(c).tolist() for c in picture] == [[i], [255 - i], [7]]
    assert block.aspects == pytest.approx(4 / 3)
    assert which[12:24] == source.block(3).pixels[:, 0, 0, 0].tolist()[:12]  # 192 is a multiple of 12
    assert which != open_source(tmp_path, 24, 1).block(0).pixels[:, 0, 0, 0].tolist()


def test_crops_of_a_photograph_differ_and_stay_inside_it(tmp_path: Path) -> None:
    ramp = np.zeros((60, 90, 3), np.uint8)
    ramp[..., 0], ramp[..., 1], ramp[..., 2] = np.arange(90) + 50, np.arange(60)[:, None] + 50, 77
    Image.fromarray(ramp).save(tmp_path / "ramp.webp", lossless=True)
    bank = pictures(tmp_path, size=16, count=200, detail=4)
    assert len(bank) == 1
    drawn = bank.sample(400, generator()).round().int()
    assert drawn[:, 2].unique().tolist() == [77]  # nothing from outside of the image
    red, green = drawn[:, 0], drawn[:, 1]
    assert int(red.min()) in range(50, 53) and int(red.max()) in range(136, 140)
    assert int(green.min()) in range(50, 53) and int(green.max()) in range(106, 110)
    mirrored = int((red[:, 0, 0] > red[:, 0, -1]).sum())
    assert 160 < mirrored < 240
    assert bool((green[:, 0, 0] < green[:, -1, 0]).all())  # never upside down
    across, down = (red[:, 8, -1] - red[:, 8, 0]).abs(), green[:, -1, 8] - green[:, 0, 8]
    area = (across * 16 / 15) * (down * 16 / 15) / (60 * 90)
    assert float(area.min()) < 0.2 and float(area.max()) > 0.7 and 0.35 < float(area.mean()) < 0.6
    aspect = across / down
    assert 0.7 < float(aspect.min()) < 0.9 and 1.15 < float(aspect.max()) < 1.42


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
    assert bank.pictures[:, :, 2].unique().tolist() == [7]


def test_other_modes_than_rgb_are_converted(tmp_path: Path) -> None:
    Image.new("L", (20, 20), 120).save(tmp_path / "grey.png")
    Image.new("RGBA", (20, 20), (10, 20, 30, 128)).save(tmp_path / "alpha.png")
    Image.new("CMYK", (20, 20), (255, 0, 0, 0)).save(tmp_path / "print.jpg")
    Image.new("P", (20, 20)).save(tmp_path / "palette.png")
    assert pictures(tmp_path, size=16, count=8, seed=0).pictures.shape == (4, 24, 3, 24)


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


@pytest.mark.slow
def test_what_stops_the_process_is_said_in_its_words(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"")
    ahead = Prefetcher(str(tmp_path), 24, 0, first=0)
    with pytest.raises(FovealError, match=r"none of 1 image files .* can be decoded"):
        ahead.take()
    ahead.close()
