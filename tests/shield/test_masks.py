"""Masks without a simulator: by motion, by saliency, from a few that were drawn; on films whose task is known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.shield import ShieldConfig
from foveal.shield.different import different
from foveal.shield.few import loss, masks_from_few, moved
from foveal.shield.labels import check_saliency, environment_frames, found_masks
from foveal.shield.motion import cleaned, motion_masks
from foveal.shield.salient import AROUND, SHARE, looking, saliency_masks, stacked
from moving_square import SIDE, SQUARE, film, overlap

# --- motion -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [0.0, 3.0, 8.0])
def test_a_square_that_moves_over_a_still_texture_is_found(noise: float) -> None:
    pixels, masks = film(noise=noise)
    assert overlap(motion_masks(pixels), masks) > 0.95


def test_before_a_camera_that_pans_motion_tells_nothing_and_that_is_said() -> None:
    pixels, masks = film(pan=3)
    assert overlap(motion_masks(pixels), masks) < 0.1
    with pytest.raises(FovealError, match=r"100 % of each frame change all the time.*a camera that moves.*shield draw"):
        found_masks(pixels, torch.zeros(len(pixels)), "motion", None)


def test_where_nothing_moves_motion_tells_nothing() -> None:
    still = film(noise=0.0)[0][:1].expand(30, -1, -1, -1).contiguous()
    assert not motion_masks(still).any()
    with pytest.raises(FovealError, match="nothing in these frames moves"):
        found_masks(still, torch.zeros(30), "motion", None)


def test_a_place_that_flickers_must_differ_by_more_than_its_flicker() -> None:
    pixels, masks = film(noise=0.0)
    lamp = slice(SIDE - 8, SIDE)
    bright = torch.randint(60, 120, (len(pixels), 1, 8, 8), generator=torch.Generator().manual_seed(0))
    pixels[:, :, lamp, lamp] = torch.where(masks[:, None, lamp, lamp], pixels[:, :, lamp, lamp], bright.to(torch.uint8))
    assert overlap(motion_masks(pixels), masks) > 0.95


def test_gaps_of_a_pixel_close_and_specks_go() -> None:
    mask = torch.zeros(1, 12, 12, dtype=torch.bool)
    mask[0, 3:9, 3:9] = True
    holed = mask.clone()
    holed[0, 5, 5] = False
    holed[0, 0, 11] = holed[0, 11, 0] = True
    assert cleaned(holed).equal(mask)
    thin = torch.zeros(1, 12, 12, dtype=torch.bool)
    thin[0, :, 6] = True  # a pole stays
    assert cleaned(thin)[0, 1:-1].equal(thin[0, 1:-1])


# --- saliency ---------------------------------------------------------------------------------------------------------


def test_stacks_are_of_one_episode_and_repeat_its_first_frame() -> None:
    places = stacked(torch.tensor([0, 0, 0, 2, 2]), 3)
    assert places.tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [3, 3, 3], [3, 3, 4]]


def bright(stacks: Tensor) -> Tensor:
    """The newest frame's brightness, where that is extreme."""
    return (stacks[:, -3:].float().mean(1) - 200).clamp_min(0)


def test_what_a_policy_looks_at_is_the_task() -> None:
    pixels, masks = film(pan=3, noise=0.0)
    still = masks[:1].expand_as(masks)
    pixels = torch.where(still[:, None], torch.tensor(245, dtype=torch.uint8), pixels.clamp_max(180))
    found = saliency_masks(pixels, torch.zeros(len(pixels)), bright, 3)
    wide = F.max_pool2d(still[:, None].float(), 3, 1, 1)[:, 0].bool()  # as masks are widened by a pixel
    assert overlap(found, wide) > 0.9
    assert abs(SQUARE**2 / SIDE**2 - SHARE) < 0.01  # or else another share would be the task's


