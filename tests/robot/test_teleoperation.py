"""A person moves the arm: keys, sticks, a terminal; and ``foveal arm record`` from the first key to trained skills."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import foveal
from foveal.cli import main
from foveal.errors import FovealError
from foveal.robot.lerobot import open_recording
from foveal.robot.teleoperation import DISCARD, FAILURE, QUIT, SUCCESS, Gamepad, Keyboard, Terminal
from ur_stand_in import StandIn


class Typing:
    """What a person types, and when."""

    def __init__(self) -> None:
        self.typed, self.now = "", 100.0

    def pressed(self) -> str:
        typed, self.typed = self.typed, ""
        return typed

    def clock(self) -> float:
        return self.now


@pytest.fixture
def typing() -> Typing:
    return Typing()


@pytest.fixture
def keyboard(typing: Typing) -> Keyboard:
    return Keyboard(typing.pressed, typing.clock)


def press(keyboard: Keyboard, typing: Typing, keys: str, seconds: float = 0.0) -> list[float]:
    """The action after some keys, some time later."""
    typing.now += seconds
    typing.typed = keys
    return keyboard({}).tolist()


@pytest.mark.parametrize(
    ("key", "velocity"),
    [("w", [1, 0, 0]), ("s", [-1, 0, 0]), ("a", [0, 1, 0]), ("d", [0, -1, 0]), ("r", [0, 0, 1]), ("F", [0, 0, -1])],
)
def test_a_key_moves_along_its_axis_and_only_for_a_while(
    keyboard: Keyboard, typing: Typing, key: str, velocity: list[float]
) -> None:
    assert press(keyboard, typing, "") == [0.0, 0.0, 0.0, -1.0]
    assert press(keyboard, typing, key) == [*velocity, -1.0]
    assert press(keyboard, typing, "", 0.5) == [*velocity, -1.0]  # terminals repeat a held key only after half a second
    assert press(keyboard, typing, "", 0.2) == [0.0, 0.0, 0.0, -1.0]


def test_a_held_key_moves_on_and_stops_soon_after_it_is_let_go(keyboard: Keyboard, typing: Typing) -> None:
    press(keyboard, typing, "w")
    for _ in range(20):
        assert press(keyboard, typing, "ww", 0.1)[0] == 1.0
    assert press(keyboard, typing, "", 0.15)[0] == 1.0
    assert press(keyboard, typing, "", 0.1)[0] == 0.0


def test_keys_add_up_turn_round_and_stop(keyboard: Keyboard, typing: Typing) -> None:
    assert press(keyboard, typing, "war") == [1.0, 1.0, 1.0, -1.0]
    assert press(keyboard, typing, "s", 0.1) == [-1.0, 1.0, 1.0, -1.0]
    assert press(keyboard, typing, " ", 0.1) == [0.0, 0.0, 0.0, -1.0]


def test_keys_for_gripper_skill_and_end(keyboard: Keyboard, typing: Typing) -> None:
    assert press(keyboard, typing, "g")[3] == 1.0 and press(keyboard, typing, "")[3] == 1.0
    press(keyboard, typing, "3?")
    assert keyboard.skill == 2 and keyboard.ended == ""
    for key, ended in {"\n": SUCCESS, "n": FAILURE, "x": DISCARD, "q": QUIT}.items():
        assert press(keyboard, typing, "w" + key)[:3] == [0.0, 0.0, 0.0]
        assert keyboard.ended == ended
        typing.typed = "www"  # typed between episodes
        keyboard.begin()
        assert (keyboard.ended, keyboard.skill) == ("", 0)
        assert press(keyboard, typing, "") == [0.0, 0.0, 0.0, -1.0]


# ------------------------------------------------------------------------------------------------------------- gamepad


class Pad:
    """A module ``pygame`` with one gamepad."""

    def __init__(self) -> None:
        self.axes, self.events, self.count = [0.0] * 6, [], 1
        stick = SimpleNamespace(get_axis=lambda number: self.axes[number])
        module = ModuleType("pygame")
        module.JOYBUTTONDOWN, module.JOYDEVICEREMOVED = 1539, 1542  # type: ignore[attr-defined]
        module.init, module.quit = lambda: None, lambda: None  # type: ignore[attr-defined]
        module.event = SimpleNamespace(get=self._events)  # type: ignore[attr-defined]
        module.joystick = SimpleNamespace(get_count=lambda: self.count, Joystick=lambda number: stick)  # type: ignore[attr-defined]
        self.module = module

    def _events(self) -> list[Any]:
        events, self.events = self.events, []
        return events

    def press(self, button: int) -> None:
        self.events.append(SimpleNamespace(type=1539, button=button))


@pytest.fixture
def pad(monkeypatch: pytest.MonkeyPatch) -> Pad:
    made = Pad()
    monkeypatch.setitem(sys.modules, "pygame", made.module)
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    return made


def test_sticks_move_the_tool_and_rest_in_the_middle(pad: Pad) -> None:
    gamepad = Gamepad()
    pad.axes = [0.5, -1.0, 0.0, 0.0, 0.25, 0.0]
    assert gamepad({}) == pytest.approx([1.0, -0.5, -0.25, -1.0])
    pad.axes = [0.05, -0.05, 0.0, 0.0, 0.09, 0.0]
    assert gamepad({}) == pytest.approx([0.0, 0.0, 0.0, -1.0])


def test_buttons_of_a_gamepad(pad: Pad) -> None:
    gamepad = Gamepad()
    for button in (0, 5, 5, 4):
        pad.press(button)
    assert gamepad({})[3] == 1.0 and gamepad.skill == 1
    for button, ended in {7: SUCCESS, 1: FAILURE, 3: DISCARD, 6: QUIT}.items():
        gamepad.begin()
        pad.axes[1] = -1.0
        pad.press(button)
        assert gamepad({})[0] == 0.0 and gamepad.ended == ended
    gamepad.begin()
    pad.events.append(SimpleNamespace(type=1542))
    assert gamepad({})[0] == 0.0 and gamepad.ended == FAILURE  # it was unplugged
    gamepad.close()


def test_no_gamepad(pad: Pad, monkeypatch: pytest.MonkeyPatch) -> None:
    pad.count = 0
    with pytest.raises(FovealError, match="there is no gamepad"):
        Gamepad()
    monkeypatch.setitem(sys.modules, "pygame", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[gamepad\]"'):
        Gamepad()


# ------------------------------------------------------------------------------------------------------------ terminal


def test_a_terminal_gives_keys_as_they_are_typed_and_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    import termios

    person, program = pty.openpty()
    with os.fdopen(program, "r") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        before = termios.tcgetattr(program)
        terminal = Terminal()
        assert terminal() == ""
        os.write(person, b"wg")  # without Enter
        assert terminal() == "wg"
        terminal.close()
        assert termios.tcgetattr(program) == before
    os.close(person)


def test_no_terminal() -> None:
    with pytest.raises(FovealError, match="needs a terminal"):
        Terminal()


# ------------------------------------------------------------------------------------------------------------- command


SHOWING = """
import numpy as np


