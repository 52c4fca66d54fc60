"""What happens once in the middle of an episode: the world changes, and the policy has to notice.

All draws come from the episode's seed and nothing else, so that every policy meets the same event in the same scene.
When it happens depends on what the arm does, where it must (a cube is knocked out of a gripper that holds one), and
else on the seed alone.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from foveal.envs.ur5e.env import ArmEnv
from foveal.envs.ur5e.tasks import TASKS, Truth
from foveal.errors import FovealError

Array = NDArray[np.float64]

NEAR, LOW = 0.045, 0.16  # metres aside and of height: within these the tool is on its way down to a thing
AIRBORNE = 0.04  # metres between the table and what is being carried
ARRIVING, HIGH_UP = 0.12, 0.18  # metres aside and of height: within these the tool arrives at the goal from above
FAR_ENOUGH = 0.10  # metres, at least, between where something was and where it is moved to
APART = 0.19  # metres, at least, between the middles of what is put on the table and of what is there: fingers fit
EARLIEST, LATEST = 20, 120  # control steps between which an event of its own time happens
_CANDIDATES = 100  # places that are tried


@dataclass(frozen=True)
class Dice:
    """What chance has decided of an episode's event, before it begins.

    Attributes:
        step: control step at which an event of its own time happens.
        places: (N, 2) metres: the first free one is taken.
        angle: radians in (-0.5, 0.5), of a knock.
        yaw: radians.
    """

    step: int
    places: Array
    angle: float
    yaw: float

    @classmethod
    def of(cls, env: ArmEnv, seed: int) -> Dice:
        """Of an episode's seed."""
        random = np.random.default_rng([9, seed])
        low, high = np.array([env.ranges.place_x, env.ranges.place_y]).T
        places = random.uniform(low, high, (_CANDIDATES, 2))
        step = int(random.integers(EARLIEST, LATEST + 1))
        return cls(step, places, float(random.uniform(-0.5, 0.5)), float(random.uniform(*env.ranges.yaw)))


class Event(ABC):
    """Something that happens once.

    Attributes:
        what: happens, in a few words.
        can: whether a can is added, which the scene must have from the beginning.
        covered: control steps for which the camera then sees nothing.
    """

    what: ClassVar[str]
    can: ClassVar[bool] = False
    covered: ClassVar[int] = 0

    def check(self, task: str) -> None:  # noqa: B027 - most can happen anywhere
        """Refuse tasks in which it can't happen.

        Raises:
            FovealError: this is one.
        """

    @abstractmethod
    def due(self, env: ArmEnv, truth: Truth, step: int, dice: Dice) -> bool:
        """Whether it happens before the control step that comes after ``step`` others."""

    def happen(self, env: ArmEnv, truth: Truth, dice: Dice) -> None:  # noqa: B027 - a camera is no part of the scene
        """Change the scene."""


@dataclass(frozen=True)
class CubeMoved(Event):
    """What the script has the arm go to first is put elsewhere, when the tool is on its way down to it."""

    what = "the cube was moved"

    def due(self, env: ArmEnv, truth: Truth, step: int, dice: Dice) -> bool:
        thing = env.task.first
        aside = np.hypot(*(truth.centres[thing, :2] - truth.tool[:2]))
        return bool(aside < NEAR and truth.tool[2] < LOW and not truth.touched.any())

    def happen(self, env: ArmEnv, truth: Truth, dice: Dice) -> None:
        thing = env.task.first
        place = _free(truth, dice, away_from=truth.centres[thing, :2], moved=thing)
        env.simulation.put(env.task.things[thing].name, np.array([*place, truth.half[thing, 2]]), dice.yaw)


@dataclass(frozen=True)
class CubeKnocked(Event):
    """What is carried is struck out of the gripper, along its open sides, away from where it belongs."""

    what = "the cube was knocked out of the gripper"

    SPEED: ClassVar[float] = 0.3  # m/s
    CLEAR: ClassVar[float] = 0.07  # metres from the tool's axis: outside of the fingers
    FLIGHT: ClassVar[float] = 0.10  # metres from the tool's axis to where it comes to lie, about

    def due(self, env: ArmEnv, truth: Truth, step: int, dice: Dice) -> bool:
        return bool(_carried(truth))

    def happen(self, env: ArmEnv, truth: Truth, dice: Dice) -> None:
        thing = _carried(truth)[0]
        way = self._way(env, truth, dice)
        place = truth.centres[thing] + self.CLEAR * way
        env.simulation.put(env.task.things[thing].name, place, dice.yaw, self.SPEED * way)

    def _way(self, env: ArmEnv, truth: Truth, dice: Dice) -> Array:
        """(3,) forwards or backwards, as fingers close along y: where there is table left, and else from the goal."""
        ahead = np.array([np.cos(dice.angle), np.sin(dice.angle), 0.0])
        middle = np.array([np.mean(env.ranges.place_x), np.mean(env.ranges.place_y)])
        low, high = env.ranges.place_x
        landings = {sign: truth.tool[:2] + sign * self.FLIGHT * ahead[:2] for sign in (1.0, -1.0)}
        fair = [sign for sign, place in landings.items() if low < place[0] < high]
        if len(fair) != 1 and (truth.bowl is not None or len(truth.centres) > 1):
            return max(landings, key=lambda sign: _distance(landings[sign], _goal(truth))) * ahead
        return min(fair or landings, key=lambda sign: _distance(landings[sign], middle)) * ahead


