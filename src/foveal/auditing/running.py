"""``foveal.audit``: a policy of anybody's under every change of the picture, and with a camera that tells nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from foveal.auditing.adapters import Adapter, AdapterOptions, adapted
from foveal.auditing.conditions import CHANCE, CLEAN, Condition, blindness, conditions
from foveal.auditing.drift import Viewer, drifted
from foveal.auditing.judging import judged, summarized, verdict
from foveal.auditing.looking import Looker
from foveal.auditing.mapping import looker_in, looker_on, played_trials, shown_trials
from foveal.auditing.places import Place, place_for
from foveal.auditing.playing import Played, Player
from foveal.auditing.recording import Recording, read_recording
from foveal.auditing.report import report
from foveal.auditing.results import DRIFT, RETURN, SUCCESS, Audit, Point, point, scores
from foveal.auditing.shielding import Shielding
from foveal.auditing.trials import Trial
from foveal.envs.family import check_whole
from foveal.errors import FovealError
from foveal.evaluation.results import machine, now, versions
from foveal.explanation.explain import check_writable
from foveal.progress import watched
from foveal.shield import Shield

SEVERITIES = (1, 3, 5)
EPISODES = 5


@dataclass(frozen=True)
class Asked:
    """What an audit was asked for, beside the policy and its world; arguments of ``audit``."""

    changes: tuple[str, ...] | None
    severities: tuple[int, ...]
    episodes: int
    seed: int
    longest: int | None
    shield_name: str | None
    shield: Any
    progress: bool
    maps: tuple[str, ...] | None = None
    of: str | None = None

    @property
    def shields(self) -> list[bool]:
        """Without, and with where there is one."""
        return [False] if self.shield is None else [False, True]

    def both(self, tried: Sequence[Condition]) -> list[Condition]:
        """Conditions without the shield, and again behind it where there is one."""
        return [replace(one, shielded=shielded) for shielded in self.shields for one in tried]


def audit(
    policy: Any,
    env: Any = None,
    out: str | Path | None = "report.html",
    *,
    frames: str | Path | None = None,
    changes: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    episodes: int = EPISODES,
    seed: int = 0,
    longest: int | None = None,
    data: str | Path | None = None,
    shield: str | Path | Any | None = None,
    json: str | Path | None = None,
    maps: Sequence[str] | None = None,
    of: str | None = None,
    trust: bool = False,
    pixels: str | None = None,
    prompt: str = "",
    discrete: bool = False,
    image_size: int | None = None,
    camera: str | None = None,
    progress: bool = True,
) -> Audit:
    """Which changes of the picture break a policy, and whether it looks at its camera at all.

    Args:
        policy: anything callable (observation -> action); anything with ``predict``, such as agents of
            Stable-Baselines3; with ``reset`` and ``select_action``, as LeRobot's; a torch module; the path of a file of
            Stable-Baselines3, TorchScript or ONNX; the address of a server, ``"ws://..."``; a policy of foveal's, a
            folder or ``"pretrained:NAME"``; or a ``foveal.auditing.Adapter``.
        env: where it acts: an id of foveal's or Gymnasium's, an environment, a callable that makes one, or a vector
            environment of Stable-Baselines3's. A policy of foveal's has one already.
        out: the report, one HTML file; None for none.
        frames: show it recorded frames instead: a folder of pictures, a film, or a LeRobotDataset. Then the drift of
            its actions is measured, and no return.
        changes: of the picture, by name; by default all that are possible.
        severities: of each, from 1 to 5.
        episodes: under each, the same for all.
        seed: of the first episode, each next has one more; and of all changes.
        longest: agent steps after which an episode is cut.
        data: folder of DMC-GB's colours and videos, for ``color_hard`` and the like in ``dmc/``.
        shield: a ``foveal.Shield``, its folder, or ``"pretrained:NAME"``: every row again behind it.
        json: also write everything to this file.
        maps: names of ``foveal.saliency``'s, or of the agent's own, that are tried: is the map true? By default those
            that are usual for the policy; () for none.
        of: name of the number that maps are of, as for ``foveal.explain``; by default the policy's first.
        trust: load a file of Stable-Baselines3 by that library, which runs whatever code is in the file.
        pixels: what a bare network takes: ``"bytes"``, 0 to 255, or ``"unit"``, 0 to 1.
        prompt: the task in words, for policies that take some.
        discrete: the numbers that a bare network gives are one for each action; of recorded frames alone, as an
            environment says it.
        image_size: side of recorded frames, for policies that don't say which they see.
        camera: which picture of a data set, for policies that see one.
        progress: show a bar.

    Raises:
        FovealError: something is unknown or out of range, or policy, environment and shield don't fit each other; the
            message says what is wrong and what to do, before work starts.
    """
    _check(env, frames, out, json, episodes, seed, longest)
    asked = Asked(
        None if changes is None else tuple(changes),
        tuple(severities),
        episodes,
        seed,
        longest,
        None if shield is None else str(shield) if isinstance(shield, (str, Path)) else type(shield).__name__,
        Shield.load(shield) if isinstance(shield, (str, Path)) else shield,
        progress,
        None if maps is None else tuple(maps),
        of,
    )
    start = time.monotonic()
    with closing(adapted(policy, AdapterOptions(trust, pixels, prompt))) as adapter:
        if frames is None:
            found = _played(adapter, place_for(adapter, env, data), asked)
        else:
            recording = read_recording(frames, adapter.observation_space, image_size, camera)
            found = _shown(adapter, recording, asked, discrete=discrete)
    origin = {
        "seconds": round(time.monotonic() - start, 1),
        "created": now(),
        "versions": versions(),
        "machine": machine(),
    }
    found = replace(found, origin=origin)
    if out is not None:
        found = replace(found, page=report(found, out))
    if json is not None:
        found.save(json)
    return found


def _check(env: Any, frames: Any, out: Any, json: Any, episodes: int, seed: int, longest: int | None) -> None:
    if env is not None and frames is not None:
        raise FovealError("a policy acts in an environment or is shown frames: leave one of env and frames out")
    check_whole("episodes", episodes, least=1)
    check_whole("seed", seed, least=0)
    if longest is not None:
        check_whole("longest", longest, least=1)
    for path, example in ((out, "report.html"), (json, "report.json")):
        if path is not None:
            check_writable(path, example)


# --- in an environment ------------------------------------------------------------------------------------------------


def _played(adapter: Adapter, place: Place, asked: Asked) -> Audit:
    player = Player(place, adapter, asked.episodes, asked.seed, asked.longest, asked.shield)
    _, masks = player.rehearse()
    usual, possible = place.usual, place.possible
    tried = conditions(asked.changes, asked.severities, masks=masks, usual=usual, possible=possible)
    for perturbation in dict.fromkeys(one.perturbation for one in tried if one.perturbation is not None):
        with place.open(perturbation):
            pass
    looker = None if asked.maps == () else looker_in(player, asked.maps, asked.of)
    everything = asked.both([Condition(CLEAN), *blindness(), *tried])
    chance, *done = _carried_out(player, [Condition(CHANCE), *everything], asked)
    return _audited(player, looker, chance, done, asked, masks=masks)


def _carried_out(player: Player, wanted: Sequence[Condition], asked: Asked) -> list[Played]:
    """All conditions, random actions first."""
    with player.place.open() as env:
        player = replace(player, films=player.filmed(env))
        start = time.monotonic()
        first = [player.play(one, env) for one in wanted[:2]]
        if asked.progress:
            seconds = (time.monotonic() - start) / 2 * len(wanted[2:])
            _tell(len(wanted), f"{asked.episodes} episode{'s' if asked.episodes > 1 else ''}", seconds)
        rest = watched(wanted[2:], len(wanted) - 2, "audit", visible=asked.progress, unit="condition")
        return [*first, *(player.play(one, env) for one in rest)]


def _audited(
    player: Player, looker: Looker | None, chance: Played, done: Sequence[Played], asked: Asked, *, masks: bool
) -> Audit:
    told = all(episode.success is not None for played in (chance, *done) for episode in played.episodes)
    measure = SUCCESS if told else RETURN

    def pointed(played: Played) -> Point:
        values = scores(played.episodes, measure)
        others = {"alarms": played.alarms, "note": played.note, "pictures": played.pictures}
        return point(played.condition, values, measure, episodes=played.episodes, **others)

    floor, points = pointed(chance), [pointed(played) for played in done]
    trials: tuple[Trial, ...] = ()
    if looker is not None:
        trials = played_trials(looker, player, points[0], floor, measure, progress=asked.progress)
    name = player.place.name
    return _judged(player.adapter, name, measure, "episodes", floor, points, asked, masks=masks, maps=trials)


# --- on recorded frames -----------------------------------------------------------------------------------------------


def _shown(adapter: Adapter, recording: Recording, asked: Asked, *, discrete: bool) -> Audit:
    viewer = Viewer(adapter, recording, asked.seed, discrete, asked.shield)
    if asked.shield is not None:
        Shielding(asked.shield, viewer.cameras)
    tried = conditions(asked.changes, asked.severities, masks=False)
    everything = asked.both([Condition(CLEAN), *blindness(), *tried])
    start = time.monotonic()
    before, _, pictures = viewer.show(everything[0])
    choices = discrete or viewer.chooses()
    looker = None if asked.maps == () else looker_on(viewer, choices, asked.maps, asked.of)
    clean = drifted(everything[0], before, before, discrete=choices, pictures=pictures)
    if asked.progress:
        _tell(len(everything), f"{recording.frames} frames", (time.monotonic() - start) * len(everything[1:]))
    points = [clean]
    for one in watched(everything[1:], len(everything) - 1, "audit", visible=asked.progress, unit="condition"):
        actions, alarms, pictures = viewer.show(one)
        points.append(drifted(one, actions, before, discrete=choices, alarms=alarms, pictures=pictures))
    trials = () if looker is None else shown_trials(looker, viewer, progress=asked.progress)
    return _judged(adapter, recording.name, DRIFT, "pieces", None, points, asked, masks=False, maps=trials)


# --- what both come to ------------------------------------------------------------------------------------------------


def _judged(
    adapter: Adapter,
    name: str,
    measure: str,
    unit: str,
    chance: Point | None,
    points: Sequence[Point],
    asked: Asked,
    *,
    masks: bool,
    maps: tuple[Trial, ...],
) -> Audit:
    clean = points[0]
    made = [judged(one, clean, chance, measure) for one in points]
    blind_names = {one.change for one in blindness()}
    blind = tuple(one for one in made if one.condition.change in blind_names)
    found = Audit(
        policy=adapter.about,
        place=name,
        measure=measure,
        unit=unit,
        seed=asked.seed,
        clean=tuple(one for one in made if one.condition.change == CLEAN),
        chance=chance,
        points=tuple(one for one in made if one.condition.change not in (*blind_names, CLEAN)),
        blind=blind,
        maps=maps,
        shield=asked.shield_name,
        verdict=verdict([one for one in blind if not one.condition.shielded], measure),
        remarks=(*adapter.remarks, *_of_shield(asked.shield, name)),
        settings={
            "episodes": asked.episodes,
            "severities": list(asked.severities),
            "longest": asked.longest,
            "masks": masks,
            "of": asked.of,
        },
    )
    return replace(found, summary=summarized(found))


def _of_shield(shield: Any, place: str) -> list[str]:
    """What a reader must know of a shield."""
    remarks = []
    if getattr(shield, "privileged", False):
        remarks.append("The shield learned from a simulator's masks (privileged), which know more than a camera shows.")
    known = getattr(shield, "env_id", place)
    if shield is not None and known != place:
        remarks.append(f"The shield knows the look of {known}, and the policy acted in {place}.")
    return remarks


def _tell(count: int, each: str, seconds: float) -> None:
    """How long it will take, before it begins."""
    minutes = round(seconds / 60)
    told = "less than a minute" if minutes < 1 else f"about {minutes} minute{'s' if minutes > 1 else ''}"
    print(f"{count} conditions of {each}: {told}", file=sys.stderr)
