"""What pages show of an episode: strips of pictures, a player, and how to read them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from foveal.evaluation.insides import BUILT_IN, Insides, Reading
from foveal.evaluation.layout import number
from foveal.explanation import pictures
from foveal.explanation.attention import Attention
from foveal.explanation.charts import Sparkline
from foveal.explanation.page import TIMES, Cell
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


def map_name(saliency: str) -> str:
    """A map's name as a phrase."""
    return saliency.replace("_", " ")


def episodes(attentions: Sequence[Attention]) -> list[tuple[Attention, ...]]:
    """Those of one episode, which stand together, as one group."""
    groups = itertools.groupby(attentions, key=lambda attention: attention.recording.condition)
    return [tuple(group) for _, group in groups]


def beneath(insides: Insides) -> list[str]:
    """Names of the views that maps are drawn over, beside the frame."""
    return [name for name, view in insides.views.items() if view.beneath]


def panels(played: Sequence[Episode], stills: int) -> list[Panel]:
    """All episodes of a page, each with at most so many (and 8) still pictures of each kind."""
    return [_panel(episode, min(stills, MOST_STILLS), f"episode-{index}") for index, episode in enumerate(played)]


def episode_name(attention: Attention, *small: str) -> Cell:
    """The condition with its visible label (see ``foveal.evaluation.results.provenance``), and lines below."""
    return Cell(attention.recording.name, code=True, note=attention.recording.note, small=small)


def reading_guide(episode: Episode) -> list[tuple[str, str]]:
    """What the pictures of a strip are: names and meanings.

    Args:
        episode: as one map or several show it.
    """
    first, several = episode[0], len(episode) > 1
    guide = [(first.recording.words.picture, first.recording.words.shows)]
    guide += [(name, view.meaning) for name, view in first.insides.views.items()]
    guide += [(_row_name(attention, several), _map_guide(attention)) for attention in episode]
    if first.quantile is not None:
        whose = "the highest saliency in that map" if several else "the highest saliency"
        guide.append(("mask", f"the {100 * (1 - first.quantile):.3g} % of pixels with {whose}, in colour"))
    return guide


def _row_name(attention: Attention, several: bool) -> str:
    return map_name(attention.saliency) if several or attention.insides.same_scale else "saliency"


def _map_guide(attention: Attention) -> str:
    """How a map is made, how bright its pictures are, and what its drawing adds."""
    insides, own = attention.insides, attention.saliency == BUILT_IN
    text = map_meaning(attention)
    if insides.summed and attention.saliency not in insides.maps:
        text += f". Summed over {insides.summed}"
    if insides.same_scale:
        scale = "the largest value" if own else "the 99.5 % quantile"
        text += f". Brightness is relative to {scale} in all these pictures"
    text += f"; the {' or what is '.join([attention.recording.words.picture, *beneath(insides)])} beneath is in grey"
    if own:
        text += (
            ". More receptive fields overlap in the middle than at the edges, so attention that is the same everywhere "
            "is drawn brighter there"
        )
    return text + (_evenness(attention) if own and attention.evenness is not None else "")


def _evenness(attention: Attention) -> str:
    """How even the maps are on their own grid, where the drawing adds nothing."""
    found, (height, width) = attention.evenness, attention.grid
    assert found is not None  # the caller looked
    text = (
        f", and in stripes. On its own grid, {height}x{width}, where the drawing adds nothing, a map's standard "
        f"deviation is {100 * found.variation:.3g} % of its mean (0 is even), and its entropy {found.entropy:.4f} of "
        "an even map's"
    )
    if found.change is None:
        return text
    later = f"{attention.apart} steps on"
    return f"{text}; from one picture to the next, {later}, a position changes by {found.change:.3f} of the mean"


def map_meaning(attention: Attention) -> str:
    """What a map is made from, and what is bright in it."""
    name, value = attention.saliency, attention.scalar.meaning
    own = name in attention.insides.maps
    how = {
        "guided_backprop": f"guided backpropagation of {value}: ReLUs let only positive gradients pass",
        "gradient": f"the plain gradient of {value}",
        "smoothgrad": f"the gradient of {value}, averaged over noisy copies of the picture",
        "integrated_gradients": f"the gradient of {value} along the way from black to the picture, times the picture",
        "grad_cam": f"the last feature maps, weighted by how much they raise {value}",
        "occlusion": f"how far {value} falls where a patch is covered",
        "rise": f"{value} where random parts of the picture are kept",
        "sarfa": "what makes this action the one to choose: how far its probability falls where it is blurred",
        BUILT_IN: "the map by which the agent's own attention module weighs its features, drawn on what they see",
    }.get(name, f"the agent's own map {name!r}" if own else f"the map {name!r} of {value}")
    return f"{how}. Brighter pixels {'count for more' if own else 'change it more'}"


