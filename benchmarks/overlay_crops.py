"""Is a new crop of 20,000 pictures for every sample worth anything beside 2,000 crops that stay the same?

    python benchmarks/overlay_crops.py --seeds 0 1 2 --steps 8000 --out results/overlays/crops

trains SVEA with each on the same seeds, ``compact``, and evaluates both on generated colours and videos. A row that is
there already is not run again; ``kinds`` and ``seeds`` divide the work among processes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from rows import commit

import foveal
from foveal.augmentations.bank import PictureBank
from foveal.augmentations.resized_crop import Boxes, random_boxes, resized
from foveal.evaluation.results import machine, versions, write_json

TASK, METHOD = "dmc/walker-stand", "svea"
CONDITIONS = ("train", "color_hard", "video_easy", "video_hard")
STILL = 2000
"""Crops that stay the same, as many as foveal once had."""


@dataclass(frozen=True)
class Options:
    """What to train.

    Attributes:
        seeds: of training.
        kinds: new or still.
        steps: agent steps.
        episodes: of each evaluation.
        out: a file for each row.
    """

    seeds: tuple[int, ...] = (0, 1, 2)
    kinds: tuple[str, ...] = ("new", "still")
    steps: int = 8000
    episodes: int = 10
    out: Path = Path("results/overlays/crops")


class StillCrops:
    """Takes the place of ``PictureBank.sample``: each picture has one crop for good."""

    boxes: Boxes | None = None

    def sample(self, bank: PictureBank, n: int, generator: torch.Generator, dtype: torch.dtype) -> torch.Tensor:
        """As ``PictureBank.sample``, for overlays."""
        if self.boxes is None:
            bank.advance(STILL)
            self.boxes = random_boxes(bank.aspects, torch.Generator().manual_seed(0))
        index = torch.randint(STILL, (n,), generator=generator)
        boxes = Boxes(*(part[index] for part in self.boxes))
        return resized(bank.pictures[index], boxes, bank.size, dtype).clamp_(max=255.0)


def row(kind: str, seed: int, options: Options) -> None:
    """Train and evaluate one, from nothing to its file."""
    target = options.out / f"{kind}-{seed}.json"
    if target.exists():
        return
    settings: dict[str, Any] = {} if kind == "new" else {"training": {"overlay_count": STILL, "overlay_refresh": 0.0}}
    original = PictureBank.sample
    still = StillCrops()
    if kind == "still":
        PictureBank.sample = lambda *arguments: still.sample(*arguments)  # type: ignore[method-assign]
    try:
        agent = foveal.Agent(TASK, method=METHOD, learner="sac", preset="compact", seed=seed, **settings)
        start = time.monotonic()
        agent.learn(options.steps)
    finally:
        PictureBank.sample = original  # type: ignore[method-assign]
    seconds = round(time.monotonic() - start)
    found = foveal.evaluate(agent, CONDITIONS, episodes=options.episodes, progress=False)
    returns = {one.perturbation: [episode.total for episode in one.episodes] for one in found.conditions}
    about = {"commit": commit(), "seconds": seconds, "machine": machine(), "versions": versions()}
    chosen = {"kind": kind, "seed": seed, "method": METHOD, "env": TASK, "steps": options.steps}
    write_json(target, {"row": chosen, "returns": returns, **about})
    print(kind, seed, {name: round(sum(values) / len(values)) for name, values in returns.items()}, flush=True)


def main(options: Options) -> None:
    """Each seed with each kind."""
    torch.set_num_threads(1)
    for seed in options.seeds:
        for kind in options.kinds:
            row(kind, seed, options)


if __name__ == "__main__":
    main(tyro.cli(Options))
