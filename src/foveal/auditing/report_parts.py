"""What several parts of an audit's page need: numbers with their intervals, and pictures with what they show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from foveal.auditing.results import DRIFT, SUCCESS, Audit, Difference, Picture, Point
from foveal.auditing.trials import Estimate
from foveal.evaluation.layout import number
from foveal.explanation.page import Cell
from foveal.explanation.pictures import png, webp

LARGEST = 200
"""Side in pixels up to which pictures go into the page without loss."""


@dataclass(frozen=True)
class Shown:
    """A picture of what came in, and behind a shield of what was given; or a frame, and the same with a map over it.

    Attributes:
        name: of the change, or of the map.
        told: what came of it.
        pictures: data URIs, with what each shows.
        width, height: in pixels.
    """

    name: str
    told: str
    pictures: Sequence[tuple[str, str]]
    width: int
    height: int

    @classmethod
    def of(cls, name: str, told: str, pictures: Sequence[tuple[Picture, str]]) -> Shown:
        """Of pictures of one size."""
        height, width, _ = pictures[0][0].shape
        encode: Callable[[Picture], str] = png if max(height, width) <= LARGEST else webp
        return cls(name, told, [(encode(picture), what) for picture, what in pictures], width, height)


def measured(audit: Audit, value: float) -> str:
    """What is measured, as people read it."""
    if audit.measure == SUCCESS:
        return f"{100 * value:.0f} %"
    return f"{value:.2f}" if audit.measure == DRIFT else number(value)


def interval_cell(one: Point | Estimate | Difference, tell: Callable[[float], str], *small: str) -> Cell:
    """A mean, and below it its interval and what else there is to say."""
    return Cell(tell(one.mean), small=(f"{tell(one.low)} to {tell(one.high)}", *small))


def two_digits(value: float) -> str:
    """After the point."""
    return f"{value:.2f}"
