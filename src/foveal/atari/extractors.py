"""The networks of ``foveal.networks.encoders.atari`` as feature extractors of Stable-Baselines3's actor-critics.

Give the policy ``net_arch=[]`` beside them. As published, actor and critic are one linear layer each on the 512
features, and Stable-Baselines3 would put hidden layers between, for extractors that are not its own.
"""

from __future__ import annotations

from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from foveal.errors import FovealError
from foveal.networks.encoders import EncoderChoice, build_encoder
from foveal.networks.encoders.atari import ATARI_ENCODERS, AtariEncoder
from foveal.registry import nearest

try:
    from stable_baselines3.common.preprocessing import is_image_space
    from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
except ImportError as error:
    raise FovealError('networks for Stable-Baselines3 need the extra: pip install "foveal[sb3]"') from error


class AtariFeatures(BaseFeaturesExtractor):
    """Any network of ``foveal.networks.encoders.atari``, for ``policy_kwargs={"features_extractor_class": ...}``.

    Args:
        observation_space: images (C, H, W), ``uint8`` in [0, 255], which Stable-Baselines3 divides by 255.
        encoder: name of the network.
        dtype: of its convolutions.

    Raises:
        FovealError: no network has that name, or the observations are not such images.
    """

    def __init__(
        self, observation_space: spaces.Space[Any], encoder: str = "nature", dtype: torch.dtype = torch.float32
    ) -> None:
        network = build_encoder(_image_shape(observation_space), EncoderChoice(encoder), dtype)
        if not isinstance(network, AtariEncoder):
            raise FovealError(f"{encoder!r} is no Atari network: {nearest(encoder, list(ATARI_ENCODERS))}")
        super().__init__(observation_space, network.output_size)
        self.encoder = network

    @property
    def attention(self) -> Tensor | None:
        """(B, 1, h, w), the map of the last forward pass without its graph; None where the network has none."""
        return self.encoder.attention

    def forward(self, observations: Tensor) -> Tensor:
        """(B, C, H, W) in [0, 1] -> (B, 512)."""
        return self.encoder.features(observations)


class NatureFeatures(AtariFeatures):
    """The network of Mnih et al. (2015), without attention."""

    def __init__(self, observation_space: spaces.Space[Any], dtype: torch.dtype = torch.float32) -> None:
        super().__init__(observation_space, "nature", dtype)


class SparseFLS(AtariFeatures):
    """Free-Lunch Saliency on the network of Mnih et al.: as good as that one, by its authors' measurements."""

    def __init__(self, observation_space: spaces.Space[Any], dtype: torch.dtype = torch.float32) -> None:
        super().__init__(observation_space, "sparse-fls", dtype)


class DenseFLS(AtariFeatures):
    """Free-Lunch Saliency without strides: a map as fine as the picture, for many times the arithmetic."""

    def __init__(self, observation_space: spaces.Space[Any], dtype: torch.dtype = torch.float32) -> None:
        super().__init__(observation_space, "dense-fls", dtype)


class DAQN(AtariFeatures):
    """The soft attention of Mousavi et al. (2016)."""

    def __init__(self, observation_space: spaces.Space[Any], dtype: torch.dtype = torch.float32) -> None:
        super().__init__(observation_space, "daqn", dtype)


class RSPPO(AtariFeatures):
    """The region-sensitive module of Yang et al. (2018)."""

    def __init__(self, observation_space: spaces.Space[Any], dtype: torch.dtype = torch.float32) -> None:
        super().__init__(observation_space, "rs-ppo", dtype)


def _image_shape(space: spaces.Space[Any]) -> tuple[int, int, int]:
    if not isinstance(space, spaces.Box) or not is_image_space(space, check_channels=False):
        raise FovealError(
            f"Atari networks want uint8 images in [0, 255] of shape (channels, height, width), not {space}"
        )
    channels, height, width = space.shape
    if channels > min(height, width):
        raise FovealError(
            f"Atari networks want the channels first, as in (4, 84, 84), not {space.shape}: wrap the environment in "
            "VecTransposeImage"
        )
    return channels, height, width
