"""Winograd's convolutions compute what the definition does, wherever they are used, and step aside where they can't."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from foveal.bench import updates
from foveal.networks.encoders import ConvEncoder, EncoderConfig
from foveal.networks.kernels import winograd
from foveal.networks.kernels.convolution import Convolution, convolve
from foveal.saliency import pixel_gradient

pytestmark = pytest.mark.skipif(winograd.library() is None, reason="needs AVX2 and a C compiler")
CLOSE = 1e-5
"""Of the largest number: a sum of a hundred products of float32, transformed and back."""


@pytest.fixture
def everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small the image is."""
    monkeypatch.setattr(winograd, "LEAST_WORK", 0)
    monkeypatch.setattr(winograd, "LEAST_USE", 0)


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found.double(), wanted.double(), rtol=0, atol=CLOSE * float(wanted.abs().max() + 1e-9))


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    batch=st.integers(1, 5),
    channels=st.integers(1, 4),
    outs=st.integers(1, 4),
    sides=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    relu=st.booleans(),
    biased=st.booleans(),
    seed=st.integers(0, 1000),
)
def test_results_and_gradients_are_those_of_the_definition(
    batch: int,
    channels: int,
    outs: int,
    sides: tuple[int, int],
    padding: tuple[int, int],
    relu: bool,
    biased: bool,
    seed: int,
) -> None:
    if min(side + 2 * more for side, more in zip(sides, padding, strict=True)) < 3:
        return  # no result at all
    width, pads = winograd.vector_width(), list(padding)
    image = drawn(batch, channels * width, *sides, seed=seed)
    weight = drawn(outs * width, channels * width, 3, 3, seed=seed + 1)
    bias = drawn(outs * width, seed=seed + 2) if biased else None
    exact = [None if one is None else one.double().requires_grad_() for one in (image, weight, bias)]
    plain = F.conv2d(exact[0], exact[1], exact[2], padding=pads)  # type: ignore[arg-type]
    found = winograd.convolve(image, weight, bias, pads, relu=relu)
    close(found, plain.relu().detach() if relu else plain.detach())
    assert found.is_contiguous(memory_format=torch.channels_last)
    gradient = drawn(*plain.shape, seed=seed + 3)
    plain.backward(gradient.double())
    of_weight, of_bias = winograd.parameter_gradients(gradient, image, weight, pads)
    close(of_weight, exact[1].grad)  # type: ignore[union-attr, arg-type]
    close(of_bias, gradient.double().sum((0, 2, 3)))


def test_weights_that_reach_over_a_tiles_border_are_all_used() -> None:
    """One pixel lights up nine results, wherever it is: no tile forgets its neighbours'."""
    width = winograd.vector_width()
    weight = torch.zeros(width, width, 3, 3)
    weight[0, 0] = torch.arange(1.0, 10.0).view(3, 3)
    for row in range(11):
        for column in range(11):
            image = torch.zeros(1, width, 11, 11)
            image[0, 0, row, column] = 1
            found = winograd.convolve(image, weight, None, [1, 1], relu=False)
            close(found, F.conv2d(image, weight, padding=1))


def test_what_is_not_a_number_stays_so_behind_a_relu() -> None:
    width = winograd.vector_width()
    image = torch.full((1, width, 8, 8), torch.nan)
    assert winograd.convolve(image, torch.ones(width, width, 3, 3), None, [0, 0], relu=True).isnan().all()


