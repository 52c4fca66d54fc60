"""The pictures that a comparison with gaze is made on, and where people looked in them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveal.gaze.atari_head import HEIGHT, WIDTH, Pixels, Trial
from foveal.gaze.protocols import FOVEAL, GazeProtocol
from foveal.gaze.screens import OFFSETS, POOLED, SKIP
from foveal.saliency.metrics import fixation_density

Map = NDArray[np.float64]
"""(HEIGHT, WIDTH)."""

OTHERS = 10
"""Random other pictures whose fixations are the negatives of the shuffled AUC."""
APART = 100
"""Frames (5 s of play) after which gaze on the same recording counts as unrelated."""


@dataclass(frozen=True)
class Picture:
    """One observation to compare on.

    Attributes:
        trial: index of its recording.
        frame: number of its newest frame there.
    """

    trial: int
    frame: int


@dataclass(frozen=True)
class Truth:
    """Where people looked in one picture: counts of each pixel, the same blurred, and counts in other pictures."""

    fixations: Map
    density: Map
    others: Map


def eligible_frames(trial: Trial) -> list[int]:
    """Every SKIP-th frame after which an agent would have four pictures of one episode, in order.

    An agent acts after frames 4, 8, 12, ... of a recording. The eight frames of its observation must have rows, and
    must not be of two episodes.
    """
    return [
        frame
        for frame in sorted(trial.names)
        if frame % SKIP == 0
        and all(frame - offset in trial.names for offset in OFFSETS)
        and len({trial.episodes[frame - o] for o in OFFSETS if frame - o in trial.episodes}) < 2
    ]


def fixated_pixels(trial: Trial, frame: int, offsets: Iterable[int] = OFFSETS) -> Pixels:
    """(n,) pixels of all gaze samples on the frames of an observation."""
    return np.concatenate([trial.gaze[frame - offset] for offset in offsets])


def counts(pixels: Pixels) -> Map:
    """(HEIGHT, WIDTH) how often each pixel occurs."""
    return np.bincount(pixels, minlength=HEIGHT * WIDTH).reshape(HEIGHT, WIDTH).astype(np.float64)


class Gaze:
    """Truth, and the maps that come from gaze itself.

    Args:
        trials: recordings of one game.
        pictures: those to compare on; each one's negatives are drawn from the others.
        seed: of all draws.
        protocol: see ``GazeProtocol``.
        possible: every fourth frame of the recordings, without gaze as well, for protocols that draw from these; by
            default ``pictures``.
    """

    def __init__(
        self,
        trials: Sequence[Trial],
        pictures: Sequence[Picture],
        seed: int,
        protocol: GazeProtocol = FOVEAL,
        possible: Sequence[Picture] | None = None,
    ) -> None:
        self._trials = trials
        self._pictures = pictures
        self._seed = seed
        self.protocol = protocol
        self._within: dict[int, list[Picture]] = {}
        for picture in pictures if possible is None else possible:
            self._within.setdefault(picture.trial, []).append(picture)
        self._places = {picture: place for group in self._within.values() for place, picture in enumerate(group)}
        self._total = sum((counts(np.concatenate(list(t.gaze.values()))) for t in trials), np.zeros((HEIGHT, WIDTH)))

    def truth(self, picture: Picture) -> Truth:
        """Where people looked on the frames of an observation."""
        fixations = counts(fixated_pixels(self._trials[picture.trial], picture.frame))
        return Truth(fixations, self._density(fixations), self._others(picture))

    def generator(self, picture: Picture) -> np.random.Generator:
        """The same for every map, so that all are measured against the same draws."""
        return np.random.default_rng((self._seed, picture.trial, picture.frame))

    def elsewhere(self, picture: Picture) -> Map:
        """Blurred gaze on all frames of the game but those within APART of this one."""
        gaze = self._trials[picture.trial].gaze
        near = range(picture.frame - APART, picture.frame + APART + 1)
        return self._density(self._total - counts(np.concatenate([gaze[f] for f in near if f in gaze])))

    def halves(self, picture: Picture, truth: Truth) -> tuple[Map, Truth]:
        """The gaze on every other frame of an observation, blurred, and that on the rest as the truth.

        Args:
            picture: the observation.
            truth: of all of it, which has the same gaze on other pictures.
        """
        first, second = (
            counts(fixated_pixels(self._trials[picture.trial], picture.frame, offsets))
            for offsets in (OFFSETS[::POOLED], OFFSETS[1::POOLED])
        )
        return self._density(first), Truth(second, self._density(second), truth.others)

    def _density(self, fixations: Map) -> Map:
        return fixation_density(fixations, border=self.protocol.border)

    def _others(self, picture: Picture) -> Map:
        """Summed fixations of OTHERS random other pictures."""
        generator = np.random.default_rng((self._seed, picture.trial, picture.frame, OTHERS))
        within = self.protocol.within_recording
        chosen = self._drawn_within(picture, generator) if within else self._drawn_from_all(picture, generator)
        pixels = [fixated_pixels(self._trials[other.trial], other.frame) for other in chosen]
        return counts(np.concatenate(pixels)) if pixels else np.zeros((HEIGHT, WIDTH))

    def _drawn_from_all(self, picture: Picture, generator: np.random.Generator) -> list[Picture]:
        """Without replacement, from what is compared on; all of it where there is less."""
        size = min(OTHERS + 1, len(self._pictures))  # one more than needed: this picture may be drawn
        drawn = generator.choice(len(self._pictures), size, replace=False)
        return [self._pictures[index] for index in drawn if self._pictures[index] != picture][:OTHERS]

    def _drawn_within(self, picture: Picture, generator: np.random.Generator) -> list[Picture]:
        """With replacement, from every fourth frame of the same recording, with gaze or without."""
        group = self._within[picture.trial]
        place = self._places.get(picture, len(group))
        others = len(group) - (place < len(group))
        if not others:
            return []
        return [group[index + (index >= place)] for index in generator.integers(others, size=OTHERS)]
