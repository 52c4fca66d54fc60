"""The parts of a page that show what an agent looks at: strips of pictures, a player, and a table of precisions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np

from foveal.report import pictures
from foveal.report.attention import BUILT_IN, GAME, Attention, Moment, Wording
from foveal.report.charts import sparkline, sparkline_cursor
from foveal.report.page import TIMES, Child, Html, data_block, definitions, element, table
from foveal.report.pictures import Picture

MOST_STILLS = 8

Episode: TypeAlias = Sequence[Attention]
"""One episode as each of several maps shows it."""


@dataclass(frozen=True)
class Layer:
    """What a row of a strip and a view of a player show.

    Attributes:
        key: tells it from the others inside the page.
        name: for people.
        draw: index of a moment -> its picture.
    """

    key: str
    name: str
    draw: Callable[[int], Picture]


OVERLAP = (
    "More receptive fields overlap in the middle than at the edges, so attention that is the same everywhere is drawn "
    "brighter there"
)


def map_name(saliency: str) -> str:
    """A map's name as a phrase."""
    return saliency.replace("_", " ")


def layers(episode: Episode) -> list[Layer]:
    """The frame, then every map, over the frame in grey, and its mask if it has one."""
    first = episode[0]
    game = first.wording is GAME
    found = [Layer("frame", "game" if game else "frame", lambda index: first.moments[index].frame)]
    for number, attention in enumerate(episode):
        several = len(episode) > 1
        name = map_name(attention.saliency) if several or game else "saliency"
        found.append(Layer(f"saliency-{number}", name, partial(_heat, attention)))
        if attention.quantile is not None:
            key, name = (f"mask-{number}", f"mask of {name}") if several else ("mask", "mask")
            found.append(Layer(key, name, partial(_masked, attention)))
    return found


def episodes(attentions: Sequence[Attention]) -> list[tuple[Attention, ...]]:
    """Those of one episode, which stand together, as one group."""
    groups = itertools.groupby(attentions, key=lambda attention: attention.perturbation)
    return [tuple(group) for _, group in groups]


def attention_panel(episode: Episode, stills: int, identifier: str) -> Html:
    """One episode: a player, and still pictures of moments at even distances.

    Args:
        episode: what was seen.
        stills: how many moments to show as still pictures, at most 8.
        identifier: unique in the page, of the player's data.
    """
    first = episode[0]
    return element(
        "section",
        element(
            "header",
            element("h3", element("code", first.environment if first.wording is GAME else first.perturbation)),
            mark(first.note),
            element("p", _told(episode), class_="quiet"),
        ),
        strip(episode, min(stills, MOST_STILLS)),
        player(episode, identifier),
        class_="attention game" if first.wording is GAME else "attention",
    )


def mark(note: str) -> Html | None:
    """A visible label that tells the whole benchmark's own perturbations from a part of them and generated ones."""
    return element("span", note, class_="note") if note else None


def strip(episode: Episode, count: int) -> Html:
    """Rows of frames, saliency maps and masks; a column is one moment."""
    first = episode[0]
    chosen = first.evenly(count)
    steps = [first.moments[index].step for index in chosen]
    where = f"{first.environment} under {first.perturbation}"
    rows = [
        [
            element("span", layer.name, class_="rowname"),
            *(
                _still(layer.draw(index), f"{layer.name}, {where}, step {step}")
                for index, step in zip(chosen, steps, strict=True)
            ),
        ]
        for layer in layers(episode)
    ]
    so_far = _so_far(first)
    when = [
        _caption(first.moments[index], so_far[step], first.wording) for index, step in zip(chosen, steps, strict=True)
    ]
    cells = [*rows, element("span", class_="rowname", aria_hidden="true"), when]
    return element("div", element("div", cells, class_=f"moments moments-{len(chosen)}"), class_="strip", tabindex=0)


