"""``explain``: one page that shows what an agent looks at, where it was trained and under visual change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from foveal.atari.agent import AtariAgent
from foveal.errors import FovealError
from foveal.evaluation.results import describe_policy
from foveal.evaluation.rollouts import TRAIN, EnvLike, describe_agent
from foveal.explanation.agreement import agreement_table, comparison_table
from foveal.explanation.attention import BUILT_IN, DEFAULT_MAP, Attention, Critic, look
from foveal.explanation.games import explain_game
from foveal.explanation.movies import check_film, film_of
from foveal.explanation.page import Table, write_page
from foveal.explanation.panels import MOST_STILLS, Explanation, episodes, panels, precision_table, reading_guide
from foveal.explanation.skills import explain_skills
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy

EVERY_STEP = 1_000_000
"""Moments of an episode that is filmed: more than it has."""


def explain(
    agent: Critic | AtariAgent | SkillPolicy | Master,
    on: str | Sequence[str] = TRAIN,
    out: str | Path = "explain.html",
    *,
    frames: int = 6,
    moments: int = 125,
    seed: int | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    env: EnvLike | None = None,
    saliency: str | Sequence[str] | None = None,
    quantile: float | None = None,
    video: str | Path | None = None,
    skill: int | None = None,
    of: str | None = None,
    progress: bool = True,
) -> Path:
    """Play one episode under each perturbation and write a page that shows what the critic looks at.

    An Atari agent plays one game, with actions drawn from its policy, and the page shows its own attention, where it
    has that, beside the gradient of its value. ``data``, ``quality``, ``env`` and ``quantile`` are not for games.

    Cloned skills of an arm, or a master over them, are explained on the depth frames that they see, by the velocity
    that they predict, with how much of a map lies on gripper, things and bowl. ``on`` are then conditions of
    ``foveal hrl``; ``data``, ``quality`` and ``env`` are not for skills.

    Args:
        agent: the policy, and the critic whose first head is explained; or ``foveal.skills``' skills or master.
        on: ``"train"``, names of perturbations, or a list of both.
        out: the page, one file that needs no other.
        frames: still pictures per episode, 1 to 8.
        moments: at most so many pictures per episode in the player.
        saliency: name of a map in ``foveal.saliency``, or "attention" for that of the agent's own attention module; or
            several names, to compare them. By default "guided_backprop"; for an Atari agent "attention", if it has
            that, and "gradient".
        quantile: of the mask; by default the agent's own, or 0.95 if its method has none.
        video: also write an mp4 of every step, frame and maps side by side; of one perturbation alone.
        skill: of skills, the number of the one to be seen, the scripted experts doing the others; by default all.
        of: of skills, what the maps are of: "velocity" (the default) or "gripper".

    ``seed``, ``data``, ``quality``, ``env`` and ``progress`` are those of ``foveal.evaluate``.

    Returns:
        The absolute path of the page.

    Raises:
        FovealError: as ``foveal.evaluate``; also for an unknown saliency map or one that the agent lacks, a bad
            quantile or number of pictures, a film of several perturbations, and where page or film can't be written.
    """
    if not 1 <= frames <= MOST_STILLS:
        raise FovealError(f"frames must be 1 to {MOST_STILLS}, not {frames}")
    check_writable(out)
    if video is not None:
        check_film(video)
        check_writable(video)
    moments = max(moments, frames)
    if isinstance(agent, SkillPolicy | Master):
        if any(x is not None for x in (data, quality, env)):
            raise FovealError("skills are explained in the simulated arm, without data, quality or env")
        _check_one_film(video, on)
        return explain_skills(
            agent,
            on,
            out,
            frames=frames,
            moments=moments,
            skill=skill,
            seed=seed,
            saliency=saliency,
            quantile=quantile,
            of=of,
            video=video,
            progress=progress,
        )
    if skill is not None or of is not None:
        raise FovealError("skill and of are for cloned skills of an arm, and this agent has none")
    if isinstance(agent, AtariAgent):
        if on not in (TRAIN, [TRAIN], (TRAIN,)) or any(x is not None for x in (data, quality, env, quantile)):
            raise FovealError(f"{agent.env_id} is explained on {TRAIN!r} alone, without data, quality, env or quantile")
        return explain_game(
            agent, out, frames=frames, moments=moments, seed=seed, saliency=saliency, video=video, progress=progress
        )
    _check_one_film(video, on)
    attentions = look(
        agent,
        on,
        moments=moments if video is None else EVERY_STEP,
        seed=seed,
        data=data,
        quality=quality,
        env=env,
        saliency=DEFAULT_MAP if saliency is None else saliency,
        quantile=quantile,
        progress=progress,
    )
    if video is not None:
        film_of(video, attentions)
        attentions = [attention.thinned(moments) for attention in attentions]
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
        policy: as in ``foveal.evaluation.results.Results``.
        config: everything the agent was made with.
    """
    first = attentions[0]
    played = episodes(attentions)
    page = Explanation(
        f"What {_name(policy)} looks at in",
        first.environment,
        _lede(played[0], policy),
        _tables(attentions),
        reading_guide([attention.saliency for attention in played[0]], first.quantile),
        panels(played, frames),
    )
    title = f"What {describe_policy(policy)} looks at in {first.environment}"
    return write_page(out, "explain.html.j2", title=title, page=page, config=config)


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


def _check_one_film(video: str | Path | None, on: str | Sequence[str]) -> None:
    if video is not None and not isinstance(on, str) and len(on) > 1:
        raise FovealError(f"a film shows one condition, and there are {len(on)}: name one, e.g. --on {on[-1]}")


def _name(policy: Mapping[str, Any]) -> str:
    method = policy.get("method")
    return "the agent" if method in (None, "none") else str(method).upper()


def _tables(attentions: Sequence[Attention]) -> list[Table]:
    """What there is to measure: where masks lie, and how well several maps agree."""
    several = len(attentions) > len(played := episodes(attentions))
    tables = [agreement_table(played)] if several else []
    if any(attention.precision is not None for attention in attentions):
        tables.insert(0, comparison_table(played) if several else precision_table(attentions))
    return tables


def _lede(episode: Sequence[Attention], policy: Mapping[str, Any]) -> str:
    kept = "" if episode[0].quantile is None else f"{100 * (1 - episode[0].quantile):.3g} %"
    own, post_hoc = "that its own attention module marks", "that its critic is most sensitive to"
    told = dict.fromkeys(own if attention.saliency == BUILT_IN else post_hoc for attention in episode)
    return (
        f"One episode of the deterministic policy ({describe_policy(policy)}) under each condition, with the pixels "
        f"{', beside those '.join(told)}. The mask keeps the top {kept} of each frame. "
        f"Evaluation seed {episode[0].episode.seed}."
    )
