"""What Stable-Baselines3's actor-critics look with: heads on features of skills, convolutions on depth."""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ActorCriticPolicy
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from foveal.networks.film import Relief
from foveal.networks.precision import convolution_dtype
from foveal.skills.config import clone_config


class SkillHead(BaseFeaturesExtractor):
    """Two 3x3 convolutions with tanh, then the mean over places; HRL-BC has one for the actor, one for the critic.

    Args:
        observation_space: (K * C, h, w).
        channels: of both convolutions.
    """

    def __init__(self, observation_space: spaces.Box, channels: int) -> None:
        super().__init__(observation_space, channels)
        self.layers = nn.Sequential(
            nn.Conv2d(observation_space.shape[0], channels, 3, 1, 1),
            nn.Tanh(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.Tanh(),
        )

    def forward(self, observations: Tensor) -> Tensor:
        """(B, K * C, h, w) -> (B, channels)."""
        return self.layers(observations).mean((2, 3))


class DepthHead(BaseFeaturesExtractor):
    """Mnih et al.'s (2015) convolutions on depth frames in [-1, 1] and their relief, in bfloat16 as those of skills.

    Args:
        observation_space: (frames, H, W).
        relief: what stands out so far is 1, see ``foveal.networks.film.Relief``: that of the ``compact`` skills, so
            that learning from scratch sees as well as they do.
        outputs: of the linear layer at the end.
    """

    def __init__(self, observation_space: spaces.Box, relief: float, outputs: int = 512) -> None:
        super().__init__(observation_space, outputs)
        self.dtype = convolution_dtype("auto", "cpu")
        self.relief = Relief(relief)
        self.convolutions = nn.Sequential(
            nn.Conv2d(2 * observation_space.shape[0], 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
            nn.Flatten(),
        )
        with torch.no_grad():
            length = self._convolved(torch.zeros(1, *observation_space.shape)).shape[1]
        self.linear = nn.Sequential(nn.Linear(length, outputs), nn.ReLU())

    def forward(self, observations: Tensor) -> Tensor:
        """(B, frames, H, W) -> (B, outputs)."""
        return self.linear(self._convolved(observations))

    def _convolved(self, observations: Tensor) -> Tensor:
        seen = self.relief(observations)
        with torch.autocast(seen.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.convolutions(seen.contiguous(memory_format=torch.channels_last)).float()


class AlignedActorCritic(ActorCriticPolicy):
    """Stable-Baselines3's, whose observations begin where a tensor of PyTorch's own would.

    NumPy's arrays begin elsewhere, differently in every process, and matrix products round by it: a resumed training
    would come to other weights.
    """

    def extract_features(self, obs: Any, features_extractor: BaseFeaturesExtractor | None = None) -> Any:
        """Features for actor and critic; see Stable-Baselines3."""
        return super().extract_features(aligned(obs), features_extractor)


ALIGNMENT = 64
"""Bytes: PyTorch's allocations on the CPU begin at multiples of it."""


def aligned(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of it that begins at a multiple of ``ALIGNMENT``."""
    return tensor.clone() if tensor.data_ptr() % ALIGNMENT else tensor


def network_options(observation_space: spaces.Box, action_space: spaces.Space[Any], channels: int) -> dict[str, Any]:
    """How ``ActorCriticPolicy`` looks at observations of this shape.

    Skill features get a ``SkillHead`` each for actor and critic, depth frames one ``DepthHead`` for both, and
    a state (a vector) Stable-Baselines3's two layers of 64.
    """
    if len(observation_space.shape) == 1:
        return {}
    if isinstance(action_space, spaces.Box):
        return {
            "features_extractor_class": DepthHead,
            "features_extractor_kwargs": {"relief": clone_config("compact").relief_height},
            "net_arch": [],
            "normalize_images": False,
        }
    return {
        "features_extractor_class": SkillHead,
        "features_extractor_kwargs": {"channels": channels},
        "share_features_extractor": False,
        "net_arch": [],
        "normalize_images": False,
    }


def actor_critic(
    observation_space: spaces.Box, action_space: spaces.Space[Any], channels: int, learning_rate: float
) -> AlignedActorCritic:
    """The network alone, without PPO around it: for what comes from the disk."""
    options = network_options(observation_space, action_space, channels)
    return AlignedActorCritic(observation_space, action_space, lambda _: learning_rate, **options)