def player(episode: Episode, identifier: str) -> Html:
    """The episode to be played, hidden until the page's script has loaded its pictures."""
    first = episode[0]
    wording, length = first.wording, first.episode.length
    steps = [moment.step for moment in first.moments]
    values = [moment.value for moment in first.moments]
    height, width, _ = first.moments[0].frame.shape
    columns = math.ceil(math.sqrt(len(steps)))
    data = {
        "width": width,
        "height": height,
        "columns": columns,
        "length": length,
        "steps": steps,
        "values": values,
        "symbol": wording.symbol,
        "returns": [float(_so_far(first)[step]) for step in steps],
        "total": wording.total,
        "digits": wording.digits,
        "notes": [moment.note for moment in first.moments],
        "cursor": [sparkline_cursor(step, length) for step in steps],
    }
    shown = layers(episode)
    views = [
        element(
            "div",
            element("canvas", width=width, height=height, role="img", aria_label=f"{layer.name}, played"),
            element("img", src=_sheet(layer, len(steps), columns), alt="", hidden=True),
            data_layer=layer.key,
        )
        for layer in shown
    ]
    toggles = [_toggle(layer) for layer in shown]
    slider = element(
        "input",
        type="range",
        min=0,
        max=len(steps) - 1,
        value=0,
        aria_label="moment of the episode",
        autocomplete="off",
    )
    return element(
        "div",
        data_block(identifier, data),
        element("div", views, class_="views"),
        element(
            "div",
            element("button", "Play", type="button"),
            slider,
            element("span", toggles),
            element("output"),
            class_="controls",
        ),
        element(
            "div",
            sparkline(wording.value, steps, values, length),
            sparkline(wording.reward, np.arange(length), first.rewards, length),
            class_="lines",
        ),
        class_="player",
        data_source=identifier,
        hidden=True,
    )


def precision_table(attentions: Sequence[Attention]) -> Html:
    """Return of the shown episode, and how well its masks find the agent."""
    head = ["", "return", "mask on the agent", "agent's share of the picture", "ratio"]
    rows: list[list[Child]] = [
        [
            [element("code", a.perturbation), " ", mark(a.note)],
            f"{a.episode.total:.1f}",
            percent(a.precision),
            percent(a.share),
            "n/a" if a.ratio is None else f"{a.ratio:.1f}{TIMES}",
        ]
        for a in attentions
    ]
    caption = (
        "Return of the one episode shown for each condition; share of the mask's pixels that lie on the agent's own "
        f"body, share of the picture that its body is, and their ratio (1{TIMES} is a mask laid at random). "
        "Means over the episode; the simulator's segmentation tells which pixels are the agent's."
    )
    return table(caption, head, rows)


def reading_guide(saliency: str | Sequence[str], quantile: float | None) -> Html:
    """What the pictures of a strip are, of one map or of several."""
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
    return definitions(
        [
            ("frame", "what the camera sees; the newest of the stacked frames that the agent acts on"),
            *maps,
        ],
        class_="guide",
    )


def map_meaning(saliency: str, value: str = "the critic's first head") -> str:
    """What a map is made from, and what is bright in it."""
    how = {
        "guided_backprop": f"guided backpropagation of {value}: ReLUs let only positive gradients pass",
        "gradient": f"the plain gradient of {value}",
        BUILT_IN: "the map by which the agent's own attention module weighs its features, drawn on what they see",
    }.get(saliency, f"the map {saliency!r} of {value}")
    brighter = "count for more" if saliency == BUILT_IN else "change the value more"
    return f"{how}. Brighter pixels {brighter}"


def _still(picture: Picture, alt: str) -> Html:
    height, width, _ = picture.shape
    return element("img", src=pictures.png(picture), alt=alt, width=width, height=height, loading="eager")


def _toggle(layer: Layer) -> Html:
    box = element("input", type="checkbox", checked=True, data_layer=layer.key, autocomplete="off")
    return element("label", box, layer.name)


def _heat(attention: Attention, index: int) -> Picture:
    moment = attention.moments[index]
    return pictures.heat(moment.frame, moment.strength, attention.brightest)


def _masked(attention: Attention, index: int) -> Picture:
    moment = attention.moments[index]
    assert moment.mask is not None  # there is a quantile
    return pictures.masked(moment.frame, moment.mask)


def _caption(moment: Moment, so_far: float, wording: Wording) -> Html:
    told = f"{wording.symbol} {moment.value:.1f}", element("br"), f"{wording.total} {so_far:.{wording.digits}f}"
    note = (moment.note, element("br")) if moment.note else None
    return element("span", element("b", f"step {moment.step}"), note, told, class_="when")


def _sheet(layer: Layer, count: int, columns: int) -> str:
    """All pictures of one layer in one, which takes less room than each on its own."""
    return pictures.webp(pictures.sheet([layer.draw(index) for index in range(count)], columns))


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
        f"which fills {percent(attention.share)} of the picture ({attention.ratio:.1f}{TIMES} chance)."
    )


def _so_far(attention: Attention) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(length + 1,) the sum of rewards before each step."""
    return np.concatenate([[0.0], np.cumsum(attention.rewards)])


def percent(share: float | None) -> str:
    """A share in words; None is one that nobody can tell."""
    return "n/a" if share is None else f"{100 * share:.1f} %"
