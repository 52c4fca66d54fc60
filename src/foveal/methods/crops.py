"""What several methods do to a whole batch: the weak augmentations of both observations, each with its own draw."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from foveal.augmentations import random_crop, random_shift
from foveal.types import Batch


def shift_batch(batch: Batch, pad: int, generator: torch.Generator) -> Batch:
    """Random shift (DrQ) of observation and next observation."""
    return _both(batch, lambda image: random_shift(image, pad, generator))


def crop_batch(batch: Batch, size: int, generator: torch.Generator) -> Batch:
    """Random crop (RAD) of observation and next observation."""
    return _both(batch, lambda image: random_crop(image, size, generator))


def _both(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    obs = batch.obs._replace(image=change(batch.obs.image))
    next_obs = batch.next_obs._replace(image=change(batch.next_obs.image))
    return batch.replace(obs=obs, next_obs=next_obs)
