"""Mixture: each sample under one of some augmentations, drawn for it alone (SADA)."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, frames
from foveal.augmentations.chains import Chain, Composite


def chain_of(name: str) -> tuple[str, ...]:
    """The parts of a chain, first to last; any other augmentation is its own only part."""
    factory = AUGMENTATIONS.get(name)
    return factory.parts if isinstance(factory, type) and issubclass(factory, Chain) else (name,)


@AUGMENTATIONS.register("mixture")
class Mixture(Composite):
    """One of the augmentations in ``options.mixture`` for every sample, each as likely as the others.

    Chains and their parts share what they have in common, so there is one bank of pictures. Every part runs on the
    whole batch and is kept where it was drawn: nothing depends on what is drawn, so that a CUDA graph can record it.
    Chains must agree on the order of the parts that they share.
    """

    def __init__(self, options: AugmentationOptions) -> None:
        self._channels = options.channels
        chains = [chain_of(name) for name in options.mixture]
        longest_first = sorted(chains, key=len, reverse=True)  # a chain's order is then that of its parts
        super().__init__(dict.fromkeys(name for chain in longest_first for name in chain), options)
        table = [[part in chain for part in self.built] for chain in chains]
        self._kept = torch.tensor(table, device=options.device)  # (augmentations, parts)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        frames(images, self._channels)  # or an error
        drawn = torch.randint(len(self._kept), (len(images),), generator=generator, device=images.device)
        kept = self._kept.index_select(0, drawn)  # (B, parts)
        for part, keep in zip(self.built.values(), kept.unbind(1), strict=True):
            images = torch.where(keep[:, None, None, None], part(images, generator), images)  # (B, 1, 1, 1)
        return images
