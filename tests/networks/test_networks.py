"""Networks against plain PyTorch: folded input scaling, convolutions of upsampled maps, initial weights, precision."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.networks.averaging import blend
from foveal.networks.decoders import MaskDecoder, UpsampleConv
from foveal.networks.encoders import ConvEncoder, EncoderConfig, Projection
from foveal.networks.heads import TwinCritic, mlp
from foveal.networks.initialization import orthogonal_
from foveal.networks.kernels import convolution
from foveal.networks.kernels.convolution import Convolution, convolve
from foveal.saliency import pixel_gradient

PAPER_SHAPE = (9, 84, 84)
SMALL = EncoderConfig(strides=(2, 1, 1), filters=8)


def images(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def shaken(network: Any, scale: float = 0.1, seed: int = 1) -> Any:
    """Off its initial weights, which are zero at most taps and biases and would hide a mistake there."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return network


def encoder(
    config: EncoderConfig = SMALL, shape: tuple[int, int, int] = (6, 24, 24), dtype: torch.dtype = torch.float32
) -> ConvEncoder:
    torch.manual_seed(0)
    network = ConvEncoder(shape, config, dtype)
    shaken(network)
    return network


def relative_error(ours: Tensor, theirs: Tensor) -> float:
    return float(((ours - theirs).norm() / theirs.norm()).detach())


# --- encoder ----------------------------------------------------------------------------------------------------------


def test_the_papers_encoder_has_the_published_layers() -> None:
    layers = list(ConvEncoder(PAPER_SHAPE, EncoderConfig(), torch.float32).layers)
    convolutions = [layer for layer in layers if isinstance(layer, nn.Conv2d)]
    assert [type(layer) for layer in layers] == [nn.Conv2d, nn.ReLU] * 10 + [nn.Conv2d]  # no ReLU after the last
    assert len({id(layer) for layer in layers}) == 21  # distinct modules: foreign saliency tools hook each ReLU
    assert not any(layer.inplace for layer in layers if isinstance(layer, nn.ReLU))
    assert {layer.kernel_size for layer in convolutions} == {(3, 3)}
    assert {layer.padding for layer in convolutions} == {(0, 0)}
    assert {layer.out_channels for layer in convolutions} == {32}
    assert [layer.stride for layer in convolutions] == [(2, 2)] + [(1, 1)] * 10
    assert [layer.in_channels for layer in convolutions] == [9] + [32] * 10


def test_the_papers_encoder_ends_at_21_by_21() -> None:
    network = ConvEncoder(PAPER_SHAPE, EncoderConfig(), torch.float32)
    assert network.output_shape == (32, 21, 21)
    assert network.output_size == 14112
    assert sum(p.numel() for p in network.parameters()) == (9 * 9 * 32 + 32) + 10 * (9 * 32 * 32 + 32)
    assert network(images(2, *PAPER_SHAPE)).shape == (2, 14112)


@pytest.mark.parametrize("centred", [False, True])
def test_input_scaling_folded_into_the_first_convolution_changes_nothing(centred: bool) -> None:
    network = encoder(EncoderConfig(strides=(2, 1, 1), filters=8, centred=centred))
    obs = images(3, 6, 24, 24)
    plain = network.layers(obs.float() / 255.0 - (0.5 if centred else 0.0)).movedim(1, -1).flatten(1)
    torch.testing.assert_close(network(obs), plain, rtol=1e-4, atol=1e-5)
    other = network.layers(obs.float() / 255.0 - (0.0 if centred else 0.5)).movedim(1, -1).flatten(1)
    assert relative_error(network(obs), other) > 1e-2  # the comparison can tell the two scalings apart


