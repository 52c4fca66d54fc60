"""What pages show of an episode: strips of pictures, a player, how to read them, and a table of precisions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from foveal.explanation import pictures
from foveal.explanation.attention import BUILT_IN, GAME, Attention
from foveal.explanation.charts import Sparkline
from foveal.explanation.page import TIMES, Cell, Line, Table
from foveal.explanation.pictures import Picture

MOST_STILLS = 8

Episode: TypeAlias = Sequence[Attention]
"""One episode as each of several maps shows it."""


@dataclass(frozen=True)
class Layer:
    """What a row of a strip and a view of a player show.

    Attributes:
        key: tells it from the others inside the page.
        name: for people.
        stills: pictures of the moments shown, as data URIs.
        sheet: those of all moments in one, which takes less room than each on its own.
    """

    key: str
    name: str
    stills: Sequence[str]
    sheet: str


@dataclass(frozen=True)
class Panel:
    """One episode: still pictures of moments at even distances, and a player.

    Attributes:
        identifier: unique in the page, of the player's data.
        attention: the episode, as its first map shows it.
        told: how it went.
        chosen: which moments still pictures are of.
        layers: frames, maps and masks.
        data: for the page's script.
        lines: values and rewards over the episode.
    """

    identifier: str
    attention: Attention
    told: str
    chosen: Sequence[int]
    layers: Sequence[Layer]
    data: Mapping[str, Any]
    lines: Sequence[Sparkline]

    @property
    def game(self) -> bool:
        """Whether it is a game, which has a name where others have a condition."""
        return self.attention.wording is GAME


@dataclass(frozen=True)
class Explanation:
    """A page of ``explain``.

    Attributes:
        heading, environment: what the page is about.
        lede: what was played, and what is shown.
        tables, tables_below: above and below the pictures.
        guide: (name, meaning) of what the pictures show.
        panels: the episodes.
    """

    heading: str
    environment: str
    lede: str
    tables: Sequence[Table]
    guide: Sequence[tuple[str, str]]
    panels: Sequence[Panel]
    tables_below: Sequence[Table] = ()


OVERLAP = (
    "More receptive fields overlap in the middle than at the edges, so attention that is the same everywhere is drawn "
    "brighter there"
)


def map_name(saliency: str) -> str:
    """A map's name as a phrase."""
    return saliency.replace("_", " ")


def episodes(attentions: Sequence[Attention]) -> list[tuple[Attention, ...]]:
    """Those of one episode, which stand together, as one group."""
    groups = itertools.groupby(attentions, key=lambda attention: attention.perturbation)
    return [tuple(group) for _, group in groups]


def panels(played: Sequence[Episode], stills: int) -> list[Panel]:
    """All episodes of a page, each with at most so many (and 8) still pictures of each kind."""
    return [_panel(episode, min(stills, MOST_STILLS), f"episode-{index}") for index, episode in enumerate(played)]


def episode_name(attention: Attention, *small: str) -> Cell:
    """The condition with its visible label (see ``foveal.evaluation.results.provenance``), and lines below."""
    return Cell(attention.perturbation, code=True, note=attention.note, small=small)


def precision_table(attentions: Sequence[Attention]) -> Table:
    """Return of the shown episode, and how well its masks find the agent."""
    head = ["", "return", "mask on the agent", "agent's share of the picture", "ratio"]
    rows: list[Line] = [
        [episode_name(a), f"{a.episode.total:.1f}", percent(a.precision), percent(a.share), times(a.ratio)]
        for a in attentions
    ]
    caption = (
        "Return of the one episode shown for each condition; share of the mask's pixels that lie on the agent's own "
        f"body, share of the picture that its body is, and their ratio (1{TIMES} is a mask laid at random). "
        "Means over the episode; the simulator's segmentation tells which pixels are the agent's."
    )
    return Table(caption, head, rows)


def reading_guide(saliency: str | Sequence[str], quantile: float | None) -> list[tuple[str, str]]:
    """What the pictures of a strip are, of one map or of several: names and meanings."""
    names = (saliency,) if isinstance(saliency, str) else tuple(saliency)
    maps = [
        (
            "saliency" if len(names) == 1 else map_name(name),
            f"{map_meaning(name)}; the frame beneath is in grey" + (f". {OVERLAP}" if name == BUILT_IN else ""),
        )
        for name in names
    ]
    if quantile is not None:
        whose = "the highest saliency" if len(names) == 1 else "the highest saliency in that map"
        maps.append(("mask", f"the {100 * (1 - quantile):.3g} % of pixels with {whose}, in colour"))
    return [("frame", "what the camera sees; the newest of the stacked frames that the agent acts on"), *maps]


