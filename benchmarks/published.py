"""The update of SAC, SVEA and SGQN in the published order of operations: what foveal's speed is compared with.

Written from the papers' descriptions and the order in which the public code of DMC-GB and SGQN computes things, as
plainly as that code: float32, contiguous memory, one random crop per sample, captum for saliency with a forward pass of
its own, saliency for the attribution loss on every update although only every second one uses it, a decoder that
convolves at full resolution, an encoder pass each for actor and critic in the actor's update, target networks moved
tensor by tensor. It is a stopwatch's subject and nothing else: no replay, no environment, no checkpoint.

`speed.py` beside it runs it.
"""

from __future__ import annotations

import copy
import random
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from captum.attr import GuidedBackprop
from torch import Tensor, nn

LATENT, HIDDEN, FILTERS, LAYERS = 100, 1024, 32, 11
QUANTILE, CONSISTENCY = 0.95, 0.5
GAMMA, CRITIC_TAU, ENCODER_TAU = 0.99, 0.01, 0.05
LOG_STD_LOW, LOG_STD_HIGH = -10.0, 2.0
Sample = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # obs, action, reward, next obs, not done


class Convolutions(nn.Module):
    """Pixels in [0, 255] to flat features."""

    def __init__(self, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(image_shape[0], FILTERS, 3, stride=2)]
        for _ in range(LAYERS - 1):
            layers += [nn.ReLU(), nn.Conv2d(FILTERS, FILTERS, 3)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.size = self.layers(torch.zeros(1, *image_shape)).shape[1]

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image / 255.0)


class Encoder(nn.Module):
    """Convolutions and a projection; the actor's shares the critic's convolutions."""

    def __init__(self, convolutions: Convolutions) -> None:
        super().__init__()
        self.convolutions = convolutions
        self.projection = nn.Sequential(nn.Linear(convolutions.size, LATENT), nn.LayerNorm(LATENT), nn.Tanh())

    def forward(self, image: Tensor, detach: bool = False) -> Tensor:
        features = self.convolutions(image)
        return self.projection(features.detach() if detach else features)


def mlp(size: int, output_size: int) -> nn.Sequential:
    """Two hidden layers."""
    return nn.Sequential(
        nn.Linear(size, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, output_size)
    )


