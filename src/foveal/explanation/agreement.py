"""How well several maps of one agent agree with one another, and with where the agent is."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foveal.explanation.attention import GAME, Attention
from foveal.explanation.page import TIMES, Cell, Line, Table
from foveal.explanation.panels import episode_name, map_name, percent, times
from foveal.saliency.metrics import correlation


def agreement(one: Attention, other: Attention, *, later: int = 0) -> NDArray[np.float64]:
    """Pearson's correlation of two maps at every moment of one episode.

    Args:
        one: a map.
        other: another one of the same moments.
        later: take the other map so many moments later, beginning again at the end: what is left then is what the maps
            have in common whatever happens.

    Returns:
        (M,), one for each moment at which neither map is constant.
    """
    pairs = zip(one.moments, other.moments[later:] + other.moments[:later], strict=True)
    found = [correlation(a.strength, b.strength) for a, b in pairs]
    return np.array([value for value in found if not math.isnan(value)])


def agreement_table(episodes: Sequence[Sequence[Attention]]) -> Table:
    """The correlation of every two maps: a row for each pair, a column for each episode."""
    first = episodes[0]
    head = ["", *(_episode_name(episode[0]) for episode in episodes)]
    rows: list[Line] = [
        [
            f"{map_name(first[a].saliency)} and {map_name(first[b].saliency)}",
            *(_correlation(episode[a], episode[b]) for episode in episodes),
        ]
        for a, b in itertools.combinations(range(len(first)), 2)
    ]
    caption = (
        "Correlation of two maps pixel by pixel: 1 where they are the same up to scale, 0 where they know nothing of "
        "each other. Mean over the moments shown. Below it, the same with the second map taken half an episode later: "
        "what the maps have in common whatever happens. A map that is as coarse as the features that it weighs does "
        "not reach 1 beside one that tells pixels apart."
    )
    return Table(caption, head, rows)


def comparison_table(episodes: Sequence[Sequence[Attention]]) -> Table:
    """How well each map finds the agent, episode by episode."""
    head = ["", "mask on the agent", "saliency on the agent", "agent's share of the picture", "ratio of the mask"]
    rows: list[Line] = [
        [
            episode_name(attention, map_name(attention.saliency)),
            percent(attention.precision),
            percent(attention.weight),
            percent(attention.share),
            times(attention.ratio),
        ]
        for episode in episodes
        for attention in episode
    ]
    caption = (
        "Share of the mask's pixels, and of the whole map's saliency, that lies on the agent's own body; share of the "
        f"picture that its body is, and how many times as often the mask lies on it (1{TIMES} is a mask laid at "
        "random). Means over the episode; the simulator's segmentation tells which pixels are the agent's."
    )
    return Table(caption, head, rows)


def _episode_name(attention: Attention) -> str | Cell:
    return "correlation" if attention.wording is GAME else episode_name(attention)


def _correlation(one: Attention, other: Attention) -> str | Cell:
    now, later = agreement(one, other), agreement(one, other, later=len(other.moments) // 2)
    if not len(now) or not len(later):
        return "n/a"
    return Cell(f"{now.mean():.2f}", small=(f"{later.mean():.2f} at other moments",))
