"""Stable-Baselines3's actor-critic and rollout memory for pictures: the same numbers, with fewer copies on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.policies import ActorCriticCnnPolicy
from stable_baselines3.common.type_aliases import RolloutBufferSamples
from torch import Tensor

from foveal.atari.config import AtariConfig
from foveal.atari.emulator import SIZE
from foveal.atari.extractors import AtariFeatures

STACK = 4
OBSERVATIONS = spaces.Box(0, 255, (STACK, SIZE, SIZE), np.uint8)


class AtariPolicy(ActorCriticCnnPolicy):
    """Actor and critic on one encoder, one linear layer each.

    Pictures become floating point in one step, in the type and memory layout of the convolutions; actions are drawn
    from a generator of the policy's own.

    Args:
        actions: how many there are.
        generator: of actions, on the policy's device.
        dtype: of the convolutions.
    """

    def __init__(self, config: AtariConfig, actions: int, generator: torch.Generator, dtype: torch.dtype) -> None:
        self.picture_dtype = dtype
        self.generator = generator
        super().__init__(
            OBSERVATIONS,
            spaces.Discrete(actions),
            lambda _: config.ppo.learning_rate,
            net_arch=[],
            features_extractor_class=AtariFeatures,
            features_extractor_kwargs={"encoder": config.encoder, "dtype": dtype},
            optimizer_kwargs={"eps": config.ppo.adam_epsilon, "fused": True},
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def extract_features(self, obs: Tensor, features_extractor: Any = None) -> Tensor:  # type: ignore[override]
        """(B, 4, 84, 84) in [0, 255], ``uint8`` or floating point with a graph -> (B, F)."""
        if obs.is_floating_point():
            return self.features_extractor(obs / 255.0)
        return self.features_extractor(obs.to(self.picture_dtype, memory_format=torch.channels_last).div_(255.0))

    def forward(self, obs: Tensor, deterministic: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """Actions (B,), values (B, 1) and the actions' log probabilities (B,)."""
        features = self.extract_features(obs)
        log_probabilities = torch.log_softmax(self.action_net(features), dim=1)  # (B, A)
        if deterministic:
            actions = log_probabilities.argmax(1)
        else:
            actions = torch.multinomial(log_probabilities.exp(), 1, generator=self.generator)[:, 0]
        chosen = log_probabilities.gather(1, actions[:, None])[:, 0]
        return actions, self.value_net(features), chosen

    def evaluate_actions(  # type: ignore[override]
        self, obs: Tensor, actions: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Values (B, 1), the actions' log probabilities (B,) and the policy's entropy (B,)."""
        features = self.extract_features(obs)
        log_probabilities = torch.log_softmax(self.action_net(features), dim=1)  # (B, A)
        chosen = log_probabilities.gather(1, actions[:, None])[:, 0]
        entropy = -(log_probabilities.exp() * log_probabilities).sum(1)
        return self.value_net(features), chosen, entropy

    def predict_values(self, obs: Tensor) -> Tensor:  # type: ignore[override]
        """(B, 4, 84, 84) -> (B, 1)."""
        return self.value_net(self.extract_features(obs))


class PictureRollout(RolloutBuffer):
    """What was played since the last update; pictures stay ``uint8``, channels last in memory.

    Args:
        generator: of the minibatches, on the CPU.
        **sizes: Stable-Baselines3's arguments.
    """

    def __init__(self, *sizes: Any, generator: torch.Generator, **more: Any) -> None:
        self.generator = generator
        self.pictures = torch.empty(0)
        super().__init__(*sizes, **more)
        channels, height, width = OBSERVATIONS.shape
        self.pictures = torch.empty(
            (self.buffer_size, self.n_envs, height, width, channels), dtype=torch.uint8, device=self.device
        )

    def add(
        self,
        obs: NDArray[np.uint8],
        action: NDArray[np.int64],
        reward: NDArray[np.float32],
        episode_start: NDArray[np.bool_],
        value: Tensor,
        log_prob: Tensor,
    ) -> None:
        """One step of every game."""
        self.pictures[self.pos] = torch.from_numpy(obs).permute(0, 2, 3, 1)
        self.actions[self.pos] = action.reshape(self.n_envs, 1)
        self.rewards[self.pos] = reward
        self.episode_starts[self.pos] = episode_start
        self.values[self.pos] = value.cpu().numpy().reshape(self.n_envs)
        self.log_probs[self.pos] = log_prob.cpu().numpy()
        self.pos += 1
        self.full = self.pos == self.buffer_size

    def get(self, batch_size: int | None = None) -> Iterator[RolloutBufferSamples]:  # type: ignore[override]
        """Minibatches that hold every step once, in random order."""
        size = self.buffer_size * self.n_envs
        pictures = self.pictures.flatten(0, 1)  # (T * N, H, W, C)
        columns = (self.actions, self.values, self.log_probs, self.advantages, self.returns)
        flat = [torch.from_numpy(column).reshape(size).to(self.device) for column in columns]
        order = torch.randperm(size, generator=self.generator).to(self.device)
        for chosen in order.split(batch_size or size):
            actions, values, log_probs, advantages, returns = (column[chosen] for column in flat)
            yield RolloutBufferSamples(
                pictures[chosen].permute(0, 3, 1, 2), actions, values, log_probs, advantages, returns
            )