def test_gradients_pass_through_the_folded_scaling_unchanged() -> None:
    network = encoder(EncoderConfig(strides=(2, 1, 1), filters=8, centred=True))
    obs = images(2, 6, 24, 24).float()
    weights = torch.randn(network.output_size)
    ours = torch.autograd.grad((network(obs) @ weights).sum(), list(network.parameters()))
    plain = torch.autograd.grad(
        (network.layers(obs / 255.0 - 0.5).movedim(1, -1).flatten(1) @ weights).sum(), list(network.parameters())
    )
    for one, other in zip(ours, plain, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_bytes_and_floats_of_the_same_pixels_encode_alike() -> None:
    network, obs = encoder(), images(3, 6, 24, 24)
    torch.testing.assert_close(network(obs), network(obs.float()), rtol=0, atol=0)


@given(
    strides=st.lists(st.integers(1, 3), min_size=1, max_size=4),
    first_kernel=st.integers(1, 6),
    kernel=st.sampled_from([1, 3, 5]),
    height=st.integers(5, 40),
    width=st.integers(5, 40),
)
@settings(max_examples=30)
def test_the_announced_output_size_is_the_real_one(
    strides: list[int], first_kernel: int, kernel: int, height: int, width: int
) -> None:
    config = EncoderConfig(strides=tuple(strides), filters=2, first_kernel=first_kernel, kernel=kernel)
    try:
        network = ConvEncoder((3, height, width), config, torch.float32)
    except FovealError:
        kernels = [first_kernel] + [kernel] * (len(strides) - 1)
        plain = nn.Sequential(*(nn.Conv2d(3, 3, k, stride=s) for k, s in zip(kernels, strides, strict=True)))
        with pytest.raises(RuntimeError):  # PyTorch could not have done it either
            plain(torch.zeros(1, 3, height, width))
        return
    assert network(images(1, 3, height, width)).shape == (1, network.output_size)
    assert math.prod(network.output_shape) == network.output_size


def test_an_image_too_small_for_the_convolutions_is_refused() -> None:
    with pytest.raises(FovealError, match=r"20x20 pixels is too small for 11 convolutions.*raise image_size"):
        ConvEncoder((9, 20, 20), EncoderConfig(), torch.float32)


# --- initial weights --------------------------------------------------------------------------------------------------


def test_convolutions_start_delta_orthogonal() -> None:
    torch.manual_seed(0)
    for layer in ConvEncoder((9, 24, 24), SMALL, torch.float32).layers:
        if not isinstance(layer, nn.Conv2d):
            continue
        centre = layer.weight[:, :, 1, 1]
        assert layer.weight.count_nonzero() == centre.count_nonzero()  # nothing but the centre tap
        gram = centre @ centre.T if centre.shape[0] <= centre.shape[1] else centre.T @ centre
        torch.testing.assert_close(gram, 2.0 * torch.eye(len(gram)), rtol=0, atol=1e-5)  # gain sqrt(2), squared
        assert layer.bias is not None and not layer.bias.any()


def test_convolutions_may_start_orthogonal_over_whole_kernels() -> None:
    torch.manual_seed(0)
    config = EncoderConfig(strides=(3, 1), filters=8, first_kernel=6, initialization="orthogonal")
    for layer in ConvEncoder((3, 24, 24), config, torch.float32).layers:
        if isinstance(layer, nn.Conv2d):
            rows = layer.weight.flatten(1)
            torch.testing.assert_close(rows @ rows.T, 2.0 * torch.eye(8), rtol=0, atol=1e-5)
            assert layer.weight.abs().amin() > 0  # every tap takes part
            assert layer.bias is not None and not layer.bias.any()


def test_an_unknown_initialization_is_refused() -> None:
    with pytest.raises(FovealError, match=r"encoder\.initialization is 'ortogonal': did you mean 'orthogonal'"):
        ConvEncoder((3, 24, 24), replace(SMALL, initialization="ortogonal"), torch.float32)


def test_linear_layers_start_orthogonal_without_gain() -> None:
    torch.manual_seed(0)
    for network in (Projection(40, 12), mlp(10, 16, 4), TwinCritic(10, 16)):
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                rows = layer.weight if layer.out_features <= layer.in_features else layer.weight.T
                torch.testing.assert_close(rows @ rows.T, torch.eye(len(rows)), rtol=0, atol=1e-5)
                assert not layer.bias.any()


def test_other_layers_keep_their_initial_weights() -> None:
    norm = nn.LayerNorm(4).apply(orthogonal_)
    assert torch.equal(norm.weight, torch.ones(4))


# --- projection, heads ------------------------------------------------------------------------------------------------


def test_projection_is_linear_layer_normalisation_tanh() -> None:
    network, features = shaken(Projection(20, 7)), torch.randn(5, 20)
    hidden = features @ network.linear.weight.T + network.linear.bias
    centred = hidden - hidden.mean(1, keepdim=True)
    normal = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(network(features), torch.tanh(normal * network.norm.weight + network.norm.bias))


def test_mlp_has_relus_between_layers_alone() -> None:
    assert [type(m) for m in mlp(5, 8, 3)] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert [m.out_features for m in mlp(5, 8, 3, hidden_layers=1) if isinstance(m, nn.Linear)] == [8, 3]


def test_twin_critics_are_independent_functions_of_latent_and_action() -> None:
    torch.manual_seed(0)
    critic, latent, action = TwinCritic(6 + 2, 16), torch.randn(5, 6), torch.randn(5, 2)
    values = critic(latent, action)
    assert values.shape == (2, 5)
    joined = torch.cat([latent, action], dim=1)
    for head, value in zip(critic.heads, values, strict=True):
        torch.testing.assert_close(value, head(joined)[:, 0])
    assert not torch.allclose(values[0], values[1])
    values[0].sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in critic.heads[0].parameters())
    assert not any(p.grad is not None and p.grad.any() for p in critic.heads[1].parameters())


