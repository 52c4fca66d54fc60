"""``foveal arm record`` and ``foveal arm demos``: a person shows the arm what to do, and skills are cloned from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from foveal.commands.arm_options import (
    ArmOptions,
    ask_to_move,
    avoidance_of,
    gripper_of,
    opened_camera,
    settings_of,
)
from foveal.commands.verbs import Verbs
from foveal.envs.ur5e import TASKS
from foveal.envs.ur5e.experts import skills
from foveal.errors import FovealError
from foveal.robot import run
from foveal.robot.lerobot import open_recording, to_demonstrations
from foveal.robot.lerobot_layout import DEPTH
from foveal.robot.lerobot_writing import DatasetWriter
from foveal.robot.recording import Recorder
from foveal.robot.sources import load_policy, load_success
from foveal.robot.teleoperation import DISCARD, HELP, QUIT, SUCCESS, Gamepad, Keyboard, Terminal
from foveal.skills.view import View

POLL = 0.05  # seconds between looks for a key, while nothing moves


@dataclass(frozen=True, kw_only=True)
class ArmRecordOptions(ArmOptions):
    """Move the arm by hand, within the limits of foveal arm run, and record it as a LeRobotDataset (version 3.0).

    Attributes:
        out: folder of the recording; one that exists goes on.
        by: keyboard, gamepad, or MODULE:NAME of a policy.
        task: of the simulator, whose skills are shown: pick, bowl, tower, breakfast; or any words.
        skills: names of what is shown, in the order of the keys 1 to 9; by default those of the task.
        episodes: how many to record.
        films: keep pictures as films, which lose a little; else as PNG within the rows.
    """

    out: Path
    by: str = "keyboard"
    task: str = "pick"
    skills: tuple[str, ...] = ()
    episodes: int = 50
    films: bool = True


@dataclass(frozen=True)
class ArmDemosOptions:
    """A recording as demonstrations, which foveal skills train takes. It must have depth.

    Attributes:
        recording: folder that foveal arm record, or LeRobot, wrote.
        out: new folder (default: demos/ and the recording's name).
        size: height and width of the frames that skills see, cut from those recorded; by default 84 of 108, and all of
            those of another size.
    """

    recording: tyro.conf.Positional[Path]
    out: Path | None = None
    size: int | None = None


def _record(options: ArmRecordOptions) -> None:
    if options.episodes < 1:
        raise FovealError(f"episodes is {options.episodes}; give at least 1")
    if options.camera is None:
        raise FovealError("name the camera that is to be recorded: --camera realsense, orbbec, opencv:0 or MODULE:NAME")
    settings, avoid = settings_of(options), avoidance_of(options)
    writer = DatasetWriter(options.out, round(1.0 / settings.limits.period), _about(options), options.films)
    if options.stop_on is not None:
        load_success(options.stop_on)
    ask_to_move(options)
    wanted = writer.episodes + options.episodes
    with opened_camera(options, View.render) as camera, _mover(options) as mover:
        while writer.episodes < wanted and _ready(mover, f"episode {writer.episodes + 1} of {wanted}"):
            recorder = Recorder(mover, settings.limits.scale)
            success = None if options.stop_on is None else load_success(options.stop_on)
            report = run(
                recorder,
                options.host,
                settings,
                camera,
                gripper_of(options),
                recorder.on_step,
                success=success,
                avoid=avoid,
            )
            _keep(writer, recorder, options.task, report.ended)
            if report.ended == QUIT:
                break
    print(f"{writer.episodes} episodes: {options.out}\nnext: foveal arm demos {options.out}")


def _keep(writer: DatasetWriter, recorder: Recorder, task: str, ended: str) -> None:
    episode = recorder.episode(task, ended == SUCCESS)
    if ended in (DISCARD, QUIT) or not len(episode):
        print(f"{ended}: not kept")
        return
    writer.add(episode)
    print(f"kept {len(episode)} steps, {ended}")


@contextmanager
def _mover(options: ArmRecordOptions) -> Iterator[Any]:
    """Who moves the arm."""
    if options.by not in ("keyboard", "gamepad"):
        yield load_policy(options.by)
        return
    terminal = Terminal() if options.by == "keyboard" else None
    try:
        mover = Gamepad() if terminal is None else Keyboard(terminal)
        print(HELP if terminal is not None else str(Gamepad.__doc__).split("\n\n")[1])
        try:
            yield mover
        finally:
            mover.close()
    finally:
        if terminal is not None:
            terminal.close()


def _ready(mover: Any, what: str, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Wait until the person who moves the arm begins; False if they quit. A policy begins by itself."""
    if not hasattr(mover, "begin"):
        return True
    mover.begin()
    print(f"{what}: set up the scene, then Enter (keyboard) or Start (gamepad) to begin", flush=True)
    while not mover.ended:
        mover.velocity()
        sleep(POLL)
    began = bool(mover.ended != QUIT)
    mover.begin()
    return began


def _about(options: ArmRecordOptions) -> dict[str, Any]:
    """Task and skills by their names here."""
    known = options.task in TASKS
    names = options.skills or (tuple(skill.name for skill in skills(options.task)) if known else (options.task,))
    return {"task": options.task if known else "", "skills": list(names)}


def _demos(options: ArmDemosOptions) -> None:
    view = _view(options)
    out = options.out or Path("demos") / options.recording.name
    made = to_demonstrations(options.recording, out, view)
    print(f"{made.episodes} episodes, {made.steps} steps: {out}\nnext: foveal skills train {out}")


def _view(options: ArmDemosOptions) -> View | None:
    """Which part of the recorded frames skills see; None for all of it."""
    recorded = open_recording(options.recording).source.features.get(DEPTH, {"shape": [0]})["shape"][0]
    if options.size is None or not recorded:
        return View() if recorded == View.render else None
    return View(options.size, recorded)


VERBS: Verbs = {"record": (ArmRecordOptions, _record), "demos": (ArmDemosOptions, _demos)}
