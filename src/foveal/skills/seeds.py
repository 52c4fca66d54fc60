"""Which episodes are for what: no two uses share a seed, so nothing is measured where it was learned or chosen."""

from __future__ import annotations

DEMONSTRATIONS_EACH = 100_000
"""Demonstration i of seed s is reset with ``DEMONSTRATIONS_EACH * s + i``."""
CHOICE = 1_000_000_000
"""First of the episodes that choose the best epoch."""
TURNS = 1_500_000_000
"""First of the scenes in which single skills are judged."""
EVALUATION = 2_000_000_000
"""First of those that policies are evaluated on: the same for all methods and training seeds."""
_TRAINING = 3_000_000_000
_ARMS, _EPISODES = 1_000, 100_000


def training(seed: int, arm: int, episode: int) -> int:
    """Of an episode that reinforcement learning learns from."""
    return _TRAINING + (seed * _ARMS + arm) * _EPISODES + episode % _EPISODES
