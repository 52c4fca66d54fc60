"""Maps of Atari networks as pictures: receptive fields by gradients and by loops, scaling."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from foveal.atari.maps import OBSERVED, SCREEN, render_maps, resize_maps, scale_recording
from foveal.errors import FovealError
from foveal.networks.attention import Rendering
from foveal.networks.encoders import EncoderChoice, build_encoder
from foveal.networks.encoders.atari import ATARI_ENCODERS, AtariEncoder

WITH_MAPS = [name for name in sorted(ATARI_ENCODERS) if name != "nature"]


def built(name: str) -> AtariEncoder:
    made = build_encoder((4, 84, 84), EncoderChoice(name), torch.float32)
    assert isinstance(made, AtariEncoder)
    return made


def random(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


# --- receptive fields -------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("sparse-fls", Rendering(36, 8, 0)),
        ("sparse-fls-norelu-pool", Rendering(36, 8, 0)),
        ("daqn", Rendering(36, 8, 0)),
        ("rs-ppo-no-pad", Rendering(36, 8, 0)),
        ("rs-ppo", Rendering(36, 8, 1)),  # a pixel of padding before the first convolution
        ("sparse-fls-h1", Rendering(8, 4, 0)),
        ("sparse-fls-x3", Rendering(8, 4, 0)),
        ("dense-fls", Rendering(13, 1, 6)),
    ],
)
def test_published_fields(name: str, published: Rendering) -> None:
    assert built(name).rendering == published


def seen(encoder: AtariEncoder, position: tuple[int, int]) -> Tensor:
    """(84, 84) the pixels on which the features that the map weighs depend, by the gradient of all-positive weights."""
    stages = list(encoder.stages)[: 1 + min(int(index) for index in encoder.attend)]
    for stage in stages:
        nn.init.ones_(stage[0].weight)
        nn.init.ones_(stage[0].bias)
    image = torch.ones(1, 4, *OBSERVED, requires_grad=True)
    features = nn.Sequential(*stages)(image)
    (gradient,) = torch.autograd.grad(features[0, :, position[0], position[1]].sum(), image)
    return gradient[0].sum(0) > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_MAPS)
def test_a_position_is_drawn_on_the_pixels_that_it_saw(name: str) -> None:
    encoder = built(name)
    side = {"dense-fls": 84, "dense-fls-norelu": 84, "sparse-fls-h1": 20, "sparse-fls-x3": 20}.get(name, 7)
    positions = [(0, 0), (0, side - 1), (side - 1, side - 1), (side // 2, side // 3), (side - 2, 1)]
    one = torch.zeros(len(positions), 1, side, side)
    for index, (y, x) in enumerate(positions):
        one[index, 0, y, x] = 2.5
    drawn = render_maps(one, encoder.rendering)
    for picture, position in zip(drawn, positions, strict=True):
        assert picture.equal(2.5 * seen(encoder, position))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sparse-fls", "sparse-fls-h1", "rs-ppo", "dense-fls"])
def test_maps_are_sums_over_fields(name: str) -> None:
    """Against a loop over the pixels: what does a pixel get from the positions that see it?"""
    rendering = built(name).rendering
    assert rendering is not None
    side = {"dense-fls": 84, "sparse-fls-h1": 20}.get(name, 7)
    attention = random(2, 1, side, side)
    found = render_maps(attention, rendering).numpy()
    values = attention.numpy()
    starts = np.arange(side) * rendering.stride - rendering.padding
    for row, column in [(0, 0), (3, 83), (41, 20), (83, 83), (82, 5)]:
        rows = (starts <= row) & (row < starts + rendering.receptive_field)
        columns = (starts <= column) & (column < starts + rendering.receptive_field)
        expected = values[:, 0][:, rows][:, :, columns].sum((1, 2))
        np.testing.assert_allclose(found[:, row, column], expected, rtol=1e-5)


@pytest.mark.slow
def test_the_screen_shows_the_same_map_larger() -> None:
    rendering = built("sparse-fls").rendering
    attention = random(2, 1, 7, 7)
    small, large = render_maps(attention, rendering), render_maps(attention, rendering, SCREEN)
    assert small.shape == (2, 84, 84) and large.shape == (2, 210, 160)
    assert large.equal(resize_maps(small, SCREEN))
    ramp = torch.arange(84.0).expand(1, 84, 84)
    wide = resize_maps(ramp, SCREEN)[0, 0]
    inner = (torch.arange(160.0) + 0.5) * 84 / 160 - 0.5  # where a pixel's middle falls
    torch.testing.assert_close(wide, inner.clamp(0, 83), rtol=0, atol=1e-4)


def test_a_constant_map_of_the_dense_network_is_brightest_where_all_fields_meet() -> None:
    drawn = render_maps(torch.ones(1, 1, 84, 84), built("dense-fls").rendering)[0]
    assert drawn[42, 42] == 13 * 13 and drawn[0, 0] == 7 * 7 and drawn[0, 42] == 7 * 13


def test_networks_without_maps_and_maps_without_shape_are_refused() -> None:
    with pytest.raises(FovealError, match=r"no attention.*sparse-fls"):
        render_maps(torch.ones(1, 1, 7, 7), built("nature").rendering)
    with pytest.raises(FovealError, match=r"shape \(N, 1, h, w\), not \(7, 7\)"):
        render_maps(torch.ones(7, 7), Rendering(36, 8, 0))


# --- scaling ----------------------------------------------------------------------------------------------------------


def test_one_scale_for_a_whole_recording() -> None:
    maps = torch.tensor([[[0.0, 2.0]], [[8.0, 1.0]], [[0.0, 0.0]]])
    assert scale_recording(maps).tolist() == [[[0.0, 0.25]], [[1.0, 0.125]], [[0.0, 0.0]]]
    assert scale_recording(torch.zeros(2, 3, 3)).equal(torch.zeros(2, 3, 3))
