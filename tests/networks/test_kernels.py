"""What is there for speed computes what the plain formula does: numbers and gradients, on every path."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.networks.encoders import ConvEncoder, EncoderConfig
from foveal.networks.kernels import convolution as convolution_kernel
from foveal.networks.kernels import instructions
from foveal.networks.kernels import weight_gradient as weight_kernel
from foveal.networks.kernels.convolution import Convolution, convolve
from foveal.saliency import gradient, guided_backprop, pixel_gradient

DTYPES = [torch.float32, pytest.param(torch.bfloat16, marks=pytest.mark.bfloat16)]


def layers_of(seed: int, *, last_relu: bool) -> list[Convolution]:
    generator = torch.Generator().manual_seed(seed)
    shapes = [(8, 9, 3, 2, 0), (8, 8, 3, 1, 1), (4, 8, 2, 1, 0)]  # C', C, kernel, stride, padding
    found = []
    for index, (out, channels, kernel, stride, padding) in enumerate(shapes):
        weight = torch.randn(out, channels, kernel, kernel, generator=generator) / (channels * kernel**2) ** 0.5
        bias = torch.randn(out, generator=generator)
        relu = index < 2 or last_relu
        found.append(Convolution(weight.requires_grad_(), bias.requires_grad_(), stride, padding, relu))
    return found


def plain(image: Tensor, layers: list[Convolution], dtype: torch.dtype) -> Tensor:
    hidden = image.to(dtype)
    for layer in layers:
        hidden = F.conv2d(hidden, layer.weight.to(dtype), layer.bias.to(dtype), layer.stride, layer.padding)
        hidden = F.relu(hidden) if layer.relu else hidden
    return hidden


def image_of(dtype: torch.dtype = torch.float32) -> Tensor:
    image = torch.randn(4, 9, 21, 17, generator=torch.Generator().manual_seed(1)).to(dtype)
    return image.contiguous(memory_format=torch.channels_last)


@pytest.fixture
def by_products(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Weights' gradients as matrix products, whatever the processor and the size; notes the shapes of the weights."""
    shapes: list[tuple[int, ...]] = []
    original = weight_kernel.parameter_gradients

    def noting(gradient: Tensor, image: Tensor, weight: Tensor, padding: list[int]) -> tuple[Tensor, Tensor]:
        shapes.append(tuple(weight.shape))
        return original(gradient, image, weight, padding)

    monkeypatch.setattr(convolution_kernel, "parameter_gradients", noting)
    monkeypatch.setattr(weight_kernel, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(weight_kernel, "may_use_avx512", lambda: False)
    monkeypatch.setattr(weight_kernel, "second_level_cache", lambda: 2**19)
    return shapes


def close(found: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    found, wanted = found.detach(), wanted.detach()
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(
        found.float(), wanted.float(), rtol=tolerance, atol=tolerance * float(wanted.abs().max())
    )


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("last_relu", [False, True])
def test_output_and_gradients_equal_layer_by_layer(dtype: torch.dtype, last_relu: bool) -> None:
    layers = layers_of(0, last_relu=last_relu)
    parameters = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    results = []
    for function in (convolve, plain):
        image = image_of().requires_grad_()
        out = function(image, layers, dtype)
        weights = torch.linspace(-1, 1, out.numel()).view(out.shape)
        results.append((out, torch.autograd.grad((out.float() * weights).sum(), [image, *parameters])))
    (found, gradients), (wanted, expected) = results
    assert found.dtype == wanted.dtype == dtype
    close(found, wanted, dtype)
    for mine, theirs in zip(gradients, expected, strict=True):
        assert mine.dtype == theirs.dtype
        close(mine, theirs, dtype)


def test_a_gradient_that_someone_else_holds_is_left_alone() -> None:
    layers = layers_of(0, last_relu=True)
    out = convolve(image_of(), layers, torch.float32)
    incoming = torch.randn_like(out)
    kept = incoming.clone()
    out.backward(incoming)
    assert torch.equal(incoming, kept)


def test_the_same_graph_can_be_walked_twice() -> None:
    layers = layers_of(0, last_relu=False)
    image = image_of().requires_grad_()
    out = convolve(image, layers, torch.float32).sum()
    first, second = (torch.autograd.grad(out, image, retain_graph=True)[0] for _ in range(2))
    assert torch.equal(first, second)


@pytest.mark.bfloat16
def test_a_pass_for_pixels_computes_no_gradient_of_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = watched_masks(monkeypatch)
    image = image_of().requires_grad_()
    out = convolve(image, layers_of(0, last_relu=False), torch.bfloat16)
    pixel_gradient(out.float().sum((1, 2, 3)), image, guided=True)
    assert masks and not any(of_weight or of_bias for _, of_weight, of_bias in masks)


@pytest.mark.bfloat16
def test_a_pass_for_weights_computes_no_gradient_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = watched_masks(monkeypatch)
    layers, image = layers_of(0, last_relu=False), image_of().requires_grad_()
    parameters = [tensor for layer in layers for tensor in (layer.weight, layer.bias)]
    convolve(image, layers, torch.bfloat16).float().sum().backward(inputs=parameters)
    assert image.grad is None
    assert masks == [[True, True, True], [True, True, True], [False, True, True]]  # from the last layer to the first


def watched_masks(monkeypatch: pytest.MonkeyPatch) -> list[list[bool]]:
    import foveal.networks.kernels.convolution as module

    masks: list[list[bool]] = []
    original = module._gradients

    def watching(*arguments: object) -> object:
        masks.append(list(arguments[-1]))  # type: ignore[call-overload]
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_gradients", watching)
    return masks


@pytest.mark.parametrize("last_relu", [False, True])
def test_guided_backpropagation_finds_the_relus_inside(last_relu: bool) -> None:
    layers = layers_of(3, last_relu=last_relu)
    for saliency in (gradient, guided_backprop):
        found, wanted = (
            saliency(lambda image, f=function: f(image, layers, torch.float32)[..., 0].sum((1, 2)), image_of())
            for function in (convolve, plain)
        )
        torch.testing.assert_close(found, wanted)
    different = gradient(lambda image: convolve(image, layers, torch.float32)[..., 0].sum((1, 2)), image_of())
    assert not torch.allclose(different, wanted)  # else the rule had nothing to do


def test_guidance_ends_with_its_pass() -> None:
    layers, image = layers_of(3, last_relu=True), image_of().requires_grad_()
    out = convolve(image, layers, torch.float32).sum((1, 2, 3))
    before = torch.autograd.grad(out.sum(), image, retain_graph=True)[0]
    pixel_gradient(out, image, guided=True)
    after = torch.autograd.grad(out.sum(), image)[0]
    assert torch.equal(before, after)


@pytest.mark.bfloat16
def test_the_gradient_of_float32_pixels_is_float32_arithmetic() -> None:
    layers = layers_of(0, last_relu=False)

    def distinct(dtype: torch.dtype) -> int:
        image = image_of(dtype).requires_grad_()
        out = convolve(image, layers, torch.bfloat16).float().square().sum()
        return len(torch.autograd.grad(out, image)[0].float().unique())

    assert distinct(torch.float32) > 4 * distinct(torch.bfloat16)


@pytest.mark.bfloat16
def test_the_bfloat16_encoder_is_the_float32_encoder_up_to_rounding() -> None:
    config = EncoderConfig(strides=(2, 1, 1), filters=8, initialization="orthogonal", centred=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exact = ConvEncoder((9, 24, 24), config, torch.float32)
    rounded = ConvEncoder((9, 24, 24), config, torch.bfloat16)
    rounded.load_state_dict(exact.state_dict())
    image = torch.randint(0, 256, (3, 9, 24, 24)).float()
    close(rounded(image), exact(image), torch.bfloat16)


# --- weights' gradients as matrix products ----------------------------------------------------------------------------


@pytest.mark.parametrize("padding", [(0, 0), (1, 1), (2, 1)])
@pytest.mark.parametrize(("kernel", "kept"), [((3, 3), 2**20), ((2, 3), 700), ((1, 1), 1), ((5, 2), 3000)])
def test_products_give_the_gradients_of_weights_and_bias(
    kernel: tuple[int, int], kept: int, padding: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weight_kernel, "KEPT", kept)  # from all images at once to one at a time
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(5, 4, 9, 7, generator=generator, dtype=torch.float64)
    weight = torch.randn(6, 4, *kernel, generator=generator, dtype=torch.float64).requires_grad_()
    bias = torch.zeros(6, dtype=torch.float64, requires_grad=True)
    out = F.conv2d(image, weight, bias, padding=padding)
    gradient = torch.randn(out.shape, generator=generator, dtype=torch.float64)
    wanted = torch.autograd.grad(out, (weight, bias), gradient)
    torch.testing.assert_close(weight_kernel.parameter_gradients(gradient, image, weight, list(padding)), wanted)


def test_products_serve_every_layer_of_stride_one(by_products: list[tuple[int, ...]]) -> None:
    test_output_and_gradients_equal_layer_by_layer(torch.float32, last_relu=False)
    assert by_products == [(4, 8, 2, 2), (8, 8, 3, 3)]  # from the last layer to the first, which has a stride of two


def test_products_are_for_float32_without_avx512(monkeypatch: pytest.MonkeyPatch) -> None:
    image, weight = torch.zeros(128, 32, 33, 33), torch.zeros(32, 32, 3, 3)
    monkeypatch.setattr(weight_kernel, "may_use_avx512", lambda: False)
    monkeypatch.setattr(weight_kernel, "second_level_cache", lambda: 2**19)
    assert weight_kernel.suits_products(image, weight, [1, 1])
    assert not weight_kernel.suits_products(image, weight, [2, 2])
    assert not weight_kernel.suits_products(image.bfloat16(), weight, [1, 1])
    assert not weight_kernel.suits_products(image[:1], weight, [1, 1])
    monkeypatch.setattr(weight_kernel, "second_level_cache", lambda: 2**21)
    assert not weight_kernel.suits_products(image, weight, [1, 1])
    monkeypatch.setattr(weight_kernel, "second_level_cache", lambda: 0)  # where the system doesn't say
    monkeypatch.setattr(weight_kernel, "may_use_avx512", lambda: True)
    assert not weight_kernel.suits_products(image, weight, [1, 1])


def test_the_size_of_the_cache_is_a_number_wherever_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    size = instructions.second_level_cache.__wrapped__
    assert size() >= 0
    monkeypatch.delattr("os.sysconf")
    assert size() == 0


@pytest.mark.parametrize("limit", ["avx2", "AVX2_VNNI", "SSE41"])
def test_the_users_limit_of_the_library_counts(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    has_avx512 = instructions.may_use_avx512.__wrapped__
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    assert has_avx512()
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
    assert not has_avx512()


def test_layer_by_layer_gives_the_same_features_and_gradients() -> None:
    encoder = ConvEncoder((9, 24, 24), EncoderConfig(strides=(2, 1, 1), filters=8, centred=True), torch.float32)
    plain = copy.deepcopy(encoder)
    plain.by_layer = True
    seen: list[str] = []
    plain.layers[1].register_forward_hook(lambda *_: seen.append("a module of its own"))
    image = torch.randint(0, 256, (3, 9, 24, 24)).float()
    close(encoder(image), plain(image), torch.float32)
    for one in (encoder, plain):
        one(image).square().sum().backward()
    for mine, theirs in zip(encoder.parameters(), plain.parameters(), strict=True):
        assert mine.grad is not None and theirs.grad is not None
        close(mine.grad, theirs.grad, torch.float32)
    assert len(seen) == 2
