"""The details in which comparisons with gaze differ, by name: the authors' evaluation, and foveal's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GazeProtocol:
    """How gaze becomes truth.

    Attributes:
        name: of it.
        rounded: gaze coordinates go to the nearest whole number, ties to the even one, before what lies outside the
            screen is discarded; else each sample belongs to the pixel that it lies in.
        border: what the blur does with the screen's border, see ``foveal.saliency.metrics.fixation_density``.
        within_recording: the negatives of the shuffled AUC are drawn within the picture's own recording, with
            replacement, from every fourth frame, those without gaze included; else without replacement from all
            pictures of the game that are compared on.
        drop_constant: a map that is the same everywhere is left out of every metric; else of those which it leaves
            undefined.
        note: what a reader of scores must know, or nothing.
    """

    name: str
    rounded: bool
    border: str
    within_recording: bool
    drop_constant: bool
    note: str = ""


FOVEAL = GazeProtocol("foveal", rounded=False, border="reflect", within_recording=False, drop_constant=False)
PAPER = GazeProtocol(
    "paper",
    rounded=True,
    border="mirror",
    within_recording=True,
    drop_constant=True,
    note="protocol paper: rounded gaze, borders as OpenCV's, constant maps dropped; negatives of sAUC from the "
    "picture's own recording, with replacement",
)
GAZE_PROTOCOLS = {protocol.name: protocol for protocol in (FOVEAL, PAPER)}
