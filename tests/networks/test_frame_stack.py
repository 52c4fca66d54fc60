"""SimGRL's encoder against plain layers and what the published code computed (tests/oracle/simgrl.md)."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.errors import FovealError
from foveal.networks.encoders import EncoderConfig, build_encoder, frame_stack
from foveal.networks.encoders.frame_stack import FrameStackConfig, FrameStackEncoder
from foveal.networks.frames import apart, together
from foveal.saliency import guided_backprop
from foveal.training.updater import differentiable
from oracle import problem, views_problem
from wires import Room, Wire, cases

ORACLE = np.load(Path(__file__).parents[1] / "oracle" / "simgrl.npz")
SMALL = FrameStackConfig(strides=(2, 1, 1, 1), filters=5, frame_layers=2, frame_filters=4)


def encoder_of(config: FrameStackConfig = SMALL, shape: tuple[int, int, int] = (9, 21, 21), **options: Any) -> Any:
    torch.manual_seed(0)
    built = FrameStackEncoder(shape, dataclasses.replace(config, **options), torch.float32)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return built


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).float()


def plain(encoder: Any, image: Tensor, offset: float = 0.0, *, last_relu: bool = False) -> Tensor:
    """Frame after frame, then all together, written out; flattened pixel by pixel."""
    parts = []
    for start in range(0, image.shape[1], 3):
        hidden = image[:, start : start + 3] / 255 - offset
        for layer in encoder.layers[: encoder.frame_layers]:
            hidden = F.relu(F.conv2d(hidden, layer.weight, layer.bias, layer.stride))
        parts.append(hidden)
    hidden = torch.cat(parts, 1)
    rest = encoder.layers[encoder.frame_layers :]
    for number, layer in enumerate(rest, 1):
        hidden = F.conv2d(hidden, layer.weight, layer.bias, layer.stride)
        hidden = F.relu(hidden) if last_relu or number < len(rest) else hidden
    return hidden.permute(0, 2, 3, 1).flatten(1)


@pytest.mark.parametrize("frames", [1, 2, 3])
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_features_and_gradients_equal_plain_layers(layers: int, frames: int) -> None:
    encoder = encoder_of(shape=(3 * frames, 21, 21), frame_layers=layers)
    image = images(2, 3 * frames, 21, 21).requires_grad_()
    ours, wanted = encoder(image), plain(encoder, image)
    assert ours.shape == (2, encoder.output_size) == (2, torch.Size(encoder.output_shape).numel())
    torch.testing.assert_close(ours, wanted, rtol=1e-4, atol=1e-5)
    inputs = [image, *encoder.parameters()]
    gradients = torch.autograd.grad(ours.square().sum(), inputs)
    for one, other in zip(gradients, torch.autograd.grad(wanted.square().sum(), inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("centred", "last_relu"), [(True, False), (False, True)])
def test_what_pixels_and_features_are_made_of(centred: bool, last_relu: bool) -> None:
    encoder, image = encoder_of(centred=centred, last_relu=last_relu), images(2, 9, 21, 21)
    wanted = plain(encoder, image, 0.5 if centred else 0.0, last_relu=last_relu)
    torch.testing.assert_close(encoder(image), wanted, rtol=1e-4, atol=1e-5)
    assert bool((encoder(image) >= 0).all()) == last_relu


def test_frames_meet_only_after_their_own_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = encoder_of(SMALL)
    image = images(1, 9, 21, 21)
    seen: list[Tensor] = []
    real = frame_stack.convolve
    monkeypatch.setattr(frame_stack, "convolve", lambda *a: (seen.append(real(*a)), seen[-1])[1])
    encoder(image)
    before = list(seen)
    image[:, 3:6] = 0.0  # the frame in the middle
    seen.clear()
    encoder(image)
    first, second, joint = (
        [not torch.equal(a, b) for a, b in zip(x, y, strict=True)] for x, y in zip(before, seen, strict=True)
    )
    assert (first, second, joint) == ([True], [False, True, False], [True])
    changed = (before[0] - seen[0]).abs().amax((0, 2, 3)) > 0
    assert changed[4:8].any() and not changed[:4].any() and not changed[8:].any()


def test_frames_come_apart_and_together() -> None:
    stack = images(2, 6, 4, 5).contiguous(memory_format=torch.channels_last)
    samples = apart(stack, 2)
    assert torch.equal(samples, torch.stack([stack[:, :3], stack[:, 3:]], 1).flatten(0, 1))
    assert torch.equal(together(samples, 2), stack)
    for tensor in (samples, together(samples, 2)):
        assert tensor.is_contiguous(memory_format=torch.channels_last)


# --- against the published class --------------------------------------------------------------------------------------


def published() -> FrameStackEncoder:
    shape = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    encoder = FrameStackEncoder(shape, FrameStackConfig(filters=problem.FILTERS), torch.float32)
    with torch.no_grad():
        for layer, (weight, bias) in zip(encoder.layers, views_problem.frame_stack(), strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
    return encoder


def test_features_and_gradients_are_the_published_ones() -> None:
    encoder = published()
    image = torch.from_numpy(views_problem.pictures(0)).float().requires_grad_()
    features = encoder(image)
    side = encoder.output_shape[1]
    by_channel = features.view(-1, side, side, problem.FILTERS).permute(0, 3, 1, 2)  # as they are flattened there
    features.square().mean().backward()
    ours = {"features": by_channel, "gradient/image": image.grad}
    for index, layer in enumerate(encoder.layers):
        ours |= {f"gradient/{index}.weight": layer.weight.grad, f"gradient/{index}.bias": layer.bias.grad}
    assert {*ours, "overlaid", "tid"} == set(ORACLE)
    for name, value in ours.items():
        assert value is not None
        found, wanted = problem.summary(value.detach().contiguous().numpy()), ORACLE[name]
        np.testing.assert_allclose(
            found, wanted, rtol=2e-4, atol=2e-5 * np.abs(wanted[: problem.KEPT]).max(), err_msg=name
        )


# --- pixels -----------------------------------------------------------------------------------------------------------


def test_guided_backpropagation_heeds_every_relu() -> None:
    encoder = encoder_of()
    image = images(2, 9, 21, 21)

    class Guided(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x.clamp(min=0)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:
            (x,) = ctx.saved_tensors
            return gradient.clamp(min=0) * (x > 0)

    def written_out(pixels: Tensor) -> Tensor:
        relu, F.relu = F.relu, Guided.apply
        try:
            return plain(encoder, pixels).square().sum(1)
        finally:
            F.relu = relu

    pixels = image.clone().requires_grad_()
    (wanted,) = torch.autograd.grad(written_out(pixels).sum(), pixels)
    found = guided_backprop(lambda x: encoder(x).square().sum(1), image)
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-6)
    assert float(found.abs().max()) > 0


@pytest.mark.bfloat16
def test_pixel_gradients_are_float32_where_convolutions_are_not() -> None:
    encoder = encoder_of()
    encoder.dtype = torch.bfloat16
    image = differentiable(images(2, 9, 21, 21).to(torch.bfloat16))
    (gradient,) = torch.autograd.grad(encoder(image).sum(), image)
    assert gradient.dtype == torch.float32
    assert len(gradient.unique()) > 0.8 * len(gradient[gradient != 0])  # bfloat16 has far fewer values


def test_exported_features_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, image = encoder_of(), images(2, 9, 21, 21)
    usual = encoder(image)
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    torch.testing.assert_close(encoder(image), usual, rtol=1e-4, atol=1e-5)


# --- settings ---------------------------------------------------------------------------------------------------------


def kernels(**settings: Any) -> list[Any]:
    return list(encoder_of(**settings).layers)


WIRES = {
    "name": Wire(
        "frame-stack",
        "conv",
        observe=lambda _, v: type(build_encoder((9, 21, 21), SMALL.named(v), torch.float32)).__name__,
        expected=lambda v: {"frame-stack": "FrameStackEncoder", "conv": "ConvEncoder"}[v],
    ),
    "frame_layers": Wire(1, 2, 3, observe=lambda _, v: sum(k.out_channels == 4 for k in kernels(frame_layers=v))),
    "frame_filters": Wire(
        4,
        7,
        observe=lambda _, v: [(k.in_channels, k.out_channels) for k in kernels(frame_filters=v)],
        expected=lambda v: [(3, v), (v, v), (3 * v, 5), (5, 5)],
    ),
    "filters": Wire(
        5, 6, observe=lambda _, v: {k.out_channels for k in kernels(filters=v)[2:]}, expected=lambda v: {v}
    ),
    "strides": Wire((2, 1, 1), (1, 2, 1), observe=lambda _, v: tuple(k.stride[0] for k in kernels(strides=v))),
    "first_kernel": Wire(3, 5, observe=lambda _, v: kernels(first_kernel=v)[0].kernel_size[0]),
    "kernel": Wire(
        3, 2, observe=lambda _, v: {k.kernel_size[0] for k in kernels(kernel=v)[1:]}, expected=lambda v: {v}
    ),
    "initialization": Wire(
        "delta-orthogonal",
        "orthogonal",
        observe=lambda _, v: bool(started(v)[:, :, 0].any()),
        expected=lambda v: v == "orthogonal",
    ),
    "centred": Wire(False, True, observe=lambda _, v: encoder_of(centred=v).offset == 0.5),
    "last_relu": Wire(
        False, True, observe=lambda _, v: bool((encoder_of(last_relu=v)(images(2, 9, 21, 21)) >= 0).all())
    ),
    "attention": Wire("none", "fls", observe=lambda _, v: refused(v), expected=lambda v: v == "fls"),
}
OF_OTHERS = {"projection", "attention_filters"}
"""What is the learner's, and what belongs to an attention module, which this encoder refuses."""


