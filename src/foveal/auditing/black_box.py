"""What of a black box can be explained: how its actions change with what its camera shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.auditing.adapters import Adapter
from foveal.auditing.adapters.differentiable import anywhere
from foveal.auditing.cameras import RGB, Camera, plain, replaced
from foveal.evaluation.insides import Decision, Insides
from foveal.saliency import ScalarFunction


def black_box_insides(adapter: Adapter, camera: Camera, choices: int | None = None) -> Insides:
    """Of any policy, which is asked for one observation at a time, each as at an episode's beginning.

    Args:
        adapter: the policy.
        camera: the picture as it takes it.
        choices: how many discrete actions there are; None of continuous ones.
    """

    def bind(observations: Sequence[Any], actions: Sequence[Any]) -> ScalarFunction:
        def decide(pixels: Tensor) -> Tensor:
            pairs = zip(observations, pixels.cpu().numpy(), strict=True)
            return torch.from_numpy(np.stack([asked(seen, changed) for seen, changed in pairs]))

        return decide

    def asked(seen: Any, pixels: NDArray[np.float32]) -> NDArray[np.float32]:
        frames = np.clip(np.rint(pixels), 0, 255).astype(np.uint8).reshape(-1, RGB, camera.height, camera.width)
        adapter.reset()
        adapter.begin_draws(0)  # what was seen alone shall make the difference
        return numbers(adapter.act(replaced(seen, camera.path, camera.written(frames))), choices)

    def pixels(observations: Sequence[Any]) -> Tensor:
        frames = np.stack([camera.read(seen) for seen in observations])  # (B, K, 3, H, W)
        return torch.from_numpy(frames).flatten(1, 2).float()

    return Insides({}, pixels, anywhere, decision=Decision(bind, choices is not None))


def numbers(output: Any, choices: int | None) -> NDArray[np.float32]:
    """An action as (A,); a choice is 1 where it fell and 0 elsewhere, as a policy that says no more gives it."""
    array = plain(output)
    if choices is None or array.size > 1:
        return array.reshape(-1).astype(np.float32)
    found = np.zeros(choices, np.float32)
    found[int(array.reshape(())) % choices] = 1.0
    return found
