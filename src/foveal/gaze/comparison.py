"""How an agent's saliency compares with where people looked in the same pictures (Nikulin et al. 2019).

Every fourth frame of a recording is shown to the agent as it would see it in the game. The truth is the union of the
gaze on the eight frames that its observation is made of. Metrics are taken on the 210 x 160 screen and averaged over
pictures; where one is undefined, the picture is left out of that average and counted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from foveal.config.bounds import Bounded, at_least, one_of
from foveal.errors import FovealError
from foveal.gaze.atari_head import Trial, read_frames
from foveal.gaze.maps import BASELINES, Look, look_at, model_free
from foveal.gaze.protocols import FOVEAL, GAZE_PROTOCOLS
from foveal.gaze.results import METRICS, GameGaze, Rows, stored, summarize
from foveal.gaze.screens import OFFSETS, SKIP, STACK, observation, pooled_frames, shrunk_pairs
from foveal.gaze.truth import Gaze, Map, Picture, Truth, eligible_frames, fixated_pixels
from foveal.progress import seconds_between_draws
from foveal.saliency.metrics import correlation, is_constant, kl_divergence, nss, shuffled_auc, similarity

BLOCK = 100
"""Frames (5 s of play) that the bootstrap resamples as one, since neighbouring pictures are alike."""
BATCH = 32
_NAMES_TOLD = 3


@dataclass(frozen=True)
class Example:
    """A picture to look at: the newest (84, 84) frame, the density of gaze and each map, (HEIGHT, WIDTH)."""

    name: str
    screen: NDArray[np.uint8]
    density: Map
    maps: Mapping[str, Map]


@dataclass(frozen=True)
class GazeOptions(Bounded, section="gaze"):
    """Settings of a comparison.

    Attributes:
        pictures: at most so many, evenly spread over the recordings; None for all of the paper's subset.
        skip_missing: leave out pictures whose frames are not in the archive, instead of an error.
        examples: pictures to keep for looking at.
        seed: of the random map and the shuffled AUC.
        progress: show a bar.
        protocol: name of the details in which comparisons differ, see ``foveal.gaze.protocols``.
    """

    pictures: Annotated[int | None, at_least(1)] = None
    skip_missing: bool = False
    examples: Annotated[int, at_least(0)] = 0
    seed: Annotated[int, at_least(0)] = 0
    progress: bool = False
    protocol: Annotated[str, one_of(*GAZE_PROTOCOLS)] = FOVEAL.name


@dataclass
class _Scores:
    """What has been measured so far: pictures, a row of METRICS per map and picture, examples, frames not found."""

    pictures: list[Picture] = field(default_factory=list)
    rows: dict[str, list[tuple[float, ...]]] = field(default_factory=dict)
    examples: list[Example] = field(default_factory=list)
    missing: int = 0


def compare_gaze(
    trials: Sequence[Trial], looks: Mapping[str, Look], options: GazeOptions | None = None
) -> tuple[GameGaze, list[Example]]:
    """Compare maps with the gaze of one game's recordings, beside the baselines.

    Args:
        trials: recordings of one game.
        looks: name -> function from observations to saliency maps.

    Returns:
        The scores, and the examples asked for.

    Raises:
        FovealError: no picture can be compared, frames are missing or damaged, a map is malformed or named like a
            baseline, or gaze was read otherwise than the protocol has it.
    """
    options = options or GazeOptions()
    protocol = GAZE_PROTOCOLS[options.protocol]
    if any(trial.rounded != protocol.rounded for trial in trials):
        raise FovealError(
            f"protocol {protocol.name!r} wants gaze read with rounded={protocol.rounded}: read the recordings again"
        )
    taken = sorted(set(looks) & set(BASELINES))
    if taken:
        raise FovealError(f"{taken[0]!r} is the name of a baseline; call the agent's map something else")
    possible = [Picture(index, frame) for index, trial in enumerate(trials) for frame in eligible_frames(trial)]
    subset = [picture for picture in possible if len(fixated_pixels(trials[picture.trial], picture.frame))]
    if not subset:
        raise FovealError(
            f"no picture to compare on in {', '.join(trial.name for trial in trials)}: one needs the {len(OFFSETS)} "
            "frames of an agent's observation, and gaze on the screen in one of them"
        )
    chosen = _evenly(subset, options.pictures)
    gaze = Gaze(trials, chosen, options.seed, protocol, possible)
    scores = _measure_all(trials, chosen, looks, gaze, options)
    blocks = [(picture.trial, picture.frame // BLOCK) for picture in scores.pictures]
    result = GameGaze(
        game=trials[0].game,
        recordings=tuple(trial.name for trial in trials),
        scores={name: summarize(rows, blocks) for name, rows in scores.rows.items()},
        pictures=len(scores.pictures),
        subset=len(subset),
        without_gaze=len(possible) - len(subset),
        missing=scores.missing,
        outside=sum(trial.outside for trial in trials),
        summary=any(trial.summary for trial in trials),
        averaged=any(trial.averaged for trial in trials),
        protocol=protocol.name,
        rows=Rows(
            tuple(trials[picture.trial].name for picture in scores.pictures),
            tuple(picture.frame for picture in scores.pictures),
            {name: tuple(map(stored, rows)) for name, rows in scores.rows.items()},
        ),
    )
    return result, scores.examples


def _measure_all(
    trials: Sequence[Trial], chosen: Sequence[Picture], looks: Mapping[str, Look], gaze: Gaze, options: GazeOptions
) -> _Scores:
    scores = _Scores()
    every = {**looks, **model_free(options.seed)}
    shown = set(_evenly(chosen, options.examples))
    with _bar(None, len(chosen), options, desc=trials[0].game, unit="picture") as bar:
        for index, trial in enumerate(trials):
            frames = [picture.frame for picture in chosen if picture.trial == index]
            for batch, observations in _observations(trial, frames, scores, options):
                maps = {name: look_at(look, observations) for name, look in every.items()}
                for row, frame in enumerate(batch):
                    picture, ours = Picture(index, frame), {name: values[row] for name, values in maps.items()}
                    truth = _score(scores, gaze, picture, ours)
                    if picture in shown:
                        screen = observations[row, -1]
                        scores.examples.append(Example(trial.names[frame], screen, truth.density, ours))
                    bar.update()
    if not scores.pictures:
        raise FovealError(f"no picture has all of its frames in {', '.join(str(trial.frames) for trial in trials)}")
    return scores


def _evenly(items: Sequence[Picture], count: int | None) -> list[Picture]:
    """At most ``count`` of the items, at equal distances."""
    if count is None or count >= len(items):
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _observations(
    trial: Trial, frames: Sequence[int], scores: _Scores, options: GazeOptions
) -> Iterator[tuple[Sequence[int], NDArray[np.uint8]]]:
    """Batches of frame numbers and of what an agent sees there, (N, STACK, SIDE, SIDE)."""
    if not frames:
        return
    newest = {frame - SKIP * back for frame in frames for back in range(STACK)}
    wanted = pooled_frames(newest)
    read = _bar(
        read_frames(trial, wanted), len(wanted), options, desc=f"reading {trial.name}", unit="frame", leave=False
    )
    screens, arrived = shrunk_pairs(read, newest)
    missing = sorted(set(wanted) - arrived)
    if missing and not options.skip_missing:
        raise FovealError(_missing_message(trial, missing, len(wanted)))
    scores.missing += len(missing)
    complete = [frame for frame in frames if all(frame - SKIP * back in screens for back in range(STACK))]
    for start, end in pairwise([*range(0, len(complete), BATCH), len(complete)]):
        batch = complete[start:end]
        yield batch, np.stack([observation(screens, frame) for frame in batch])


def _bar(items: Iterable[Any] | None, total: int, options: GazeOptions, **shown: Any) -> Any:
    """A progress bar over the items, or one that is moved by hand."""
    hidden, seconds = not options.progress, seconds_between_draws()
    return tqdm(items, total=total, disable=hidden, dynamic_ncols=True, mininterval=seconds, **shown)


def _missing_message(trial: Trial, missing: Sequence[int], wanted: int) -> str:
    names = ", ".join(f"{trial.names[number]}.png" for number in missing[:_NAMES_TOLD])
    more = ", ..." if len(missing) > _NAMES_TOLD else ""
    return (
        f"{len(missing):,} of {wanted:,} frames that have a row of gaze are not in {trial.frames}: {names}{more}; "
        "download it again, or leave out the pictures that need them with --skip-missing"
    )


def _score(scores: _Scores, gaze: Gaze, picture: Picture, maps: Mapping[str, Map]) -> Truth:
    """Measure every map on a picture; returns the truth that they are measured against."""
    truth = gaze.truth(picture)
    half, other_half = gaze.halves(picture, truth)
    pairs = {name: (values, truth) for name, values in maps.items()}
    pairs |= {"average gaze": (gaze.elsewhere(picture), truth), "split gaze": (half, other_half)}
    for name, (values, measured_on) in pairs.items():
        scores.rows.setdefault(name, []).append(_measure(values, measured_on, gaze, picture))
    scores.pictures.append(picture)
    return truth


def _measure(saliency: Map, truth: Truth, gaze: Gaze, picture: Picture) -> tuple[float, ...]:
    """In the order of METRICS."""
    if gaze.protocol.drop_constant and is_constant(saliency):
        return (float("nan"),) * len(METRICS)
    generator = gaze.generator(picture)
    return (
        nss(saliency, truth.fixations),
        kl_divergence(saliency, truth.density),
        shuffled_auc(saliency, truth.fixations, truth.others, generator=generator),
        correlation(saliency, truth.density),
        similarity(saliency, truth.density),
    )
