"""What a strong augmentation is, and the registry that finds one by its name.

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


@dataclass(frozen=True)
class AugmentationOptions:
    """What an augmentation may need to know when it is built.

    Attributes:
        image_size: side in pixels of the images that it will be called on.
        pictures: where overlay pictures come from: ``"generated"`` or a folder of photographs.
        picture_count: how many pictures are kept in memory, of which samples are crops.
        refresh: how many more are drawn per update, until there are that many, and then replace the oldest.
        seed: of everything drawn while building. Draws of each call come from that call's generator.
        device: where the images will be.
        detail: side of the kept pictures over ``image_size``.
    """

    image_size: int = 84
    pictures: str = "generated"
    picture_count: int = 1000
    refresh: float = 0.0
    seed: int = 0
    device: torch.device | str = "cpu"
    detail: float = 1.5


class Augmentation(Protocol):
    """A change of a whole batch of images that keeps what they show.

    Attributes:
        source: what outside data it used, for the record of a result: a picture bank's source, or None.
    """

    source: str | None

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3 * frames, H, W) in [0, 255] -> ``float32`` of the same shape and range.

        All frames of one sample are changed alike; every draw comes from ``generator``, which lives on the images'
        device. ``images`` is left as it was.
        """
        ...


AUGMENTATIONS: Registry[Callable[[AugmentationOptions], Augmentation]] = Registry(
    "augmentation", "foveal.augmentations"
)


def frames(images: Tensor) -> Tensor:
    """A view (B, frames, 3, H, W) of stacked colour images (B, 3 * frames, H, W).

    Raises:
        FovealError: the shape is another one.
    """
    if images.dim() != 4 or images.shape[1] == 0 or images.shape[1] % 3:
        raise FovealError(
            f"expected a batch of stacked colour images (B, 3 * frames, H, W), got shape {tuple(images.shape)}"
        )
    return images.unflatten(1, (-1, 3))