# --- decoder ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@given(
    batch=st.integers(1, 3),
    channels=st.integers(1, 5),
    output_channels=st.integers(1, 5),
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    seed=st.integers(0, 999),
)
@settings(max_examples=40)
def test_upsample_conv_equals_nearest_upsampling_then_convolution(
    batch: int, channels: int, output_channels: int, height: int, width: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layer, image = UpsampleConv(channels, output_channels), torch.randn(batch, channels, height, width)
    upsampled = F.interpolate(image, scale_factor=2, mode="nearest")
    plain = F.conv2d(upsampled, layer.convolution.weight, layer.convolution.bias, padding=1)
    torch.testing.assert_close(layer(image), plain, rtol=1e-5, atol=1e-5)  # corners and edges included


def test_upsample_conv_has_the_same_gradients() -> None:
    torch.manual_seed(0)
    layer, image, weights = UpsampleConv(3, 4), torch.randn(2, 3, 5, 6, requires_grad=True), torch.randn(2, 4, 10, 12)
    inputs = [image, *layer.parameters()]
    ours = torch.autograd.grad((layer(image) * weights).sum(), inputs)
    plain = layer.convolution(F.interpolate(image, scale_factor=2, mode="nearest"))
    for one, other in zip(ours, torch.autograd.grad((plain * weights).sum(), inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-4)


def plain_decoder(decoder: MaskDecoder, latent: Tensor, action: Tensor) -> Tensor:
    """As published: upsample, then ReLU, then convolve the large map."""
    first, second, third = (m for m in decoder.layers.modules() if isinstance(m, nn.Conv2d))
    x = decoder.linear(torch.cat([latent, action], dim=1)).view(-1, *decoder.small_shape)
    x = first(F.relu(x))
    x = second(F.relu(F.interpolate(x, scale_factor=2)))
    x = third(F.relu(F.interpolate(x, scale_factor=2)))
    return x[:, :, : decoder.image_shape[1], : decoder.image_shape[2]]


def test_the_papers_decoder_is_the_published_one() -> None:
    torch.manual_seed(0)
    decoder = MaskDecoder(106, PAPER_SHAPE, (32, 128, 64), torch.float32)
    assert decoder.linear.out_features == 14112
    assert decoder.small_shape == (32, 21, 21)
    shapes = [tuple(p.shape) for p in decoder.layers.parameters() if p.dim() == 4]
    assert shapes == [(128, 32, 3, 3), (64, 128, 3, 3), (9, 64, 3, 3)]
    latent, action = torch.tanh(torch.randn(2, 100)), torch.rand(2, 6)
    logits = decoder(latent, action)
    assert logits.shape == (2, *PAPER_SHAPE)
    torch.testing.assert_close(logits, plain_decoder(decoder, latent, action), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("height", [4, 5, 34, 37])
@pytest.mark.parametrize("width", [7, 36])
def test_the_decoder_fits_sides_that_are_no_multiple_of_four(height: int, width: int) -> None:
    torch.manual_seed(0)
    decoder = MaskDecoder(8, (6, height, width), (4, 6, 5), torch.float32)
    latent, action = torch.randn(3, 6), torch.randn(3, 2)
    logits = decoder(latent, action)
    assert logits.shape == (3, 6, height, width)
    torch.testing.assert_close(logits, plain_decoder(decoder, latent, action), rtol=1e-4, atol=1e-5)


# --- precision --------------------------------------------------------------------------------------------------------


@pytest.mark.bfloat16
def test_bfloat16_convolutions_stay_close_to_float32() -> None:
    exact, rough = encoder(), encoder(dtype=torch.bfloat16)
    obs = images(4, 6, 24, 24)
    features = rough(obs)
    assert features.dtype == torch.float32
    assert all(p.dtype == torch.float32 for p in rough.parameters())
    assert 0 < relative_error(features, exact(obs)) < 0.02  # and it did round somewhere
    gradient = torch.autograd.grad(rough(obs).square().sum(), list(rough.parameters()))
    expected = torch.autograd.grad(exact(obs).square().sum(), list(exact.parameters()))
    assert all(relative_error(g, e) < 0.05 for g, e in zip(gradient, expected, strict=True))


@pytest.mark.bfloat16
def test_pixel_gradients_are_never_rounded_to_bfloat16() -> None:
    network, obs = encoder(dtype=torch.bfloat16), images(2, 6, 24, 24).float().requires_grad_()
    gradient = torch.autograd.grad(network(obs).sum(), obs)[0]
    assert gradient.dtype == torch.float32
    rounded = gradient.bfloat16().float()  # ties at a quantile are what this avoids
    assert float((rounded != gradient).float().mean()) > 0.9
    plain = torch.autograd.grad(encoder()(obs).sum(), obs)[0]
    assert relative_error(gradient, plain) < 0.05


@pytest.mark.bfloat16
def test_pixels_in_bfloat16_may_have_a_float32_gradient() -> None:
    network, obs = encoder(dtype=torch.bfloat16), images(2, 6, 24, 24)
    exact, rough = obs.float().requires_grad_(), obs.bfloat16().requires_grad_()
    rough.grad_dtype = torch.float32
    expected, gradient = (torch.autograd.grad(network(pixels).sum(), pixels)[0] for pixels in (exact, rough))
    assert gradient.dtype == torch.float32
    assert torch.equal(gradient, expected)


@pytest.mark.bfloat16
@pytest.mark.parametrize("relu", [True, False])
def test_guided_backpropagation_fuses_without_a_change(monkeypatch: pytest.MonkeyPatch, relu: bool) -> None:
    torch.manual_seed(0)
    shapes = [(8, 6, 3, 2, 0), (10, 8, 3, 1, 0), (8, 10, 5, 1, 2), (12, 8, 3, 2, 1), (8, 12, 3, 1, 1)]
    layers = [
        Convolution(0.2 * torch.randn(out, channels, kernel, kernel), 0.1 * torch.randn(out), stride, padding)
        for out, channels, kernel, stride, padding in shapes
    ]
    layers[1] = layers[1]._replace(relu=relu)  # negative gradients pass where there is no ReLU
    pixels = torch.randn(2, 6, 40, 40).requires_grad_()

    def guided() -> Tensor:
        return pixel_gradient(convolve(pixels, layers, torch.bfloat16).float().sum(), pixels, guided=True)

    fused = guided()
    monkeypatch.setattr(convolution, "_FUSED", False)
    plain = guided()
    assert (plain < 0).any() and (plain > 0).any()
    assert relative_error(fused, plain) < 0.01  # rounded in another order


@pytest.mark.bfloat16
def test_the_bfloat16_decoder_stays_close_to_float32() -> None:
    networks = []
    for dtype in (torch.float32, torch.bfloat16):
        torch.manual_seed(0)
        networks.append(MaskDecoder(8, (3, 12, 12), (4, 8, 8), dtype))
    latent, action = torch.randn(3, 6), torch.randn(3, 2)
    exact, rough = (network(latent, action) for network in networks)
    assert rough.dtype == torch.bfloat16
    assert 0 < relative_error(rough, exact) < 0.02


# --- averaging --------------------------------------------------------------------------------------------------------


def test_blend_moves_every_parameter_by_its_share() -> None:
    target, source = shaken(mlp(3, 4, 2), seed=1), shaken(mlp(3, 4, 2), seed=2)
    before = [p.detach().clone() for p in target.parameters()]
    blend(target, source, 0.25)
    for old, new, goal in zip(before, target.parameters(), source.parameters(), strict=True):
        torch.testing.assert_close(new, 0.75 * old + 0.25 * goal)
        assert new.grad_fn is None
