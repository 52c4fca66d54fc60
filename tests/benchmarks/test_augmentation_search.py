"""benchmarks/augmentation_search.py: networks that say where the cube is, and the search that they judge."""

from __future__ import annotations

import numpy as np
import pytest

from small_skills import episode

pytest.importorskip("h5py", reason='needs the extra "skills"')

import augmentation_search
from augmentation_search import SearchOptions, policy_at, search
from localisation import Scenes, error, train_locator

from foveal.errors import FovealError
from foveal.skills.augmentation import TRANSFORMS, read_augmentation
from foveal.skills.minari import DemoWriter, open_demos
from foveal.skills.noise import DepthNoise


def seen_cube(count, random):
    """Frames of a plane with a square on it, and where that is."""
    places = random.uniform(-0.2, 0.2, (count, 2)).astype(np.float32)
    depth = np.full((count, 32, 32), 1200, np.uint16)
    for frame, (x, y) in zip(depth, places, strict=True):
        row, column = round(16 + 60 * x), round(16 + 60 * y)
        frame[row - 2 : row + 3, column - 2 : column + 3] = 1100
    return Scenes(depth, places + np.array([0.49, 0.0], np.float32))


@pytest.mark.slow
def test_locators_learn_and_noise_confuses_them():
    random = np.random.default_rng(0)
    training, testing = seen_cube(400, random), seen_cube(100, random)
    network = train_locator(training, (), updates=200)
    by_chance = 100.0 * float(np.linalg.norm(testing.places - [0.49, 0.0], axis=1).mean())
    clean, noisy = error(network, testing), error(network, testing.noisy(DepthNoise(disparity=1.0), 0))
    assert clean < 0.25 * by_chance and noisy > 1.5 * clean
    helped = train_locator(training, (("white_noise", 0.8, 0.8), ("edge_noise", 0.6, 0.5)), updates=200)
    assert error(helped, testing.noisy(DepthNoise(disparity=1.0), 0)) < noisy


@pytest.mark.slow
def test_search_returns_the_best_that_it_tried(tmp_path):
    random, writer = np.random.default_rng(0), DemoWriter(tmp_path / "demos", {"task": "bowl"})
    for _ in range(8):
        seen = seen_cube(7, random)
        things = np.concatenate([seen.places, np.zeros((7, 1), np.float32)], 1)[:, None]
        writer.add(episode(depth=seen.depth, things=things))
    changes = {"population": 5, "generations": 1, "updates": 3, "final": 3, "frames": 4}
    options = SearchOptions(**changes)
    found = search(open_demos(tmp_path / "demos"), options)
    assert len(found.tried) == 10 and found.tried[0][1] == ()
    assert found.policy == min(found.tried)[1] and min(*found.clean, *found.noisy) > 0.0
    words = [f"--{name}={value}" for name, value in changes.items()]
    augmentation_search.main([str(tmp_path / "demos"), f"--out={tmp_path / 'found.json'}", *words])
    assert read_augmentation(tmp_path / "found.json") == found.policy
    bare = DemoWriter(tmp_path / "bare", {})
    for _ in range(8):
        bare.add(episode())
    with pytest.raises(FovealError, match="do not tell where things are"):
        search(open_demos(tmp_path / "bare"), options)


def test_points_of_the_search_are_policies():
    point = np.concatenate([np.full(8, 0.5), [0.0, 0.5, 0.65, *[0.2] * 4, 1.0]])
    assert policy_at(point) == ((list(TRANSFORMS)[2], 0.5, 0.3), (list(TRANSFORMS)[7], 0.5, 1.0))
