"""Training-time changes of images, on tensors of any device, with every draw from an explicit generator.

Weak augmentations hardly change the geometry of the scene (``random_shift``, ``random_crop``); strong ones
(``overlay``, ``conv``, ``rotate``, ...) change how it looks or where it is, and are chosen by name through
``AUGMENTATIONS``.
"""

from __future__ import annotations

from foveal.augmentations.bank import PictureBank, pictures
from foveal.augmentations.base import ALL, AUGMENTATIONS, Augmentation, AugmentationOptions
from foveal.augmentations.color_jitter import random_color_jitter
from foveal.augmentations.convolution import random_conv
from foveal.augmentations.crop import center_crop, random_crop
from foveal.augmentations.cutout import random_cutout
from foveal.augmentations.overlay import overlay
from foveal.augmentations.shift import random_shift
from foveal.augmentations.spectrum import mask_spectrum, random_rings
from foveal.augmentations.translate import center_translate, random_translate

__all__ = [
    "ALL",
    "AUGMENTATIONS",
    "Augmentation",
    "AugmentationOptions",
    "PictureBank",
    "center_crop",
    "center_translate",
    "mask_spectrum",
    "overlay",
    "pictures",
    "random_color_jitter",
    "random_conv",
    "random_crop",
    "random_cutout",
    "random_rings",
    "random_shift",
    "random_translate",
]
