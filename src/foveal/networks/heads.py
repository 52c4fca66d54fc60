"""Multi-layer perceptrons on top of a latent."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from foveal.networks.initialization import orthogonal_


def mlp(size: int, hidden: int, output_size: int, hidden_layers: int = 2) -> nn.Sequential:
    """Linear layers with ReLUs between them, orthogonally initialised."""
    sizes = [size] + [hidden] * hidden_layers
    layers: list[nn.Module] = []
    for previous, following in itertools.pairwise(sizes):
        layers += [nn.Linear(previous, following), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Linear(sizes[-1], output_size))
    return network.apply(orthogonal_)


def with_vector(latent: Tensor, vector: Tensor | None) -> Tensor:
    """A latent (B, D) and the vector beside the image, (B, V) or None, as the input of a head, (B, D + V)."""
    return latent if vector is None else torch.cat([latent, vector], dim=1)


class TwinCritic(nn.Module):
    """Two independent critics on one latent: (B, D) and (B, A) -> (2, B) in units of return."""

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(mlp(size, hidden, 1) for _ in range(2))

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        """(B, D), (B, A) -> (2, B)."""
        joined = torch.cat([latent, action], dim=1)  # (B, D + A)
        return torch.stack([head(joined).squeeze(1) for head in self.heads])


class Dueling(nn.Module):
    """A value of the state and advantages of the actions, from streams of their own (Wang et al. 2016).

    Args:
        size: D, of the input.
        hidden: width of either stream's hidden layers.
        actions: how many actions there are.
        outputs: N, how many numbers there are for an action.
        hidden_layers: of either stream.
    """

    def __init__(self, size: int, hidden: int, actions: int, outputs: int, hidden_layers: int) -> None:
        super().__init__()
        self.value = mlp(size, hidden, outputs, hidden_layers)
        self.advantage = mlp(size, hidden, actions * outputs, hidden_layers)
        self.actions = actions

    def forward(self, latent: Tensor) -> Tensor:
        """(B, D) -> (B, actions * N): V + A - the mean of A over the actions (eq. 9)."""
        value = self.value(latent)[:, None, :]  # (B, 1, N)
        advantage = self.advantage(latent).unflatten(1, (self.actions, -1))  # (B, actions, N)
        return (value + advantage - advantage.mean(1, keepdim=True)).flatten(1)