class Actor(nn.Module):
    """A squashed Gaussian policy."""

    def __init__(self, encoder: Encoder, actions: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = mlp(LATENT, 2 * actions)

    def forward(self, image: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        """A sample and its log density, (B, A) and (B, 1)."""
        mean, log_std = self.layers(self.encoder(image, detach)).chunk(2, dim=-1)
        log_std = LOG_STD_LOW + 0.5 * (LOG_STD_HIGH - LOG_STD_LOW) * (torch.tanh(log_std) + 1)
        noise = torch.randn_like(mean)
        gaussian = (-0.5 * noise.pow(2) - log_std).sum(-1, keepdim=True)
        action = torch.tanh(mean + noise * log_std.exp())
        return action, gaussian - torch.log(F.relu(1 - action.pow(2)) + 1e-6).sum(-1, keepdim=True)


class Critic(nn.Module):
    """Twin critics on one encoder."""

    def __init__(self, encoder: Encoder, actions: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.first = mlp(LATENT + actions, 1)
        self.second = mlp(LATENT + actions, 1)

    def forward(self, image: Tensor, action: Tensor, detach: bool = False) -> tuple[Tensor, Tensor]:
        joined = torch.cat([self.encoder(image, detach), action], dim=-1)
        return self.first(joined), self.second(joined)


class FirstValue(nn.Module):
    """The first critic as a module of the observation and the action, as captum wants it."""

    def __init__(self, critic: Critic) -> None:
        super().__init__()
        self.critic = critic

    def forward(self, image: Tensor, action: Tensor) -> Tensor:
        return self.critic(image, action)[0]


class Decoder(nn.Module):
    """Latent and action to the logits of a mask, at full resolution."""

    def __init__(self, actions: int, image_shape: tuple[int, int, int]) -> None:
        super().__init__()
        channels, self.height, self.width = image_shape[0], image_shape[1] // 4, image_shape[2] // 4
        self.linear = nn.Linear(LATENT + actions, 32 * self.height * self.width)
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(32, 128, 3, padding=1), nn.Conv2d(128, 64, 3, padding=1), nn.Conv2d(64, channels, 3, padding=1)]
        )

    def forward(self, latent: Tensor, action: Tensor) -> Tensor:
        small = F.relu(self.linear(torch.cat([latent, action], dim=-1))).view(-1, 32, self.height, self.width)
        middle = F.relu(F.interpolate(self.convolutions[0](small), scale_factor=2))
        large = F.relu(F.interpolate(self.convolutions[1](middle), scale_factor=2))
        return self.convolutions[2](large)


class Published:
    """One method's networks and optimizers, and its update.

    Args:
        method: "sac", "svea" or "sgqn".
        image_shape: (C, H, W) of the observation.
        actions: size of the action.
        pictures: (N, 3, H, W), to lay over observations.
    """

    def __init__(
        self, method: str, image_shape: tuple[int, int, int], actions: int, pictures: Tensor, device: str = "cpu"
    ) -> None:
        convolutions = Convolutions(image_shape)
        self.method = method
        self.actor = Actor(Encoder(convolutions), actions).to(device)
        self.critic = Critic(Encoder(convolutions), actions).to(device)
        self.target = copy.deepcopy(self.critic)
        self.decoder = Decoder(actions, image_shape).to(device)
        self.log_alpha = torch.tensor(-2.3, device=device, requires_grad=True)
        self.target_entropy = -float(actions)
        self.pictures = pictures.float().to(device)
        actor_parameters = [*self.actor.encoder.projection.parameters(), *self.actor.layers.parameters()]
        self.actor_optimizer = torch.optim.Adam(actor_parameters, lr=1e-3)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=1e-3)
        self.alpha_optimizer = torch.optim.Adam([self.log_alpha], lr=1e-4, betas=(0.5, 0.999))
        attribution = [*self.critic.encoder.parameters(), *self.decoder.parameters()]
        self.attribution_optimizer = torch.optim.Adam(attribution, lr=3e-4)
        self.count = 0

    def update(self, sample: Callable[[], Sample]) -> None:
        """One update of everything that is due; ``sample`` gives ``uint8`` observations."""
        obs, action, reward, next_obs, not_done = sample()
        obs, next_obs = obs.float(), next_obs.float()
        if self.method != "sac":
            obs, next_obs = random_shift(obs), random_shift(next_obs)
        self._update_critic(obs, action, reward, next_obs, not_done)
        if self.count % 2 == 0:
            self._update_actor(obs)
            self._update_target()
        if self.method == "sgqn":
            self._update_attribution(obs, action)
        self.count += 1

    def _update_critic(self, obs: Tensor, action: Tensor, reward: Tensor, next_obs: Tensor, not_done: Tensor) -> None:
        with torch.no_grad():
            next_action, log_prob = self.actor(next_obs)
            first, second = self.target(next_obs, next_action)
            value = torch.min(first, second) - self.log_alpha.exp() * log_prob
            target = reward + not_done * GAMMA * value
        if self.method == "svea":  # both views as one batch of twice the size
            obs, action = torch.cat([obs, self._overlay(obs)]), torch.cat([action, action])
            target = torch.cat([target, target])
        values = self.critic(obs, action)
        loss = squared_errors(values, (target, target))
        if self.method == "sgqn":
            mask = self._mask(obs, action)
            masked = obs * mask
            masked[mask < 1] = random.uniform(float(obs.min()), float(obs.max()))
            loss = loss + CONSISTENCY * squared_errors(values, self.critic(masked, action))
        self.critic_optimizer.zero_grad()
        loss.backward()
        self.critic_optimizer.step()

    def _mask(self, obs: Tensor, action: Tensor) -> Tensor:
        leaf = obs.detach().clone().requires_grad_()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum tells of its hooks at every call
            gradient = GuidedBackprop(FirstValue(self.critic)).attribute(leaf, additional_forward_args=action)
        frames = gradient.detach().unflatten(1, (-1, 3)).abs().amax(2)  # (B, F, H, W)
        threshold = torch.quantile(frames.flatten(2), QUANTILE, dim=-1)
        return (frames >= threshold[..., None, None]).repeat_interleave(3, dim=1).float()

    def _overlay(self, obs: Tensor) -> Tensor:
        chosen = self.pictures[torch.randint(len(self.pictures), (len(obs),), device=obs.device)]
        return 0.5 * obs + 0.5 * chosen.repeat(1, obs.shape[1] // 3, 1, 1)

    def _update_actor(self, obs: Tensor) -> None:
        action, log_prob = self.actor(obs, detach=True)
        value = torch.min(*self.critic(obs, action, detach=True))
        loss = (self.log_alpha.exp().detach() * log_prob - value).mean()
        self.actor_optimizer.zero_grad()
        loss.backward()
        self.actor_optimizer.step()
        self.alpha_optimizer.zero_grad()
        (self.log_alpha.exp() * (-log_prob - self.target_entropy).detach()).mean().backward()
        self.alpha_optimizer.step()

    def _update_target(self) -> None:
        pairs = [
            (self.critic.first, self.target.first, CRITIC_TAU),
            (self.critic.second, self.target.second, CRITIC_TAU),
            (self.critic.encoder, self.target.encoder, ENCODER_TAU),
        ]
        for network, target, tau in pairs:
            for new, old in zip(network.parameters(), target.parameters(), strict=True):
                old.data.copy_(tau * new.data + (1 - tau) * old.data)

    def _update_attribution(self, obs: Tensor, action: Tensor) -> None:
        mask = self._mask(obs, action)
        if self.count % 2:
            return
        logits = self.decoder(self.critic.encoder(self._overlay(obs)), action)
        loss = F.binary_cross_entropy_with_logits(logits, mask)
        self.attribution_optimizer.zero_grad()
        loss.backward()
        self.attribution_optimizer.step()


def squared_errors(values: tuple[Tensor, Tensor], others: tuple[Tensor, Tensor]) -> Tensor:
    """Sum over both critics."""
    return F.mse_loss(values[0], others[0]) + F.mse_loss(values[1], others[1])


def random_shift(images: Tensor, pad: int = 4) -> Tensor:
    """Replicate the border, then crop every image at a place of its own."""
    size = images.shape[-1]
    padded = F.pad(images, (pad, pad, pad, pad), mode="replicate")
    places = [(random.randint(0, 2 * pad), random.randint(0, 2 * pad)) for _ in images]
    crops = [padded[i, :, y : y + size, x : x + size] for i, (y, x) in enumerate(places)]
    return torch.stack(crops)
