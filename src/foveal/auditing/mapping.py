"""Trials of a policy's maps: frames of its own episodes, or recorded ones, and whole episodes with pixels blurred."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import gymnasium
from gymnasium import spaces

from foveal.auditing.cameras import cameras_of, check_sees
from foveal.auditing.conditions import Condition
from foveal.auditing.covering import COVERED, Covering, Sampling, evenly
from foveal.auditing.drift import Viewer
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
        camera = player.adapter.first_camera(cameras_of(env.observation_space))
        return Looker.on(player.adapter, camera, env.action_space, names, player.seed, of)


def looker_on(viewer: Viewer, choices: bool, names: Sequence[str] | None, of: str | None = None) -> Looker:
    """Of a policy that is shown recorded frames; errors as for ``Looker.on``."""
    actions = viewer.adapter.action_space
    if actions is None and choices:
        actions = spaces.Discrete(MOST_CHOICES)
    return Looker.on(viewer.adapter, viewer.adapter.first_camera(viewer.cameras), actions, names, viewer.seed, of)


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

        def behaved(name: str, which: str) -> Behaved:
            covering = Covering(lambda views: looker.strengths(name, views), looker.camera, which)
            values = scores(player.behave(env, covering), measure)
            found = judged(point(Condition(which), values, measure), clean, chance, measure)
            return Behaved(found.values, found.mean, found.low, found.high, found.kept, found.sure)

        episodes = _sampled(looker, player, clean, env)
        found = []
        for name in watched(looker.names, len(looker.names), "maps", visible=progress, unit="map"):
            trial = looker.tried(name, episodes)
            if looker.quick(name):
                trial = replace(trial, behaviour={which: behaved(name, which) for which in COVERED})
            found.append(trial)
        return tuple(found)


def shown_trials(looker: Looker, viewer: Viewer, *, progress: bool) -> tuple[Trial, ...]:
    """Every map, of recorded frames."""
    episodes = []
    for piece in viewer.recording.pieces[:MOST]:
        fit = viewer.adapter.fitting(viewer.recording.space)
        views = [fit(seen) for seen in piece]
        kept = views[:: max(1, len(views) // looker.frames)][: looker.frames]
        episodes.append(Frames(tuple(kept), (None,) * len(kept)))
    names = watched(looker.names, len(looker.names), "maps", visible=progress, unit="map")
    return tuple(looker.tried(name, episodes) for name in names)


def _sampled(looker: Looker, player: Player, clean: Point, env: gymnasium.Env[object, object]) -> list[Frames]:
    cameras = check_sees(env.observation_space, player.place.name)
    wanted = [evenly(episode.length, looker.frames) for episode in clean.episodes]
    sampling = Sampling(wanted, lambda: mask_of(env, cameras))
    player.behave(env, sampling)
    kept = [zip(*pairs, strict=True) for pairs in sampling.kept if pairs]
    return [Frames(*columns) for columns in kept[:MOST]]
