"""Replay memory: every frame stored once, any number of environments, n-step returns."""

from foveal.replay.buffer import ReplayBuffer
from foveal.replay.checks import StackedObservation
from foveal.replay.rows import ReplaySegment

__all__ = ["ReplayBuffer", "ReplaySegment", "StackedObservation"]
