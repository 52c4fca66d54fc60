"""What changes from episode to episode: ranges, and one draw from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.model import LARGEST_EDGE
from foveal.envs.ur5e.tasks import Task
from foveal.errors import FovealError
from foveal.registry import nearest

Array = NDArray[np.float64]
Range = tuple[float, float]

SMALLEST_EDGE = 0.03  # metres
WORKSPACE = ((0.30, 0.68), (-0.34, 0.34), (0.016, 0.42))  # metres: x, y, z within which the tool stays
_FINGERS = 0.09  # metres from the tool's axis to the outside of an open finger
_TRIES = 5000


def _check_range(name: str, value: Any) -> None:
    numbers = isinstance(value, tuple | list) and len(value) == 2 and all(_is_number(end) for end in value)
    if not numbers or not value[0] <= value[1]:
        raise FovealError(f"the range {name} is {value!r}; give (low, high) with low at most high")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and bool(np.isfinite(value))


def _check_within(name: str, value: Range, bounds: Range) -> None:
    if value[0] < bounds[0] or value[1] > bounds[1]:
        raise FovealError(f"the range {name} is {value}; it must lie within {bounds}")


@dataclass(frozen=True)
class Randomization:
    """Ranges, (low, high), from which every episode draws uniformly, in metres and radians. Both ends may be equal.

    Attributes:
        edge: of things; a cube's is its edge. A task may use a part of the range for one thing, see ``Thing.sizes``.
        place_x, place_y: where things and the bowl stand on the table.
        yaw: of things, about the vertical. The gripper does not turn, but aligns what it grasps.
        start_x, start_y, start_z: where the tool starts.
        camera_shift: of the cameras beside the table, along each axis.
        camera_aim: shift of the point at which they look, along each axis.
        camera_fovy: their vertical field of view, degrees.
        light_shift: of the lamp, along x and y.
        light: factor on the lamp's brightness.

    Raises:
        FovealError: a range is no (low, high), or exceeds the arm's workspace or the gripper's span.
    """

    edge: Range = (0.040, 0.065)
    place_x: Range = (0.36, 0.62)
    place_y: Range = (-0.22, 0.22)
    yaw: Range = (-0.25, 0.25)
    start_x: Range = (0.40, 0.58)
    start_y: Range = (-0.18, 0.18)
    start_z: Range = (0.18, 0.28)
    camera_shift: Range = (-0.05, 0.05)
    camera_aim: Range = (-0.02, 0.02)
    camera_fovy: Range = (43.0, 47.0)
    light_shift: Range = (-0.3, 0.3)
    light: Range = (0.7, 1.2)

    def __post_init__(self) -> None:
        for field in fields(self):
            _check_range(field.name, getattr(self, field.name))
        _check_within("edge", self.edge, (SMALLEST_EDGE, LARGEST_EDGE))
        for axis, bounds in zip("xyz", WORKSPACE, strict=True):
            _check_within(f"start_{axis}", getattr(self, f"start_{axis}"), bounds)
        for axis, bounds in zip("xy", WORKSPACE, strict=False):
            _check_within(f"place_{axis}", getattr(self, f"place_{axis}"), bounds)
        _check_within("camera_fovy", self.camera_fovy, (10.0, 120.0))


TRAINING = Randomization()
# Names of ranges. `none` still changes places: with these fixed a task has nothing to solve.
RANDOMIZATIONS: dict[str, Randomization] = {
    "training": TRAINING,
    "none": Randomization(
        edge=(0.05, 0.05),
        yaw=(0.0, 0.0),
        start_x=(0.48, 0.48),
        start_y=(0.0, 0.0),
        start_z=(0.24, 0.24),
        camera_shift=(0.0, 0.0),
        camera_aim=(0.0, 0.0),
        camera_fovy=(45.0, 45.0),
        light_shift=(0.0, 0.0),
        light=(1.0, 1.0),
    ),
    # For evaluation, outside of what training shows.
    "far_starts": replace(TRAINING, start_x=(0.34, 0.64), start_y=(-0.32, 0.32), start_z=(0.12, 0.38)),
    "moved_camera": replace(TRAINING, camera_shift=(-0.15, 0.15), camera_aim=(-0.05, 0.05), camera_fovy=(41.0, 51.0)),
}


def named(randomization: str | Randomization) -> Randomization:
    """The ranges of that name; ranges themselves are returned as they are.

    Raises:
        FovealError: no such name.
    """
    if isinstance(randomization, Randomization):
        return randomization
    if randomization not in RANDOMIZATIONS:
        raise FovealError(f"unknown randomization {randomization!r}: {nearest(randomization, list(RANDOMIZATIONS))}")
    return RANDOMIZATIONS[randomization]


@dataclass(frozen=True)
class Draw:
    """One episode's scene, enough to set it up again; metres and radians.

    Attributes:
        edges: (N,) of the things.
        places: (N, 2) x, y of the things.
        yaws: (N,).
        bowl: (2,) x, y, or None.
        start: (3,) of the tool.
        camera_shift, camera_aim: (3,) each.
        camera_fovy: degrees.
        light_shift: (2,).
        light: factor.
    """

    edges: Array
    places: Array
    yaws: Array
    bowl: Array | None
    start: Array
    camera_shift: Array
    camera_aim: Array
    camera_fovy: float
    light_shift: Array
    light: float

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Draw:
        """The draw of ``dataclasses.asdict``, whose arrays may have become lists."""
        values: dict[str, Any] = {}
        for name, value in state.items():
            values[name] = value if value is None else np.asarray(value, np.float64)
        values["camera_fovy"], values["light"] = float(state["camera_fovy"]), float(state["light"])
        return cls(**values)


def draw(task: Task, ranges: Randomization, random: np.random.Generator) -> Draw:
    """A scene in which nothing overlaps and every thing can be grasped without touching another.

    Raises:
        FovealError: the ranges leave no room for all things of the task.
    """
    count = len(task.things)
    smallest, largest = ranges.edge
    low, high = smallest + (largest - smallest) * np.array([thing.sizes for thing in task.things]).T  # (N,) each
    edges = random.uniform(low, high)
    bowl_radius = [] if task.bowl is None else [task.bowl.rim + 0.01]
    half = np.array([max(thing.half[:2]) for thing in task.things]) * edges * np.sqrt(2.0)  # of a turned box
    places = _scattered(np.concatenate([half, bowl_radius]), ranges, random)
    return Draw(
        edges=edges,
        places=places[:count],
        yaws=random.uniform(*ranges.yaw, count),
        bowl=None if task.bowl is None else places[count],
        start=np.array([random.uniform(*r) for r in (ranges.start_x, ranges.start_y, ranges.start_z)]),
        camera_shift=random.uniform(*ranges.camera_shift, 3),
        camera_aim=random.uniform(*ranges.camera_aim, 3),
        camera_fovy=float(random.uniform(*ranges.camera_fovy)),
        light_shift=random.uniform(*ranges.light_shift, 2),
        light=float(random.uniform(*ranges.light)),
    )


def other_camera(drawn: Draw, ranges: Randomization, random: np.random.Generator) -> Draw:
    """The same scene before another camera."""
    return replace(
        drawn,
        camera_shift=random.uniform(*ranges.camera_shift, 3),
        camera_aim=random.uniform(*ranges.camera_aim, 3),
        camera_fovy=float(random.uniform(*ranges.camera_fovy)),
    )


def _scattered(radii: Array, ranges: Randomization, random: np.random.Generator) -> Array:
    """(N, 2) places of discs such that the open gripper fits around each without touching another."""
    low, high = np.array([ranges.place_x, ranges.place_y]).T
    for _ in range(_TRIES):
        places = random.uniform(low, high, (len(radii), 2))
        apart = np.hypot(*(places[:, None] - places[None]).T)  # (N, N) metres between centres
        wanted = _FINGERS + np.maximum(radii[:, None], radii[None])
        np.fill_diagonal(apart, np.inf)
        if (apart > wanted).all():
            return places
    raise FovealError(
        f"place_x {ranges.place_x} and place_y {ranges.place_y} leave no room for the {len(radii)} things of this "
        "task: widen them"
    )
