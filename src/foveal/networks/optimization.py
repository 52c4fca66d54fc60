"""Optimizers, and one step of them on a loss."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from foveal.phases import phase


def adam(
    parameters: Iterable[nn.Parameter], lr: float, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Optimizer:
    """Adam in one fused operation, which a CUDA graph can hold where the parameters are on a GPU.

    Args:
        parameters: on their device already.
        lr: step size.
        betas: decay of the first and the second moment.
    """
    parameters = list(parameters)
    return torch.optim.Adam(parameters, lr=lr, betas=betas, fused=True, capturable=parameters[0].is_cuda)


def minimize(loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Step ``optimizer`` down the gradient of ``loss``, which is taken for ``parameters`` and for nothing else."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters)
    with phase("optimizer"):
        optimizer.step()
