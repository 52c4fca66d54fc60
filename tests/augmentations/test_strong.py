"""SADA's and SimGRL's augmentations: closed forms, plain loops, and what the published code makes of the same draws."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.augmentations import ALL, AUGMENTATIONS, AugmentationOptions, PictureBank, random_conv, random_shift
from foveal.augmentations import base as augmentations_base
from foveal.augmentations import strong_shift as strong_shift_module
from foveal.augmentations.mixture import Mixture
from foveal.augmentations.overlay import Overlay
from foveal.augmentations.rotate import rotated
from foveal.augmentations.shifted_overlay import ShiftedOverlay, moving_crops, shifted_overlay
from foveal.errors import FovealError
from oracle import problem, views_problem

FOLDER = Path(__file__).parents[1] / "oracle"
small = st.integers(1, 4)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(batch: int = 5, frames: int = 3, side: int = 16, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, (batch, 3 * frames, side, side), generator=generator(seed)).float()


def build(name: str, **options: Any) -> Any:
    return AUGMENTATIONS.get(name)(AugmentationOptions(**{"image_size": 16, "picture_count": 20, **options}))


def assert_published(ours: Tensor, wanted: np.ndarray[Any, Any], limit: float) -> None:
    """A whole batch, (4, 9, 84, 84), against what is kept of the published one; the limit is one of pixels."""
    found = problem.summary(ours.contiguous().numpy())
    np.testing.assert_allclose(found[: problem.KEPT], wanted[: problem.KEPT], rtol=0, atol=limit)
    np.testing.assert_allclose(found[problem.KEPT :], wanted[problem.KEPT :], rtol=1e-5)


# --- rotation ---------------------------------------------------------------------------------------------------------


def test_no_turn_and_quarter_turns_are_exact() -> None:
    x = images(4)
    turned = rotated(x, 0.5 * math.pi * torch.arange(4))
    for number, (one, other) in enumerate(zip(turned, x, strict=True)):
        torch.testing.assert_close(one, torch.rot90(other, number, (1, 2)), rtol=0, atol=2e-3)  # counter-clockwise


def test_a_turn_keeps_a_disc_in_the_middle_and_a_uniform_picture() -> None:
    across = torch.arange(33.0) - 16
    disc = 200 * (across[:, None] ** 2 + across**2 < 100).float().expand(1, 3, 33, 33)
    turned = rotated(disc, torch.tensor([0.7]))
    assert float((turned - disc).abs().mean()) < 4  # interpolation at its edge
    assert torch.allclose(rotated(torch.full((2, 3, 9, 9), 77.0), torch.tensor([0.3, 2.0])), torch.tensor(77.0))


def test_the_border_goes_on_where_the_picture_ends() -> None:
    halves = torch.zeros(1, 3, 20, 20)
    halves[..., 10:] = 100.0
    turned = rotated(halves, torch.tensor([math.pi / 4]))
    assert turned[0, 0, 19, 0] == 0.0 and turned[0, 0, 0, 19] == 100.0  # corners, from beyond the edges


def test_angles_are_drawn_for_every_sample_over_the_whole_circle() -> None:
    ramp = (torch.arange(33.0) - 16).expand(3, 33, 33)  # its slope tells the angle
    out = build("rotate")((128 + 4 * ramp).expand(2000, 3, 33, 33), generator())
    slope = torch.stack([out[:, 0, 16, 17] - out[:, 0, 16, 15], out[:, 0, 17, 16] - out[:, 0, 15, 16]])
    octants = torch.bincount(((torch.atan2(slope[1], slope[0]) / (math.pi / 4)).floor().long() + 4), minlength=8)
    assert len(octants) == 8 and 190 < int(octants.min()) <= int(octants.max()) < 310  # 250 expected, sigma 15


def test_turned_pictures_are_the_published_ones() -> None:
    """But for the outermost corners near 45 degrees: there its padding of 17 pixels ends, and it blends in black."""
    wanted = np.load(FOLDER / "sada.npz")["rotated"]
    image = torch.from_numpy(views_problem.pictures(2))
    ours = rotated(image, torch.deg2rad(torch.tensor(views_problem.ANGLES)))
    found = problem.summary(ours.contiguous().numpy())
    place = np.linspace(0, ours.numel() - 1, problem.KEPT).astype(np.int64)
    row, column = (place // 84 % 84) - 41.5, (place % 84) - 41.5
    inside = np.hypot(row, column) < 58.0
    assert 0.98 < inside.mean() <= 1.0
    np.testing.assert_allclose(found[:-2][inside], wanted[:-2][inside], rtol=0, atol=0.02)
    np.testing.assert_allclose(found[-2:], wanted[-2:], rtol=1e-4)
    assert (found[-2:] > wanted[-2:]).all()


# --- strong shift -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "pad"), [(84, 16), (40, 8), (16, 3)])
def test_strong_shifts_reach_as_far_as_16_pixels_of_84(side: int, pad: int) -> None:
    ramp = torch.arange(float(side)).expand(500, 3, side, side)
    middle = build("strong-shift", image_size=side)(ramp, generator())[:, 0, 0, side // 2] - side // 2
    assert set(middle.tolist()) == set(range(-pad, pad + 1))


def test_strong_shifts_are_random_shifts() -> None:
    assert torch.equal(build("strong-shift")(images().byte(), generator(3)), random_shift(images(), 3, generator(3)))


def test_shifted_pictures_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = np.load(FOLDER / "sada.npz")
    moves = torch.tensor(views_problem.MOVES).T  # (2, B)
    monkeypatch.setattr(torch, "randint", lambda *_, **__: moves)
    image = torch.from_numpy(views_problem.pictures(2))
    assert_published(build("strong-shift", image_size=84)(image, generator()), stored["shifted"], 0.02)
    turned = rotated(image, torch.deg2rad(torch.tensor(views_problem.ANGLES)))
    moved = random_shift(turned, 16)
    found, wanted = problem.summary(moved.contiguous().numpy()), stored["rotated_shifted"]
    assert (np.abs(found[:-2] - wanted[:-2]) < 0.02).mean() > 0.97  # what the corners were is spread by the border
    np.testing.assert_allclose(found[-2:], wanted[-2:], rtol=1e-3)


def test_random_convolutions_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "randn", lambda *_, **__: torch.from_numpy(views_problem.random_kernels()))
    image = torch.from_numpy(views_problem.pictures(2)).float()
    assert_published(random_conv(image, generator()), np.load(FOLDER / "sada.npz")["convolved"], 1e-3)


# --- chains and mixtures ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "parts"), [("conv-overlay", ["conv", "overlay"]), ("rotate-shift", ["rotate", "strong-shift"])]
)
def test_a_chain_is_one_part_after_the_other(name: str, parts: list[str]) -> None:
    chain, draws = build(name), generator(2)
    first, second = chain.built.values()
    assert list(chain.built) == parts
    assert torch.equal(chain(images(), generator(2)), second(first(images(), draws), draws))


class Add:
    """Adds a number, so that the sum tells what was done, and in the order of the digits."""

    source = None
    amount, base = 0.0, 1.0

    def __init__(self, options: AugmentationOptions) -> None:
        self.refreshed: list[int] = []
        self.closed = 0

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return 10 * images + self.amount

    def refresh(self, update: int) -> None:
        self.refreshed.append(update)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts of SADA's six, each of which appends its digit to every pixel."""
    AUGMENTATIONS.names()
    for digit, name in enumerate(("conv", "overlay", "rotate", "strong-shift"), 1):
        monkeypatch.setitem(AUGMENTATIONS._entries, name, type(name, (Add,), {"amount": float(digit)}))


