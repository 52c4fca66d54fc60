"""How long a training and its evaluations will take on this machine, measured in a few seconds."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from foveal.agent import Agent
from foveal.bench.rates import RANDOM_STEPS, environment_rate, training_rate
from foveal.config.tree import Config

MEASURED = 6.0
"""Seconds of training to measure."""
RENDERED = 1.0
"""Seconds of environment steps to measure."""
CAPACITY = 2000
"""Frames in the replay of that training, which makes far fewer."""


@dataclass(frozen=True)
class Forecast:
    """The speed of this machine.

    Attributes:
        training: agent steps a second, with their updates.
        rollout: agent steps a second of the environment alone.
    """

    training: float
    rollout: float

    def minutes(self, training_steps: int, rollout_steps: int) -> int:
        """The minutes that so many agent steps will take, rounded up."""
        return math.ceil((training_steps / self.training + rollout_steps / self.rollout) / 60)


def forecast(config: Config, seconds: float = MEASURED) -> Forecast:
    """Train an agent of this configuration for some seconds, without keeping it.

    Args:
        config: its environment must be an id.
        seconds: of training, after the first updates, which are slower.

    Raises:
        FovealError: as for ``Agent``.
    """
    loop = replace(config.training, initial_random_steps=RANDOM_STEPS, catch_up_updates=0, replay_capacity=CAPACITY)
    agent = Agent.from_config(replace(config, training=loop))
    size, quality = agent.env_options["image_size"], config.environment.quality
    return Forecast(training_rate(agent, seconds), environment_rate(config.env, size, quality, RENDERED))
