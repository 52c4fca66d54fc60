"""One episode as an agent played it, with what it saw on the way: what ``explain`` looks at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from foveal.evaluation.results import Episode


@dataclass(frozen=True)
class Sight:
    """What was seen before one step.

    Attributes:
        step: agent steps before it.
        observation: as the agent acted on it.
        action: that it took.
        picture: (H, W, 3) ``uint8`` of the present moment, for people.
        parts: (H, W) bool by name: pixels that the simulator can tell apart; none where it can't.
        note: what else there is to say, such as the name of a skill.
    """

    step: int
    observation: Any
    action: Any
    picture: NDArray[np.uint8]
    parts: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    note: str = ""


class Sights(Protocol):
    """In the order of their steps; a tuple, or what a game played once more gives anew every time."""

    def __len__(self) -> int:
        """How many there are."""

    def __iter__(self) -> Iterator[Sight]:
        """One after the other."""


@dataclass(frozen=True)
class Words:
    """How an episode and its numbers are called on pages.

    Attributes:
        who: looks, in a heading.
        played: what the recording is of.
        acting: a sentence on how actions were chosen, where that must be said.
        picture: name of what is seen, in a word.
        shows: what that is.
        section: heading above the episodes.
        total: of the sum of rewards.
        reward: of a step.
        digits: of the total, behind the point.
        ends: what to say of an episode that terminated, and of one that was cut off.
        smooth: whether pages may shrink pictures by shares that are not whole.
    """

    who: str = "the agent"
    played: str = "One episode"
    acting: str = ""
    picture: str = "frame"
    shows: str = "what the camera sees; the newest of the stacked frames that the agent acts on"
    section: str = "One episode under each condition"
    total: str = "return"
    reward: str = "reward per step"
    digits: int = 1
    ends: tuple[str, str] = ("", "")
    smooth: bool = False


@dataclass(frozen=True)
class Recording:
    """An episode.

    Attributes:
        environment: its id.
        condition: its name.
        source, note: where colours or videos come from, as in ``foveal.evaluation.results.Condition``.
        episode: how it went.
        rewards: (length,) one for each agent step.
        sights: before every step, or before some of them at even distances.
        words: what to call it.
        name: of the episode among others.
    """

    environment: str
    condition: str
    episode: Episode
    rewards: NDArray[np.float64]
    sights: Sights
    words: Words = field(default_factory=Words)
    source: str | None = None
    note: str = ""
    name: str = ""
