"""Gradients of a network's output with respect to its pixels, taken from a graph that already exists.

Guided backpropagation (Springenberg et al. 2015, "Striving for simplicity") differs from backpropagation at the ReLUs
alone: the gradient passes where the forward input and the incoming gradient are both positive. Autograd already applies
the first condition, so the second is added as a hook on every ReLU node of the graph, for one backward pass. The
forward pass needs no preparation: the graph of a loss serves its saliency too, for any network and any form of ReLU
(module, function, in place). A ``torch.autograd.Function`` with ReLUs inside sets ``ctx.guided = False`` in its forward
pass; during guided backpropagation it is True, which the backward pass must heed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor

from foveal.errors import FovealError


def pixel_gradient(output: Tensor, pixels: Tensor, *, guided: bool, retain_graph: bool = True) -> Tensor:
    """Gradient of ``output.sum()`` with respect to ``pixels``; no parameter's ``.grad`` is touched.

    Args:
        output: any shape; each sample of it depends on that sample's pixels alone.
        pixels: a tensor in the graph of ``output``, e.g. (B, C, H, W).
        guided: guided backpropagation instead of the plain gradient.
        retain_graph: keep the graph for a later backward pass.

    Returns:
        A tensor of the shape of ``pixels``, without a graph.

    Raises:
        FovealError: ``output`` was not computed from ``pixels``.
    """
    with _positive_gradients_at_relus(output) if guided else nullcontext():
        gradient = torch.autograd.grad(output.sum(), pixels, retain_graph=retain_graph, allow_unused=True)[0]
    if gradient is None:
        raise FovealError(
            "saliency: the value does not depend on the observation; "
            "compute it from the tensor that the function is given, not from another copy of the image"
        )
    return gradient


@contextmanager
def _positive_gradients_at_relus(output: Tensor) -> Iterator[None]:
    found = list(nodes(output))
    handles = [node.register_prehook(_drop_negative) for node in found if node.name() == "ReluBackward0"]
    functions = [node for node in found if hasattr(node, "guided")]
    try:
        for node in functions:
            node.guided = True
        yield
    finally:
        for node in functions:
            node.guided = False
        for handle in handles:
            handle.remove()


def _drop_negative(gradients: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (gradients[0].clamp(min=0),)


def nodes(output: Tensor) -> Iterator[Any]:
    """Every node of the autograd graph below ``output``, those of the top layers first."""
    seen: set[Any] = set()
    queue = deque([output.grad_fn])
    while queue:
        node = queue.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        queue.extend(parent for parent, _ in node.next_functions)
