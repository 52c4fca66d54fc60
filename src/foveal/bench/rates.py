"""Steps a second: of an environment, of a policy in it, and of training, updates included."""

from __future__ import annotations

import time

import numpy as np

from foveal.agent import Agent
from foveal.bench.stopwatch import wait_for
from foveal.envs import make, make_vector
from foveal.envs.family import QUALITIES
from foveal.fovea.config import FoveaConfig
from foveal.fovea.learning import Learning
from foveal.fovea.network import FoveaNetwork
from foveal.machine.cores import available
from foveal.shield import Shielded
from foveal.training import Callback, ReplayWork, RunOptions, Trainer
from foveal.training.looking import collect

RANDOM_STEPS = 40
LOOKED, LEARNED = 40, 4
"""Frames and steps from which the time that a fovea takes to learn is told."""


def environment_rates(env: str, image_size: int, budget: float) -> dict[str, float]:
    """Agent steps a second under random actions, for each quality of rendering.

    Args:
        env: id of the environment.
        image_size: side of the pictures, in pixels.
        budget: seconds for each quality.
    """
    return {quality: environment_rate(env, image_size, quality, budget) for quality in QUALITIES}


def environment_scaling(env: str, image_size: int, budget: float) -> dict[int, float]:
    """Agent steps a second of several environments together, each in a process of its own.

    Args:
        env: id of the environment; rendered in the quality ``fast``.
        image_size: side of the pictures, in pixels.
        budget: seconds for each number of environments: 1, 2, 4, up to twice the cores.
    """
    cores = available()
    counts = [2**power for power in range(cores.bit_length() + 1) if 2**power <= 2 * cores]
    return {count: environment_rate(env, image_size, "fast", budget, count) for count in counts}


def environment_rate(env: str, image_size: int, quality: str, budget: float, processes: int = 0) -> float:
    """Agent steps a second under random actions.

    Args:
        env: id of the environment.
        image_size: side of the pictures, in pixels.
        quality: of rendering.
        budget: seconds.
        processes: environments that step together, each in a process of its own; 0 for one in this process.
    """
    count = max(processes, 1)
    envs = make_vector(env, count, asynchronous=processes > 0, seed=0, image_size=image_size, quality=quality)
    random = np.random.default_rng(0)
    shape = (count, *(envs.single_action_space.shape or ()))
    try:
        envs.reset(seed=0)
        envs.step(random.uniform(-1, 1, shape).astype(np.float32))  # the first picture sets up the renderer
        steps, start = 0, time.perf_counter()
        while time.perf_counter() - start < budget:
            envs.step(random.uniform(-1, 1, shape).astype(np.float32))
            steps += count
        return steps / (time.perf_counter() - start)
    finally:
        envs.close()


def rollout_rate(agent: Agent | Shielded, budget: float) -> float:
    """Agent steps a second of an evaluation: the policy decides, and random actions move the picture.

    Args:
        agent: its environment is made anew; it may act behind a shield.
        budget: seconds.
    """
    env = make(agent.env, **agent.env_options)
    env.action_space.seed(0)
    try:
        observation, _ = env.reset(seed=0)
        agent.predict(observation, deterministic=True)  # the first one is slower
        steps, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < budget:
            agent.predict(observation, deterministic=True)
            observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
            if terminated or truncated:
                observation, _ = env.reset()
            steps += 1
        return steps / seconds
    finally:
        env.close()


def looking_seconds(agent: Agent) -> float:
    """Seconds that a fovea takes to learn before the first step; 0 where the agent's method has none."""
    foveas = (getattr(section, "fovea", None) for section in agent.config.sections().values())
    config = next((fovea for fovea in foveas if isinstance(fovea, FoveaConfig)), None)
    return 0.0 if config is None else seconds_to_see(agent, config)


def seconds_to_see(agent: Agent, config: FoveaConfig, *, with_masks: bool = True) -> float:
    """Seconds that a network of these settings, a fovea or a shield, takes to learn the look of an agent's world.

    Args:
        agent: its environment is made anew.
        config: of the network and its training.
        with_masks: the environment tells which pixels are the task's.
    """
    start = time.perf_counter()
    frames = collect(agent.env, agent.env_options, LOOKED, agent.seed, with_masks=with_masks)
    looked = time.perf_counter()
    network = FoveaNetwork(config.filters, config.depth)
    learning = Learning(network, config, frames.pixels.shape[-1], agent.seed)
    learning.step(frames)  # the first one is slower
    ready = time.perf_counter()
    for _ in range(LEARNED):
        learning.step(frames)
    step = (time.perf_counter() - ready) / LEARNED
    return (looked - start) / LOOKED * config.frames + (ready - looked) + step * config.steps


UNTIMED = 8
"""Updates before the first that is timed: the first ones are slower."""


class _Watch(Callback):
    """Measures from the update after ``UNTIMED`` on, and stops training after ``budget`` seconds."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.began: tuple[float, int] | None = None
        self.rate = 0.0

    def on_step(self, trainer: Trainer) -> bool | None:
        agent = trainer.agent
        if agent.updates < UNTIMED:
            return None
        wait_for(agent.device)
        now = time.perf_counter()
        if self.began is None:
            self.began = now, agent.steps
            return None
        start, steps = self.began
        self.rate = (agent.steps - steps) / (now - start)
        return now - start < self.budget


class _AtOnce(ReplayWork):
    """Training without what a method learns before it: minutes that come once are no part of a rate."""

    def begin(self, target: int) -> None:
        self.collector.begin()

    def _begin_learning(self) -> None:
        self.collector.early = False


def training_rate(agent: Agent, budget: float) -> float:
    """Agent steps a second of a running training, updates included, but not what a method learns before it."""
    watch = _Watch(budget)
    options = RunOptions(evaluate_every=0, adapt_threads=False)
    trainer = Trainer(_AtOnce(agent), options, callbacks=[watch], progress=False)
    trainer.train(1_000_000)
    return watch.rate
