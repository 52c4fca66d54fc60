"""What methods with a step of their own, beside the critic's and the policy's, have in common."""

from __future__ import annotations

from collections.abc import Hashable
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from foveal.methods.base import Method, Setup
from foveal.networks.optimization import adam, minimize


class Auxiliary(Method):
    """A method with such a step every ``config.auxiliary_period`` updates, by Adam with ``config.auxiliary_lr``.

    Attributes:
        optimizer_name: of the step's optimizer in checkpoints.
    """

    optimizer_name: ClassVar[str]

    def __init__(self, config: Any, setup: Setup) -> None:
        super().__init__(config, setup)
        self._encoder = setup.learner.encoder_parameters

    def has_step(self, number: int) -> bool:
        """Whether update ``number`` has the step."""
        return bool(number % self.config.auxiliary_period == 0)

    def due(self, number: int) -> Hashable:
        return self.has_step(number)

    def auxiliary_parameters(self) -> list[nn.Parameter]:
        """What the step trains: by default the critic's encoder, and everything of the method's own."""
        return [*self._encoder, *self.parameters()]

    @cached_property
    def auxiliary_optimizer(self) -> torch.optim.Optimizer:
        """Adam on these, made when first asked for: after the move to the device."""
        return adam(self.auxiliary_parameters(), self.config.auxiliary_lr)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {self.optimizer_name: self.auxiliary_optimizer}

    def minimize(self, loss: Tensor, gradient_norm: float | None = None) -> None:
        """Take the step on a scalar loss; the gradient is clipped to that norm where there is one."""
        minimize(loss, self.auxiliary_optimizer, self.auxiliary_parameters(), gradient_norm)