@dataclass(frozen=True)
class GoalMoved(Event):
    """Bowl or tower is put elsewhere, when what belongs there is carried and about to arrive."""

    what = "the goal was moved"

    def check(self, task: str) -> None:
        if TASKS[task].bowl is None and len(TASKS[task].things) == 1:
            raise FovealError(
                f"ur5e/{task} has no place to put something, so goal_moved can't happen in it: leave it out"
            )

    def due(self, env: ArmEnv, truth: Truth, step: int, dice: Dice) -> bool:
        aside = np.hypot(*(_goal(truth)[:2] - truth.tool[:2]))
        return bool(_carried(truth)) and bool(aside < ARRIVING and truth.tool[2] > HIGH_UP)

    def happen(self, env: ArmEnv, truth: Truth, dice: Dice) -> None:
        stands = truth.bowl is None
        place = _free(truth, dice, away_from=_goal(truth)[:2], moved=0 if stands else None)
        name, yaw = (env.task.things[0].name, dice.yaw) if stands else ("bowl", 0.0)
        env.simulation.put(name, np.array([*place, _goal(truth)[2]]), yaw)


@dataclass(frozen=True)
class CameraCovered(Event):
    """For a second something is right before the lens: all pixels are nearer than what networks tell apart."""

    what = "the camera was covered for a second"
    covered = 10

    def due(self, env: ArmEnv, truth: Truth, step: int, dice: Dice) -> bool:
        return step >= dice.step


@dataclass(frozen=True)
class ObjectAdded(Event):
    """A can appears on the table."""

    what = "a can was added"
    can = True

    def due(self, env: ArmEnv, truth: Truth, step: int, dice: Dice) -> bool:
        return step >= dice.step

    def happen(self, env: ArmEnv, truth: Truth, dice: Dice) -> None:
        env.simulation.add_can(_free(truth, dice, away_from=truth.tool[:2]))


COVER_MILLIMETRES = 200
"""What a covered camera measures: nearer than the nearest that networks tell apart, and no missing pixel."""


class Happening:
    """The event of one running episode.

    Args:
        event: of its condition, or None.
        env: in which it happens.
        seed: of the episode.

    Attributes:
        step: control steps that had passed when it happened; None before.
    """

    def __init__(self, event: Event | None, env: ArmEnv, seed: int) -> None:
        self._event, self._env = event, env
        self._dice = None if event is None else Dice.of(env, seed)
        self.step: int | None = None

    def before(self, step: int) -> None:
        """Let it happen, where its time has come, before the control step that comes after ``step`` others."""
        if self._event is None or self._dice is None or self.step is not None:
            return
        truth = self._env.truth()
        if self._event.due(self._env, truth, step, self._dice):
            self._event.happen(self._env, truth, self._dice)
            self.step = step

    def covers(self, step: int) -> bool:
        """Whether the camera is covered in the frame that is seen after ``step`` control steps."""
        return self._event is not None and self.step is not None and self.step < step <= self.step + self._event.covered

    def get_state(self) -> int:
        """The step at which it happened; -1 before."""
        return -1 if self.step is None else self.step

    def set_state(self, state: int) -> None:
        """Undo of ``get_state``, for the same seed."""
        self.step = None if state < 0 else state


def _carried(truth: Truth) -> list[int]:
    """Things in the gripper, off the table."""
    return [int(thing) for thing in np.flatnonzero(truth.held) if truth.lower(int(thing)) > AIRBORNE]


def _distance(place: Array, other: Array) -> float:
    """Metres between two places, seen from above."""
    return float(np.hypot(*(place[:2] - other[:2])))


def _goal(truth: Truth) -> Array:
    """(3,) where things are to be put: the bowl, or the thing that is built on."""
    return truth.centres[0] if truth.bowl is None else truth.bowl


def _free(truth: Truth, dice: Dice, *, away_from: Any, moved: int | None = None) -> Array:
    """(2,) the first place of the dice that is far from ``away_from`` and free of everything but what is moved.

    Where none is, the one that is furthest from everything.
    """
    others = [centre[:2] for thing, centre in enumerate(truth.centres) if thing != moved]
    others += [] if truth.bowl is None else [truth.bowl[:2]]
    room = np.linalg.norm(dice.places[:, None] - np.array([*others, away_from])[None], axis=2)  # (N, others + 1)
    apart = np.append(np.full(len(others), APART), FAR_ENOUGH)
    free = np.flatnonzero((room > apart).all(1))
    place: Array = dice.places[free[0] if free.size else int(np.argmax(room.min(1)))]
    return place
