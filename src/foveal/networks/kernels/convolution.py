"""Several convolutions with the ReLUs between them, as one node of the autograd graph.

On a CPU a ReLU costs up to half as much as its convolution, forward and backward, all of it memory traffic. oneDNN
applies it before the result leaves the cache, and a node that owns the gradients between its layers can change them in
place. Where PyTorch has no such convolution, the two run one after the other with the same result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from foveal.networks.kernels import winograd
from foveal.networks.kernels.weight_gradient import parameter_gradients, suits_products
from foveal.networks.precision import check_dtype

_FUSED = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_convolution_pointwise")


class Convolution(NamedTuple):
    """One layer: weight (C', C, h, w), bias (C',), stride and zero padding in pixels, whether a ReLU follows."""

    weight: Tensor
    bias: Tensor
    stride: int = 1
    padding: int = 0
    relu: bool = True


class _Geometry(NamedTuple):
    stride: list[int]
    padding: list[int]
    relu: bool


def convolve(image: Tensor, layers: Sequence[Convolution], dtype: torch.dtype, *, own_gradient: bool = False) -> Tensor:
    """``layers`` one after the other, computed in ``dtype``.

    Gradients are computed in ``dtype`` too, but for the last step to an image which is ``float32`` or a leaf with a
    ``float32`` ``grad_dtype``: that step is ``float32`` arithmetic, because in bfloat16 many pixels would tie at the
    quantile of a mask. Guided backpropagation (``foveal.saliency``) heeds the ReLUs in here. A graph that is exported
    gets ordinary operations in ``float32``.

    Args:
        image: (B, C, H, W), any floating dtype.
        layers: their weights in any dtype.
        dtype: of the convolutions.
        own_gradient: whether the gradient of the result may be overwritten, as nothing else needs it.

    Returns:
        (B, C', H', W') in ``dtype``, in ``channels_last`` layout where the weights are.

    Raises:
        FovealError: convolutions can't run in ``dtype`` here.
    """
    if torch.compiler.is_exporting():
        return _one_by_one(image.float(), layers)
    check_dtype(dtype, image.device)
    parameters = [tensor.to(dtype) for layer in layers for tensor in (layer.weight, layer.bias)]
    geometries = [_Geometry([layer.stride] * 2, [layer.padding] * 2, layer.relu) for layer in layers]
    return _Convolutions.apply(geometries, own_gradient, image, *parameters)  # type: ignore[no-untyped-call]


def _one_by_one(image: Tensor, layers: Sequence[Convolution]) -> Tensor:
    for weight, bias, stride, padding, relu in layers:
        image = F.conv2d(image, weight, bias, stride, padding)
        image = image.relu() if relu else image
    return image


class _Convolutions(torch.autograd.Function):
    """Keeps the input of every layer, which is the output of the ReLU before it, and the result."""

    @staticmethod
    def forward(
        ctx: Any, geometries: list[_Geometry], own_gradient: bool, image: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.geometries, ctx.own_gradient = geometries, own_gradient
        ctx.image_dtype = (image.is_leaf and getattr(image, "grad_dtype", None)) or image.dtype  # of its gradient
        ctx.guided = False  # foveal.saliency sets it for one backward pass
        kept = [image.to(parameters[0].dtype, memory_format=torch.channels_last)]
        for geometry, weight, bias in zip(geometries, parameters[::2], parameters[1::2], strict=True):
            kept.append(_forward(kept[-1], weight, bias, geometry))
        ctx.save_for_backward(*parameters[::2], *kept)
        return kept[-1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        count = len(ctx.geometries)
        weights, kept = ctx.saved_tensors[:count], ctx.saved_tensors[count:]
        of_image, *of_parameters = (_is_wanted(node) for node, _ in ctx.next_functions)
        in_own_dtype = of_image and ctx.image_dtype != kept[0].dtype
        gradients: list[Tensor | None] = []  # the last layer's bias, its weight, the bias before it, ...
        of_input: Tensor | None = gradient
        positive = False  # whether guided backpropagation has already dropped negative entries of ``of_input``
        for index in reversed(range(count)):
            assert of_input is not None
            geometry, gradient = ctx.geometries[index], of_input
            if geometry.relu:
                gradient = _through_relu(
                    gradient,
                    kept[index + 1],
                    guided=ctx.guided and not positive,
                    in_place=ctx.own_gradient or index + 1 < count,
                )
            wanted = [index > 0 or (of_image and not in_own_dtype), *of_parameters[2 * index : 2 * index + 2]]
            positive = ctx.guided and index > 0 and ctx.geometries[index - 1].relu and not any(wanted[1:])
            positive = positive and _turns(gradient, geometry)
            if positive:
                of_input = _turned(gradient, weights[index], geometry, "relu")
                gradients += [None, None]
                continue
            of_input, *of_layer = _gradients(gradient, kept[index], weights[index], geometry, wanted)
            gradients += reversed(of_layer)
        if in_own_dtype:
            shape = torch.empty_like(kept[0], dtype=ctx.image_dtype)  # this gradient depends on no pixel's value
            first = weights[0].to(ctx.image_dtype)
            of_input, *_ = _gradients(
                gradient.to(ctx.image_dtype), shape, first, ctx.geometries[0], [True, False, False]
            )
        return None, None, of_input, *reversed(gradients)


def _forward(image: Tensor, weight: Tensor, bias: Tensor, geometry: _Geometry) -> Tensor:
    stride, padding, relu = geometry
    if winograd.suits(image, weight, stride, padding):
        return winograd.convolve(image, weight, bias, padding, relu=relu)
    if not _fuses(image):
        out = F.conv2d(image, weight, bias, stride, padding)
        return out.relu_() if relu else out
    kind = "relu" if relu else "none"
    return torch.ops.mkldnn._convolution_pointwise(image, weight, bias, padding, stride, [1, 1], 1, kind, [], "")


def _fuses(image: Tensor) -> bool:
    return _FUSED and image.device.type == "cpu" and image.dtype in (torch.bfloat16, torch.float32)


def _through_relu(gradient: Tensor, out: Tensor, *, guided: bool, in_place: bool) -> Tensor:
    """The gradient of a ReLU's input from that of its output; ``guided`` lets only positive gradients through."""
    if in_place:
        gradient = torch.ops.aten.threshold_backward.grad_input(gradient, out, 0, grad_input=gradient)
    else:
        gradient = torch.ops.aten.threshold_backward(gradient, out, 0)
    return gradient.clamp_(min=0) if guided else gradient


def _gradients(
    gradient: Tensor, image: Tensor, weight: Tensor, geometry: _Geometry, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    """The gradients of a convolution's input, weight and bias."""
    if not any(wanted):
        return None, None, None
    if gradient.dtype != torch.float32:
        return _all_gradients(gradient, image, weight, geometry, wanted)
    # In float32 one call for all three is slower than the fastest way for each.
    return (
        _input_gradient(gradient, image, weight, geometry) if wanted[0] else None,
        *_parameter_gradients(gradient, image, weight, geometry, wanted[1:]),
    )


def _all_gradients(
    gradient: Tensor, image: Tensor, weight: Tensor, geometry: _Geometry, wanted: list[bool]
) -> tuple[Tensor | None, ...]:
    stride, padding, _ = geometry
    return torch.ops.aten.convolution_backward(
        gradient, image, weight, [weight.shape[0]], stride, padding, [1, 1], False, [0, 0], 1, wanted
    )


def _input_gradient(gradient: Tensor, image: Tensor, weight: Tensor, geometry: _Geometry) -> Tensor | None:
    if _turns(gradient, geometry):
        return _turned(gradient, weight, geometry, "none")
    return _all_gradients(gradient, image, weight, geometry, [True, False, False])[0]


def _parameter_gradients(
    gradient: Tensor, image: Tensor, weight: Tensor, geometry: _Geometry, wanted: list[bool]
) -> tuple[Tensor | None, Tensor | None]:
    """The gradients of a convolution's weight and bias."""
    of_weight, of_bias = wanted
    if of_weight and winograd.suits(image, weight, geometry.stride, geometry.padding):
        return winograd.parameter_gradients(gradient, image, weight, geometry.padding)
    if of_weight and suits_products(image, weight, geometry.stride):
        return parameter_gradients(gradient, image, weight, geometry.padding)
    return (
        _all_gradients(gradient, image, weight, geometry, [False, True, False])[1] if of_weight else None,
        gradient.sum((0, 2, 3)) if of_bias else None,
    )


def _turns(gradient: Tensor, geometry: _Geometry) -> bool:
    """Whether ``_turned`` gives the gradient of the convolution's input."""
    return geometry.stride == [1, 1] and _fuses(gradient)


def _turned(gradient: Tensor, weight: Tensor, geometry: _Geometry, kind: str) -> Tensor:
    """The gradient of the input of a convolution of stride 1 ("none"), or its positive part ("relu").

    That is a convolution with the kernels turned around, so that a ReLU can be fused here as well.
    """
    turned = weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)
    sides = [side - 1 - padding for side, padding in zip(weight.shape[2:], geometry.padding, strict=True)]
    if winograd.suits(gradient, turned, geometry.stride, sides):
        return winograd.convolve(gradient, turned, None, sides, relu=kind == "relu")
    return torch.ops.mkldnn._convolution_pointwise(gradient, turned, None, sides, [1, 1], [1, 1], 1, kind, [], "")


def _is_wanted(node: Any) -> bool:
    """Whether the running backward pass needs the gradient for ``node``: saliency needs none of weights.

    ``ctx.needs_input_grad`` knows only which inputs require a gradient at all. Nothing public tells the rest.
    """
    if node is None:
        return False
    try:
        return torch._C._will_engine_execute_node(node)
    except RuntimeError:  # autograd.grad doesn't say for leaves
        return True