@pytest.mark.usefixtures("digits")
@pytest.mark.parametrize("order", [ALL, ALL[::-1]])
def test_a_mixture_is_one_of_them_for_each_sample_each_as_often(order: tuple[str, ...]) -> None:
    out = build("mixture", mixture=order)(torch.zeros(12_000, 6, 2, 2), generator())
    assert torch.equal(out, out[:, :1, :1, :1].expand_as(out))  # all of a sample alike
    done, counts = out[:, 0, 0, 0].unique(return_counts=True)
    assert done.tolist() == [1, 2, 3, 4, 12, 34]  # conv, overlay, rotate, shift, and the two chains in their order
    assert 1850 < int(counts.min()) <= int(counts.max()) < 2150  # 2000 expected, sigma 41


@pytest.mark.usefixtures("digits")
def test_a_mixture_of_some_has_these_alone() -> None:
    out = build("mixture", mixture=("rotate-shift", "conv"))(torch.zeros(500, 3, 2, 2), generator())
    assert out.unique().tolist() == [1, 34]
    assert build("mixture", mixture=("overlay",))(torch.zeros(9, 3, 2, 2), generator()).unique().tolist() == [2]


@pytest.mark.usefixtures("digits")
def test_a_mixture_refreshes_and_closes_every_part_once() -> None:
    mixture = build("mixture")
    mixture.refresh(7)
    mixture.close()
    parts: Any = list(mixture.built.values())
    assert len(parts) == 4 and all(part.refreshed == [7] and part.closed == 1 for part in parts)