def of_rest(layers: list[Any], name: str) -> Any:
    (value,) = {getattr(layer, name) for layer in layers}
    return value


def features(**settings: Any) -> Tensor:
    return encoder_of(**settings)(images(2, 9, 21, 21))


def started(initialization: str) -> Tensor:
    config = dataclasses.replace(SMALL, initialization=initialization)
    return FrameStackEncoder((9, 21, 21), config, torch.float32).layers[1].weight.detach()


def refused(attention: str) -> bool:
    try:
        encoder_of(attention=attention)
    except FovealError as error:
        return "has no attention module" in str(error)
    return False


def test_no_setting_is_forgotten() -> None:
    fields = {field.name for field in dataclasses.fields(FrameStackConfig)}
    assert set(WIRES) == fields - OF_OTHERS
    assert issubclass(FrameStackConfig, EncoderConfig)


@cases(WIRES)
def test_settings_arrive(room: Room, wire: Wire, value: Any) -> None:
    wire.check(room, value)


def test_the_defaults_are_the_published_shape() -> None:
    encoder = FrameStackEncoder((9, 84, 84), FrameStackConfig(), torch.float32)
    assert [(k.in_channels, k.out_channels) for k in encoder.layers] == [(3, 16), (16, 16), (16, 16), (48, 32)] + [
        (32, 32)
    ] * 7
    assert encoder.output_shape == (32, 21, 21)
    assert FrameStackConfig.__mro__[1] is EncoderConfig


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((9, 21, 21), {"frame_layers": 4}, "frame_layers must be below the number of encoder.strides, which is 4"),
        ((4, 21, 21), {}, "wants frames of three colours, not 4 channels"),
        ((9, 8, 8), {}, "too small for 4 convolutions"),
    ],
)
def test_what_can_not_be_built_is_refused(shape: tuple[int, int, int], options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        encoder_of(shape=shape, **options)
