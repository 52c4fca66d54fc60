"""What ``foveal arm run`` and ``foveal arm record`` both take: the arm, its camera and gripper, and the limits."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from foveal.envs.ur5e.avoidance import Avoidance
from foveal.envs.ur5e.randomization import WORKSPACE
from foveal.errors import FovealError
from foveal.robot import Camera, Gripper, Limits, RunSettings, TaskFrame
from foveal.robot.calibration import BESIDE, Calibration, load_calibration
from foveal.robot.cameras import Framing
from foveal.robot.sources import load_camera, load_gripper


@dataclass(frozen=True, kw_only=True)
class ArmOptions:
    """The arm, and what it may do.

    Attributes:
        host: address of the arm's controller.
        camera: realsense, orbbec, opencv:0 (a device or a stream), the first two with :SERIAL where there are several;
            MODULE:NAME, or the name of an installed one.
        camera_size: height and width, in pixels, of what the camera shows; by default what the policy was trained on,
            or its frames were cut from, and 108 for recordings, from which skills' frames are cut.
        camera_fovy: degrees from the upper to the lower edge of what they see, around the camera's axis.
        calibration: file of foveal arm calibrate, for the camera's own numbers; a run then says where it stands.
        gripper: none, tool-output:0, tool-output:1, robotiq, rg2:ADDRESS, rg6:ADDRESS (of OnRobot's Compute Box),
            MODULE:NAME or the name of an installed one.
        steps: commands after which a run ends.
        speed: m/s, the most in any direction.
        acceleration: m/s^2, the most in any direction.
        scale: m/s that an action of 1 asks for.
        timeout: seconds without a command after which the controller stops the arm.
        frozen: seconds for which the camera may give the same frame.
        workspace: metres, low and high of x, of y, of z, in the task's frame.
        turn: degrees about the vertical, from the base's x axis to the task's.
        origin: metres, the task's origin in the base's frame.
        bare_flange: move an arm whose controller knows of no tool.
        any_orientation: move an arm whose tool does not point down as in training.
        avoid_collisions: keep the arm's links off each other and the table; needs the extra ik.
        stop_on: end when the task is done: pick, or MODULE:NAME of something that tells.
        yes: begin without asking.
    """

    host: str
    camera: str | None = None
    camera_size: int | None = None
    camera_fovy: float = Framing.fovy
    calibration: Path | None = None
    gripper: str = "none"
    steps: int = 600
    speed: float = Limits.speed
    acceleration: float = Limits.acceleration
    scale: float = Limits.scale
    timeout: float = Limits.timeout
    frozen: float = RunSettings.frozen
    workspace: tuple[float, float, float, float, float, float] = (*WORKSPACE[0], *WORKSPACE[1], *WORKSPACE[2])
    turn: float = TaskFrame.turn
    origin: tuple[float, float, float] = TaskFrame.origin
    bare_flange: bool = False
    any_orientation: bool = False
    avoid_collisions: bool = False
    stop_on: str | None = None
    yes: bool = False


def settings_of(options: ArmOptions, dry_run: bool = False) -> RunSettings:
    """The settings of a run that options ask for.

    Raises:
        FovealError: a value that makes no sense.
    """
    x, y, z = options.workspace[:2], options.workspace[2:4], options.workspace[4:]
    limits = Limits(
        scale=options.scale,
        speed=options.speed,
        acceleration=options.acceleration,
        workspace=(x, y, z),
        timeout=options.timeout,
    )
    return RunSettings(
        steps=options.steps,
        dry_run=dry_run,
        bare_flange=options.bare_flange,
        any_orientation=options.any_orientation,
        frozen=options.frozen,
        limits=limits,
        frame=TaskFrame(options.turn, options.origin),
    )


@contextmanager
def opened_camera(options: ArmOptions, size: int) -> Iterator[Camera | None]:
    """The camera, closed in the end; None where none was named.

    Args:
        options: name it.
        size: of pictures where the options leave it open.

    Raises:
        FovealError: there is none of that name, or its extra is missing, or the calibration can't be read.
    """
    if options.camera is None:
        yield None
        return
    known = None if options.calibration is None else load_calibration(options.calibration)
    if known is not None and known.mount == BESIDE:
        print(place_of(known, TaskFrame(options.turn, options.origin)))
    framing = Framing(size if options.camera_size is None else options.camera_size, options.camera_fovy)
    with closing(load_camera(options.camera, framing, None if known is None else known.intrinsics)) as camera:
        yield camera


def place_of(known: Calibration, frame: TaskFrame) -> str:
    """Where the camera stands, in a sentence."""
    moved, turned = min(known.from_training(frame, name) for name in ("front", "side"))
    return (
        f"the camera stands {100 * moved:.1f} cm from where the simulator's nearest does, and looks "
        f"{turned:.1f} degrees off its direction"
    )


def gripper_of(options: ArmOptions) -> Callable[[], Gripper]:
    """How to make the gripper."""
    return partial(load_gripper, options.gripper, options.host)


def avoidance_of(options: ArmOptions) -> Avoidance | None:
    """What keeps the links apart, if that was asked for.

    Raises:
        FovealError: the extra is missing.
    """
    return Avoidance(options.turn, options.origin) if options.avoid_collisions else None


def ask(question: str, word: str) -> bool:
    """True once a person has typed the word.

    Raises:
        FovealError: there is nobody to ask, or something else was typed.
    """
    if not sys.stdin.isatty():
        raise FovealError(f"{question} Somebody must answer this at a terminal")
    if input(f"{question} Type {word}: ").strip() != word:
        raise FovealError("nothing was done")
    return True


def ask_to_move(options: ArmOptions) -> None:
    """Whether the arm may move.

    Raises:
        FovealError: nobody said so.
    """
    if not options.yes:
        ask(f"The arm at {options.host} will move, at up to {options.speed:g} m/s. Is everybody clear of it?", "yes")
