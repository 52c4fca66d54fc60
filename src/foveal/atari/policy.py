"""Actor and critic of an Atari agent: one linear layer each on one of the networks of ``foveal.networks.atari``."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.atari.config import AtariConfig
from foveal.networks.atari import AtariEncoder, build_encoder
from foveal.networks.policies import CRITIC_GAIN, ActorCritic, CategoricalHead, linear

SHAPE = (4, 84, 84)
"""Of an observation: four frames, oldest first."""


class AtariPolicy(ActorCritic):
    """Actor and critic on one encoder.

    Pictures become floating point in one step, in the type and memory layout of the convolutions.

    Args:
        config: names the encoder.
        actions: how many there are.
        dtype: of the convolutions.
    """

    encoder: AtariEncoder

    def __init__(self, config: AtariConfig, actions: int, dtype: torch.dtype) -> None:
        encoder = build_encoder(config.encoder, SHAPE, dtype)
        size = encoder.output_size
        super().__init__(encoder, CategoricalHead(size, actions), linear(size, 1, CRITIC_GAIN))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, obs: Tensor) -> Tensor:
        """(B, 4, 84, 84) in [0, 255], ``uint8`` or floating point with a graph -> (B, 512)."""
        if obs.is_floating_point():
            return self.encoder(obs / 255.0)
        return self.encoder(obs.to(self.encoder.dtype, memory_format=torch.channels_last).div_(255.0))
