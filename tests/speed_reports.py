"""A report of the speed benchmark without anything measured."""

from __future__ import annotations

from typing import Any

from foveal.bench.speed import SpeedOptions, SpeedReport
from foveal.bench.updates import UpdateSpeed


def speed_report(**changes: Any) -> SpeedReport:
    """SGQN in half a second an update."""
    taken = UpdateSpeed("sgqn", 0.5, (0.4, 0.6), {"critic": 300.0}, 200.0, 400.0, 21_300.0, 10**9)
    settings: dict[str, Any] = {
        "options": SpeedOptions(methods=("sgqn",)),
        "device": "cpu",
        "dtype": "bfloat16",
        "instructions": "AVX512-BF16",
        "peaks": {"matmul_float32": 170.0},
        "updates": {"sgqn": taken},
    }
    return SpeedReport(**settings | changes)