def test_saliency_is_gathered_within_an_episode_alone() -> None:
    pixels = torch.zeros(12, 3, 16, 16, dtype=torch.uint8)
    pixels[6:, :, 4:6, 4:6] = 250
    pixels[:6, :, 10:12, 10:12] = 250
    whole = saliency_masks(pixels, torch.zeros(12), bright, 1)
    apart = saliency_masks(pixels, torch.tensor([0] * 6 + [1] * 6), bright, 1)
    assert whole[6, 10, 10] and not apart[6, 10, 10]
    assert whole[6 + AROUND, 4, 4] and not whole[6 + AROUND, 10, 10]


def test_a_policy_that_nobody_can_look_into_is_refused() -> None:
    class Black:
        def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
            return observation, None

    with pytest.raises(FovealError, match="has no values"):
        looking(Black())
    config = ShieldConfig(masks="saliency")
    with pytest.raises(FovealError, match="saliency is a policy's: name one"):
        check_saliency(config, None)
    with pytest.raises(FovealError, match="go with frames from files"):
        environment_frames("dmc/walker-walk", {}, ShieldConfig(masks="files"), 0)


# --- from a few -------------------------------------------------------------------------------------------------------


def test_frames_and_masks_move_together() -> None:
    pixels, masks = film(20, noise=0.0)
    pixels = torch.where(masks[:, None], pixels, torch.zeros_like(pixels))
    shown, wanted = moved(pixels, masks, torch.Generator().manual_seed(0))
    assert not wanted.equal(masks)
    assert overlap(shown[:, 0] > 122, wanted) > 0.97
    sizes = wanted.flatten(1).sum(1) / SQUARE**2
    assert sizes.max() > 1.2 and sizes.min() < 0.8


def test_the_loss_of_the_labels_is_what_it_says() -> None:
    logits = torch.randn(3, 5, 5, generator=torch.Generator().manual_seed(0))
    wanted = (torch.rand(3, 5, 5, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    p = 1 / (1 + torch.exp(-logits))
    entropy = -(wanted * p.log() + (1 - wanted) * (1 - p).log()).mean()
    overlaps = [((p[i] * wanted[i]).sum() + 1) / ((p[i] + wanted[i] - p[i] * wanted[i]).sum() + 1) for i in range(3)]
    torch.testing.assert_close(loss(logits, wanted), entropy + 1 - torch.stack(overlaps).mean())


@pytest.mark.slow
def test_a_few_masks_tell_those_of_a_film_whose_camera_pans() -> None:
    pixels, masks = film(pan=3, side=32)
    chosen = torch.tensor(different(pixels, 4))
    found = masks_from_few(pixels, chosen, masks[chosen], steps=100)
    others = torch.ones(len(pixels), dtype=torch.bool)
    others[chosen] = False
    assert found[chosen].equal(masks[chosen])
    assert overlap(found[others], masks[others]) > 0.9
    again = masks_from_few(pixels, chosen, masks[chosen], steps=2)
    assert again.equal(masks_from_few(pixels, chosen, masks[chosen], steps=2))
    assert overlap(again[others], masks[others]) < 0.5  # it must learn


@pytest.mark.slow
def test_a_label_does_not_depend_on_which_frames_are_labelled_beside_it() -> None:
    pixels, masks = film(40, side=24)
    chosen = torch.tensor([3, 11])
    all_of_them, some = (masks_from_few(part, chosen, masks[chosen], steps=3) for part in (pixels, pixels[:17]))
    assert all_of_them[:17].equal(some)


# --- which to draw ----------------------------------------------------------------------------------------------------


def test_frames_that_differ_are_chosen_and_none_twice() -> None:
    looks = torch.zeros(30, 3, 16, 16, dtype=torch.uint8)
    looks[10:12] = 100
    looks[20] = 200
    chosen = different(looks, 3)
    assert [int(looks[place, 0, 0, 0]) for place in chosen] == [0, 200, 100]
    assert sorted(different(looks, 40)) == list(range(30))
