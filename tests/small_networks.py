"""Small networks and observations for tests of maps."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE = 24


class Small(nn.Module):
    """Two convolutions and two layers: (B, 3, 24, 24) -> (B, 4). Rectifiers are modules, as captum wants them."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 5, stride=2), nn.Conv2d(8, 6, 3)
        self.relus = nn.ModuleList([nn.ReLU() for _ in range(3)])
        self.hidden, self.out = nn.Linear(6 * 8 * 8, 16), nn.Linear(16, 4)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                fan = max(1, parameter[0].numel())
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / fan**0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.relus[0](self.first(x / 255.0))
        x = self.relus[1](self.second(x))
        return self.out(self.relus[2](self.hidden(x.flatten(1))))


def observations(batch: int = 2, side: int = SIDE, seed: int = 1, channels: int = 3) -> Tensor:
    """(B, C, side, side) in [0, 255]."""
    return torch.randint(0, 256, (batch, channels, side, side), generator=torch.Generator().manual_seed(seed)).float()
