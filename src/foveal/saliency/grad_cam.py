"""Grad-CAM: the last feature maps, weighted by the mean gradients of their channels (Selvaraju et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from foveal.errors import FovealError
from foveal.saliency.graph import pixel_gradient
from foveal.saliency.maps import SALIENCY, ScalarFunction, check_output


@SALIENCY.register("grad_cam")
def grad_cam(fn: ScalarFunction, obs: Tensor) -> Tensor:
    """Grad-CAM of ``fn`` (Selvaraju et al. 2017, equations 1 and 2).

    The feature maps are the last ones with rows and columns on the way to the value, after their rectifiers: no layer
    has to be named, and ``fn`` may be a closure over any torch network. Coarse: as fine as these maps are.

    Args:
        fn, obs: as for ``gradient``.

    Returns:
        (B, 1, H, W), not negative.

    Raises:
        FovealError: as ``gradient``, or the network has no feature maps between pixels and value, or PyTorch does not
            see them (programs of TorchScript).
    """
    with torch.enable_grad():
        pixels = obs.detach().clone().float().requires_grad_()
        with _Maps(len(obs)) as seen:
            output = fn(pixels)
        check_output(output, len(obs))
        features, gradients = _last(output, pixels, seen.found)
        weights = gradients.float().mean((2, 3), keepdim=True)
        cam = F.relu((weights * features.detach().float()).sum(1, keepdim=True))
    return F.interpolate(cam, size=obs.shape[2:], mode="bilinear", align_corners=False)


class _Maps(TorchFunctionMode):
    """Keeps every tensor with rows and columns that a call of PyTorch takes or gives, in their order.

    Taken ones too: what an ``autograd.Function`` gave is first seen where the next call takes it.
    """

    def __init__(self, batch: int) -> None:
        super().__init__()
        self._batch = batch
        self.found: list[Tensor] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in (*args, result):
            if isinstance(item, Tensor) and self._is_map(item):
                self.found.append(item)
        return result

    def _is_map(self, item: Tensor) -> bool:
        return item.ndim == 4 and len(item) == self._batch and item.requires_grad and min(item.shape[2:]) > 1


def _last(output: Tensor, pixels: Tensor, found: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """The last of some tensors on the way from the pixels to the output, and the gradient there."""
    for features in reversed(found):
        if features.grad_fn is None:  # the pixels, or weights
            continue
        gradients = _gradient(output, features)
        if gradients is not None and _gradient(features, pixels) is not None:
            return features, gradients
    pixel_gradient(output, pixels, guided=False)  # says so where the value does not depend on the pixels at all
    raise FovealError(
        "grad_cam needs feature maps, (B, channels, rows, columns), between the pixels and the value, and found none: "
        "choose a map that needs none, such as gradient or occlusion"
    )


def _gradient(output: Tensor, of: Tensor) -> Tensor | None:
    return torch.autograd.grad(output.sum(), of, retain_graph=True, allow_unused=True)[0]