class Eye:
    reads = 0

    def read(self):
        Eye.reads += 1
        depth = np.full((36, 36), 1.2, np.float32)
        depth[10:16, 10:16] = 1.0 + 0.001 * (Eye.reads % 100)
        rgb = np.full((36, 36, 3), Eye.reads % 200, np.uint8)
        return {"depth": depth, "rgb": rgb, "timestamp": np.asarray(Eye.reads / 10)}

    def close(self):
        pass


class Person:
    \"\"\"Shows each skill for four steps; the second of the episodes goes wrong and is thrown away.\"\"\"

    episodes = 0

    def __init__(self):
        self.ended, self.skill, self.steps = "", 0, 0

    def begin(self):
        self.ended, self.skill, self.steps = "", 0, 0

    def velocity(self):
        self.ended = "success"  # ready for the next episode

    def __call__(self, observation):
        assert observation["vector"].shape == (14,) and observation["depth"].shape == (36, 36)
        self.skill = min(2, self.steps // 4)
        self.steps += 1
        if self.steps == 12:
            Person.episodes += 1
            self.ended = "discarded" if Person.episodes == 2 else "success"
        direction = [[0.5, 0.0, 0.0], [0.0, 0.0, -0.5], [0.0, 0.0, 0.5]][self.skill]
        return [*direction, 1.0 if self.skill else -1.0]
"""


@pytest.fixture(scope="module")
def arm() -> Iterator[StandIn]:
    pid = os.getpid()  # the ports are fixed, so side by side every process has an address of its own
    standing = StandIn(f"127.83.{pid >> 8 & 255}.{pid & 255}" if sys.platform == "linux" else "127.0.0.1")
    yield standing
    standing.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "showing.py").write_text(SHOWING)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "showing", raising=False)
    return tmp_path


@pytest.mark.slow
def test_from_a_recording_to_skills(arm: StandIn, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arm.reset()
    words = ["--host", arm.host, "--camera", "showing:Eye", "--by", "showing:Person", "--timeout", "1", "--yes"]

    assert main(["arm", "record", "--out", "recorded", *words, "--episodes", "2", "--speed", "0.05"]) == 0

    shown = capsys.readouterr().out
    assert "discarded: not kept" in shown and "2 episodes: recorded" in shown
    episodes = list(open_recording("recorded"))
    assert [len(one) for one in episodes] == [12] * 2 and all(one.success for one in episodes)
    assert episodes[0].skill.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert np.abs(episodes[0].action[:, :3]).max() == pytest.approx(0.25)  # 0.05 m/s of 0.2: what the limits left
    assert (episodes[0].action[:, 3] > 0.0).tolist() == [False] * 4 + [True] * 8
    about = json.loads((folder / "recorded/meta/foveal.json").read_text())
    assert about["task"] == "pick" and len(about["skills"]) == 3
    assert arm.record()["twist"] == [0.0] * 6

    assert main(["arm", "demos", "recorded", "--out", "shown"]) == 0
    assert "2 episodes, 22 steps: shown" in capsys.readouterr().out
    train = ["shown", "--out", "skills", "--preset", "debug", "--workers", "1", "--rollouts", "0"]
    assert main(["skills", "train", *train]) == 0
    assert "best epoch" in capsys.readouterr().out


def speeds(arm: StandIn) -> list[float]:
    """Along the base's x axis, of all commands so far."""
    registers = [entry["values"] for entry in arm.record()["log"] if entry["kind"] == "data"]
    told = [values for values in registers if values.get("input_int_register_0") == 10]
    return [0.0, *(values["input_double_register_0"] for values in told)]


def until(happened: Callable[[], bool]) -> None:
    """Wait, half a minute at most."""
    late = time.monotonic() + 30.0
    while not happened():
        assert time.monotonic() < late
        time.sleep(0.02)


@pytest.mark.slow
def test_a_person_at_a_real_terminal_moves_the_arm_and_records(arm: StandIn, folder: Path) -> None:
    """The command in a process of its own, with keys typed into its terminal."""
    arm.reset()
    person, program = pty.openpty()
    words = ["--host", arm.host, "--camera", "showing:Eye", "--out", "typed", "--timeout", "1", "--yes"]
    command = [sys.executable, "-u", "-m", "foveal", "arm", "record", *words, "--episodes", "2"]
    path = os.pathsep.join([str(folder), str(Path(foveal.__file__).parents[1])])
    env = {**os.environ, "PYTHONPATH": path}
    with subprocess.Popen(command, stdin=program, stdout=subprocess.PIPE, text=True, env=env) as recording:
        os.close(program)
        assert recording.stdout is not None
        lines = iter(recording.stdout.readline, "")
        next(line for line in lines if "episode 1 of 2: set up the scene" in line)
        os.write(person, b"\n")
        until(lambda: any(entry["kind"] == "script" for entry in arm.record()["log"]))
        os.write(person, b"gw")  # close, and away from the base
        until(lambda: min(speeds(arm)) < -0.07)
        os.write(person, b" ")
        until(lambda: speeds(arm)[-1] == 0.0)
        os.write(person, b"\n")
        kept = next(line for line in lines if "steps, success" in line)
        next(line for line in lines if "episode 2 of 2" in line)
        os.write(person, b"q")
        assert "1 episodes: typed" in "".join(lines)
    os.close(person)

    (episode,) = open_recording("typed")
    assert recording.returncode == 0 and kept == f"kept {len(episode)} steps, success\n"
    assert episode.action[:, 0].max() > 0.3 and not episode.action[:, 1:3].any()
    assert episode.action[-1, 3] == 1.0 and episode.success
    assert arm.record()["twist"] == [0.0] * 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--by", "showing:Person"], "name the camera"),
        (["--camera", "showing:Eye", "--episodes", "0"], "give at least 1"),
        (["--camera", "showing:Eye", "--stop-on", "tower"], "can't tell whether 'tower' is done"),
        (["--camera", "showing:Eye"], "Somebody must answer this at a terminal"),
        (["--camera", "showing:Eye", "--yes"], "the keyboard needs a terminal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_of_recording(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert main(["arm", "record", "--host", "127.0.0.1", "--out", "recorded", *words]) == 2

    assert message in capsys.readouterr().err
    assert not (folder / "recorded").exists()
