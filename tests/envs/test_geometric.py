"""DMC-GB2's geometric sets against their definition, written slowly."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from foveal.envs import PERTURBATIONS, make
from foveal.envs.perturbations.geometric import shifts, turns
from foveal.errors import FovealError

SETS = ["rotate_easy", "rotate_hard", "shift_easy", "shift_hard", "rotate_shift_easy", "rotate_shift_hard"]
# As published: largest and smallest "roll" and "pitch" of a domain, in degrees.
PUBLISHED = {
    "walker": (10, -10, 10, -10),
    "cheetah": (10, -10, 10, -10),
    "cartpole": (8, -8, 10, -10),
    "finger": (6, -6, 12, -6),
    "ball_in_cup": (6, -6, 12, -6),
}


def multiplied(*matrices: list[list[float]]) -> list[list[float]]:
    product = matrices[0]
    for other in matrices[1:]:
        product = [[sum(row[k] * other[k][j] for k in range(3)) for j in range(3)] for row in product]
    return product


def turned(yaw: float) -> list[list[float]]:
    c, s = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    return [[c, -s, 0], [s, c, 0], [0, 0, 1]]


def shifted(y: float, x: float) -> list[list[float]]:
    cy, sy = math.cos(math.radians(y)), math.sin(math.radians(y))
    cx, sx = math.cos(math.radians(x)), math.sin(math.radians(x))
    return multiplied([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]], [[1, 0, 0], [0, cx, -sx], [0, sx, cx]])


def published_turns(name: str) -> list[list[list[float]]]:
    most = 90 if "easy" in name else 180
    return [turned(-most + number * (2 * most / 100)) for number in range(100)]


def published_shifts(name: str, domain: str) -> list[list[list[float]]]:
    part = 1.5 if "easy" in name else 1.0
    right, left, up, down = (edge / part for edge in PUBLISHED[domain])
    corners = [(left, down), (right, down), (right, up), (left, up)]
    poses = []
    for number in range(4):
        (y, x), (to_y, to_x) = corners[number], corners[(number + 1) % 4]
        poses += [shifted(y + step * (to_y - y) / 25, x + step * (to_x - x) / 25) for step in range(25)]
    return poses


def physics_of(env: Any) -> Any:
    return env.inner.unwrapped.physics


@pytest.mark.parametrize("domain", PUBLISHED)
@pytest.mark.parametrize("easy", [True, False])
def test_poses_are_the_published_ones(domain: str, easy: bool) -> None:
    name = "easy" if easy else "hard"
    np.testing.assert_allclose(shifts(domain, easy=easy), published_shifts(name, domain), atol=1e-12)
    np.testing.assert_allclose(turns(easy=easy), published_turns(name), atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_pictures_are_those_of_a_camera_turned_by_hand(name: str) -> None:
    """Two episodes, in the order that ``RandomState(seed).shuffle`` gives; of both kinds with the same seed each."""
    env = make("dmc/walker-walk", image_size=48, perturbation=name)
    plain = make("dmc/walker-walk", image_size=48)
    kinds = [published_shifts(name, "walker")] if "shift" in name else []
    kinds += [published_turns(name)] if "rotate" in name else []
    for kind in kinds:
        np.random.RandomState(5).shuffle(kind)
    for episode in range(2):
        for each in (env, plain):
            each.reset(seed=5 if episode == 0 else None)
        for step in range(3):
            if step:
                action = np.full(6, 0.5 - step, np.float32)
                _, reward, *_ = env.step(action)
                assert plain.step(action)[1] == reward
            physics = physics_of(plain)
            pose = np.array(multiplied(physics.data.cam_xmat[0].reshape(3, 3), *(kind[episode] for kind in kinds)))
            physics.data.cam_xmat[0] = pose.ravel()
            expected = physics.render(48, 48, 0)
            assert np.mean(env.render() != expected) < 0.001  # the last bit of a product may move a pixel at an edge
            assert not np.array_equal(expected, plain.render())
    env.close()
    plain.close()


def test_they_need_no_data_and_are_the_benchmarks_own() -> None:
    for name in SETS:
        perturbation = PERTURBATIONS.get(name)(None)
        assert (perturbation.source, perturbation.items, perturbation.complete) == (None, None, None)


def test_other_domains_are_refused() -> None:
    with pytest.raises(FovealError, match="and not for hopper"):
        make("dmc/hopper-hop", image_size=32, perturbation="shift_easy")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["rotate_shift_hard", "distracting_cs:0.3"])
def test_episodes_go_on_where_they_were_saved(name: str) -> None:
    one, other = (make("dmc/cartpole-swingup", image_size=32, quality="draft", perturbation=name) for _ in range(2))
    action = np.array([0.3], np.float32)
    one.reset(seed=1)
    one.reset()
    one.step(action)
    other.reset(seed=9)
    other.set_state(one.get_state())
    for _ in range(3):
        assert np.array_equal(one.step(action)[0], other.step(action)[0])
    assert np.array_equal(one.reset()[0], other.reset()[0])
    assert np.array_equal(one.agent_mask(), other.agent_mask())
    one.close()
    other.close()
