"""What of a network can be explained: the function from its own pixels to what it decides by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foveal.auditing.cameras import Camera
from foveal.evaluation.insides import Decision, Insides, Scalar, action_scalars
from foveal.saliency import ScalarFunction

Network = Callable[[Tensor], Tensor]


def network_insides(network: Network, camera: Camera, *, discrete: bool) -> Insides | None:
    """Of a network with one picture of bytes as its input.

    Args:
        network: (B, C, H, W) pixels in [0, 255], channels first, -> (B, A) with a graph: the action's numbers, or one
            for each discrete action.
        camera: the picture as the policy takes it.
        discrete: which of the two.

    Returns:
        Scalars ``"preference"``, or ``"action"`` and each of its numbers; None where the picture is not its only input.
    """
    if camera.path or camera.dtype != np.uint8:
        return None

    def pixels(observations: Sequence[Any]) -> Tensor:
        arrays = [np.asarray(seen).transpose(camera.axes) for seen in observations]
        stacked = np.stack([array.reshape(-1, camera.height, camera.width) for array in arrays])
        return torch.from_numpy(stacked).float()

    def preference(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        with torch.no_grad():
            chosen = network(pixels(observations)).argmax(1, keepdim=True)
        return lambda image: network(image).gather(1, chosen)[:, 0]

    def size(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        return lambda image: network(image).abs().sum(1)

    decision = Decision(lambda observations, actions: network, discrete)
    if discrete:
        meaning = "what the network gives for the action that it chooses"
        scalars = {"preference": Scalar(preference, "f", "number of the chosen action", meaning)}
    else:
        blank = torch.zeros(1, camera.frames * camera.colors, camera.height, camera.width)
        with torch.no_grad():
            count = network(blank).shape[1]
        meaning = "the action (absolute values of its numbers, summed)"
        scalars = {"action": Scalar(size, "|a|", "size of the action", meaning)}
        scalars |= action_scalars(decision, [f"action{number + 1}" for number in range(count)])
    return Insides(scalars, pixels, anywhere, decision=decision)


def anywhere(maps: Tensor) -> Tensor:
    """The largest absolute value among all channels, of all frames."""
    return maps.abs().amax(1)
