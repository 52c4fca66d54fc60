"""Networks of masters and flat policies: heads on the skills' features, convolutions on depth frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from foveal.networks.film_resnet import FilmResNet, Relief, SpatialPoints
from foveal.networks.initialization import relu_orthogonal_
from foveal.networks.policies import CRITIC_GAIN, ActorCritic, CategoricalHead, GaussianHead, linear
from foveal.networks.precision import convolution_dtype
from foveal.skills.config import clone_config


class SkillHead(nn.Module):
    """Two 3x3 convolutions with tanh, then the mean over places; HRL-BC has one for the actor, one for the critic.

    Args:
        planes: K * C of an observation (K * C, h, w).
        channels: of both convolutions.
    """

    def __init__(self, planes: int, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(planes, channels, 3, 1, 1),
            nn.Tanh(),
            nn.Conv2d(channels, channels, 3, 1, 1),
            nn.Tanh(),
        )
        self.apply(relu_orthogonal_)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, K * C, h, w) -> (B, channels)."""
        return self.layers(observations).mean((2, 3))


class DepthHead(nn.Module):
    """Mnih et al.'s (2015) convolutions on depth frames in [-1, 1] and their relief, in bfloat16 as those of skills.

    Args:
        observation_space: (frames, H, W).
        relief: what stands out so far is 1, see ``foveal.networks.film_resnet.Relief``: that of the ``compact`` skills,
            so that learning from scratch sees as well as they do.
        outputs: of the linear layer at the end.

    Attributes:
        features_dim: the same number.
    """

    def __init__(self, observation_space: spaces.Box, relief: float, outputs: int = 512) -> None:
        super().__init__()
        self.features_dim = outputs
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
        self.apply(relu_orthogonal_)

    def forward(self, observations: Tensor) -> Tensor:
        """(B, frames, H, W) -> (B, outputs)."""
        return self.linear(self._convolved(observations))

    def _convolved(self, observations: Tensor) -> Tensor:
        seen = self.relief(observations)
        with torch.autocast(seen.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self.convolutions(seen.contiguous(memory_format=torch.channels_last)).float()


class ClonedDepth(nn.Module):
    """What a network that cloned the whole task sees, up to its last layer; its norms stay as cloning left them.

    Args:
        network: conditioned by one skill; its last layer is taken off.

    Attributes:
        last: that layer.
        features_dim: length of what the rest gives.
    """

    def __init__(self, network: FilmResNet) -> None:
        super().__init__()
        layers = network.head.layers if isinstance(network.head, SpatialPoints) else network.head
        assert isinstance(layers, nn.Sequential)
        last = layers[-1]
        assert isinstance(last, nn.Linear)
        self.features_dim = last.in_features
        self.network = network
        self.network.requires_grad_(True)
        self._last = [last]  # not a part of this module
        layers[-1] = nn.Identity()
        self.eval()

    @property
    def last(self) -> nn.Linear:
        """The layer that was taken off."""
        return self._last[0]

    def train(self, mode: bool = True) -> ClonedDepth:
        """Batches of one policy's own episodes would shift the norms that it was cloned with."""
        super().train(False)
        return self

    def forward(self, observations: Tensor) -> Tensor:
        """(B, frames, H, W) -> (B, features)."""
        condition = torch.ones(observations.shape[0], 1, device=observations.device)
        return self.network(observations, condition)


def cloned_actor_critic(network: FilmResNet, mean: Tensor, spread: Tensor, std: float) -> ActorCritic:
    """An actor-critic whose mean action is what a network does that cloned the whole task.

    Args:
        network: of ``foveal.skills.policy.SkillPolicy``; it becomes a part of this one.
        mean, spread: (3,) of velocities, by which its outputs are standardised.
        std: of actions, at first.
    """
    depth = ClonedDepth(network)
    actor = GaussianHead(depth.features_dim, 4)
    with torch.no_grad():
        weight, bias = depth.last.weight, depth.last.bias
        actor.linear.weight[:3] = spread[:, None] * weight[2:5]  # the first horizon's velocity, no longer standardised
        actor.linear.bias[:3] = spread * bias[2:5] + mean
        actor.linear.weight[3], actor.linear.bias[3] = weight[1] - weight[0], bias[1] - bias[0]  # closes above 0
        actor.log_std.fill_(math.log(std))
    return ActorCritic(nn.Sequential(Aligned(), depth), actor, _critic(depth.features_dim, nn.Identity()))


class Aligned(nn.Module):
    """Copies observations to where a tensor of PyTorch's own would begin.

    NumPy's arrays begin elsewhere, differently in every process, and matrix products round by it: the same master would
    take other decisions.
    """

    def forward(self, observations: Tensor) -> Tensor:
        """The same numbers."""
        if torch.compiler.is_exporting() or observations.data_ptr() % ALIGNMENT == 0:
            return observations
        return observations.clone()


ALIGNMENT = 64
"""Bytes: PyTorch's allocations on the CPU begin at multiples of it."""


def state_layers(size: int) -> nn.Sequential:
    """Two layers of 64 with tanh on a state, as Stable-Baselines3's policies have them: (B, size) -> (B, 64)."""
    layers = (nn.Linear(size, STATE_UNITS), nn.Tanh(), nn.Linear(STATE_UNITS, STATE_UNITS), nn.Tanh())
    return nn.Sequential(*layers).apply(relu_orthogonal_)


STATE_UNITS = 64


def actor_critic(observation_space: spaces.Box, action_space: spaces.Space[Any], channels: int) -> ActorCritic:
    """A network for observations of this shape.

    Skill features get a ``SkillHead`` each for actor and critic, a state (a vector) two layers of 64 each, and depth
    frames one ``DepthHead`` for both.
    """
    shape = observation_space.shape
    if isinstance(action_space, spaces.Box):
        depth = DepthHead(observation_space, clone_config("compact").relief_height)
        actor = GaussianHead(depth.features_dim, action_space.shape[0])
        return ActorCritic(nn.Sequential(Aligned(), depth), actor, _critic(depth.features_dim, nn.Identity()))
    assert isinstance(action_space, spaces.Discrete)  # skills
    size = STATE_UNITS if len(shape) == 1 else channels
    bodies = [state_layers(shape[0]) if len(shape) == 1 else SkillHead(shape[0], channels) for _ in range(2)]
    return ActorCritic(Aligned(), CategoricalHead(size, int(action_space.n), bodies[0]), _critic(size, bodies[1]))


def _critic(size: int, body: nn.Module) -> nn.Sequential:
    return nn.Sequential(body, linear(size, 1, CRITIC_GAIN))


FORMER_NAMES = {
    "pi_features_extractor.": "actor.body.",
    "vf_features_extractor.": "critic.0.",
    "mlp_extractor.policy_net.": "actor.body.",
    "mlp_extractor.value_net.": "critic.0.",
    "features_extractor.": "encoder.1.",
    "action_net.": "actor.linear.",
    "value_net.": "critic.1.",
    "log_std": "actor.log_std",
}
"""How weights were called when Stable-Baselines3 trained masters, and what that is now."""


def todays_weights(weights: Mapping[str, Tensor], network: ActorCritic) -> dict[str, Tensor]:
    """Weights that an earlier version of foveal wrote, under the names that they have in this network.

    Stable-Baselines3 listed some of them twice; the names that mean nothing here are left out.
    """
    known, kept = network.state_dict().keys(), {}
    for name, weight in weights.items():
        former = next((former for former in FORMER_NAMES if name.startswith(former)), "")
        todays = FORMER_NAMES.get(former, "") + name.removeprefix(former)
        if todays in known:
            kept[todays] = weight
    return kept
