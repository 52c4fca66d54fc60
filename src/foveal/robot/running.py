"""A policy on the arm, at 10 Hz: look, decide, limit, move; and stop, whatever happens."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from foveal.config.bounds import POSITIVE, Bounded, at_least
from foveal.errors import FovealError
from foveal.robot.frame import TaskFrame
from foveal.robot.grippers import NoGripper
from foveal.robot.interfaces import Camera, Gripper, Observation, PolicyFunction
from foveal.robot.limits import Limits, limited, turning_back
from foveal.robot.listener import Listener, Reading
from foveal.robot.mover import DryMover, ScriptMover
from foveal.robot.posture import check_joints, check_tool_down
from foveal.robot.sources import check_pictures
from foveal.robot.stops import DASHBOARD_PORT, RTDE_PORT, ArmStopped, advice, check_reachable, trouble
from foveal.robot.success import SuccessFunction, check_measured
from foveal.robot.watch import TIMESTAMP, StreamWatch

Array = NDArray[np.float64]
Avoidance = Callable[[Array, Array], Array]
"""(joints (6,) in radians, twist (6,) of the tool in the base's frame) -> the nearest twist that the arm can follow."""

_ASTRAY = 0.01  # metres out of the workspace at which something is wrong: its walls are approached slowly
_TURNED = np.radians(10.0)  # radians off the orientation that is kept, the same


@dataclass(frozen=True)
class RunSettings(Bounded, section="arm"):
    """How a policy is run.

    Attributes:
        steps: commands after which the run ends.
        dry_run: read the arm and the camera, decide, and send nothing.
        bare_flange: move an arm whose controller knows of no tool.
        any_orientation: move an arm whose tool does not point down as in training.
        frozen: seconds for which the camera may give the same frame.
        limits: what the tool may do.
        frame: the task's frame in the base's.

    Raises:
        FovealError: no steps, or no time.
    """

    steps: Annotated[int, at_least(1)] = 600
    dry_run: bool = False
    bare_flange: bool = False
    any_orientation: bool = False
    frozen: Annotated[float, POSITIVE] = 0.5
    limits: Limits = field(default_factory=Limits)
    frame: TaskFrame = field(default_factory=TaskFrame)


class Step(NamedTuple):
    """One command, in the task's frame.

    Attributes:
        number: from 0.
        position: (3,) metres, where the tool was.
        wanted: (3,) m/s, the policy's wish.
        velocity: (3,) m/s, what the limits left of it: the command, or in a dry run what it would have been.
        close: the gripper, or open it.
        seconds: from looking to deciding.
    """

    number: int
    position: Array
    wanted: Array
    velocity: Array
    close: bool
    seconds: float


@dataclass(frozen=True)
class Report:
    """How a run went.

    Attributes:
        steps: commands given.
        seconds: from the first to the last.
        changed: commands that the limits changed.
        late: steps that took longer than the period.
        ended: why it ended: "steps", "success", or what the policy said.
    """

    steps: int
    seconds: float
    changed: int
    late: int
    ended: str = "steps"


def run(
    policy: PolicyFunction,
    host: str,
    settings: RunSettings | None = None,
    camera: Camera | None = None,
    gripper: Callable[[], Gripper] = NoGripper,
    on_step: Callable[[Step], None] = lambda step: None,
    success: SuccessFunction | None = None,
    avoid: Avoidance | None = None,
) -> Report:
    """Let a policy move the arm.

    The policy's first decision is made before the arm is taken over, to see that it answers. However the run ends, by
    its last step, an exception of anybody's or Ctrl-C, the tool is stopped and the program on the controller ended.

    Args:
        policy: is called at every step.
        host: address of the arm's controller.
        settings: limits, and how long.
        camera: pictures for the policy, or none.
        gripper: makes the gripper; not called in a dry run.
        on_step: called with every step.
        success: says when the task is done, which ends the run; none where nothing tells.
        avoid: keeps the arm's links off each other and the table; see ``foveal.envs.ur5e.avoidance``.

    Raises:
        FovealError: before anything moves: no arm, not ready to move, its tool out of the workspace or not upright.
        ArmStopped: a protective or emergency stop, a lost connection, a policy or a camera that took too long.
    """
    settings = RunSettings() if settings is None else settings
    check_reachable(host, RTDE_PORT, *(() if settings.dry_run else (DASHBOARD_PORT,)))
    with closing(Listener(host)) as listener:
        start = listener.read()
        _check_start(start, settings, host)
        fingers = NoGripper() if settings.dry_run else gripper()
        try:
            if success is not None and not settings.dry_run:
                check_measured(fingers)
            loop = _Loop(policy, host, settings, camera, fingers, on_step, listener, success, avoid)
            loop.first = loop.decide(loop.look(start))
            dry, limits, bare = settings.dry_run, settings.limits, settings.bare_flange
            with closing(DryMover() if dry else ScriptMover(host, listener, limits, bare)) as mover:
                return loop.go(mover)
        finally:
            fingers.disconnect()


def _check_start(reading: Reading, settings: RunSettings, host: str) -> None:
    reason = trouble(reading.safety_bits, reading.mode)
    if reason is not None:
        raise FovealError(f"the arm at {host} {reason}{advice(reading.safety_bits, host)}")
    position = settings.frame.position(reading.pose)
    if settings.limits.outside(position) > 0.0:
        bounds = zip("xyz", settings.limits.workspace, strict=True)
        walls = ", ".join(f"{axis} {low:g} to {high:g}" for axis, (low, high) in bounds)
        raise FovealError(
            f"the tool is at {_metres(position)} m in the task's frame, out of the workspace ({walls} m): bring it "
            "inside, or give another workspace"
        )
    if not settings.any_orientation:
        check_tool_down(reading.pose, settings.frame)
    check_joints(reading.joints, np.zeros(6), 0.0)


@dataclass
class _Loop:
    """One run under way."""

    policy: PolicyFunction
    host: str
    settings: RunSettings
    camera: Camera | None
    gripper: Gripper
    on_step: Callable[[Step], None]
    listener: Listener
    success: SuccessFunction | None
    avoid: Avoidance | None
    velocity: Array = field(default_factory=lambda: np.zeros(3))
    closed: bool | None = None
    orientation: Rotation | None = None
    first: Array = field(default_factory=lambda: np.zeros(4))

    def __post_init__(self) -> None:
        self.watch = StreamWatch(self.settings.frozen)

    def go(self, mover: DryMover | ScriptMover) -> Report:
        limits = self.settings.limits
        began = sent = time.monotonic()
        changed = late = done = 0
        ended = ""
        while not ended:
            looked = time.monotonic()
            step, twist = self._step(done, sent, looked)
            if step is None:
                ended = "success"
                break
            self._send(mover, twist, done)
            sent = time.monotonic()
            self._grip(step.close)
            self.on_step(step)
            done += 1
            changed += not np.allclose(step.wanted, step.velocity, atol=1e-9)
            late += step.seconds > limits.period
            ended = str(getattr(self.policy, "ended", "")) or ("steps" if done == self.settings.steps else "")
            time.sleep(max(0.0, looked + limits.period - time.monotonic()))
        return Report(done, time.monotonic() - began, changed, late, ended)

    def look(self, reading: Reading) -> Observation:
        """What the policy observes where the arm stands."""
        vector = self.settings.frame.vector(reading.joints, reading.pose, self.gripper.opening())
        if self.camera is None:
            return {"vector": vector}
        frame = check_pictures(self.camera.read())
        self.watch.look(frame, time.monotonic())
        return {**{name: picture for name, picture in frame.items() if name != TIMESTAMP}, "vector": vector}

    def decide(self, observation: Observation) -> Array:
        """The policy's action (4,)."""
        return _checked(self.policy(observation))

    def _step(self, number: int, sent: float, looked: float) -> tuple[Step | None, Array]:
        """The step, None where the task is done, and its twist (6,) in the base's frame."""
        limits, frame = self.settings.limits, self.settings.frame
        reading = self.listener.read()
        position = frame.position(reading.pose)
        present = Rotation.from_rotvec(reading.pose[3:])
        self.orientation = present if self.orientation is None else self.orientation
        self._check(reading, position, (self.orientation * present.inv()).magnitude(), number)
        action = self.first
        if number > 0:
            observation = self.look(reading)
            if self.success is not None and self.success(observation, bool(self.closed)):
                return None, np.zeros(6)
            action = self.decide(observation)
        wanted = limits.scale * action[:3]
        now = time.monotonic()
        if now - looked > limits.timeout:
            raise ArmStopped(
                f"step {number} took {now - looked:.2f} s to look and decide, longer than the timeout of "
                f"{limits.timeout:g} s: the arm was stopped"
            )
        turning = turning_back(self.orientation, present, limits)
        seconds = limits.period if number == 0 else now - sent
        before = self.velocity
        self.velocity = limited(wanted, before, position, limits, seconds)
        if self.avoid is not None:
            possible = self.avoid(reading.joints, np.concatenate([frame.to_base(self.velocity), turning]))
            self.velocity = limited(frame.from_base(possible[:3]), before, position, limits, seconds)
        twist = np.concatenate([frame.to_base(self.velocity), turning])
        check_joints(reading.joints, twist, limits.timeout)
        return Step(number, position, wanted, self.velocity, bool(action[3] > 0.0), now - looked), twist

    def _send(self, mover: DryMover | ScriptMover, twist: Array, number: int) -> None:
        try:
            mover.move(twist)
        except ArmStopped:
            self._check_safety(self.listener.read(), number)  # which may know the reason
            raise

    def _check_safety(self, reading: Reading, number: int) -> None:
        reason = trouble(reading.safety_bits, reading.mode)
        if reason is not None:
            raise ArmStopped(f"the arm {reason}, at step {number}{advice(reading.safety_bits, self.host)}")

    def _check(self, reading: Reading, position: Array, turned: float, number: int) -> None:
        self._check_safety(reading, number)
        if self.settings.limits.outside(position) > _ASTRAY:
            raise ArmStopped(f"the tool left the workspace, to {_metres(position)} m, at step {number}")
        if turned > _TURNED:
            raise ArmStopped(f"the tool turned by {np.degrees(turned):.0f} degrees, at step {number}")

    def _grip(self, close: bool) -> None:
        if close != self.closed:
            self.gripper.grip(close)
            self.closed = close


def _checked(action: object) -> Array:
    """(4,) in [-1, 1]."""
    numbers = np.asarray(action, np.float64)
    if numbers.shape != (4,):
        raise ArmStopped(
            f"the policy's action has shape {numbers.shape}; it must be (4,): velocity x, y, z and gripper"
        )
    if not np.isfinite(numbers).all():
        raise ArmStopped(f"the policy's action {numbers} holds a value that is not finite")
    return np.clip(numbers, -1.0, 1.0)


def _metres(position: Array) -> str:
    return ", ".join(f"{number:.3f}" for number in position)
