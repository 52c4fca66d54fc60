"""Maps to compare an agent's with: chance, the middle of the screen, what moves, and people's own gaze."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import ArrayLike, NDArray

from foveal.errors import FovealError
from foveal.gaze.atari_head import HEIGHT, WIDTH
from foveal.gaze.screens import SIDE

Maps: TypeAlias = NDArray[np.float64]
Look: TypeAlias = Callable[[NDArray[np.uint8]], ArrayLike]
"""Observations (N, 4, 84, 84) -> (N, 84, 84) maps, not negative, of any scale."""

BASELINES = ("random", "centre", "motion", "average gaze", "split gaze")
"""The first three are maps of observations (``model_free``); the last two are made of gaze (``gaze_truth.Gaze``)."""
CENTRE_SPREAD = 0.25
"""Standard deviation of the centre map, as a share of the screen's height and width."""


def random_map(seed: int) -> Look:
    """Uniform noise, anew for every picture: what a map without any knowledge gets."""
    generator = np.random.default_rng(seed)

    def look(obs: NDArray[np.uint8]) -> Maps:
        return generator.random((len(obs), SIDE, SIDE))

    return look


def centre_map(obs: NDArray[np.uint8]) -> Maps:
    """A Gaussian in the middle of the screen, always the same: people look there, and cameras point there."""
    from_centre = (np.arange(SIDE) + 0.5) / SIDE - 0.5
    side = np.exp(-0.5 * (from_centre / CENTRE_SPREAD) ** 2)
    return np.broadcast_to(np.outer(side, side), (len(obs), SIDE, SIDE))


def motion_map(obs: NDArray[np.uint8]) -> Maps:
    """How much each pixel changed since the picture before; no learning in it."""
    newest, before = obs[:, -1].astype(np.float64), obs[:, -2].astype(np.float64)
    return np.abs(newest - before)


def model_free(seed: int = 0) -> dict[str, Look]:
    """The maps that need neither an agent nor gaze."""
    return {"random": random_map(seed), "centre": centre_map, "motion": motion_map}


def look_at(look: Look, obs: NDArray[np.uint8]) -> Maps:
    """The maps of a batch, (N, 84, 84), as (N, 210, 160): bilinear, the way that the authors draw them; not blurred.

    Raises:
        FovealError: they have another shape, or a value is negative or not finite.
    """
    maps: Any = look(obs)
    values = maps.detach().cpu().numpy() if isinstance(maps, torch.Tensor) else np.asarray(maps)
    if values.shape != (len(obs), SIDE, SIDE):
        raise FovealError(
            f"{len(obs)} observations need saliency maps ({len(obs)}, {SIDE}, {SIDE}), not {values.shape}"
        )
    if not np.isfinite(values).all() or values.min() < 0:
        raise FovealError("a saliency map must be finite and not negative; take the gradient's absolute value")
    tensor = torch.from_numpy(np.array(values, np.float64))[:, None]  # (N, 1, 84, 84)
    resized = F.interpolate(tensor, size=(HEIGHT, WIDTH), mode="bilinear", align_corners=False)
    screen: Maps = resized[:, 0].numpy()
    return screen
