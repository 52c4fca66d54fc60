"""One optimizer step on a loss."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foveal.phases import phase


def minimize(loss: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """Step ``optimizer`` down the gradient of ``loss``, which is taken for ``parameters`` and for nothing else."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward(inputs=parameters)
    with phase("optimizer"):
        optimizer.step()
