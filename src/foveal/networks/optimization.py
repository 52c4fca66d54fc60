"""Optimizers, and one step of them on a loss."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from foveal.timing import phase


def adam(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
) -> torch.optim.Optimizer:
    """Adam in one fused operation, which a CUDA graph can record where the parameters are on a GPU.

    Args:
        parameters: on their device already.
        lr: step size.
        betas: decay of the first and the second moment.
        eps: added to the denominator.
    """
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr=lr, betas=betas, eps=eps, fused=True, capturable=parameters[0].is_cuda)


def half_cosine(lr: float, step: int, steps: int) -> float:
    """The step size at ``step`` of ``steps``, which falls from ``lr`` to 0 along half a cosine."""
    return 0.5 * lr * (1.0 + math.cos(math.pi * step / steps))


def minimize(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], gradient_norm: float | None = None
) -> None:
    """One step of ``optimizer`` on ``loss``, whose gradient is computed for ``parameters`` alone.

    Args:
        loss: a scalar.
        optimizer: of these parameters.
        parameters: what is trained.
        gradient_norm: the largest Euclidean norm of the gradient over all parameters, to which a longer one is
            clipped; None for no limit.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters)
    if gradient_norm is not None:
        nn.utils.clip_grad_norm_(parameters, gradient_norm)
    with phase("optimizer"):
        optimizer.step()
