"""``foveal arm``: a policy on a real arm, a person who shows it what to do, where its camera stands, and its stops."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.commands import arm_calibrate, arm_record
from foveal.commands.arm_options import (
    ArmOptions,
    ask,
    ask_to_move,
    avoidance_of,
    gripper_of,
    opened_camera,
    settings_of,
)
from foveal.commands.plugins import import_plugins
from foveal.commands.verbs import Verbs, do_verb
from foveal.explanation.explain import check_writable
from foveal.robot import PolicyFunction, Step, run, unlock
from foveal.robot.cameras.base import SIZE
from foveal.robot.doubt import FRAMES, ShieldedPolicy
from foveal.robot.sources import load_policy, load_success
from foveal.shield import Shield


@dataclass(frozen=True, kw_only=True)
class ArmRunOptions(ArmOptions):
    """Let a policy move a UR arm at 10 Hz, within limits of speed, acceleration and space. Read docs/real-arm.md first.

    Attributes:
        policy: MODULE:NAME of something that turns an observation into an action (4,), or the folder of cloned
            skills, a master or a flat policy.
        dry_run: read the arm and the camera, and print what would be commanded; nothing is sent.
        shield: a shield before the policy, a folder or pretrained:NAME; its doubt stops the arm.
        doubt_frames: frames in a row above the shield's limit with which the arm is stopped.
        log: write every step to this file, a line of JSON each.
        plugins: module that registers things of your own.
    """

    policy: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="POLICY")]]
    dry_run: bool = False
    shield: str | None = None
    doubt_frames: int = FRAMES
    log: Path | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


@dataclass(frozen=True)
class ArmUnlockOptions:
    """Release a protective stop. The program on the arm is ended first; nothing moves on by itself.

    Attributes:
        host: address of the arm's controller.
    """

    host: str


def main(arguments: Sequence[str]) -> None:
    """Do what the second word says."""
    own: Verbs = {"run": (ArmRunOptions, _run), "unlock": (ArmUnlockOptions, _unlock)}
    do_verb("arm", {**own, **arm_record.VERBS, **arm_calibrate.VERBS}, import_plugins(arguments))


def _run(options: ArmRunOptions) -> None:
    settings, success = settings_of(options, options.dry_run), options.stop_on and load_success(options.stop_on)
    check_writable(options.log)
    policy, avoid = _policy(options), avoidance_of(options)
    if not options.dry_run:
        ask_to_move(options)
    with _reporter(options) as report_step, opened_camera(options, _size(policy)) as camera:
        report = run(
            policy,
            options.host,
            settings,
            camera,
            gripper_of(options),
            report_step,
            success=success or None,
            avoid=avoid,
        )
    done = "would have given" if options.dry_run else "gave"
    ended = "" if report.ended == "steps" else f"; ended by {report.ended}"
    print(
        f"{done} {report.steps} commands in {report.seconds:.1f} s, {report.late} late; limits changed {report.changed}"
        + ended
    )


def _policy(options: ArmRunOptions) -> PolicyFunction:
    policy = load_policy(options.policy)
    if options.shield is None:
        return policy
    return ShieldedPolicy(policy, Shield.load(options.shield), options.doubt_frames)


def _size(policy: PolicyFunction) -> int:
    """Of the pictures that the policy takes."""
    return int(getattr(policy, "picture_size", SIZE))


def _unlock(options: ArmUnlockOptions) -> None:
    question = "Is its cause known, and everybody clear of the arm?"
    unlock(options.host, lambda status: ask(f"{status}. {question}", "unlock"))
    print("unlocked; no program runs")


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
