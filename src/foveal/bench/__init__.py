"""How fast foveal is on this machine, and how near that is to its best; suites of trainings and their ledger."""

from foveal.bench.rendering import RenderingSpeed, measure_rendering
from foveal.bench.speed import SpeedOptions, SpeedReport, measure_speed

__all__ = ["RenderingSpeed", "SpeedOptions", "SpeedReport", "measure_rendering", "measure_speed"]
