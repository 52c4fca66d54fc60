"""A search for an augmentation policy: SciPy's differential evolution over magnitudes and probabilities.

Pashevich et al. (2019) search by Monte-Carlo trees over sequences of (name, magnitude, probability). Here all eight
transforms stand in a fixed order, and half of a probability's axis leaves one out: a search in a box of 16 numbers.
A policy's merit is the error of a locator (``foveal.skills.localisation``) that learned under it, on frames with
a depth camera's noise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import differential_evolution

from foveal.config.bounds import Bounded, at_least
from foveal.errors import FovealError
from foveal.progress import Progress
from foveal.skills.augmentation import TRANSFORMS, Policy
from foveal.skills.localisation import error, scenes, train_locator
from foveal.skills.minari import DemoFolder
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
class Found:
    """What a search found. Errors are those of locators on test scenes, centimetres.

    Attributes:
        policy: the best.
        tried: (error on the validation scenes, policy) in the order in which they were tried.
        clean: without and with the policy, on perfect frames.
        noisy: the same with the depth camera's noise.
    """

    policy: Policy
    tried: tuple[tuple[float, Policy], ...]
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
    tried: list[tuple[float, Policy]] = []
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


def policy_at(point: Sequence[float] | NDArray[np.float64]) -> Policy:
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