def map_meaning(saliency: str, value: str = "the critic's first head") -> str:
    """What a map is made from, and what is bright in it."""
    how = {
        "guided_backprop": f"guided backpropagation of {value}: ReLUs let only positive gradients pass",
        "gradient": f"the plain gradient of {value}",
        BUILT_IN: "the map by which the agent's own attention module weighs its features, drawn on what they see",
    }.get(saliency, f"the map {saliency!r} of {value}")
    brighter = "count for more" if saliency == BUILT_IN else "change the value more"
    return f"{how}. Brighter pixels {brighter}"


def _panel(episode: Episode, stills: int, identifier: str) -> Panel:
    first = episode[0]
    wording, moments, length = first.wording, first.moments, first.episode.length
    so_far = np.concatenate([[0.0], np.cumsum(first.rewards)])  # (length + 1,) the sum of rewards before each step
    chosen = first.evenly(stills)
    steps = [moment.step for moment in moments]
    values = [moment.value for moment in moments]
    height, width, _ = moments[0].frame.shape
    columns = math.ceil(math.sqrt(len(steps)))
    lines = (
        Sparkline(wording.value, steps, values, length),
        Sparkline(wording.reward, range(length), first.rewards.tolist(), length),
    )
    data = {
        "width": width,
        "height": height,
        "columns": columns,
        "length": length,
        "steps": steps,
        "values": values,
        "symbol": wording.symbol,
        "returns": [float(so_far[step]) for step in steps],
        "total": wording.total,
        "digits": wording.digits,
        "notes": [moment.note for moment in moments],
        "cursor": [lines[0].x(step) for step in steps],
    }
    layers = [_layer(*layer, len(moments), chosen, columns) for layer in _drawn(episode)]
    return Panel(identifier, first, _told(episode), chosen, layers, data, lines)


Draw: TypeAlias = Callable[[int], Picture]
"""Index of a moment -> its picture."""


def _drawn(episode: Episode) -> list[tuple[str, str, Draw]]:
    """Key, name and pictures: the frame, then every map, over the frame in grey, and its mask if it has one."""
    first = episode[0]
    game, several = first.wording is GAME, len(episode) > 1
    found: list[tuple[str, str, Draw]] = [
        ("frame", "game" if game else "frame", lambda index: first.moments[index].frame)
    ]
    for number, attention in enumerate(episode):
        name = map_name(attention.saliency) if several or game else "saliency"
        found.append((f"saliency-{number}", name, partial(_heat, attention)))
        if attention.quantile is not None:
            key, name = (f"mask-{number}", f"mask of {name}") if several else ("mask", "mask")
            found.append((key, name, partial(_masked, attention)))
    return found


def _layer(key: str, name: str, draw: Draw, count: int, chosen: Sequence[int], columns: int) -> Layer:
    sheet = pictures.sheet([draw(index) for index in range(count)], columns)
    return Layer(key, name, [pictures.png(draw(index)) for index in chosen], pictures.webp(sheet))


def _heat(attention: Attention, index: int) -> Picture:
    moment = attention.moments[index]
    return pictures.heat(moment.frame, moment.strength, attention.brightest)


def _masked(attention: Attention, index: int) -> Picture:
    moment = attention.moments[index]
    assert moment.mask is not None  # there is a quantile
    return pictures.masked(moment.frame, moment.mask)


def _told(episode: Episode) -> str:
    attention = episode[0]
    played, wording = attention.episode, attention.wording
    told = f"{wording.total.capitalize()} {played.total:,.{wording.digits}f} in {played.length:,} steps"
    if attention.wording is GAME:
        return f"{told}, {'to the end of the game' if played.terminated else 'then cut off after half an hour'}."
    if len(episode) > 1 or attention.ratio is None or attention.precision is None:
        return f"{told}."
    return (
        f"{told}. {percent(attention.precision)} of the mask lies on the agent, "
        f"which fills {percent(attention.share)} of the picture ({times(attention.ratio)} chance)."
    )


def percent(share: float | None) -> str:
    """A share in words; None is one that nobody can tell."""
    return "n/a" if share is None else f"{100 * share:.1f} %"


def times(ratio: float | None) -> str:
    """A ratio in words; None is one that nobody can tell."""
    return "n/a" if ratio is None else f"{ratio:.1f}{TIMES}"
