"""The policies of Stable-Baselines3's PPO, A2C, DQN and SAC with NatureCNN, from their weights alone.

NatureCNN is that of Mnih et al. 2015: three convolutions of 32, 64 and 64 channels with sides 8, 4, 3 and strides 4, 2,
1, then a layer of 512, all with rectified linear units. What follows are layers whose sizes the weights say, between
which PPO and A2C have tanh, and DQN and SAC rectified linear units (their defaults; whoever chose another activation
has pickled it among the policy's arguments, and such files are refused before).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gymnasium import spaces
from numpy.typing import NDArray
from torch import Tensor

ACTOR_CRITICS = ("PPO", "A2C")
CONVOLUTIONS = (("0", 8, 4), ("2", 4, 2), ("4", 3, 1))
"""Of NatureCNN: its name among the weights, side and stride."""

Weights = Mapping[str, Tensor]
Layers = list[tuple[Tensor, Tensor]]


class Rebuilt:
    """A policy with the ``predict`` of Stable-Baselines3.

    Args:
        decide: pixels -> values, logits, or the action's mean.
        observed, actions: spaces.
        scale: that pixels are divided by.
        spread: standard deviations of a Gaussian's actions, (A,); None where there is none.
        draws: whether its actions can be drawn: logits are, and Gaussians.

    Attributes:
        observation_space, action_space: as it was trained.
    """

    def __init__(
        self,
        decide: Callable[[Tensor], Tensor],
        observed: spaces.Box,
        actions: spaces.Space[Any],
        scale: float,
        spread: Tensor | None = None,
        *,
        draws: bool = False,
    ) -> None:
        self.observation_space, self.action_space = observed, actions
        self.draws = draws
        self._decide, self._scale, self._spread = decide, scale, spread

    def numbers(self, pixels: Tensor) -> Tensor:
        """Pixels (B, C, H, W) in [0, 255] -> (B, A), with a graph: values, logits, or the action's mean."""
        return self._decide(pixels / self._scale)

    @torch.no_grad()
    def predict(self, observation: NDArray[np.uint8], deterministic: bool = True) -> tuple[Any, None]:
        """The action for one observation (C, H, W); drawn by PyTorch's own generator, as theirs are."""
        decided = self.numbers(torch.from_numpy(np.array(observation))[None].float())[0]
        if isinstance(self.action_space, spaces.Discrete):
            return np.int64(decided.argmax() if deterministic else decided.softmax(0).multinomial(1)[0]), None
        if not deterministic and self._spread is not None:
            decided = torch.normal(decided, self._spread)
        assert isinstance(self.action_space, spaces.Box)
        bounds = self.action_space.low, self.action_space.high
        return np.clip(decided.numpy().reshape(self.action_space.shape), *bounds), None


def rebuilt(
    algorithm: str, weights: Weights, observed: spaces.Box, actions: spaces.Space[Any], *, normalized: bool = True
) -> Rebuilt | None:
    """The policy of an agent; None where the weights are of another network.

    Args:
        algorithm: PPO, A2C, DQN or SAC.
        weights: of the whole policy, by name.
        observed: pictures, (C, H, W) ``uint8``.
        actions: Discrete or Box.
        normalized: whether pixels are divided by 255.
    """
    weights = {name: tensor.detach().requires_grad_(tensor.is_floating_point()) for name, tensor in weights.items()}
    makers = {"DQN": _of_values, "SAC": _of_gaussian}
    decide = makers.get(algorithm, _of_actor_critic)(weights, actions)
    if decide is None:
        return None
    spread = weights["log_std"].detach().exp() if "log_std" in weights else None
    policy = Rebuilt(decide, observed, actions, 255.0 if normalized else 1.0, spread, draws=algorithm in ACTOR_CRITICS)
    wanted = int(actions.n) if isinstance(actions, spaces.Discrete) else int(np.prod(actions.shape or ()))
    try:
        with torch.no_grad():
            given = decide(torch.zeros(1, *observed.shape))
    except RuntimeError:  # shapes of another network
        return None
    return policy if given.shape == (1, wanted) else None


