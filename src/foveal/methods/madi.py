"""MaDi: learning to mask distractions (Grooten et al., AAMAS 2024).

SVEA with a small network in front of everything, the masker, which looks at each frame by itself and says of each pixel
how much of it to let through. No loss tells it what to mask: the reward alone does, by way of the critic's.

1. sample (s, a, r, s') and shift both observations at random: ``prepare``;
2. every network sees M(x) * x in place of x, critic, target, policy and acting included: ``observe``;
3. step the critic and the masker on half the TD loss of s and half that of aug(s): ``views``, ``critic_parameters``;
4. step the policy on s as the updated masker shows it; no gradient of this reaches the masker.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor, nn

from foveal.config.bounds import at_least
from foveal.methods.base import METHODS, Setup
from foveal.methods.svea import SVEA, SVEAConfig
from foveal.networks.masker import Masker
from foveal.types import Observation


@dataclass(frozen=True)
class MaDiConfig(SVEAConfig, section="madi"):
    """Hyperparameters of MaDi, beside SVEA's; the defaults are the paper's.

    Attributes:
        filters: channels of the masker's two hidden layers.
    """

    filters: Annotated[int, at_least(1)] = 32


@METHODS.register("madi")
class MaDi(SVEA):
    """SVEA behind a learned mask, which the critic's loss trains at the critic's learning rate."""

    Config = MaDiConfig
    config: MaDiConfig
    presets = {"compact": {"shift": 2, "filters": 8}, "debug": {"filters": 4}}

    def __init__(self, config: MaDiConfig, setup: Setup) -> None:
        super().__init__(config, setup)
        self.masker = Masker(config.filters, setup.dtype, setup.frame_channels)

    def observe(self, obs: Observation) -> Observation:
        return obs._replace(image=self.masker.masked(obs.image))

    def critic_parameters(self) -> list[nn.Parameter]:
        return list(self.masker.parameters())

    def maps(self) -> dict[str, Callable[[Tensor], Tensor]]:
        """The newest frame's mask."""
        return {"masker": self._newest}

    @torch.no_grad()
    def _newest(self, image: Tensor) -> Tensor:
        return self.masker(image)[:, -1]
