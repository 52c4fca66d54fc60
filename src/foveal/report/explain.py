"""``explain``: one page that shows what an agent looks at, where it was trained and under visual change."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.evaluation import TRAIN, EnvLike, describe_agent
from foveal.report.attention import BUILT_IN, Attention, Critic, look
from foveal.report.page import Html, details, element, write_page
from foveal.report.panels import MOST_STILLS, attention_panel, precision_table, reading_guide
from foveal.results import describe_policy, machine, now, versions


def explain(
    agent: Critic,
    on: str | Sequence[str] = TRAIN,
    out: str | Path = "explain.html",
    *,
    frames: int = 6,
    moments: int = 125,
    seed: int | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    env: EnvLike | None = None,
    saliency: str = "guided_backprop",
    quantile: float | None = None,
    progress: bool = True,
) -> Path:
    """Play one episode under each perturbation and write a page that shows what the critic looks at.

    Args:
        agent: the policy, and the critic whose first head is explained.
        on: ``"train"``, names of perturbations, or a list of both.
        out: the page, one file that needs no other.
        frames: still pictures per episode, 1 to 8.
        moments: at most so many pictures per episode in the player.
        saliency: name of a map in ``foveal.saliency``, or "attention" for that of the agent's own attention module.
        quantile: of the mask; by default the agent's own, or 0.95 if its method has none.

    ``seed``, ``data``, ``quality``, ``env`` and ``progress`` are those of ``foveal.evaluate``.

    Returns:
        The absolute path of the page.

    Raises:
        FovealError: as ``foveal.evaluate``; also for an unknown saliency map or one that the agent lacks, a bad
            quantile or number of pictures, and where the page can't be written.
    """
    if not 1 <= frames <= MOST_STILLS:
        raise FovealError(f"frames must be 1 to {MOST_STILLS}, not {frames}")
    check_writable(out)
    attentions = look(
        agent,
        on,
        moments=max(moments, frames),
        seed=seed,
        data=data,
        quality=quality,
        env=env,
        saliency=saliency,
        quantile=quantile,
        progress=progress,
    )
    return explain_page(out, attentions, describe_agent(agent), configuration(agent), frames=frames)


def explain_page(
    out: str | Path,
    attentions: Sequence[Attention],
    policy: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    frames: int = 6,
) -> Path:
    """The page of ``explain``, from what ``look`` found.

    Args:
        policy: as in ``foveal.results.Results``.
        config: everything the agent was made with.
    """
    first = attentions[0]
    title = f"What {describe_policy(policy)} looks at in {first.environment}"
    heading = [f"What {_name(policy)} looks at in ", element("code", first.environment)]
    return write_page(
        out,
        title,
        element("p", "foveal explain", class_="over"),
        element("h1", heading),
        element("p", _lede(first, policy), class_="lede"),
        precision_table(attentions) if any(a.precision is not None for a in attentions) else None,
        element("h2", "How to read the pictures"),
        reading_guide(first.saliency, first.quantile),
        element("h2", "One episode under each condition"),
        [attention_panel(a, frames, f"episode-{index}") for index, a in enumerate(attentions)],
        provenance(config),
        footer(),
    )


def provenance(config: Mapping[str, Any], *more: Html) -> Html:
    """Closed sections with the configuration and with what the page was made on."""
    return element(
        "section",
        details("Configuration", pre(config)),
        more,
        details("Machine and versions", pre({"machine": machine(), "versions": versions()})),
        class_="provenance",
    )


def pre(content: object) -> Html:
    """Anything JSON-able, laid out for people."""
    return element("pre", element("code", json.dumps(content, indent=2, ensure_ascii=False, default=str)), tabindex=0)


def footer() -> Html:
    """When and by what the page was written."""
    return element("footer", f"Written by foveal {versions().get('foveal', '')} on {now()}.")


def configuration(agent: Any) -> dict[str, Any]:
    """Everything the agent was made with, or, of a policy from elsewhere, its environment alone."""
    if hasattr(agent, "config"):
        return dict(agent.config.as_dict())
    return {"env": agent.env_id, "environment": dict(agent.env_options)}


def check_writable(out: str | Path) -> None:
    """Refuse a place where no page can be written, before an hour of work goes into it.

    Raises:
        FovealError: ``out`` is a folder, or stands in something that is none.
    """
    path = Path(out)
    if path.is_dir():
        raise FovealError(f"{path} is a folder; name the file to write, e.g. {path / 'explain.html'}")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise FovealError(f"cannot write {path}: {parent} is no folder")


def _name(policy: Mapping[str, Any]) -> str:
    method = policy.get("method")
    return "the agent" if method in (None, "none") else str(method).upper()


def _lede(attention: Attention, policy: Mapping[str, Any]) -> str:
    kept = f"{100 * (1 - attention.quantile):.3g} %"
    own = attention.saliency == BUILT_IN
    pixels = "that its own attention module marks" if own else "that its critic is most sensitive to"
    return (
        f"One episode of the deterministic policy ({describe_policy(policy)}) under each condition, with the pixels "
        f"{pixels}. The mask keeps the top {kept} of each frame. "
        f"Evaluation seed {attention.episode.seed}."
    )
