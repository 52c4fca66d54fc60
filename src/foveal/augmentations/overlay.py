"""Overlay: the observation blended with an unrelated picture."""

from __future__ import annotations

import torch
from torch import Tensor

from foveal.augmentations.bank import PictureBank
from foveal.augmentations.base import AUGMENTATIONS, AugmentationOptions, frames
from foveal.errors import FovealError
from foveal.pictures import BLOCK

AT_FIRST = 512
"""Pictures with which training begins: they take a few seconds, while the first experience is collected."""


def overlay(
    images: Tensor,
    pictures: PictureBank | Tensor,
    generator: torch.Generator | None = None,
    alpha: float = 0.5,
) -> Tensor:
    """``(1 - alpha) * images + alpha * picture``, one picture a sample, the same on all its frames (SODA, SVEA).

    Args:
        images: (B, frames * C, H, W) in [0, 255].
        pictures: a bank to draw from, or the pictures themselves, (B, C, H, W) in [0, 255], which two observations can
            share. C is 3, or 1 where frames are grey.
        generator: on the images' device; needed when ``pictures`` is a bank, unused otherwise.
        alpha: weight of the picture, in [0, 1].

    Returns:
        ``float32`` of the images' shape, in [0, 255]; ``bfloat16`` where the images are.

    Raises:
        FovealError: shapes or devices do not fit, or a bank came without a generator.
    """
    if not 0.0 <= alpha <= 1.0:
        raise FovealError(f"alpha is the picture's weight and must lie in [0, 1], got {alpha}")
    dtype = torch.bfloat16 if images.dtype == torch.bfloat16 else torch.float32
    drawn = pictures if isinstance(pictures, Tensor) else _crops(pictures, len(images), generator, dtype)
    channels = drawn.shape[1]
    stack = frames(images, channels)  # (B, F, C, H, W)
    if drawn.shape != (len(images), channels, *images.shape[2:]):
        raise FovealError(
            f"pictures of shape {tuple(drawn.shape)} cannot be laid over images of shape {tuple(images.shape)}; "
            f"make them with size={images.shape[-1]}"
        )
    if drawn.device != images.device:
        raise FovealError(f"the pictures are on {drawn.device} and the images on {images.device}; move one of them")
    # Both are laid out pixel by pixel, as convolutions need it; mixing layouts costs several times the arithmetic.
    pixels = images.to(dtype, memory_format=torch.channels_last)
    cover = drawn.to(dtype, memory_format=torch.channels_last)
    covers = torch.cat([cover] * stack.shape[1], dim=1)
    return torch.lerp(pixels, covers, alpha)


def _crops(bank: PictureBank, count: int, generator: torch.Generator | None, dtype: torch.dtype) -> Tensor:
    if generator is None:
        raise FovealError("overlay() draws from a bank of pictures with a generator; pass one, or pass the pictures")
    return bank.sample(count, generator, dtype)


@AUGMENTATIONS.register("overlay")
class Overlay:
    """``overlay`` with a bank of its own, under the name ``"overlay"``.

    Training begins with a few pictures; others join them, and then replace the oldest. Their number is a function of
    the number of the update alone, so a resumed run has the same pictures.

    Attributes:
        bank: the pictures.
        alpha: weight of the picture.
    """

    alpha = 0.5

    def __init__(self, options: AugmentationOptions) -> None:
        self.bank = PictureBank(
            options.pictures,
            options.image_size,
            options.picture_count,
            options.detail,
            options.seed,
            options.device,
            options.channels,
        )
        self.source: str | None = self.bank.source
        self._refresh = options.refresh
        self._begin = min(AT_FIRST, options.picture_count)
        self.bank.prefetch(self._begin)

    def refresh(self, update: int) -> None:
        """Get the pictures of this update, after waiting for those that are not drawn yet."""
        self.bank.advance(self._begin + int(self._refresh * update) // BLOCK * BLOCK)

    def close(self) -> None:
        """End the process that draws pictures; it starts again when it is needed."""
        self.bank.close()

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        return overlay(images, self.bank, generator, self.alpha)
