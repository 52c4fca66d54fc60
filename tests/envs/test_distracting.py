"""The Distracting Control Suite's parts against their definitions, written slowly."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from foveal.envs import PERTURBATIONS, make
from foveal.envs.perturbations.camera_poses import Camera
from foveal.envs.perturbations.camera_walk import CameraWalk, cartesian, level, shortest_turn, spherical
from foveal.envs.perturbations.distracting import FILMS, ColorWalk
from foveal.envs.perturbations.sky_films import TRAINING_FILMS, DavisFilms, GeneratedFilms, Sky
from foveal.errors import FovealError

STILL = np.zeros(6, np.float32)


def davis(folder: Path, films: int, frames: int = 5) -> Path:
    """A folder like DAVIS', whose frames tell film and number by their colour."""
    for film, name in enumerate(TRAINING_FILMS[:films]):
        place = folder / "DAVIS" / "JPEGImages" / "480p" / name
        place.mkdir(parents=True)
        for frame in range(frames):
            Image.new("RGB", (85, 48), (20 * film, 40 * frame, 200)).save(place / f"{frame:05d}.jpg")
    return folder


class PublishedCamera:
    """The published wrapper's arithmetic, scalar by scalar, for a camera that stands still at first."""

    def __init__(self, random: np.random.RandomState, scale: float, start: Any, pace_of: float) -> None:
        self.random, self.scale = random, scale
        x, y, z = start
        radius = math.sqrt(x * x + y * y + z * z)
        around, above = math.atan2(y, x), math.atan2(math.sqrt(x * x + y * y), z)
        delta = math.pi / 2 * scale
        self.ranges = [
            (max(radius - radius * 0.5 * scale, 0.0), radius + radius * 1.5 * scale),
            (max(around - delta, -math.pi), min(around + delta, 0.0)),
            (max(above - delta, 0.0), min(above + delta, math.pi / 2)),
        ]
        self.pace = pace_of / 4.0
        self.around = random.uniform(*self.ranges[1])
        self.above = random.uniform(*self.ranges[2])
        self.radius = random.uniform(*self.ranges[0])
        self.roll = random.uniform(-delta, delta)
        velocity = random.randn(3)
        velocity /= np.sqrt(np.sum(velocity**2))
        self.velocity = velocity * random.uniform(0.0, 0.4 * scale)
        self.roll_velocity = random.uniform(-math.pi / 50 * scale, math.pi / 50 * scale)
        self.roll_most = delta

    def apply(self) -> None:
        scale = self.scale
        self.velocity = self.velocity + self.random.randn(3) * 0.1 * scale * self.pace
        self.roll_velocity += self.random.randn() * math.pi / 300 * scale
        speed, most = math.sqrt(sum(v * v for v in self.velocity)), 0.4 * scale * self.pace
        if speed > most:
            self.velocity = self.velocity * most / speed
        turn = math.pi / 50 * scale
        self.roll_velocity = min(max(self.roll_velocity, -turn), turn)
        before = self.position()
        x, y, z = before + self.velocity
        wanted = math.sqrt(x * x + y * y + z * z), math.atan2(y, x), math.atan2(math.sqrt(x * x + y * y), z)
        clipped = [min(max(value, low), high) for value, (low, high) in zip(wanted, self.ranges, strict=True)]
        self.radius, self.around, self.above = clipped
        self.velocity = self.position() - before
        roll = min(max(self.roll + self.roll_velocity, -self.roll_most), self.roll_most)
        self.roll_velocity, self.roll = roll - self.roll, roll

    def position(self) -> np.ndarray:
        flat = self.radius * math.sin(self.above)
        return np.array(
            [flat * math.cos(self.around), flat * math.sin(self.around), self.radius * math.cos(self.above)]
        )


