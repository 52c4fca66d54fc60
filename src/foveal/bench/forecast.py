"""How long a training and its evaluations will take on this machine, measured in a few seconds."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace

from foveal.agent import Agent
from foveal.bench.rates import RANDOM_STEPS, looking_seconds, rollout_rate, seconds_to_see, training_rate
from foveal.config.sections import TrainingConfig
from foveal.config.tree import Config
from foveal.shield import Shield, ShieldConfig
from foveal.shield.config import SIMULATOR

MEASURED = 6.0
"""Seconds of training to measure."""
RENDERED = 1.0
"""Seconds of an evaluation's steps to measure."""
CAPACITY = 2000
"""Frames in the replay of that training, which makes far fewer."""


@dataclass(frozen=True)
class Forecast:
    """The speed of this machine.

    Attributes:
        training: agent steps a second, with their updates.
        rollout: agent steps a second of evaluations.
        plain: agent steps a second before the method begins (``training.plain_updates``).
        plain_steps: how many there are of these.
        looking: seconds that the method learns to see before the first step.
    """

    training: float
    rollout: float
    plain: float = math.inf
    plain_steps: int = 0
    looking: float = 0.0

    def minutes(self, training_steps: int, rollout_steps: int) -> int:
        """The minutes that so many agent steps will take, rounded up."""
        plain = min(self.plain_steps, training_steps)
        training = plain / self.plain + (training_steps - plain) / self.training
        return math.ceil((self.looking + training + rollout_steps / self.rollout) / 60)


@dataclass(frozen=True)
class ShieldForecast:
    """What a shield costs on this machine.

    Attributes:
        learning: seconds of its training.
        rollout: agent steps a second of evaluations behind it.
    """

    learning: float
    rollout: float

    def minutes(self, rollout_steps: int) -> int:
        """The minutes that it and so many agent steps behind it will take, rounded up."""
        return math.ceil((self.learning + rollout_steps / self.rollout) / 60)


def shield_forecast(config: Config, shield: ShieldConfig) -> ShieldForecast:
    """Let a shield before an agent of this configuration learn for some steps, and act behind it for a second.

    Args:
        config: its environment must be an id.
        shield: settings of the shield.

    Raises:
        FovealError: as for ``Agent``.
    """
    agent = Agent.from_config(config)
    learning = seconds_to_see(agent, shield, with_masks=shield.masks == SIMULATOR)
    behind = Shield(shield, config.env, config.environment.image_size).wrap(agent)
    return ShieldForecast(learning, rollout_rate(behind, RENDERED))


def forecast(config: Config, seconds: float = MEASURED) -> Forecast:
    """Train an agent of this configuration for some seconds, without keeping it.

    Args:
        config: its environment must be an id.
        seconds: of training, after the first updates, which are slower; as many again where the method begins late.

    Raises:
        FovealError: as for ``Agent``.
    """
    agent = Agent.from_config(config)
    rollout, looking = rollout_rate(agent, RENDERED), looking_seconds(agent)
    found = Forecast(_training_rate(config, seconds, plain_updates=0), rollout, looking=looking)
    steps = _plain_steps(config.training)
    if not steps:
        return found
    return replace(found, plain=_training_rate(config, seconds, plain_updates=sys.maxsize), plain_steps=steps)


def _training_rate(config: Config, seconds: float, *, plain_updates: int) -> float:
    loop = replace(
        config.training,
        initial_random_steps=RANDOM_STEPS,
        catch_up_updates=0,
        plain_updates=plain_updates,
        replay_capacity=CAPACITY,
    )
    return training_rate(Agent.from_config(replace(config, training=loop)), seconds)


def _plain_steps(training: TrainingConfig) -> int:
    """Agent steps until the method begins."""
    if not (training.plain_updates and training.updates_per_step):
        return 0
    earned = max(0, training.plain_updates - training.catch_up_updates)
    return training.initial_random_steps + math.ceil(earned / training.updates_per_step)