def _panel(episode: Episode, stills: int, identifier: str) -> Panel:
    first = episode[0]
    recording, words, moments = first.recording, first.recording.words, first.moments
    length = recording.episode.length
    so_far = np.concatenate([[0.0], np.cumsum(recording.rewards)])  # (length + 1,) the sum of rewards before each step
    chosen = first.evenly(stills)
    steps = [moment.step for moment in moments]
    values = [moment.value for moment in moments]
    height, width, _ = moments[0].frame.shape
    columns = math.ceil(math.sqrt(len(steps)))
    lines = (
        Sparkline(first.scalar.label, steps, values, length),
        Sparkline(words.reward, range(length), recording.rewards.tolist(), length),
        *(_readings(first, name, reading) for name, reading in first.insides.readings.items()),
    )
    data = {
        "width": width,
        "height": height,
        "columns": columns,
        "length": length,
        "steps": steps,
        "values": values,
        "symbol": first.scalar.symbol,
        "returns": [float(so_far[step]) for step in steps],
        "total": words.total,
        "digits": words.digits,
        "notes": [moment.note for moment in moments],
        "cursor": [lines[0].x(step) for step in steps],
    }
    layers = [_layer(*layer, len(moments), chosen, columns) for layer in _drawn(episode)]
    return Panel(identifier, first, _told(episode), chosen, layers, data, lines)


def _readings(attention: Attention, name: str, reading: Reading) -> Sparkline:
    moments = attention.moments
    limit = "" if reading.limit is None else f"; limit {number(reading.limit)}"
    values = [moment.readings[name] for moment in moments]
    length = attention.recording.episode.length
    return Sparkline(f"{name}, {reading.unit}{limit}", [m.step for m in moments], values, length, reading.limit)


Draw: TypeAlias = Callable[[int], Picture]
"""Index of a moment -> its picture."""


def _drawn(episode: Episode) -> list[tuple[str, str, Draw]]:
    """Key, name and pictures: the frame and other views, then every map, over these in grey, and its mask if any."""
    first, several = episode[0], len(episode) > 1
    found: list[tuple[str, str, Draw]] = [
        ("frame", first.recording.words.picture, lambda index: first.moments[index].frame)
    ]
    found += [(f"view-{n}", name, partial(_view, first, name)) for n, name in enumerate(first.insides.views)]
    for place, attention in enumerate(episode):
        name = _row_name(attention, several)
        found.append((f"saliency-{place}", name, partial(_heat, attention)))
        found += [
            (f"saliency-{place}-{n}", f"{name} on {view}", partial(_heat, attention, view=view))
            for n, view in enumerate(beneath(attention.insides))
        ]
        if attention.quantile is not None:
            key, name = (f"mask-{place}", f"mask of {name}") if several else ("mask", "mask")
            found.append((key, name, partial(_masked, attention)))
    return found


def _layer(key: str, name: str, draw: Draw, count: int, chosen: Sequence[int], columns: int) -> Layer:
    sheet = pictures.sheet([draw(index) for index in range(count)], columns)
    return Layer(key, name, [pictures.png(draw(index)) for index in chosen], pictures.webp(sheet))


def _view(attention: Attention, name: str, index: int) -> Picture:
    return attention.moments[index].views[name]


def _heat(attention: Attention, index: int, view: str | None = None) -> Picture:
    moment = attention.moments[index]
    below = moment.frame if view is None else moment.views[view]
    return pictures.heat(below, moment.strength, attention.brightest)


def _masked(attention: Attention, index: int) -> Picture:
    moment = attention.moments[index]
    assert moment.mask is not None  # there is a quantile
    return pictures.masked(moment.frame, moment.mask)


def _told(episode: Episode) -> str:
    attention, recording = episode[0], episode[0].recording
    played, words = recording.episode, recording.words
    text = f"{words.total.capitalize()} {played.total:,.{words.digits}f} in {played.length:,} steps"
    text += words.ends[0] if played.terminated else words.ends[1]
    for name, reading in attention.insides.readings.items():
        if reading.limit is not None:
            above = np.mean([moment.readings[name] > reading.limit for moment in attention.moments])
            text += f", the {name} above its limit in {percent(float(above))} of the moments shown"
    if len(episode) > 1 or attention.ratio is None or attention.precision is None:
        return f"{text}."
    return (
        f"{text}. {percent(attention.precision)} of the mask lies on the agent, "
        f"which fills {percent(attention.share)} of the picture ({times(attention.ratio)} chance)."
    )


def percent(share: float | None) -> str:
    """A share in words; None is one that nobody can tell."""
    return "n/a" if share is None else f"{100 * share:.1f} %"


def times(ratio: float | None) -> str:
    """A ratio in words; None is one that nobody can tell."""
    return "n/a" if ratio is None else f"{ratio:.1f}{TIMES}"
