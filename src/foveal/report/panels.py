"""The parts of a page that show what an agent looks at: strips of pictures, a player, and a table of precisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from foveal.report import pictures
from foveal.report.attention import BUILT_IN, Attention, Moment
from foveal.report.charts import sparkline, sparkline_cursor
from foveal.report.page import TIMES, Child, Html, data_block, definitions, element, table
from foveal.report.pictures import Picture

LAYERS: dict[str, Callable[[Moment], Picture]] = {
    "frame": lambda moment: moment.frame,
    "saliency": lambda moment: pictures.heat(moment.frame, moment.strength),
    "mask": lambda moment: pictures.masked(moment.frame, moment.mask),
}
MOST_STILLS = 8


def attention_panel(attention: Attention, stills: int, identifier: str) -> Html:
    """One episode: a player, and still pictures of moments at even distances.

    Args:
        attention: what was seen.
        stills: how many moments to show as still pictures, at most 8.
        identifier: unique in the page, of the player's data.
    """
    return element(
        "section",
        element(
            "header",
            element("h3", element("code", attention.perturbation)),
            mark(attention.source),
            element("p", _told(attention), class_="quiet"),
        ),
        strip(attention, min(stills, MOST_STILLS)),
        player(attention, identifier),
        class_="attention",
    )


def mark(source: str | None) -> Html | None:
    """A visible label that tells generated perturbations from the benchmark's own."""
    if source is None:
        return None
    return element("span", {"dmc-gb": "DMC-GB", "generated": "generated"}.get(source, source), class_="note")


def strip(attention: Attention, count: int) -> Html:
    """Rows of frames, saliency maps and masks; a column is one moment."""
    moments = attention.evenly(count)
    where = f"{attention.environment} under {attention.perturbation}"
    rows = [
        [
            element("span", name, class_="rowname"),
            *(_still(picture(moment), f"{name}, {where}, step {moment.step}") for moment in moments),
        ]
        for name, picture in LAYERS.items()
    ]
    returns = _returns(attention)
    when = [_caption(moment, returns[moment.step]) for moment in moments]
    cells = [*rows, element("span", class_="rowname", aria_hidden="true"), when]
    return element("div", element("div", cells, class_=f"moments moments-{len(moments)}"), class_="strip", tabindex=0)


def player(attention: Attention, identifier: str) -> Html:
    """The episode to be played, hidden until the page's script has loaded its pictures."""
    steps = [moment.step for moment in attention.moments]
    values = [moment.value for moment in attention.moments]
    length = attention.episode.length
    height, width, _ = attention.moments[0].frame.shape
    columns = math.ceil(math.sqrt(len(steps)))
    data = {
        "width": width,
        "height": height,
        "columns": columns,
        "length": length,
        "steps": steps,
        "values": values,
        "returns": [float(_returns(attention)[step]) for step in steps],
        "cursor": [sparkline_cursor(step, length) for step in steps],
    }
    views = [
        element(
            "div",
            element("canvas", width=width, height=height, role="img", aria_label=f"{name}, played"),
            element("img", src=_sheet(attention, name, columns), alt="", hidden=True),
            data_layer=name,
        )
        for name in LAYERS
    ]
    toggles = [
        element("label", element("input", type="checkbox", checked=True, data_layer=name, autocomplete="off"), name)
        for name in LAYERS
    ]
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
            sparkline("critic's value", steps, values, length),
            sparkline("reward per step", np.arange(length), attention.rewards, length),
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
            [element("code", a.perturbation), " ", mark(a.source)],
            f"{a.episode.total:.1f}",
            _percent(a.precision),
            _percent(a.share),
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


def reading_guide(saliency: str, quantile: float) -> Html:
    """What the three pictures of a strip are."""
    share = f"{100 * (1 - quantile):.3g} %"
    how = {
        "guided_backprop": "guided backpropagation of the critic's first head: ReLUs let only positive gradients pass",
        "gradient": "the plain gradient of the critic's first head",
        BUILT_IN: "the map by which the agent's own attention module weighs its features, drawn on what they see",
    }.get(saliency, f"the map {saliency!r} of the critic's first head")
    brighter = "count for more" if saliency == BUILT_IN else "change the value more"
    return definitions(
        [
            ("frame", "what the camera sees; the newest of the stacked frames that the agent acts on"),
            ("saliency", f"{how}. Brighter pixels {brighter}; the frame beneath is in grey"),
            ("mask", f"the {share} of pixels with the highest saliency, in colour"),
        ],
        class_="guide",
    )


def _still(picture: Picture, alt: str) -> Html:
    height, width, _ = picture.shape
    return element("img", src=pictures.png(picture), alt=alt, width=width, height=height, loading="eager")


def _caption(moment: Moment, so_far: float) -> Html:
    told = f"Q {moment.value:.1f}", element("br"), f"return {so_far:.1f}"
    return element("span", element("b", f"step {moment.step}"), told, class_="when")


def _sheet(attention: Attention, layer: str, columns: int) -> str:
    """All pictures of one layer in one, which takes less room than each on its own."""
    return pictures.webp(pictures.sheet([LAYERS[layer](moment) for moment in attention.moments], columns))


def _told(attention: Attention) -> str:
    episode = attention.episode
    told = f"Return {episode.total:.1f} in {episode.length} steps"
    if attention.ratio is None or attention.precision is None:
        return f"{told}."
    return (
        f"{told}. {_percent(attention.precision)} of the mask lies on the agent, "
        f"which fills {_percent(attention.share)} of the picture ({attention.ratio:.1f}{TIMES} chance)."
    )


def _returns(attention: Attention) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(length + 1,) the return so far, before each step."""
    return np.concatenate([[0.0], np.cumsum(attention.rewards)])


def _percent(share: float | None) -> str:
    return "n/a" if share is None else f"{100 * share:.1f} %"