def test_a_network_is_the_same_by_either_way(everywhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward, saliency with guided ReLUs, and all gradients."""
    width = winograd.vector_width()
    layers = [
        Convolution(drawn(width, 3, 3, 3), drawn(width), stride=2),
        Convolution(drawn(width, width, 3, 3, seed=1) / 9, drawn(width, seed=2)),
        Convolution(drawn(2 * width, width, 3, 3, seed=3) / 9, drawn(2 * width, seed=4), padding=1, relu=False),
    ]
    parameters = [tensor.requires_grad_() for layer in layers for tensor in (layer.weight, layer.bias)]

    def everything() -> list[Tensor]:
        image = drawn(3, 3, 27, 21, seed=5).requires_grad_()
        out = convolve(image, layers, torch.float32)
        guided = pixel_gradient(out.square().sum((1, 2, 3)), image, guided=True, retain_graph=True)
        return [out.detach(), guided, *torch.autograd.grad(out.square().sum(), [image, *parameters])]

    found = everything()
    monkeypatch.setattr(winograd, "suits", lambda *_: False)
    for mine, theirs in zip(found, everything(), strict=True):
        close(mine, theirs)


def test_the_published_encoder_uses_it_for_all_layers_but_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, ...]] = []
    original = winograd.convolve

    def noting(image: Tensor, *rest: object, **named: object) -> Tensor:
        calls.append(tuple(image.shape))
        return original(image, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(winograd, "convolve", noting)
    encoder = ConvEncoder((9, 84, 84), EncoderConfig(), torch.float32)
    encoder(torch.zeros(2, 9, 84, 84))
    assert calls == [(2, 32, side, side) for side in range(41, 21, -2)]


def test_threads_change_nothing_where_a_batch_has_many_parts() -> None:
    width = winograd.vector_width()
    image, weight = drawn(40, width, 33, 33), drawn(width, width, 3, 3)
    gradient = drawn(40, width, 31, 31)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(
                [
                    winograd.convolve(image, weight, None, [0, 0], relu=False),
                    *winograd.parameter_gradients(gradient, image, weight, [0, 0]),
                ]
            )
    finally:
        torch.set_num_threads(before)
    wanted = torch.nn.grad.conv2d_weight(image.double(), list(weight.shape), gradient.double())
    close(results[0][1], wanted)
    close(results[0][2], gradient.double().sum((0, 2, 3)))
    for other in results[1:]:
        assert all(torch.equal(mine, theirs) for mine, theirs in zip(results[0], other, strict=True))


def test_what_it_is_for() -> None:
    width = winograd.vector_width()
    image, weight, one, none = torch.zeros(8, width, 40, 40), torch.zeros(width, width, 3, 3), [1, 1], [0, 0]
    assert winograd.suits(image, weight, one, none)
    assert not winograd.suits(image, weight, [2, 2], none)
    assert not winograd.suits(image.bfloat16(), weight.bfloat16(), one, none)
    assert not winograd.suits(image, torch.zeros(width, width, 5, 5), one, none)
    assert not winograd.suits(image, torch.zeros(width + 1, width, 3, 3), one, none)
    assert not winograd.suits(image[:, :3], weight[:, :3], one, none)
    assert not winograd.suits(image, weight, one, [3, 3])
    assert not winograd.suits(image[:1, :, :8, :8], weight, one, none)  # too little work
    assert not winograd.suits(torch.zeros(999, width, 7, 7), weight, one, none)  # 25 of 64 pixels
    assert not winograd.suits(image[:, :, :2], weight, one, none)  # no result


@pytest.mark.slow
@pytest.mark.parametrize("how", ["no compiler", "it fails", "switched off"])
def test_without_it_convolutions_are_pytorchs(how: str, tmp_path: Path) -> None:
    """In a process of its own, whose cache is empty."""
    compiler = {
        "no compiler": str(tmp_path / "none"),
        "it fails": shutil.which("false") or "false",
        "switched off": "cc",
    }
    program = """if True:
        import torch
        from foveal.networks.kernels import winograd
        from foveal.networks.kernels.convolution import Convolution, convolve
        image, weight = torch.ones(8, 16, 40, 40), torch.ones(16, 16, 3, 3)
        assert winograd.library() is None and not winograd.suits(image, weight, [1, 1], [0, 0])
        assert convolve(image, [Convolution(weight, torch.zeros(16))], torch.float32).unique().tolist() == [144.0]
    """
    environment = {"CC": compiler[how], "XDG_CACHE_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    environment |= {winograd.SWITCH: "0"} if how == "switched off" else {}
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    assert not list(tmp_path.rglob("*.so"))


@pytest.mark.slow
def test_it_is_translated_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = winograd._translated(8)
    assert first.parent == tmp_path / "foveal" and [path.name for path in first.parent.iterdir()] == [first.name]
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("translated again"))
    assert winograd._translated(8) == first


def test_its_arithmetic_is_counted_as_the_definitions() -> None:
    width = winograd.vector_width()
    image, weight = drawn(2, width, 20, 20), drawn(width, width, 3, 3)
    gradient = drawn(2, width, 18, 18)
    with updates._Arithmetic() as counted:  # type: ignore[no-untyped-call]
        winograd.convolve(image, weight, None, [0, 0], relu=True)
        once = counted.operations
        winograd.parameter_gradients(gradient, image, weight, [0, 0])
    wanted = 2 * 2 * 18 * 18 * width * width * 9
    assert wanted <= once < 1.3 * wanted  # with the products that transform the weights
    assert wanted <= counted.operations - once < 1.3 * wanted
