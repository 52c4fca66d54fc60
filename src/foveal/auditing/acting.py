"""A policy in its environment under everything that an audit was asked for."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from foveal.auditing.adapters import Adapter
from foveal.auditing.asking import Asked, tell
from foveal.auditing.cameras import Camera
from foveal.auditing.concluding import concluded
from foveal.auditing.conditions import CHANCE, CLEAN, Condition, blindness, conditions
from foveal.auditing.film import Film
from foveal.auditing.filming import films
from foveal.auditing.looking import Looker
from foveal.auditing.mapping import looker_in, played_trials
from foveal.auditing.places import Place
from foveal.auditing.playing import Played, Player
from foveal.auditing.results import RETURN, SUCCESS, Audit, Point, point, scores
from foveal.auditing.trials import Trial
from foveal.progress import watched


@dataclass(frozen=True)
class Ready:
    """A policy that was seen to fit its environment, and what it is tried under.

    Attributes:
        player: the policy in its environment.
        camera: its first picture, in its own layout.
        looker: its maps; None where none are wanted.
        tried: the changes.
        masks: whether the environment tells which pixels are the task's own.
    """

    player: Player
    camera: Camera
    looker: Looker | None
    tried: tuple[Condition, ...]
    masks: bool

    @property
    def changes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(dict.fromkeys(one.change for one in self.tried))

    def films(self, points: Sequence[Point], moments: int, *, progress: bool) -> tuple[Film, ...]:
        """See ``foveal.auditing.filming.films``."""
        return films(self.player, points, self.camera, self.looker, moments, progress=progress)


def ready(adapter: Adapter, place: Place, asked: Asked, changes: Sequence[str] | None) -> Ready:
    """Everything that can fail does so now, and not after an hour.

    Args:
        adapter: the policy.
        place: where it acts.
        asked: what for.
        changes: of the picture, by name; None for all that are possible.

    Raises:
        FovealError: policy, environment and what was asked for don't fit each other.
    """
    player = Player(place, adapter, asked.episodes, asked.seed, asked.longest, asked.shield)
    cameras, masks = player.rehearse()
    tried = conditions(changes, asked.severities, masks=masks, usual=place.usual, possible=place.possible)
    for perturbation in dict.fromkeys(one.perturbation for one in tried if one.perturbation is not None):
        with place.open(perturbation):
            pass
    looker = None if asked.maps == () else looker_in(player, asked.maps, asked.of)
    return Ready(player, adapter.first_camera(cameras), looker, tried, masks)


def acted(policy: Ready, asked: Asked, *, maps: bool = True) -> Audit:
    """All of it.

    Args:
        policy: in its environment.
        asked: what for.
        maps: try its maps.
    """
    everything = asked.both([Condition(CLEAN), *blindness(), *policy.tried])
    chance, *done = _carried_out(policy.player, [Condition(CHANCE), *everything], asked)
    told = all(episode.success is not None for played in (chance, *done) for episode in played.episodes)
    measure = SUCCESS if told else RETURN
    floor, points = _pointed(chance, measure), [_pointed(played, measure) for played in done]
    trials: tuple[Trial, ...] = ()
    if maps and policy.looker is not None:
        trials = played_trials(policy.looker, policy.player, points[0], floor, measure, progress=asked.progress)
    player = policy.player
    return concluded(
        player.adapter, player.place.name, measure, "episodes", floor, points, asked, masks=policy.masks, maps=trials
    )


def _carried_out(player: Player, wanted: Sequence[Condition], asked: Asked) -> list[Played]:
    """All conditions, random actions first."""
    with player.place.open() as env:
        player = replace(player, films=player.filmed(env))
        start = time.monotonic()
        first = [player.play(one, env) for one in wanted[:2]]
        if asked.progress:
            seconds = (time.monotonic() - start) / 2 * len(wanted[2:])
            tell(len(wanted), f"{asked.episodes} episode{'s' if asked.episodes > 1 else ''}", seconds)
        rest = watched(wanted[2:], len(wanted) - 2, "audit", visible=asked.progress, unit="condition")
        return [*first, *(player.play(one, env) for one in rest)]


def _pointed(played: Played, measure: str) -> Point:
    values = scores(played.episodes, measure)
    others = {"alarms": played.alarms, "note": played.note, "pictures": played.pictures}
    return point(played.condition, values, measure, episodes=played.episodes, **others)
