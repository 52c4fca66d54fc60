"""``foveal.audit``: a policy of anybody's under every change of the picture, and with a camera that tells nothing."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from foveal.auditing.adapters import Adapter, AdapterOptions, adapted
from foveal.auditing.asking import Asked, tell
from foveal.auditing.comparing import audited
from foveal.auditing.concluding import concluded
from foveal.auditing.conditions import CLEAN, Condition, blindness, conditions
from foveal.auditing.drift import Viewer, drifted
from foveal.auditing.exporting import write_curves, write_film
from foveal.auditing.mapping import looker_on, shown_trials
from foveal.auditing.recording import Recording, read_recording
from foveal.auditing.report import report
from foveal.auditing.results import DRIFT, Audit
from foveal.auditing.rrd import check_rrd, write_rrd
from foveal.auditing.shielding import Shielding
from foveal.envs.family import check_whole
from foveal.errors import FovealError
from foveal.evaluation.results import origin
from foveal.explanation.explain import check_ending, check_writable
from foveal.progress import watched
from foveal.shield import Shield

SEVERITIES = (1, 3, 5)
EPISODES = 5


def audit(
    policy: Any,
    env: Any = None,
    out: str | Path | None = "report.html",
    *,
    against: Any = None,
    frames: str | Path | None = None,
    changes: Sequence[str] | None = None,
    severities: Sequence[int] = SEVERITIES,
    episodes: int = EPISODES,
    seed: int = 0,
    longest: int | None = None,
    data: str | Path | None = None,
    shield: str | Path | Any | None = None,
    json: str | Path | None = None,
    mp4: str | Path | None = None,
    png: str | Path | None = None,
    rrd: str | Path | None = None,
    maps: Sequence[str] | None = None,
    of: str | None = None,
    trust: bool = False,
    pixels: str | None = None,
    prompt: str = "",
    drawn: bool = False,
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
        against: another policy, of any kind too, that is tried in the same episodes of the same environment.
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
        mp4: also film the first episode, as it is and under the weakest change, with a map beside it.
        png: also draw the curves over severities as a picture.
        rrd: also record what the page's player shows, and actions and rewards, for Rerun's viewer.
        maps: names of ``foveal.saliency``'s, or of the agent's own, that are tried: is the map true? By default those
            that are usual for the policy; () for none.
        of: name of the number that maps are of, as for ``foveal.explain``; by default the policy's first.
        trust: load a file of Stable-Baselines3 by that library, which runs whatever code is in the file.
        pixels: what a bare network takes: ``"bytes"``, 0 to 255, or ``"unit"``, 0 to 1.
        prompt: the task in words, for policies that take some.
        drawn: let it draw its actions, as it does in training, in an episode alike under all changes.
        discrete: the numbers that a bare network gives are one for each action; of recorded frames alone, as an
            environment says it.
        image_size: side of recorded frames, for policies that don't say which they see.
        camera: which picture of a data set, for policies that see one.
        progress: show a bar.

    Raises:
        FovealError: something is unknown or out of range, or policy, environment and shield don't fit each other; the
            message says what is wrong and what to do, before work starts.
    """
    _check(env, frames, against, episodes, seed, longest)
    files = {"report.html": out, "report.json": json, "report.mp4": mp4, "report.png": png, "report.rrd": rrd}
    _check_files(frames, files)
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
    options = AdapterOptions(trust, pixels, prompt, drawn)
    with ExitStack() as opened:
        adapter = opened.enter_context(closing(adapted(policy, options)))
        if frames is None:
            rival = None if against is None else opened.enter_context(closing(adapted(against, options)))
            found = audited(adapter, rival, env, data, asked, filmed=any(one is not None for one in (out, mp4, rrd)))
        else:
            recording = read_recording(frames, adapter.observation_space, image_size, camera)
            found = _shown(adapter, recording, asked, discrete=discrete)
    found = replace(found, origin={"seconds": round(time.monotonic() - start, 1), **origin()})
    if out is not None:
        found = replace(found, page=report(found, out))
    if json is not None:
        found.save(json)
    if mp4 is not None:
        write_film(found, mp4)
    if png is not None:
        write_curves(found, png)
    if rrd is not None:
        write_rrd(found, rrd)
    return found


def _check(env: Any, frames: Any, against: Any, episodes: int, seed: int, longest: int | None) -> None:
    if env is not None and frames is not None:
        raise FovealError("a policy acts in an environment or is shown frames: leave one of env and frames out")
    if against is not None and frames is not None:
        raise FovealError("two policies are compared in an environment: leave one of against and frames out")
    check_whole("episodes", episodes, least=1)
    check_whole("seed", seed, least=0)
    if longest is not None:
        check_whole("longest", longest, least=1)


def _check_files(frames: Any, files: Mapping[str, str | Path | None]) -> None:
    """Refuse what can't be written; ``files`` by an example of their names."""
    for example, path in files.items():
        check_writable(path, example)
    if (film := files["report.mp4"]) is not None:
        check_ending(film, ".mp4", "a film is an mp4 file")
    if (picture := files["report.png"]) is not None:
        check_ending(picture, ".png", "a picture is a png file")
    if (recording := files["report.rrd"]) is not None:
        check_rrd(recording)
    for what, kind in (("film", "mp4"), ("recording", "rrd")):
        if frames is not None and files[f"report.{kind}"] is not None:
            raise FovealError(
                f"a {what} is of episodes, and recorded frames have none: leave one of {kind} and frames out"
            )


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
        tell(len(everything), f"{recording.frames} frames", (time.monotonic() - start) * len(everything[1:]))
    points = [clean]
    for one in watched(everything[1:], len(everything) - 1, "audit", visible=asked.progress, unit="condition"):
        actions, alarms, pictures = viewer.show(one)
        points.append(drifted(one, actions, before, discrete=choices, alarms=alarms, pictures=pictures))
    trials = () if looker is None else shown_trials(looker, viewer, progress=asked.progress)
    return concluded(adapter, recording.name, DRIFT, "pieces", None, points, asked, masks=False, maps=trials)
