"""``foveal arm``: a policy on a real arm, and what to do after a protective stop."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands.plugins import import_plugins
from foveal.commands.verbs import parse
from foveal.envs.ur5e.randomization import WORKSPACE
from foveal.errors import FovealError
from foveal.explanation.explain import check_writable
from foveal.robot import Limits, RunSettings, Step, TaskFrame, run, unlock
from foveal.robot.sources import load_camera, load_gripper, load_policy


@dataclass(frozen=True)
class ArmRunOptions:
    """Let a policy move a UR arm at 10 Hz, within limits of speed, acceleration and space. Read docs/real-arm.md first.

    Attributes:
        policy: MODULE:NAME of something that turns an observation into an action (4,), or the folder of cloned
            skills, a master or a flat policy.
        host: address of the arm's controller.
        dry_run: read the arm and the camera, and print what would be commanded; nothing is sent.
        camera: MODULE:NAME, or the name of an installed one, that makes the camera.
        gripper: none, tool-output:0, tool-output:1, MODULE:NAME or the name of an installed one.
        steps: commands after which the run ends.
        speed: m/s, the most in any direction.
        acceleration: m/s^2, the most in any direction.
        scale: m/s that an action of 1 asks for.
        timeout: seconds without a command after which the controller stops the arm.
        workspace: metres, low and high of x, of y, of z, in the task's frame.
        turn: degrees about the vertical, from the base's x axis to the task's.
        origin: metres, the task's origin in the base's frame.
        bare_flange: move an arm whose controller knows of no tool.
        log: write every step to this file, a line of JSON each.
        yes: begin without asking.
        plugins: module that registers things of your own.
    """

    policy: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="POLICY")]]
    host: str
    dry_run: bool = False
    camera: str | None = None
    gripper: str = "none"
    steps: int = 600
    speed: float = Limits.speed
    acceleration: float = Limits.acceleration
    scale: float = Limits.scale
    timeout: float = Limits.timeout
    workspace: tuple[float, float, float, float, float, float] = (*WORKSPACE[0], *WORKSPACE[1], *WORKSPACE[2])
    turn: float = TaskFrame.turn
    origin: tuple[float, float, float] = TaskFrame.origin
    bare_flange: bool = False
    log: Path | None = None
    yes: bool = False
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


@dataclass(frozen=True)
class ArmUnlockOptions:
    """Release a protective stop. The program on the arm is ended first; nothing moves on by itself.

    Attributes:
        host: address of the arm's controller.
    """

    host: str


def main(arguments: Sequence[str]) -> None:
    """Run or unlock."""
    options = parse("arm", {"run": ArmRunOptions, "unlock": ArmUnlockOptions}, import_plugins(arguments))
    if isinstance(options, ArmRunOptions):
        _run(options)
    else:
        _unlock(options)


def _run(options: ArmRunOptions) -> None:
    x, y, z = options.workspace[:2], options.workspace[2:4], options.workspace[4:]
    limits = Limits(
        scale=options.scale,
        speed=options.speed,
        acceleration=options.acceleration,
        workspace=(x, y, z),
        timeout=options.timeout,
    )
    frame = TaskFrame(options.turn, options.origin)
    settings = RunSettings(options.steps, options.dry_run, options.bare_flange, limits, frame)
    if options.log is not None:
        check_writable(options.log)
    policy = load_policy(options.policy)
    if not (options.dry_run or options.yes):
        _ask(f"The arm at {options.host} will move, at up to {options.speed:g} m/s. Is everybody clear of it?", "yes")
    camera = None if options.camera is None else load_camera(options.camera)
    with _reporter(options) as report_step, nullcontext() if camera is None else closing(camera):
        gripper = partial(load_gripper, options.gripper, options.host)
        report = run(policy, options.host, settings, camera, gripper, report_step)
    done = "would have given" if options.dry_run else "gave"
    print(
        f"{done} {report.steps} commands in {report.seconds:.1f} s, {report.late} late; limits changed {report.changed}"
    )


def _unlock(options: ArmUnlockOptions) -> None:
    question = "Is its cause known, and everybody clear of the arm?"
    unlock(options.host, lambda status: _ask(f"{status}. {question}", "unlock"))
    print("unlocked; no program runs")


def _ask(question: str, word: str) -> bool:
    """True once a person has typed the word.

    Raises:
        FovealError: there is nobody to ask, or something else was typed.
    """
    if not sys.stdin.isatty():
        raise FovealError(f"{question} Somebody must answer this at a terminal")
    if input(f"{question} Type {word}: ").strip() != word:
        raise FovealError("nothing was done")
    return True


@contextmanager
def _reporter(options: ArmRunOptions) -> Iterator[Callable[[Step], None]]:
    with nullcontext() if options.log is None else options.log.open("w", encoding="utf-8") as log:

        def report_step(step: Step) -> None:
            if options.dry_run:
                print(_line(step))
            if log is not None:
                log.write(json.dumps(_record(step, options.dry_run)) + "\n")

        yield report_step


def _line(step: Step) -> str:
    wanted, velocity = (" ".join(f"{number:+.3f}" for number in array) for array in (step.wanted, step.velocity))
    return f"step {step.number}: wanted {wanted} m/s, would send {velocity} m/s, gripper {_fingers(step)}"


def _record(step: Step, dry_run: bool) -> dict[str, object]:
    arrays = {name: getattr(step, name).tolist() for name in ("position", "wanted", "velocity")}
    return {"step": step.number, **arrays, "gripper": _fingers(step), "seconds": step.seconds, "sent": not dry_run}


def _fingers(step: Step) -> str:
    return "close" if step.close else "open"
