"""Overlay: the observation half covered by an unrelated picture."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, frames
from foveal.augmentations.pictures import GENERATED, PictureBank, pictures
from foveal.errors import FovealError

AT_ONCE = 16
"""Pictures that a bank replaces together."""


def overlay(
    images: Tensor,
    pictures: PictureBank | Tensor,
    generator: torch.Generator | None = None,
    alpha: float = 0.5,
) -> Tensor:
    """``(1 - alpha) * images + alpha * picture``, one picture a sample, the same on all its frames (SODA, SVEA).

    Args:
        images: (B, 3 * frames, H, W) in [0, 255].
        pictures: a bank to draw from, or the pictures themselves, (B, 3, H, W) in [0, 255]: so that two observations
            can share theirs.
        generator: on the images' device; needed when ``pictures`` is a bank, unused otherwise.
        alpha: weight of the picture, in [0, 1].

    Returns:
        ``float32`` of the images' shape, in [0, 255]; ``bfloat16`` where the images are.

    Raises:
        FovealError: shapes or devices do not fit, or a bank came without a generator.
    """
    if not 0.0 <= alpha <= 1.0:
        raise FovealError(f"alpha is the picture's weight and must lie in [0, 1], got {alpha}")
    stack = frames(images)  # (B, F, 3, H, W)
    drawn = _draw(pictures, len(images), generator)
    if drawn.shape != (len(images), 3, *images.shape[2:]):
        raise FovealError(
            f"pictures of shape {tuple(drawn.shape)} cannot be laid over images of shape {tuple(images.shape)}; "
            f"make them with size={images.shape[-1]}"
        )
    if drawn.device != images.device:
        raise FovealError(f"the pictures are on {drawn.device} and the images on {images.device}; move one of them")
    # Both pixel by pixel in memory, as convolutions like it; mixing layouts costs several times the arithmetic.
    dtype = torch.bfloat16 if images.dtype == torch.bfloat16 else torch.float32
    pixels = images.to(dtype, memory_format=torch.channels_last)
    cover = drawn.to(dtype, memory_format=torch.channels_last)
    covers = torch.cat([cover] * stack.shape[1], dim=1)
    return torch.lerp(pixels, covers, alpha)


def _draw(pictures: PictureBank | Tensor, count: int, generator: torch.Generator | None) -> Tensor:
    if isinstance(pictures, Tensor):
        return pictures
    if generator is None:
        raise FovealError("overlay() draws from a bank of pictures with a generator; pass one, or pass the pictures")
    return pictures.sample(count, generator)


@AUGMENTATIONS.register("overlay")
class Overlay:
    """``overlay`` with a bank of its own, under the name ``"overlay"``.

    Attributes:
        bank: the pictures.
        alpha: weight of the picture.
    """

    alpha = 0.5

    def __init__(self, options: AugmentationOptions) -> None:
        self.bank = pictures(options.pictures, options.image_size, options.picture_count, options.seed, options.device)
        self.source: str | None = self.bank.source
        self._refresh = 0.0 if options.pictures == GENERATED else options.refresh

    def refresh(self, update: int) -> None:
        """Replace pictures of a folder by its others as training goes on, a few at once.

        Which pictures are held depends on the number of the update alone, so a resumed run holds the same ones.
        """
        fresh = int(self._refresh * update) // AT_ONCE * AT_ONCE
        self.bank.hold(len(self.bank) + fresh)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return overlay(images, self.bank, generator, self.alpha)
