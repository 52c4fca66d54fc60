"""Augmentations one after the other, and what they share with mixtures of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, Augmentation, AugmentationOptions


class Composite:
    """Augmentations by name, each built once, which are refreshed and closed together.

    Attributes:
        built: name -> augmentation, in the order of their use.
        source: the outside data of the first that uses some, or None.
    """

    def __init__(self, names: Iterable[str], options: AugmentationOptions) -> None:
        self.built: dict[str, Augmentation] = {name: AUGMENTATIONS.get(name)(options) for name in names}
        self.source = next((part.source for part in self.built.values() if part.source), None)

    def refresh(self, update: int) -> None:
        """Refresh those that have such a method."""
        for part in self.built.values():
            if hasattr(part, "refresh"):
                part.refresh(update)

    def close(self) -> None:
        """Close those that have such a method."""
        for part in self.built.values():
            if hasattr(part, "close"):
                part.close()


class Chain(Composite):
    """One augmentation after the other; subclasses name them.

    Attributes:
        parts: their names, first to last.
    """

    parts: ClassVar[tuple[str, ...]]

    def __init__(self, options: AugmentationOptions) -> None:
        super().__init__(self.parts, options)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        for part in self.built.values():
            images = part(images, generator)
        return images


@AUGMENTATIONS.register("conv-overlay")
class ConvOverlay(Chain):
    """A random convolution, and an unrelated picture over that (SADA)."""

    parts = ("conv", "overlay")


@AUGMENTATIONS.register("rotate-shift")
class RotateShift(Chain):
    """A rotation, and a strong shift of that (SADA)."""

    parts = ("rotate", "strong-shift")
