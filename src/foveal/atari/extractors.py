"""Feature extractors for any actor-critic of Stable-Baselines3."""

from __future__ import annotations

import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor, nn

from foveal.errors import FovealError


class Nature(nn.Module):
    """The convolutions of Mnih et al. (2015)."""

    attention: Tensor | None = None
    rendering = None

    def __init__(self, channels: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 32, 8, 4),
            nn.ReLU(),
            nn.Conv2d(32, 64, 4, 2),
            nn.ReLU(),
            nn.Conv2d(64, 64, 3),
            nn.ReLU(),
        )
        self.linear = nn.Sequential(nn.Linear(3136, 512), nn.ReLU())
        self.output_size = 512
        self.dtype = dtype

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, 84, 84) in [0, 1] -> (B, 512) ``float32``."""
        with torch.autocast(image.device.type, self.dtype, enabled=self.dtype != torch.float32, cache_enabled=False):
            hidden = self.layers(image)
        return self.linear(hidden.permute(0, 2, 3, 1).flatten(1).float())


class AtariFeatures(BaseFeaturesExtractor):
    """A named encoder as Stable-Baselines3's features extractor.

    Args:
        observation_space: of stacked frames.
        encoder: its name.
        dtype: of the convolutions.

    Raises:
        FovealError: an unknown name.
    """

    def __init__(
        self, observation_space: spaces.Box, encoder: str = "nature", dtype: torch.dtype = torch.float32
    ) -> None:
        if encoder != "nature":
            raise FovealError(f"unknown encoder {encoder!r}: choose one of: nature")
        super().__init__(observation_space, 512)
        self.encoder = Nature(observation_space.shape[0], dtype)

    @property
    def attention(self) -> Tensor | None:
        """(B, 1, h, w), the map of the last forward pass."""
        return self.encoder.attention

    def forward(self, image: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 512)."""
        return self.encoder(image)
