"""What there is to measure of maps: how well they agree, how well masks find the agent, what lies on which part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.explanation.attention import AGENT, Attention, Moment
from foveal.explanation.page import TIMES, Cell, Line, Table
from foveal.explanation.panels import Episode, episode_name, map_name, percent, times
from foveal.saliency.metrics import correlation

ELSEWHERE = "elsewhere"


def part_tables(attentions: Sequence[Attention]) -> list[Table]:
    """What lies where in the picture, as far as the simulator can tell parts of it apart."""
    parts = attentions[0].moments[0].parts
    if AGENT not in parts:
        return [share_table(attentions)] if parts else []
    return [mask_table(attentions)] if attentions[0].precision is not None else []


def mask_table(attentions: Sequence[Attention]) -> Table:
    """Return of each episode that is shown, and how well each map finds the agent."""
    head = ["", "return", "mask on the agent", "saliency on the agent", "agent's share of the picture", "ratio"]
    several = len({attention.saliency for attention in attentions}) > 1
    rows: list[Line] = [
        [
            episode_name(attention, *([map_name(attention.saliency)] if several else [])),
            f"{attention.recording.episode.total:.1f}",
            percent(attention.precision),
            percent(attention.weight),
            percent(attention.share),
            times(attention.ratio),
        ]
        for attention in attentions
    ]
    caption = (
        "Return of the one episode shown for each condition; share of the mask's pixels, and of the whole map's "
        "saliency, that lies on the agent's own body; share of the picture that its body is, and how many times as "
        f"often the mask lies on it (1{TIMES} is a mask laid at random). Means over the episode; the simulator's "
        "segmentation tells which pixels are the agent's."
    )
    return Table(caption, head, rows)


# --- shares on parts --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Share:
    """How much of a map lies on a part of the picture; means over some moments.

    Attributes:
        saliency: of all saliency, the part's.
        untrained: the same in a network of the same shape that has learned nothing; None where there is no such.
        pixels: of the picture, the part's: what a map that is the same everywhere would have.
    """

    saliency: float
    untrained: float | None
    pixels: float

    @property
    def ratio(self) -> float | None:
        """Saliency over pixels; None where the part is never seen."""
        return self.saliency / self.pixels if self.pixels else None


def shares(attention: Attention) -> dict[str, dict[str, Share]]:
    """Note of some moments, ``"all"`` for all of them, -> name of a part -> how much of the map lies on it.

    What is no part's is ``"elsewhere"``.
    """
    moments = attention.moments
    notes = list(dict.fromkeys(moment.note for moment in moments))
    groups: dict[str, Sequence[Moment]] = {"all": moments} if len(notes) > 1 else {}
    for note in notes:
        groups[note or "all"] = [moment for moment in moments if moment.note == note]
    parts = [*moments[0].parts, ELSEWHERE]
    return {name: {part: _share(members, part) for part in parts} for name, members in groups.items()}


def share_table(attentions: Sequence[Attention]) -> Table:
    """How much of each map lies on each part: a row for every note of every episode."""
    several = len({attention.saliency for attention in attentions}) > 1
    by_map = [shares(attention) for attention in attentions]
    parts = list(next(iter(by_map[0].values())))
    rows: list[Line] = []
    for attention, by_note in zip(attentions, by_map, strict=True):
        condition = attention.recording.condition
        where = f"{condition}, {map_name(attention.saliency)}" if several else condition
        rows += [
            [Cell(note, small=(where,)), *(_share_cell(by_part[part]) for part in parts)]
            for note, by_part in by_note.items()
        ]
    untrained = ""
    if attentions[0].insides.control is not None:
        untrained = (
            ", and the same of a network that has learned nothing: what that finds is in edges and in the network's "
            "shape"
        )
    caption = (
        "How many times its share of the picture a part has of the saliency "
        f"(1{TIMES} is a map that is the same everywhere), and below it these two shares{untrained}. Means over the "
        "moments shown; the simulator's segmentation tells which pixels are whose."
    )
    return Table(caption, ["", *parts], rows)


def _share(moments: Sequence[Moment], part: str) -> Share:
    inside = np.stack([_pixels_of(moment.parts, part) for moment in moments])
    controls = [moment.control for moment in moments if moment.control is not None]
    untrained = _on(np.stack(controls), inside) if controls else None
    return Share(_on(np.stack([moment.strength for moment in moments]), inside), untrained, float(inside.mean()))


def _pixels_of(parts: Mapping[str, NDArray[np.bool_]], name: str) -> NDArray[np.bool_]:
    return parts[name] if name in parts else ~np.any(list(parts.values()), axis=0)


def _on(strengths: NDArray[np.float32], masks: NDArray[np.bool_]) -> float:
    """Mean over pictures, (M, H, W), of the share of each one's saliency that lies within its mask."""
    whole = strengths.sum((1, 2), dtype=np.float64)
    inside = np.where(masks, strengths, 0.0).sum((1, 2), dtype=np.float64)
    ratios = inside[whole > 0.0] / whole[whole > 0.0]
    return float(ratios.mean()) if len(ratios) else 0.0


def _share_cell(share: Share) -> str | Cell:
    if share.ratio is None:
        return "not seen"
    lines = [f"{percent(share.saliency)} of {percent(share.pixels)}"]
    if share.untrained is not None:
        lines.append(f"untrained {times(share.untrained / share.pixels)}")
    return Cell(times(share.ratio), small=tuple(lines))


# --- agreement --------------------------------------------------------------------------------------------------------


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
    values = [correlation(a.strength, b.strength) for a, b in pairs]
    return np.array([value for value in values if not math.isnan(value)])


def agreement_table(played: Sequence[Episode]) -> Table:
    """The correlation of every two maps: a row for each pair, a column for each episode."""
    first = played[0]
    head: Line = ["", *(episode_name(episode[0]) for episode in played)]
    rows: list[Line] = [
        [
            f"{map_name(first[a].saliency)} and {map_name(first[b].saliency)}",
            *(_correlation(episode[a], episode[b]) for episode in played),
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


def _correlation(one: Attention, other: Attention) -> str | Cell:
    now, later = agreement(one, other), agreement(one, other, later=len(other.moments) // 2)
    if not len(now) or not len(later):
        return "n/a"
    return Cell(f"{now.mean():.2f}", small=(f"{later.mean():.2f} at other moments",))
