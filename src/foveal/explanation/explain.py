"""``explain``: one page that shows what an agent looks at, where it was trained and under visual change."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.evaluation.insides import BUILT_IN
from foveal.evaluation.pixel_world import Policy
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import TRAIN, BringsWorld, WorldOptions
from foveal.explanation.attention import Attention, Lens, recorded
from foveal.explanation.movies import film
from foveal.explanation.page import write_page
from foveal.explanation.panels import MOST_STILLS, Episode, episodes, panels, reading_guide
from foveal.explanation.tables import agreement_table, part_tables

EVERY_STEP = 1_000_000
"""Moments of an episode that is filmed: more than it has."""


def explain(
    agent: Policy | BringsWorld,
    on: str | Sequence[str] | None = TRAIN,
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
    of: str | None = None,
    skill: int | None = None,
    video: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Play one episode under each condition and write a page that shows what the agent looks at.

    An agent plays as in ``foveal.evaluate``; one of games draws its actions, and its whole game is shown. What may be
    looked at, the agent says: any policy with ``values`` and ``device``, or with ``insides``, see
    ``foveal.evaluation.insides``.

    Args:
        agent: the policy.
        on: ``"train"``, names of other conditions, or a list of both; None for those that are usual for the agent, of
            which a film shows the first.
        out: the page, one file that needs no other.
        frames: still pictures per episode, 1 to 8.
        moments: at most so many pictures per episode in the player.
        saliency: name of a map in ``foveal.saliency``, or "attention" for that of the agent's own attention module; or
            several names, to compare them. By default "guided_backprop"; for an Atari agent "attention", if it has
            that, and "gradient".
        quantile: of the mask; by default the agent's own, or 0.95 if its method has none. Maps of games have no masks.
        of: name of the scalar that the maps are of, by default the agent's first: of a critic ``"q1"``, ``"q2"``; of an
            Atari agent ``"value"``, ``"log_prob"``; of skills ``"velocity"``, ``"gripper"``.
        skill: of skills, the number of the one to be seen, the scripted experts doing the others; by default all.
        video: also write an mp4 of every step, frame and maps side by side; of one condition alone.

    ``seed``, ``data``, ``quality``, ``env`` and ``progress`` are those of ``foveal.evaluate``.

    Returns:
        The absolute path of the page.

    Raises:
        FovealError: as ``foveal.evaluate``; also for an unknown saliency map or one that the agent lacks, an unknown
            scalar, a bad quantile or number of pictures, a film of several conditions, and where page or film can't be
            written.
    """
    if not 1 <= frames <= MOST_STILLS:
        raise FovealError(f"frames must be 1 to {MOST_STILLS}, not {frames}")
    check_writable(out)
    if video is not None:
        check_ending(video, ".mp4", "a film is an mp4 file")
        check_writable(video)
        on = TRAIN if on is None else on
    lens = Lens.on(agent, saliency, quantile, of)
    world = world_of(agent, WorldOptions(on, seed, data, quality, env, skill=skill))
    if video is not None and len(world.conditions) > 1:
        raise FovealError(
            f"a film shows one condition, and there are {len(world.conditions)}: name one, "
            f"e.g. --on {world.conditions[-1]}"
        )
    moments = max(moments, frames)
    attentions: list[Attention] = []
    with closing(recorded(world, moments if video is None else EVERY_STEP, progress=progress)) as recordings:
        for recording in recordings:
            if video is not None:
                film(video, lens, recording, progress=progress)
            attentions += lens.look(recording, moments)
    return explain_page(out, attentions, frames=frames)


def explain_page(out: str | Path, attentions: Sequence[Attention], *, frames: int = 6) -> Path:
    """The page of ``explain``, from what ``foveal.explanation.look`` gave."""
    played = episodes(attentions)
    first = attentions[0]
    words, environment = first.recording.words, first.recording.environment
    heading = f"What {words.who} looks at in"
    return write_page(
        out,
        "explain.html.j2",
        title=f"{heading} {environment}",
        config=first.insides.config,
        heading=heading,
        environment=environment,
        lede=_lede(played[0]),
        tables=part_tables(attentions),
        guide=reading_guide(played[0]),
        section=words.section,
        panels=panels(played, frames),
        tables_below=[agreement_table(played)] if len(played[0]) > 1 else [],
    )


def check_writable(out: str | Path | None, example: str = "explain.html") -> None:
    """Refuse a place where no file can be written, before an hour of work goes into it.

    Args:
        out: the place; None where no file was asked for.
        example: of a file's name.

    Raises:
        FovealError: ``out`` is a folder, or stands in something that is none.
    """
    if out is None:
        return
    path = Path(out)
    if path.is_dir():
        raise FovealError(f"{path} is a folder; name the file to write, e.g. {path / example}")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise FovealError(f"cannot write {path}: {parent} is no folder")


def check_ending(path: str | Path, ending: str, what: str) -> None:
    """Refuse a name that no such file can have; ``what`` says what it is, as in "a film is an mp4 file".

    Raises:
        FovealError: it ends in something else.
    """
    if Path(path).suffix != ending:
        raise FovealError(f"{what}: call it {Path(path).with_suffix(ending)}, not {path}")


def _lede(episode: Episode) -> str:
    first = episode[0]
    shown = dict.fromkeys(_pixels(attention) for attention in episode)
    kept = ""
    if first.quantile is not None:
        kept = f"The mask keeps the top {100 * (1 - first.quantile):.3g} % of each frame."
    seed = f"Evaluation seed {first.recording.episode.seed}."
    sentences = [
        f"{first.recording.words.played}, with the pixels {', beside those '.join(shown)}.",
        kept,
        first.recording.words.acting,
        seed,
        first.insides.remark,
    ]
    return " ".join(sentence for sentence in sentences if sentence)


def _pixels(attention: Attention) -> str:
    """Which pixels a map shows."""
    if attention.saliency == BUILT_IN:
        return "that its own attention module marks"
    if attention.saliency in attention.insides.maps:
        return f"that its own map {attention.saliency!r} marks"
    return f"that change {attention.scalar.meaning} most"
