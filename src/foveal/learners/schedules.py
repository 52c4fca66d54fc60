"""Settings that change as training goes on."""

from __future__ import annotations

from torch import Tensor


def linear(step: Tensor, initial: float, final: float, steps: int) -> Tensor:
    """``initial`` at step 0, ``final`` from ``steps`` on, in the shape and on the device of ``step``."""
    passed = (step / steps).clamp(max=1.0)
    return initial + (final - initial) * passed
