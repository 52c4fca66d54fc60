"""A search for an augmentation policy: SciPy's differential evolution over magnitudes and probabilities.

    python benchmarks/augmentation_search.py demos/bowl --out augmentation.json

Pashevich et al. (2019) search by Monte-Carlo trees over sequences of (name, magnitude, probability). Here all eight
transforms stand in a fixed order, and half of a probability's axis leaves one out: a search in a box of 16 numbers.
A policy's merit is the error of a locator (``localisation.py``) that learned under it, on frames with
a depth camera's noise.
"""

# ruff: noqa: E402

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from foveal.cli import let_idle_threads_sleep

let_idle_threads_sleep()  # before PyTorch is imported, as the command line does

import numpy as np
import tyro
from localisation import error, scenes, train_locator
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from foveal.config.bounds import Bounded, at_least
from foveal.errors import FovealError
from foveal.explanation.explain import check_writable
from foveal.machine.allocator import keep_freed_memory
from foveal.progress import Progress
from foveal.skills.augmentation import TRANSFORMS, AugmentationPolicy
from foveal.skills.minari import DemoFolder, open_demos
from foveal.skills.noise import DepthNoise


@dataclass(frozen=True)
class SearchOptions(Bounded, section="search"):
    """How long to search.

    Attributes:
        population: policies that are kept.
        generations: how often each is challenged.
        updates: of a locator, for each policy; the final comparison takes ``final`` of them.
        final: updates of the locators that are compared at the end.
        frames: of each episode.
        seed: of everything random.
    """

    population: Annotated[int, at_least(5)] = 8
    generations: Annotated[int, at_least(1)] = 3
    updates: Annotated[int, at_least(1)] = 300
    final: Annotated[int, at_least(1)] = 1500
    frames: Annotated[int, at_least(1)] = 20
    seed: Annotated[int, at_least(0)] = 0


@dataclass(frozen=True)
class CommandOptions:
    """Differential evolution over augmentation policies; a locator of the cube says how good each is.

    Attributes:
        demos: demonstrations that tell where things are.
        out: JSON file of the policy and of its effect, for foveal skills train --augment.
        search: how long.
    """

    demos: tyro.conf.Positional[Annotated[Path, tyro.conf.arg(metavar="DEMOS")]]
    out: Path = Path("augmentation.json")
    search: tyro.conf.OmitArgPrefixes[SearchOptions] = field(default_factory=SearchOptions)


@dataclass(frozen=True)
class Found:
    """What a search found. Errors are those of locators on test scenes, centimetres.

    Attributes:
        policy: the best.
        tried: (error on the validation scenes, policy) in the order in which they were tried.
        clean: without and with the policy, on perfect frames.
        noisy: the same with the depth camera's noise.
    """

    policy: AugmentationPolicy
    tried: tuple[tuple[float, AugmentationPolicy], ...]
    clean: tuple[float, float]
    noisy: tuple[float, float]


def search(
    demos: DemoFolder, options: SearchOptions, noise: DepthNoise | None = None, *, progress: bool = False
) -> Found:
    """The policy under which a locator sees best through noise; and its effect on scenes that it was not chosen on.

    A half of the episodes is for learning, a quarter for choosing and a quarter for the final numbers.

    Raises:
        FovealError: there are fewer than 8 episodes, or they do not tell where things are.
    """
    episodes = list(demos)
    if len(episodes) < 8:
        raise FovealError(f"a search takes at least 8 episodes, and {demos.folder} has {len(episodes)}")
    sensor = DepthNoise() if noise is None else noise
    half, quarter = len(episodes) // 2, len(episodes) // 4
    learning = scenes(episodes[:half], options.frames)
    choosing = scenes(episodes[half : half + quarter], options.frames).noisy(sensor, options.seed)
    testing = scenes(episodes[half + quarter :], options.frames)
    total = options.population * (options.generations + 1)
    tried: list[tuple[float, AugmentationPolicy]] = []
    with Progress(0, total, visible=progress, what="search", unit="policy") as bar:

        def merit(point: NDArray[np.float64]) -> float:
            policy = policy_at(point)
            missed = error(train_locator(learning, policy, updates=options.updates, seed=options.seed), choosing)
            tried.append((missed, policy))
            bar.advance(len(tried))
            bar.show(centimetres=min(missed for missed, _ in tried))
            return missed

        _evolve(merit, options)
    best = min(tried, key=lambda entry: entry[0])[1]
    plain, trained = (
        train_locator(learning, policy, updates=options.final, seed=options.seed + 1) for policy in ((), best)
    )
    noisy = testing.noisy(sensor, options.seed + 1)
    return Found(
        best,
        tuple(tried),
        clean=(error(plain, testing), error(trained, testing)),
        noisy=(error(plain, noisy), error(trained, noisy)),
    )


def policy_at(point: Sequence[float] | NDArray[np.float64]) -> AugmentationPolicy:
    """(16,) magnitudes and probabilities -> the transforms that are not left out.

    The lower half of a probability's axis leaves its transform out, and the upper half is stretched to [0, 1]: of
    policies that know no 0, most show a network eight transforms at once and nothing as it is.
    """
    names = list(TRANSFORMS)
    magnitudes, heights = np.asarray(point, np.float64).reshape(2, len(names))
    probabilities = (2.0 * heights - 1.0).clip(0.0).round(2)
    chosen = zip(names, magnitudes.round(2).tolist(), probabilities.tolist(), strict=True)
    return tuple(entry for entry in chosen if entry[2] > 0.0)


def _evolve(merit: Callable[[NDArray[np.float64]], float], options: SearchOptions) -> Any:
    random = np.random.default_rng([6, options.seed])
    first = random.random((options.population, 2 * len(TRANSFORMS)))
    first[0] = 0.0  # no augmentation at all is a policy too
    return differential_evolution(
        merit,
        bounds=[(0.0, 1.0)] * first.shape[1],
        init=first,
        maxiter=options.generations,
        tol=0.0,
        polish=False,
        rng=random,
    )


def main(arguments: Sequence[str]) -> None:
    """Search, write what was found, and say how good it is."""
    keep_freed_memory()  # as the command line does
    try:
        options = tyro.cli(CommandOptions, args=arguments)
        check_writable(options.out)
        found = search(open_demos(options.demos), options.search, progress=True)
    except FovealError as mistake:
        sys.exit(f"error: {mistake}")
    options.out.write_text(json.dumps(dataclasses.asdict(found), indent=1) + "\n", encoding="utf-8")
    for name, magnitude, chance in found.policy:
        print(f"  {name:<14} magnitude {magnitude:.2f}, probability {chance:.2f}")
    print(
        f"where the cube is, mean error on new scenes, without and with it: "
        f"perfect depth {found.clean[0]:.2f} and {found.clean[1]:.2f} cm, "
        f"noisy depth {found.noisy[0]:.2f} and {found.noisy[1]:.2f} cm\nwrote {options.out}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
