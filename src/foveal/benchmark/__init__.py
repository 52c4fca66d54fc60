"""How fast foveal is on this machine, and how far from what the machine can do."""

from foveal.benchmark.speed import SpeedOptions, SpeedReport, measure_speed

__all__ = ["SpeedOptions", "SpeedReport", "measure_speed"]
