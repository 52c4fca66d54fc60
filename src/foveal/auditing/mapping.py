"""Trials of a policy's maps: frames of its own episodes, or recorded ones, and whole episodes with pixels blurred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gymnasium
from gymnasium import spaces

from foveal.auditing.adapters import Adapter
from foveal.auditing.cameras import cameras_of, check_sees
from foveal.auditing.conditions import Condition
from foveal.auditing.covering import COVERED, Covering, Sampling
from foveal.auditing.drift import Viewer
from foveal.auditing.fitting import Fit
from foveal.auditing.judging import judged
from foveal.auditing.looking import MOST, Frames, Looker
from foveal.auditing.places import mask_of
from foveal.auditing.playing import Player
from foveal.auditing.results import Point, point, scores
from foveal.auditing.trials import Behaved, Trial
from foveal.progress import watched


def looker_in(player: Player, names: Sequence[str] | None, of: str | None = None) -> Looker:
    """Of a policy in its environment, with the maps' names checked; errors as for ``Looker.on``."""
    with player.place.open() as env:
        return _looker(player.adapter, env.observation_space, env.action_space, names, player.seed, of)


def looker_on(viewer: Viewer, choices: bool, names: Sequence[str] | None, of: str | None = None) -> Looker:
    """Of a policy that is shown recorded frames; errors as for ``Looker.on``."""
    actions = viewer.adapter.action_space
    if actions is None and choices:
        actions = spaces.Discrete(MOST_CHOICES)
    return _looker(viewer.adapter, viewer.recording.space, actions, names, viewer.seed, of)


MOST_CHOICES = 256
"""Discrete actions that are told apart where nobody says how many there are."""


def played_trials(
    looker: Looker, player: Player, clean: Point, chance: Point, measure: str, *, progress: bool
) -> tuple[Trial, ...]:
    """Every map, of frames of the episodes that were played with the picture as it is.

    Args:
        looker: the maps.
        player: the policy in its environment.
        clean, chance: points of the picture as it is and of random actions, with their episodes.
        measure: what is measured of episodes.
        progress: show a bar.
    """
    with player.place.open() as env:
        episodes = _sampled(looker, player, clean, env)
        found = []
        for name in watched(looker.names, len(looker.names), "maps", visible=progress, unit="map"):
            trial = looker.tried(name, episodes)
            if looker.quick(name):
                behaved = {
                    which: _behaved(looker, name, which, player, env, clean, chance, measure) for which in COVERED
                }
                trial = replace(trial, behaviour=behaved)
            found.append(trial)
        return tuple(found)


def shown_trials(looker: Looker, viewer: Viewer, *, progress: bool) -> tuple[Trial, ...]:
    """Every map, of recorded frames."""
    episodes = []
    for piece in viewer.recording.pieces[:MOST]:
        fit = Fit(viewer.recording.space, viewer.adapter.observation_space, viewer.adapter.fill)
        views = [fit(seen) for seen in piece]
        kept = views[:: max(1, len(views) // looker.frames)][: looker.frames]
        episodes.append(Frames(tuple(kept), (None,) * len(kept)))
    names = watched(looker.names, len(looker.names), "maps", visible=progress, unit="map")
    return tuple(looker.tried(name, episodes) for name in names)


def _looker(
    adapter: Adapter,
    given: spaces.Space[object],
    actions: spaces.Space[object] | None,
    names: Sequence[str] | None,
    seed: int,
    of: str | None,
) -> Looker:
    wanted = given if adapter.observation_space is None else adapter.observation_space
    return Looker.on(adapter, cameras_of(wanted)[0], actions, names, seed, of)


def _sampled(looker: Looker, player: Player, clean: Point, env: gymnasium.Env[object, object]) -> list[Frames]:
    cameras = check_sees(env.observation_space, player.place.name)
    lengths = [episode.length for episode in clean.episodes]
    sampling = Sampling(lengths, looker.frames, lambda: mask_of(env, cameras))
    player.behave(env, sampling)
    kept = [zip(*pairs, strict=True) for pairs in sampling.kept if pairs]
    return [Frames(*columns) for columns in kept[:MOST]]


def _behaved(
    looker: Looker,
    name: str,
    which: str,
    player: Player,
    env: gymnasium.Env[object, object],
    clean: Point,
    chance: Point,
    measure: str,
) -> Behaved:
    covering = Covering(lambda views: looker.strengths(name, views), looker.camera, which)
    episodes = player.behave(env, covering)
    found = judged(point(Condition(which), scores(episodes, measure), measure), clean, chance, measure)
    return Behaved(found.values, found.mean, found.low, found.high, found.kept, found.sure)
