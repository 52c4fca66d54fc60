"""The interface of strong augmentations, and their registry.

A new augmentation is one new file in this folder (or one entry point of the group ``foveal.augmentations`` in another
distribution)::

    @AUGMENTATIONS.register("negative")
    class Negative:
        source = None

        def __init__(self, options: AugmentationOptions) -> None:
            pass

        def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
            return 255.0 - images
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from foveal.errors import FovealError
from foveal.registry import Registry

PHOTOMETRIC = ("conv", "overlay", "conv-overlay")
GEOMETRIC = ("rotate", "strong-shift", "rotate-shift")
ALL = (*PHOTOMETRIC, *GEOMETRIC)
"""The strong augmentations of SADA: what changes how a scene looks, and what changes where it is."""


@dataclass(frozen=True)
class AugmentationOptions:
    """What an augmentation is built with.

    Attributes:
        image_size: side in pixels of the images to augment.
        pictures: where overlay pictures come from: ``"generated"`` or a folder of photographs.
        picture_count: the largest number of pictures in memory, of which samples are crops.
        refresh: pictures drawn per update: further ones up to that number, then some that replace the oldest.
        seed: of everything drawn while building. Draws of a call come from that call's generator.
        device: where the images will be.
        detail: side of the pictures in memory over ``image_size``.
        channels: of one frame: 3 in colour, or 1 where frames are grey.
        mixture: names of what the augmentation "mixture" draws among.
    """

    image_size: int = 84
    pictures: str = "generated"
    picture_count: int = 1000
    refresh: float = 0.0
    seed: int = 0
    device: torch.device | str = "cpu"
    detail: float = 1.5
    channels: int = 3
    mixture: tuple[str, ...] = ALL


class Augmentation(Protocol):
    """A change of a whole batch of images after which they still show the same scene.

    Attributes:
        source: the outside data that it uses, for the record of a result: a picture bank's source, or None.
    """

    source: str | None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, frames * C, H, W) in [0, 255] -> ``float32`` of the same shape and range.

        All frames of one sample are changed alike, but where motion is the very change ("shifted-overlay"). Every draw
        comes from ``generator``, which is on the images' device. ``images`` itself is not changed.
        """
        ...


class Stateless:
    """Mixed into an augmentation that uses no outside data and builds nothing: all that it needs is drawn in a call."""

    source: str | None = None

    def __init__(self, options: AugmentationOptions) -> None:
        self._channels = options.channels


AUGMENTATIONS: Registry[Callable[[AugmentationOptions], Augmentation]] = Registry(
    "augmentation", "foveal.augmentations"
)


def frames(images: Tensor, channels: int = 3) -> Tensor:
    """A view (B, frames, C, H, W) of stacked images (B, frames * C, H, W), of ``channels`` = C each.

    Raises:
        FovealError: the images have another shape.
    """
    if images.dim() != 4 or images.shape[1] == 0 or images.shape[1] % channels:
        kind = "colour " if channels == 3 else ""
        raise FovealError(
            f"expected a batch of stacked {kind}images (B, {channels} * frames, H, W), got shape {tuple(images.shape)}"
        )
    return images.unflatten(1, (-1, channels))
