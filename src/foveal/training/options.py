"""Options of a run beside the learning itself: how often to evaluate, to save and to log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from foveal.config.bounds import Anything, Bounded, Matching, at_least
from foveal.config.tree import changed

VALIDATION_SEED_OFFSET = 1042
"""Evaluations during training choose the best checkpoint, so their episodes must not be the final evaluation's."""
PROJECT = Matching(r"[^/\\#?%:]{1,128}", "the name of a project: up to 128 characters, none of them / \\ # ? % :")


@dataclass(frozen=True)
class RunOptions(Bounded, section="run"):
    """How often to evaluate, to save and to log.

    Attributes:
        evaluate_every: agent steps between evaluations, 0 for none. There are none either where the environment was
            given as an object and not as an id or a callable: an evaluation would cut the running episode short.
        evaluate_episodes: episodes per evaluation and perturbation.
        evaluate_on: "train" and names of perturbations.
        data: folder of DMC-GB's colours and videos for these; None for generated ones.
        checkpoint_every: agent steps between checkpoints in the run folder, 0 for only one at the end.
        log_every: updates between readings of the losses.
        adapt_threads: on a CPU, train with fewer threads while other programs keep cores busy, unless OMP_NUM_THREADS
            sets their number. Rounding depends on that number.
        wandb: project at Weights & Biases for the same curves; None for none.

    Raises:
        FovealError: a number is out of range.
    """

    evaluate_every: Annotated[int, at_least(0)] = 10_000
    evaluate_episodes: Annotated[int, at_least(1)] = 5
    evaluate_on: Annotated[tuple[str, ...], Anything("rehearsed before training begins")] = ("train",)
    data: Annotated[str | None, Anything("the rehearsal opens it")] = None
    checkpoint_every: Annotated[int, at_least(0)] = 10_000
    log_every: Annotated[int, at_least(1)] = 100
    adapt_threads: bool = True
    wandb: Annotated[str | None, PROJECT] = None

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], defaults: RunOptions | None = None) -> RunOptions:
        """Defaults with changed settings; unknown ones raise FovealError."""
        as_text = {key: str(value) if isinstance(value, Path) else value for key, value in settings.items()}
        return changed(defaults or cls(), as_text, "run")
