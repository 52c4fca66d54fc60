"""What an Atari agent looks at in one game: its own attention, and beside it the gradient of its value."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.agent import Agent
from foveal.atari.maps import OBSERVED, SCREEN, resize_maps
from foveal.atari.recording import Recording, record
from foveal.evaluation.rollouts import TRAIN
from foveal.explanation.agreement import agreement_table
from foveal.explanation.attention import BUILT_IN, GAME, Attention, Moment, check_numbers, map_names
from foveal.explanation.movies import brightest, write_film
from foveal.explanation.page import write_page
from foveal.explanation.panels import OVERLAP, Explanation, map_meaning, map_name, panels
from foveal.gaze.agents import attention_look, post_hoc_look
from foveal.gaze.maps import Look
from foveal.progress import watched
from foveal.saliency.metrics import correlation

_AT_ONCE = 16  # observations per pass; bounds memory, not the result


def look_at_game(
    agent: Agent,
    recording: Recording,
    *,
    moments: int = 125,
    saliency: str | Sequence[str] | None = None,
) -> list[Attention]:
    """What an agent looked at in a game that it played.

    Args:
        agent: the player.
        recording: the game, see ``foveal.atari.recording.record``.
        moments: at most this many, at even distances.
        saliency: names as in ``looks``.

    Returns:
        One for each map, all of the same moments. Strengths are on the pixels of the screen, (210, 160).

    Raises:
        FovealError: as ``looks``, or there shall be no moment.
    """
    check_numbers(moments)
    found = looks(agent, saliency)
    stride = -(-len(recording.actions) // moments)
    observations = np.stack(list(itertools.islice(recording.observations(), 0, None, stride)))
    screens = list(itertools.islice(recording.screens(), 0, None, stride))
    steps = range(0, len(recording.actions), stride)
    values = np.concatenate([_values(agent, part) for part in _parts(observations)]).tolist()
    attentions = []
    for name, look in found.items():
        maps = np.concatenate([_maps(look, part) for part in _parts(observations)])  # (M, 84, 84)
        strengths = resize_maps(torch.from_numpy(maps), SCREEN).numpy()  # (M, 210, 160)
        seen = zip(steps, screens, strengths, values, strict=True)
        shown = tuple(Moment(step, screen, strength, None, value) for step, screen, strength, value in seen)
        attentions.append(
            Attention(
                environment=recording.env,
                perturbation=TRAIN,
                source=None,
                episode=recording.episode,
                rewards=recording.points,
                moments=shown,
                saliency=name,
                quantile=None,
                brightest=brightest(name, maps),
                wording=GAME,
            )
        )
    return attentions


def looks(agent: Agent, saliency: str | Sequence[str] | None = None) -> dict[str, Look]:
    """Maps of an agent by name.

    Args:
        agent: whose.
        saliency: "attention" for the map of its own attention, and names of maps in ``foveal.saliency``, which are
            taken of the state's value. By default "attention", if it has that, and "gradient".

    Raises:
        FovealError: a map is unknown or named twice, or the agent has no attention.
    """
    own = (BUILT_IN, "gradient") if agent.has_attention else ("gradient",)
    names = own if saliency is None else map_names(saliency)
    return {name: attention_look(agent) if name == BUILT_IN else post_hoc_look(agent, name) for name in names}


def explain_game(
    agent: Agent,
    out: str | Path,
    *,
    frames: int = 6,
    moments: int = 125,
    seed: int | None = None,
    saliency: str | Sequence[str] | None = None,
    video: str | Path | None = None,
    progress: bool = True,
) -> Path:
    """Let an Atari agent play one game, and write a page and maybe a film of what it looks at.

    ``foveal.explain`` calls this, and has checked frames and places; arguments and errors are described there.
    """
    names = tuple(looks(agent, saliency))  # what is wrong with them shall be said now
    recording = record(agent, seed, progress=progress)
    if video is not None:
        film_game(video, agent, recording, names, progress=progress)
    attentions = look_at_game(agent, recording, moments=moments, saliency=names)
    return game_page(out, attentions, agent, frames=frames)


def film_game(
    path: str | Path, agent: Agent, recording: Recording, saliency: Sequence[str], *, progress: bool = False
) -> Path:
    """An mp4 of every step of a game, and beside it one map after another over the game in grey.

    Args:
        path: the film.
        agent: the player.
        recording: the game.
        saliency: names as in ``looks``.
        progress: show bars.

    Raises:
        FovealError: as ``looks``, or the film can't be written.
    """
    found, length = looks(agent, saliency), len(recording.actions)
    maps = {name: np.empty((length, *OBSERVED), np.float32) for name in found}
    start = 0
    for observations in _batches(watched(recording.observations(), length, "look", visible=progress)):
        for name, look in found.items():
            maps[name][start : start + len(observations)] = _maps(look, observations)
        start += len(observations)
    screens = watched(recording.screens(), length, "film", visible=progress)
    return write_film(path, screens, maps, SCREEN[0], first="game")


def game_page(
    out: str | Path,
    attentions: Sequence[Attention],
    agent: Agent,
    *,
    frames: int = 6,
) -> Path:
    """The page of ``explain`` for an Atari agent, from what ``look_at_game`` found.

    Args:
        out: the page.
        attentions: of one game.
        agent: the player.
        frames: still pictures.
    """
    page = Explanation(
        f"What {agent.encoder_name} looks at in",
        agent.env_id,
        _lede(attentions, agent),
        (),
        _guide(attentions, agent),
        panels([attentions], frames),
        [agreement_table([attentions])] if len(attentions) > 1 else [],
    )
    title = f"{page.heading} {agent.env_id}"
    return write_page(out, "explain.html.j2", title=title, page=page, config=agent.config.as_dict())


def _lede(attentions: Sequence[Attention], agent: Agent) -> str:
    episode = attentions[0].episode
    names = {attention.saliency for attention in attentions}
    post_hoc = "the pixels that its value is most sensitive to"
    if names == {BUILT_IN}:
        shown = "what the attention inside its network marks"
    elif BUILT_IN in names:
        shown = f"what the attention inside its network marks, beside {post_hoc}"
    else:
        shown = post_hoc
    alone = "" if agent.has_attention else " This network has no attention inside, so there is no map of its own."
    return (
        f"One whole game of the network {agent.encoder_name}, after {agent.steps:,} agent steps of PPO, with {shown}. "
        f"Actions are drawn from the policy, as in training. Evaluation seed {episode.seed}.{alone}"
    )


def _guide(attentions: Sequence[Attention], agent: Agent) -> list[tuple[str, str]]:
    terms = [("game", "the screen; the agent sees it in grey, 84 pixels wide and high, with the three steps before")]
    for attention in attentions:
        meaning = map_meaning(
            attention.saliency, "the state's value, summed over the four pictures that the agent sees"
        )
        scale = "the largest value" if attention.saliency == BUILT_IN else "the 99.5 % quantile"
        told = f"{meaning}. Brightness is relative to {scale} in all these pictures"
        if attention.saliency == BUILT_IN:
            told += (
                f". {OVERLAP}, and in stripes: these pictures correlate with that one at {_evenness(attention, agent)}"
            )
        terms.append((map_name(attention.saliency), told))
    return terms


def _evenness(attention: Attention, agent: Agent) -> str:
    """Mean correlation of the maps with the one that is drawn of a map without any preference."""
    even = resize_maps(torch.from_numpy(agent.even_attention())[None], SCREEN)[0].numpy()
    found = [correlation(moment.strength, even) for moment in attention.moments]
    defined = [value for value in found if not math.isnan(value)]
    return f"{np.mean(defined):.2f}" if defined else "no number, being the same everywhere"


def _parts(observations: NDArray[np.uint8]) -> Iterator[NDArray[np.uint8]]:
    return (observations[start : start + _AT_ONCE] for start in range(0, len(observations), _AT_ONCE))


def _batches(observations: Iterator[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    while batch := list(itertools.islice(observations, _AT_ONCE)):
        yield np.stack(batch)


def _maps(look: Look, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
    return torch.as_tensor(look(observations)).detach().float().cpu().numpy()


def _values(agent: Agent, observations: NDArray[np.uint8]) -> NDArray[np.float32]:
    with torch.no_grad():
        values: NDArray[np.float32] = (
            agent.values(torch.from_numpy(observations).to(agent.device).float())[0].cpu().numpy()
        )
    return values