def test_a_mixture_has_one_bank_of_pictures_and_names_its_source() -> None:
    mixture = build("mixture")
    assert isinstance(mixture, Mixture) and mixture.source == "generated"
    assert sum(isinstance(part, Overlay) for part in mixture.built.values()) == 1
    assert build("mixture", mixture=("rotate", "conv")).source is None


def test_the_six_are_named_where_options_are() -> None:
    assert augmentations_base.ALL == ("conv", "overlay", "conv-overlay", "rotate", "strong-shift", "rotate-shift")
    assert AugmentationOptions().mixture == ALL
    assert pytest.approx(16) == strong_shift_module.REACH * 84


# --- shifted overlay --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bank() -> PictureBank:
    return ShiftedOverlay(AugmentationOptions(image_size=16, picture_count=20)).bank


@settings(max_examples=25)
@given(small, small, st.integers(1, 3), st.integers(0, 99))
def test_windows_move_on_by_the_same_step(batch: int, count: int, reach: int, seed: int) -> None:
    side = 7 + 2 * count * reach
    canvas = torch.rand(batch, 3, side, side, generator=generator(seed))
    steps = torch.randint(-reach, reach + 1, (2, batch), generator=generator(seed))
    made = moving_crops(canvas, 7, steps, count)
    for sample in range(batch):
        for frame in range(count):
            top, left = (count * reach + frame * int(step) for step in steps[:, sample])
            window = canvas[sample, :, top : top + 7, left : left + 7]
            assert torch.equal(made[sample, 3 * frame : 3 * frame + 3], window)


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_it_is_a_blend_with_windows_of_one_random_crop(bank: PictureBank, frames: int) -> None:
    x, draws = images(frames=frames), generator(1)
    canvas = bank.sample(5, draws, size=16 + 2 * frames * 2)
    steps = torch.randint(-2, 3, (2, 5), generator=draws)
    expected = 0.75 * x + 0.25 * moving_crops(canvas, 16, steps, frames)
    torch.testing.assert_close(shifted_overlay(x, bank, 2, generator(1), alpha=0.25), expected)


@pytest.mark.slow
def test_the_picture_moves_by_up_to_6_pixels_of_84() -> None:
    for side, reach in ((40, 3), (36, 3), (7, 1)):
        assert build("shifted-overlay", image_size=side, picture_count=1).reach == reach


@pytest.mark.slow
def test_pictures_are_kept_as_sharp_as_the_larger_crop_needs() -> None:
    augmentation = build("shifted-overlay", image_size=84, picture_count=1)
    assert augmentation.reach == 6
    assert augmentation.bank.size == 120 and augmentation.bank.pictures.shape == (1, 180, 3, 180)


def test_overlaid_pictures_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = torch.from_numpy(views_problem.steps())
    asked: list[int] = []

    class Canvases:
        channels = 3

        def sample(self, n: int, generator: torch.Generator, dtype: torch.dtype, size: int) -> Tensor:
            asked.append(size)
            return torch.from_numpy(views_problem.canvases()).to(dtype)

    monkeypatch.setattr(torch, "randint", lambda *_, **__: steps)
    image = torch.from_numpy(views_problem.pictures(1))
    ours = shifted_overlay(image, Canvases(), views_problem.REACH, generator())  # type: ignore[arg-type]
    assert asked == [views_problem.CANVAS]
    assert_published(ours, np.load(FOLDER / "simgrl.npz")["overlaid"], 1e-4)


def test_it_refuses_what_is_no_stack_of_colour_frames(bank: PictureBank) -> None:
    with pytest.raises(FovealError, match="stacked colour images"):
        shifted_overlay(torch.zeros(2, 4, 16, 16), bank, 1, generator())