@pytest.mark.slow
@pytest.mark.parametrize(("task", "fixed"), [("walker-walk", False), ("cartpole-swingup", True)])
@pytest.mark.parametrize("intensity", [0.05, 0.5])
def test_the_camera_walks_as_published(task: str, fixed: bool, intensity: float) -> None:
    env = make(f"dmc/{task}", image_size=32, quality="draft")
    env.reset(seed=0)
    physics = env.inner.unwrapped.physics  # type: ignore[attr-defined]
    centre = np.zeros(3) if fixed else physics.named.data.subtree_com[1].copy()
    start = physics.data.cam_xpos[0] - centre
    ours = CameraWalk(Camera(physics, 0), intensity, upright=True)
    ours.begin(np.random.RandomState(4))
    slow = PublishedCamera(np.random.RandomState(4), intensity, start, float(np.linalg.norm(start)))
    slow.apply()
    random = np.random.RandomState(4)
    random.set_state(slow.random.get_state())
    at_a_border = 0
    for _ in range(200):
        np.testing.assert_allclose(cartesian(ours.place), slow.position(), atol=1e-9)
        assert ours.roll == pytest.approx(slow.roll)
        at_a_border += any(value in limits for value, limits in zip(ours.place, slow.ranges, strict=True))
        ours.step(random)
        slow.apply()
    assert at_a_border  # both kinds of steps were met
    ours.show()
    np.testing.assert_allclose(physics.data.cam_xpos[0], cartesian(ours.place) + centre)
    env.close()


@pytest.mark.slow
def test_the_camera_looks_at_what_the_models_own_looks_at() -> None:
    env = make("dmc/cartpole-swingup", image_size=32, quality="draft")
    env.reset(seed=0)
    camera = Camera(env.inner.unwrapped.physics, 0)  # type: ignore[attr-defined]
    distance = np.linalg.norm(camera.position - camera.agent)
    target = camera.position - distance * camera.orientation[:, 2]
    walk = CameraWalk(camera, 0.4, upright=True)
    walk.begin(np.random.RandomState(0))
    walk.show()
    looked = target - camera.position
    np.testing.assert_allclose(-camera.orientation[:, 2], looked / np.linalg.norm(looked), atol=1e-9)
    env.close()


@pytest.mark.parametrize("direction", [(0.3, 2.0, -0.5), (-1.0, 0.2, 0.1), (0.5, -0.5, -3.0)])
def test_cameras_look_along_a_direction(direction: tuple[float, float, float]) -> None:
    wanted = np.array(direction) / np.linalg.norm(direction)
    horizon = level(np.array(direction))
    np.testing.assert_allclose(-horizon[:, 2], wanted, atol=1e-12)
    assert horizon[2, 0] == pytest.approx(0.0)  # its right is level
    assert horizon[2, 1] > 0  # its up is upwards
    np.testing.assert_allclose(-shortest_turn(np.array(direction))[:, 2], wanted, atol=1e-3)
    np.testing.assert_allclose(cartesian(spherical(np.array(direction))), direction, atol=1e-12)


class Model:
    def __init__(self) -> None:
        self.mat_rgba = np.array([[0.0, 0.5, 1.0, 0.7], [0.2, 0.2, 0.2, 1.0]])


def test_colours_wander_within_their_range() -> None:
    model = Model()
    own = model.mat_rgba.copy()
    walk = ColorWalk(model, 0.1)
    walk.begin(np.random.RandomState(0))
    walk.show()
    low, high = np.clip(own[:, :3] - 0.1, 0, 1), np.clip(own[:, :3] + 0.1, 0, 1)
    expected = low + np.random.RandomState(0).uniform(size=(2, 3)) * (high - low)
    np.testing.assert_allclose(model.mat_rgba[:, :3], expected)
    random, changes = np.random.RandomState(1), []
    for _ in range(500):
        before = walk.rgb
        walk.step(random)
        changes.append(walk.rgb - before)
        assert (walk.rgb >= low).all() and (walk.rgb <= high).all()
    walk.show()
    assert 0.002 < np.std(changes) <= 0.003  # 0.03 of the intensity, and less at the ends
    np.testing.assert_array_equal(model.mat_rgba[:, 3], own[:, 3])


class Ends:
    """Films of four frames."""

    def __len__(self) -> int:
        return 3

    def length(self, film: int) -> int:
        return 4


