"""How a network that gives frames back is built and trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from foveal.config.bounds import POSITIVE, SHARE, Anything, Bounded, Names, at_least
from foveal.corruptions import CORRUPTIONS
from foveal.errors import FovealError

TRAINED_ON = (
    "background",
    "background_flicker",
    "background_pan",
    "background_part",
    "blur",
    "gamma",
    "lamp",
    "noise",
    "occluder",
    "overlay",
    "recolor",
    "shift",
    "tint",
)
"""Contrast, hue, jpeg and shadow were left out so that there is something to choose settings on; others came later."""


@dataclass(frozen=True)
class FoveaConfig(Bounded, section="fovea"):
    """The network and its training.

    Attributes:
        filters: channels of the network's finest level; each coarser one has twice as many.
        depth: how often the network halves the frame.
        frames: how many it learns from.
        steps: of the optimizer.
        batch_size: frames in each.
        learning_rate: Adam's at the beginning; it falls to 0 along a half cosine.
        clean: share of frames that are left as they are.
        twice: share of the others that suffer two corruptions.
        corruptions: what it is trained on, by name.
        task_weight: weight of the error on the task's own pixels, averaged over these, beside that of the whole frame.
        mask_weight: weight of the mask's cross-entropy.
        change_weight: weight of the error of its estimate of how much frames were changed.
        pictures: of other places: "generated", or a folder of photographs.
        picture_count: how many of them.
    """

    filters: Annotated[int, at_least(1)] = 16
    depth: Annotated[int, at_least(1)] = 2
    frames: Annotated[int, at_least(20)] = 3000
    steps: Annotated[int, at_least(1)] = 2000
    batch_size: Annotated[int, at_least(1)] = 64
    learning_rate: Annotated[float, POSITIVE] = 5e-3
    clean: Annotated[float, SHARE] = 0.15
    twice: Annotated[float, SHARE] = 0.25
    corruptions: Annotated[tuple[str, ...], Names(CORRUPTIONS.names)] = TRAINED_ON
    task_weight: Annotated[float, at_least(0)] = 0.5
    mask_weight: Annotated[float, at_least(0)] = 0.1
    change_weight: Annotated[float, at_least(0)] = 0.05
    pictures: Annotated[str, Anything("a folder of the user's, looked for when training begins")] = "generated"
    picture_count: Annotated[int, at_least(1)] = 1000

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.corruptions:
            raise FovealError(
                f"{self.section}.corruptions is empty: name at least one, so that there is something to undo"
            )

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}
