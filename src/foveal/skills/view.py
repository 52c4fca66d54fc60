"""Which part of a depth camera's picture skills look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from foveal.config.bounds import Bounded, at_least
from foveal.errors import FovealError

_TOP = 0.04  # of the picture: where a cut begins


@dataclass(frozen=True)
class View(Bounded, section="view"):
    """A square cut from a rendered square, which the camera's aim stays in: the part where the arm works.

    The front camera sees the whole table, and a cube 5 pixels wide in 84. HRL-BC cuts 224 from 240 pixels, and there it
    is 13 pixels wide; cutting 84 from 108 makes it 6 to 7.

    Attributes:
        size: height and width of a frame; 0 renders nothing.
        render: of the picture that it is cut from: from 4 % below its upper edge, as the lower part shows nothing but
            table, and from its middle.
        camera: 0 front, 1 side, 2 wrist.

    Raises:
        FovealError: a frame does not fit into its picture.
    """

    size: Annotated[int, at_least(0)] = 84
    render: Annotated[int, at_least(0)] = 108
    camera: Annotated[int, at_least(0)] = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.render < self.size:
            raise FovealError(
                f"view.render is {self.render}, and frames of {self.size} pixels can't be cut from such a picture"
            )

    def cut(self, picture: NDArray[Any]) -> NDArray[Any]:
        """(..., render, render) -> (..., size, size)."""
        top = min(round(_TOP * self.render), self.render - self.size)
        left = (self.render - self.size) // 2
        return np.asarray(picture[..., top : top + self.size, left : left + self.size])