def test_films_turn_round_at_their_ends() -> None:
    sky = Sky(None, Ends())  # type: ignore[arg-type]
    sky.index, sky.film, sky.way = 2, 0, 1
    seen = []
    for _ in range(9):
        sky.step()
        seen.append(sky.index)
    assert seen == [3, 2, 1, 0, 1, 2, 3, 2, 1]
    sky.begin(np.random.RandomState(7))
    random = np.random.RandomState(7)
    assert (sky.film, sky.index, sky.way) == (random.choice(3), random.choice(4), random.choice([-1, 1]))


@pytest.mark.slow
def test_a_film_of_davis_fills_the_sky_and_changes_at_every_second_step(tmp_path: Path) -> None:
    env = make(
        "dmc/ball_in_cup-catch", image_size=32, perturbation="distracting_cs:0.1", data=davis(tmp_path, 4), seed=2
    )
    env.reset()
    physics = env.inner.unwrapped.physics  # type: ignore[attr-defined]
    assert physics.model.mat_rgba[physics.model.name2id("grid", "material"), 3] == pytest.approx(0.3)
    sky = env.inner._sky  # type: ignore[attr-defined]
    for _ in range(3):
        texels = physics.model.tex_data[: 800 * 800 * 3].reshape(-1, 3)
        expected = np.array([20 * sky.film, 40 * sky.index, 200])
        assert np.abs(texels - expected).max() <= 4  # what JPEG leaves of it
        corner = env.render()[0, 0].astype(int)
        assert np.abs(corner / max(corner.max(), 1) - expected / expected.max()).max() < 0.1
        before = sky.index, sky.way
        env.step(STILL[:2])  # four steps of the simulator
        moved = Sky(None, sky.films)  # type: ignore[arg-type]
        (moved.index, moved.way), moved.film = before, sky.film
        moved.step()
        moved.step()
        assert sky.index == moved.index
    env.close()


def test_what_there_is_of_davis_is_told(tmp_path: Path) -> None:
    folder = davis(tmp_path, 3)
    perturbation = PERTURBATIONS.get("distracting_cs:0.1")(folder)
    assert (perturbation.source, perturbation.items, perturbation.benchmark_items) == ("dmc-gb", 3, 4)
    assert perturbation.complete is False
    assert PERTURBATIONS.get("distracting_cs:0.05")(folder / "DAVIS").complete is True
    assert PERTURBATIONS.get("distracting_cs:0.5")(None).source == "generated"
    assert len(TRAINING_FILMS) == FILMS[0.5] == 60


def test_missing_films_are_told(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="no film of DAVIS"):
        DavisFilms(tmp_path, 2)
    folder = davis(tmp_path, 1)
    next(folder.rglob("00000.jpg")).write_bytes(b"no picture")
    with pytest.raises(FovealError, match="can't be decoded"):
        DavisFilms(folder, 2).frame(0, 0)


def test_other_domains_have_no_definition() -> None:
    with pytest.raises(FovealError, match="is defined for the cameras of"):
        make("dmc/hopper-hop", image_size=32, perturbation="distracting_cs:0.1")


@pytest.mark.slow
def test_generated_films_are_always_the_same() -> None:
    one, other = GeneratedFilms(2), GeneratedFilms(2)
    assert np.array_equal(one.frame(1, 3), other.frame(1, 3))
    assert not np.array_equal(one.frame(0, 3), one.frame(1, 3))


@pytest.mark.slow
def test_the_same_seed_gives_the_same_episode_and_leaves_the_simulation_alone() -> None:
    one, other, plain = (
        make("dmc/walker-walk", image_size=32, quality="draft", perturbation=name)
        for name in ("distracting_cs:0.3", "distracting_cs:0.3", None)
    )
    pictures = [each.reset(seed=3)[0] for each in (one, other, plain)]
    assert np.array_equal(pictures[0], pictures[1]) and not np.array_equal(pictures[0], pictures[2])
    for _ in range(3):
        (a, r, *_), (b, s, *_), (_, t, *_) = (each.step(STILL) for each in (one, other, plain))
        assert np.array_equal(a, b) and r == s == t
    for each in (one, other, plain):
        each.close()
