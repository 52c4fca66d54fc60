"""What a network looks at: maps of pixel importance, and masks made from them, without side effects."""

from foveal.saliency.graph import pixel_gradient
from foveal.saliency.maps import (
    SALIENCY,
    SaliencyMap,
    ScalarFunction,
    black_box,
    black_boxes,
    gradient,
    guided_backprop,
    needs_choices,
    needs_gradient,
    of_choices,
)
from foveal.saliency.masks import CHANNELS, quantile_mask

__all__ = [
    "CHANNELS",
    "SALIENCY",
    "SaliencyMap",
    "ScalarFunction",
    "black_box",
    "black_boxes",
    "gradient",
    "guided_backprop",
    "needs_choices",
    "needs_gradient",
    "of_choices",
    "pixel_gradient",
    "quantile_mask",
]
