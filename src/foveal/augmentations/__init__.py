"""Training-time changes of images, on tensors of any device, with every draw from an explicit generator.

Weak augmentations hardly change the geometry of the scene (``random_shift``, ``random_crop``); strong ones
(``overlay``, ``conv``) change how it looks, or where it is, and are chosen by name through ``AUGMENTATIONS``.
"""

from __future__ import annotations

from foveal.augmentations.bank import PictureBank, pictures
from foveal.augmentations.base import ALL, AUGMENTATIONS, Augmentation, AugmentationOptions
from foveal.augmentations.convolution import random_conv
from foveal.augmentations.crop import center_crop, random_crop
from foveal.augmentations.overlay import overlay
from foveal.augmentations.shift import random_shift

__all__ = [
    "ALL",
    "AUGMENTATIONS",
    "Augmentation",
    "AugmentationOptions",
    "PictureBank",
    "center_crop",
    "overlay",
    "pictures",
    "random_conv",
    "random_crop",
    "random_shift",
]