def _of_actor_critic(weights: Weights, actions: spaces.Space[Any]) -> Callable[[Tensor], Tensor] | None:
    """Of PPO and A2C: logits, or the Gaussian's mean."""
    eyes = "pi_features_extractor" if "pi_features_extractor.cnn.0.weight" in weights else "features_extractor"
    known = ("features_extractor", "pi_features_extractor", "vf_features_extractor", "mlp_extractor", "action_net")
    if not _only(weights, *known, "value_net", "log_std") or not isinstance(actions, (spaces.Discrete, spaces.Box)):
        return None
    see, hidden = _nature(weights, eyes), _layers(weights, "mlp_extractor.policy_net")
    head = _single(weights, "action_net")
    if see is None or head is None:
        return None
    return lambda pixels: F.linear(_through(see(pixels), hidden, torch.tanh), *head)


def _of_values(weights: Weights, actions: spaces.Space[Any]) -> Callable[[Tensor], Tensor] | None:
    """Of DQN: the actions' values."""
    see, layers = _nature(weights, "q_net.features_extractor"), _layers(weights, "q_net.q_net")
    if not _only(weights, "q_net", "q_net_target") or see is None or not layers:
        return None
    if not isinstance(actions, spaces.Discrete):
        return None
    return lambda pixels: F.linear(_through(see(pixels), layers[:-1], F.relu), *layers[-1])


def _of_gaussian(weights: Weights, actions: spaces.Space[Any]) -> Callable[[Tensor], Tensor] | None:
    """Of SAC: tanh of the mean, in the bounds of the actions."""
    see, hidden = _nature(weights, "actor.features_extractor"), _layers(weights, "actor.latent_pi")
    head = _single(weights, "actor.mu")
    if not _only(weights, "actor", "critic", "critic_target") or see is None or head is None:
        return None
    if not isinstance(actions, spaces.Box):
        return None
    low, high = (torch.from_numpy(np.array(bound).reshape(1, -1)) for bound in (actions.low, actions.high))

    def decide(pixels: Tensor) -> Tensor:
        squashed = torch.tanh(F.linear(_through(see(pixels), hidden, F.relu), *head))
        return low + 0.5 * (squashed + 1.0) * (high - low)

    return decide


def _nature(weights: Weights, name: str) -> Callable[[Tensor], Tensor] | None:
    """NatureCNN under a name; None where something else is there."""
    expected = {f"cnn.{place}" for place, _, _ in CONVOLUTIONS} | {"linear.0"}
    found = {key.removeprefix(f"{name}.").rpartition(".")[0] for key in weights if key.startswith(f"{name}.")}
    if found != expected:
        return None
    for place, side, _ in CONVOLUTIONS:
        if tuple(weights[f"{name}.cnn.{place}.weight"].shape[2:]) != (side, side):
            return None

    def see(pixels: Tensor) -> Tensor:
        for place, _, stride in CONVOLUTIONS:
            layer = f"{name}.cnn.{place}"
            pixels = F.relu(F.conv2d(pixels, weights[f"{layer}.weight"], weights[f"{layer}.bias"], stride))
        return F.relu(F.linear(pixels.flatten(1), weights[f"{name}.linear.0.weight"], weights[f"{name}.linear.0.bias"]))

    return see


def _layers(weights: Weights, name: str) -> Layers:
    """Linear layers of a sequence, in order."""
    places = sorted(
        int(key.removeprefix(f"{name}.").partition(".")[0])
        for key in weights
        if key.startswith(f"{name}.") and key.endswith(".weight")
    )
    return [(weights[f"{name}.{place}.weight"], weights[f"{name}.{place}.bias"]) for place in places]


def _single(weights: Weights, name: str) -> tuple[Tensor, Tensor] | None:
    if f"{name}.weight" not in weights:
        return None
    return weights[f"{name}.weight"], weights[f"{name}.bias"]


def _through(features: Tensor, layers: Layers, activation: Callable[[Tensor], Tensor]) -> Tensor:
    for weight, bias in layers:
        features = activation(F.linear(features, weight, bias))
    return features


def _only(weights: Weights, *known: str) -> bool:
    """Whether all weights are of these parts."""
    return {name.partition(".")[0] for name in weights} <= set(known)
