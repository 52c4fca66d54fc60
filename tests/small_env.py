"""Tiny Gymnasium environments whose pictures tell what happened, and agents that learn from them in a second."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from torch import Tensor

import foveal

SIZE = 36  # of the debug preset's pictures: nothing is resized, so that pixels stay readable
LENGTH = 9  # of an episode


class Counter(gymnasium.Env[Any, Any]):
    """Every pixel says how many pictures were made before this one; the reward is the step of the episode.

    Episodes are truncated after ``LENGTH`` steps. A corner of the picture is random, from the environment's own
    generator, so that two runs can be told apart.

    Args:
        vector: put the picture into a Dict, beside two vectors.
        discrete: take 3 actions.
        rewards: reward of an agent step, counted from 1 over all episodes; by default the episode's step.
    """

    def __init__(
        self, *, vector: bool = False, discrete: bool = False, rewards: Callable[[int], float] | None = None
    ) -> None:
        image = spaces.Box(0, 255, (SIZE, SIZE, 3), np.uint8)
        vectors = {"speed": spaces.Box(-1, 1, (2,)), "angle": spaces.Box(-1, 1, ())}
        self.observation_space = spaces.Dict({"camera": image, **vectors}) if vector else image
        self.action_space = spaces.Discrete(3) if discrete else spaces.Box(-2.0, 2.0, (2,), np.float32)
        self.rewards = rewards
        self.made = self.steps = self.step_in_episode = 0
        self.resets: list[int | None] = []
        self.closed = False

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.resets.append(seed)
        self.step_in_episode = 0
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action)
        self.steps += 1
        self.step_in_episode += 1
        reward = self.step_in_episode if self.rewards is None else self.rewards(self.steps)
        return self._observe(), float(reward), False, self.step_in_episode == LENGTH, {}

    def close(self) -> None:
        self.closed = True

    def scene_mask(self) -> np.ndarray[Any, Any]:
        """The corner that is random is its only object."""
        mask = np.zeros((SIZE, SIZE), bool)
        mask[:8, :8] = True
        return mask

    def agent_mask(self) -> np.ndarray[Any, Any]:
        """The same."""
        return self.scene_mask()

    def _observe(self) -> Any:
        image = np.full((SIZE, SIZE, 3), self.made % 251, np.uint8)
        image[:8, :8] = self._noise()
        self.made += 1
        if isinstance(self.observation_space, spaces.Dict):
            speed = np.full(2, self.step_in_episode / LENGTH, np.float32)
            return {"camera": image, "speed": speed, "angle": np.float32(0.5)}
        return image

    def _noise(self) -> np.ndarray[Any, Any]:
        return self.np_random.integers(0, 256, (8, 8, 3), np.uint8)


class SavedCounter(Counter):
    """One that can be saved in the middle of an episode."""

    def get_state(self) -> dict[str, Any]:
        counts = [self.made, self.steps, self.step_in_episode]
        return {"counts": counts, "random": self.np_random.bit_generator.state}

    def set_state(self, state: dict[str, Any]) -> None:
        self.made, self.steps, self.step_in_episode = state["counts"]
        self.np_random.bit_generator.state = state["random"]


class Ignorant(SavedCounter):
    """One that knows of no task."""

    @property
    def agent_mask(self) -> Any:  # type: ignore[override]
        raise AttributeError


class Careless(SavedCounter):
    """One that draws from NumPy's global generator, which belongs to nobody."""

    def _noise(self) -> np.ndarray[Any, Any]:
        return np.random.randint(0, 256, (8, 8, 3), np.uint8)  # noqa: NPY002


def small_agent(env: Any = SavedCounter, **settings: Any) -> foveal.Agent:
    """An agent of the debug preset that learns from the 10th agent step on.

    Args:
        env: the environment.
        settings: of the agent; ``training`` joins what is set here.
    """
    training = {"initial_random_steps": 10, "catch_up_updates": 0, **settings.pop("training", {})}
    return foveal.Agent(env, preset=settings.pop("preset", "debug"), training=training, **settings)


def weights(agent: foveal.Agent) -> dict[str, Tensor]:
    """Everything an update changes: networks, optimizers, random states; copied."""
    return {name: tensor.clone() for name, tensor in agent.state()[0].items()}


def differing(one: dict[str, Tensor], other: dict[str, Tensor]) -> list[str]:
    """Names of the tensors that are not bit for bit alike."""
    assert one.keys() == other.keys()
    return [name for name in one if not one[name].equal(other[name])]
