"""A policy on a real arm: what the limits promise, and what ur_rtde's own clients send to a stand-in of the controller.

Limits are checked on what arrives there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from foveal.cli import main
from foveal.envs.ur5e import kinematics, make_arm
from foveal.envs.ur5e.model import TOOL_REACH
from foveal.errors import FovealError
from foveal.robot import ArmStopped, Limits, RunSettings, TaskFrame, run, unlock
from foveal.robot.grippers import NoGripper, ToolOutput
from foveal.robot.limits import limited, turning_back, velocity_bounds
from foveal.robot.mover import _Orders
from foveal.robot.sources import check_pictures, load_camera, load_gripper, load_policy
from foveal.robot.stops import trouble
from ur_stand_in import PLAYING, STOPPED, StandIn

CLEAR, SPEED_L, SPEED_STOP, SET_WATCHDOG, STOP_SCRIPT = 0, 10, 15, 35, 255
LIMITS = Limits(timeout=1.0)  # for machines that are busy
SETTINGS = RunSettings(limits=LIMITS)
LOW, HIGH = np.array(LIMITS.workspace).T
RIGHT, STAY = np.array([1.0, 0.0, 0.0, -1.0]), np.array([0.0, 0.0, 0.0, -1.0])


@pytest.fixture(scope="module")
def controller() -> Iterator[StandIn]:
    pid = os.getpid()  # the ports are fixed, so side by side every process has an address of its own
    standing = StandIn(f"127.77.{pid >> 8 & 255}.{pid & 255}" if sys.platform == "linux" else "127.0.0.1")
    yield standing
    standing.close()


@pytest.fixture
def arm(controller: StandIn) -> StandIn:
    controller.reset()
    return controller


# -------------------------------------------------------------------------------------------------------------- limits


def braked_within(position: np.ndarray, velocity: np.ndarray, limits: Limits) -> bool:
    """Whether the tool stays inside if this was the last command: on for the timeout, then braking on every axis."""
    braking = limits.acceleration / np.sqrt(3.0)
    end = position + velocity * limits.timeout + np.sign(velocity) * velocity**2 / (2.0 * braking)
    return bool((end >= LOW - 1e-9).all() and (end <= HIGH + 1e-9).all())


@pytest.mark.slow
@given(
    st.lists(st.tuples(*[st.sampled_from([-0.4, 0.0, 0.15, 0.4])] * 3, st.integers(1, 20)), min_size=1, max_size=6),
    st.tuples(*[st.floats(0.0, 1.0)] * 3),
    st.sampled_from([(0.2, 0.1), (0.25, 0.1), (1.0, 0.1), (0.25, 0.05)]),
    st.sampled_from([0.0, 0.01]),
)
@settings(max_examples=40)
def test_whatever_is_wished_speed_acceleration_and_workspace_hold(
    wishes: list[Any], start: Any, times: tuple[float, float], late: float
) -> None:
    """On an arm that changes its velocity along a straight line, as speedl does; news of it is ``late`` seconds old."""
    limits = Limits(timeout=times[0], period=times[1])
    position, velocity, moving = LOW + (HIGH - LOW) * np.array(start), np.zeros(3), np.zeros(3)

    for wanted in (wish[:3] for wish in wishes for _ in range(wish[3])):
        seen = position - late * moving
        before, velocity = velocity, limited(np.array(wanted), velocity, seen, limits, limits.period)

        assert np.linalg.norm(velocity) <= limits.speed + 1e-12
        assert np.linalg.norm(velocity - before) <= limits.acceleration * limits.period + 1e-9
        assert braked_within(seen, velocity, limits)
        for _ in range(10):
            moving, position = ramp(moving, velocity, position, limits.period / 10.0, limits.acceleration)
            assert limits.outside(position) == 0.0


def ramp(
    moving: np.ndarray, target: np.ndarray, position: np.ndarray, seconds: float, acceleration: float
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity and position after some seconds of speedl."""
    change = target - moving
    after = moving + change * min(1.0, acceleration * seconds / max(float(np.linalg.norm(change)), 1e-12))
    return after, position + (moving + after) / 2.0 * seconds


def test_towards_a_wall_the_bound_uses_all_the_room_there_is() -> None:
    position = np.array([HIGH[0] - 0.05, 0.0, LOW[2] + 0.002])

    low, high = velocity_bounds(position, np.array([0.05, 0.1, 0.1]), LIMITS)

    for room, bound in ((0.05 - 0.08 * 0.05, high[0]), (0.002, -low[2])):
        braking = LIMITS.acceleration / np.sqrt(3.0)
        assert bound * LIMITS.timeout + bound**2 / (2.0 * braking) == pytest.approx(room)


def test_a_wish_within_all_limits_is_the_command() -> None:
    middle = (LOW + HIGH) / 2.0
    wanted = np.array([0.1, -0.05, 0.02])

    assert limited(wanted, wanted, middle, LIMITS, 0.1) == pytest.approx(wanted)
    first = limited(wanted, np.zeros(3), middle, LIMITS, 0.1)
    assert np.linalg.norm(first) == pytest.approx(0.1) and np.cross(first, wanted) == pytest.approx(np.zeros(3))
    assert np.linalg.norm(limited(wanted, np.zeros(3), middle, LIMITS, 0.04)) == pytest.approx(0.04)


def test_from_outside_only_the_way_back_is_open() -> None:
    position = np.array([HIGH[0] + 0.02, 0.0, 0.2])

    assert limited(np.array([0.2, 0.0, 0.0]), np.array([0.1, 0.0, 0.0]), position, LIMITS, 0.1)[0] == 0.0
    assert limited(np.array([-0.2, 0.0, 0.0]), np.zeros(3), position, LIMITS, 0.1)[0] == pytest.approx(-0.1)


def test_the_tool_is_turned_back_the_short_way_and_slowly() -> None:
    held = Rotation.from_rotvec([np.pi, 0.0, 0.0])
    little, much = Rotation.from_rotvec([0.0, 0.0, 0.05]), Rotation.from_rotvec([0.0, 0.5, 0.0])

    assert turning_back(held, little * held, LIMITS) == pytest.approx([0.0, 0.0, -0.05])
    assert turning_back(held, much * held, LIMITS) == pytest.approx([0.0, -LIMITS.turn, 0.0])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"speed": 0.0}, "speed is 0.0; give a positive"),
        ({"speed": float("nan")}, "speed is nan"),
        ({"speed": 2.0}, "at most 1 is allowed"),
        ({"acceleration": 9.0}, "at most 5 is allowed"),
        ({"timeout": 0.15}, "give at least 0.2"),
        ({"workspace": ((0.3, 0.3), (0.0, 1.0), (0.0, 1.0))}, "workspace's x is 0.3 to 0.3"),
    ],
)
def test_senseless_limits_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        Limits(**wrong)


def test_the_real_arm_feels_what_the_simulated_arm_feels() -> None:
    env = make_arm("pick", depth=False)
    observation, _ = env.reset(seed=3)
    for _ in range(10):
        observation = env.step(np.array([0.3, -0.5, 0.2, 1.0], np.float32))[0]
    joints = observation["vector"][:6].astype(np.float64)
    pose = kinematics.tool_pose(joints, TOOL_REACH)
    in_base = np.concatenate([pose[:3, 3], Rotation.from_matrix(pose[:3, :3]).as_rotvec()])

    vector = TaskFrame().vector(joints, in_base, float(observation["vector"][13]))

    assert vector == pytest.approx(observation["vector"], abs=1e-5)
    env.close()


def test_a_turned_and_moved_frame() -> None:
    frame = TaskFrame(turn=90.0, origin=(0.1, 0.0, 0.5))

    assert frame.to_base(np.array([0.1, 0.0, 0.0])) == pytest.approx([0.0, 0.1, 0.0])
    assert frame.position(np.array([0.1, 0.3, 0.7, 0.0, 0.0, 0.0])) == pytest.approx([0.3, 0.0, 0.2])


# ------------------------------------------------------------------------------------------------------------- the wire


def data(record: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for entry in record["log"] if entry["kind"] == "data"]


def commands(record: dict[str, Any]) -> list[int]:
    """Every command that arrived in integer register 0."""
    return [entry["values"]["input_int_register_0"] for entry in data(record)]


def velocities(record: dict[str, Any]) -> np.ndarray:
    """(N, 9): when a velocity arrived, the tool's twist, acceleration and time as they stand in the registers."""
    rows = [
        [entry["time"], *(entry["values"][f"input_double_register_{n}"] for n in range(8))]
        for entry in data(record)
        if entry["values"]["input_int_register_0"] == SPEED_L
    ]
    return np.array(rows).reshape(-1, 9)


def lines(record: dict[str, Any]) -> list[str]:
    """What the dashboard was told."""
    return [entry["line"] for entry in record["log"] if entry["kind"] == "dashboard"]


def check_limits(record: dict[str, Any], limits: Limits) -> None:
    """Speed, acceleration, watchdog and workspace on what arrived."""
    sent = velocities(record)
    linear = sent[:, 1:4]
    assert np.linalg.norm(linear, axis=1).max() <= limits.speed + 1e-9
    changes = np.diff(linear, axis=0, prepend=np.zeros((1, 3)))
    assert np.linalg.norm(changes, axis=1).max() <= limits.acceleration * limits.period + 1e-9
    assert (sent[:, 7] == limits.acceleration).all()
    watchdogs = [
        e["values"]["input_double_register_0"]
        for e in data(record)
        if e["values"]["input_int_register_0"] == SET_WATCHDOG
    ]
    assert watchdogs == [1.0 / limits.timeout]
    low, high = np.array(limits.workspace).T
    path = np.array(record["path"])[:, 1:] * [-1.0, -1.0, 1.0]  # in the task's frame
    assert (path >= low).all() and (path <= high).all()


def assert_ended(record: dict[str, Any]) -> None:
    assert record["runtime"] == STOPPED and record["twist"] == [0.0] * 6


@pytest.mark.slow
def test_a_run_keeps_its_limits_on_the_wire_and_ends_standing(arm: StandIn) -> None:
    arm.reset(position=[-0.62, 0.0, 0.1])  # 6 cm from the far wall

    def policy(observation: Any) -> Any:
        return [1.0, 1.0, -1.0, 1.0] if observation["vector"][7] < 0.05 else [1.0, -1.0, 1.0, -1.0]

    report = run(policy, arm.host, RunSettings(steps=20, limits=LIMITS))

    record = arm.record()
    check_limits(record, LIMITS)
    assert_ended(record)
    sent = velocities(record)
    assert len(sent) == report.steps == 20 and report.changed > 0
    assert np.median(np.diff(sent[:, 0])) == pytest.approx(0.1, abs=0.02)
    assert (sent[:, 1] < 0.0).all()  # away from the base is -x there
    assert sent[:, 4:7] == pytest.approx(0.0, abs=1e-6)
    assert -record["path"][-1][1] > 0.66  # it came near the wall
    order = [entry["kind"] for entry in record["log"]]
    assert commands(record)[0] == CLEAR and order.index("data") < order.index("script")
    assert [c for c in commands(record) if c != CLEAR][-2:] == [SPEED_STOP, STOP_SCRIPT]
    assert "unlock protective stop" not in lines(record)


@pytest.mark.parametrize("wrong", ["speed", "acceleration", "workspace"])
def test_the_check_on_the_wire_sees_what_it_forbids(wrong: str) -> None:
    def package(when: float, x: float) -> dict[str, Any]:
        registers = {f"input_double_register_{n}": v for n, v in enumerate([x, 0, 0, 0, 0, 0, 1.0, 0.008])}
        return {"kind": "data", "time": when, "values": {"input_int_register_0": SPEED_L, **registers}}

    watchdog = {"input_int_register_0": SET_WATCHDOG, "input_double_register_0": 4.0}
    speeds = {"speed": [0.1, 0.2, 0.26], "acceleration": [0.1, -0.05], "workspace": [0.1, 0.2]}[wrong]
    log = [{"kind": "data", "values": watchdog}, *(package(0.1 * n, x) for n, x in enumerate(speeds))]
    record = {"log": log, "path": [[0.0, -0.69 if wrong == "workspace" else -0.5, 0.0, 0.2]]}

    with pytest.raises(AssertionError):
        check_limits(record, LIMITS)


@pytest.mark.slow
def test_a_dry_run_sends_nothing_but_its_wish_to_read(arm: StandIn) -> None:
    steps = []

    report = run(
        lambda _: RIGHT, arm.host, RunSettings(steps=5, dry_run=True), gripper=pytest.fail, on_step=steps.append
    )

    record = arm.record()
    assert {entry["kind"] for entry in record["log"]} == {"request"}
    assert {entry["letter"] for entry in record["log"]} <= set("VvOSP")  # no input recipe
    assert report.steps == len(steps) == 5
    first, second = (step.velocity[0] for step in steps[:2])
    assert first == pytest.approx(0.1) and first < second <= 0.2
    assert record["path"][0][1:] == record["path"][-1][1:]


class Interruption:
    """A policy that goes on quietly, until something happens."""

    def __init__(self, happens: Callable[[], object], after: int = 5) -> None:
        self.happens, self.after, self.calls = happens, after, 0

    def __call__(self, observation: Any) -> Any:
        self.calls += 1
        if self.calls == self.after:
            self.happens()
        return RIGHT


def fail() -> None:
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("happens", "raised"),
    [(fail, ZeroDivisionError), (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt)],
    ids=["an exception", "Ctrl-C"],
)
@pytest.mark.slow
def test_whatever_is_raised_the_arm_is_stopped(arm: StandIn, happens: Any, raised: Any) -> None:
    with pytest.raises(raised):
        run(Interruption(happens), arm.host, SETTINGS)

    record = arm.record()
    assert_ended(record)
    assert len(velocities(record)) == 4  # the first decision was the first command
    assert [c for c in commands(record) if c != CLEAR][-2:] == [SPEED_STOP, STOP_SCRIPT]


@pytest.mark.slow
def test_a_protective_stop_ends_the_run_and_waits_for_a_person(arm: StandIn) -> None:
    with pytest.raises(ArmStopped, match=r"protective stop, at step [45]; .* foveal arm unlock --host 127"):
        run(Interruption(arm.protective_stop), arm.host, SETTINGS)

    record = arm.record()
    assert_ended(record)  # what was paused can't be resumed
    assert "unlock protective stop" not in lines(record)
    with pytest.raises(FovealError, match=r"in protective stop; find out why"):
        run(lambda _: STAY, arm.host)
    assert unlock(arm.host, lambda status: "PROTECTIVE_STOP" not in status) is False
    assert "unlock protective stop" not in lines(arm.record())

    with pytest.raises(FovealError, match="Cannot unlock protective stop until 5s"):
        unlock(arm.host, lambda status: True)
    arm.set(unlock_after=0.0)
    assert unlock(arm.host, lambda status: status == "Safetystatus: PROTECTIVE_STOP") is True
    assert lines(arm.record())[-2:] == ["unlock protective stop", "safetystatus"]
    with pytest.raises(FovealError, match="no protective stop to unlock"):
        unlock(arm.host, pytest.fail)
    assert arm.record()["runtime"] == STOPPED


@pytest.mark.slow
def test_the_controller_stops_the_arm_itself_while_a_policy_hangs(arm: StandIn) -> None:
    woke = []

    def hang() -> None:
        time.sleep(2.0)
        woke.append(time.monotonic())

    with pytest.raises(ArmStopped, match=r"took \d+\.\d\d s to look and decide, longer than the timeout of 1 s"):
        run(Interruption(hang), arm.host, SETTINGS)

    record = arm.record()
    assert_ended(record)
    fired = [entry["time"] for entry in record["log"] if entry["kind"] == "watchdog"]
    assert velocities(record)[-1, 0] + 0.95 < fired[0] < woke[0]


@pytest.mark.parametrize("lost", ["hang_up", "mute"])
@pytest.mark.slow
def test_a_lost_connection_stops_the_arm_for_good(arm: StandIn, lost: str) -> None:
    happens = arm.hang_up if lost == "hang_up" else lambda: arm.set(mute=True)

    with pytest.raises(ArmStopped, match="no news from the arm"):
        run(Interruption(happens), arm.host, SETTINGS)

    record = arm.record()
    assert_ended(record)
    assert len(velocities(record)) <= 5  # none by ur_rtde, which connects anew
    assert sum(entry["kind"] == "script" for entry in record["log"]) == 1
    assert lines(record)[-2:] == ["stop", "programState"]
    arrived = len(record["log"])
    time.sleep(0.3)
    assert len(arm.record()["log"]) == arrived  # and nothing after it


@pytest.mark.slow
def test_if_the_connection_that_moves_it_dies_the_arm_is_stopped(arm: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    with pytest.raises(ArmStopped, match=r"took no command: .* has ended|does not answer"):
        run(Interruption(lambda: started[0].kill()), arm.host, SETTINGS)

    assert_ended(arm.record())


@pytest.mark.slow
def test_where_orders_end_the_arm_is_stopped(arm: StandIn) -> None:
    orders = _Orders()
    start = {"host": arm.host, "frequency": 125.0, "acceleration": 1.0, "timeout": 1.0}
    assert orders.order({"do": "start", "settings": start}, 10.0)["tool"][2] == 0.145
    assert orders.order({"do": "move", "twist": [0.05, 0, 0, 0, 0, 0]}, 1.0) == {"done": True}

    orders._process.stdin.close()  # type: ignore[union-attr]

    assert orders._process.wait(5.0) == 0
    assert_ended(arm.record())
    assert [c for c in commands(arm.record()) if c != CLEAR][-2:] == [SPEED_STOP, STOP_SCRIPT]


@pytest.mark.slow
def test_a_tool_that_turns_is_turned_back_and_stopped_if_it_turns_far(arm: StandIn) -> None:
    turns = iter([[0.0, 0.0, 0.0], [0.0, 0.0, 0.05], [0.0, 0.3, 0.0]])
    wait = iter(range(100))

    def policy(observation: Any) -> Any:
        if next(wait) % 3 == 0:
            arm.turn(next(turns))
        return STAY

    with pytest.raises(ArmStopped, match=r"the tool turned by 1\d degrees"):
        run(policy, arm.host, SETTINGS)

    angular = velocities(arm.record())[:, 4:7]
    assert angular[3] == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    assert angular[4] == pytest.approx([0.0, 0.0, -0.05], abs=1e-3)
    assert_ended(arm.record())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"position": [-0.48, 0.4, 0.24]},
            r"tool is at 0.480, -0.400, 0.240 m .* out of the workspace .*x 0.3 to 0.68",
        ),
        ({"mode": 5}, "is not running .robot mode 5."),
        ({"runtime": PLAYING}, "a program is running or paused"),
        ({"tcp_offset": [0.0] * 6}, "knows of no tool"),
        ({"remote": False}, "Please enable remote control"),
    ],
    ids=["outside", "power", "busy", "flange", "local"],
)
@pytest.mark.slow
def test_an_arm_that_is_not_ready_is_not_moved(arm: StandIn, changes: dict[str, Any], message: str) -> None:
    arm.reset(**changes)

    with pytest.raises(FovealError, match=message):
        run(lambda _: RIGHT, arm.host)

    assert len(velocities(arm.record())) == 0
    assert arm.record()["runtime"] == changes.get("runtime", STOPPED)


@pytest.mark.slow
@pytest.mark.parametrize(("action", "message"), [([1.0, 2.0], r"shape \(2,\)"), ([np.nan] * 4, "not finite")])
def test_a_policy_that_answers_nonsense_moves_nothing(arm: StandIn, action: Any, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        run(lambda _: action, arm.host)

    assert commands(arm.record()) == []


def test_nobody_there() -> None:
    with pytest.raises(FovealError, match=r"no arm answers at 127.0.0.1, port 30004"):
        run(lambda _: STAY, "127.0.0.1")


def test_states_in_which_an_arm_must_not_move() -> None:
    assert trouble(1, 7) is None and trouble(0b11, 7) is None  # normal, reduced
    assert trouble(1 << 4, 7) == "is in safeguard stop"
    assert trouble(1 << 6 | 1 << 7, 7) == "is in emergency stop, by its own button"
    assert "switch it on" in str(trouble(1, 3))


@pytest.mark.slow
def test_without_ur_rtde_the_extra_is_named(arm: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rtde_receive", None)

    with pytest.raises(FovealError, match=r'pip install "foveal\[ur\]"'):
        run(lambda _: STAY, arm.host)


# ----------------------------------------------------------------------------------------------------- what users bring


OURS = """
import numpy as np

class Grasp:
    def __init__(self):
        self.calls = 0
    def __call__(self, observation):
        assert observation["depth"].shape == (84, 84) and observation["vector"].shape == (14,)
        self.calls += 1
        return [0.5, 0.0, 0.0, 1.0 if 2 <= self.calls < 5 else -1.0]

class Lens:
    closed = reads = 0
    def read(self):
        Lens.reads += 1
        return {"depth": np.full((84, 84), 1.5 + 0.001 * Lens.reads, np.float32)}
    def close(self):
        Lens.closed += 1

number = 3
"""


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a module of the user's."""
    (tmp_path / "ours.py").write_text(OURS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "ours", raising=False)
    return tmp_path


@pytest.mark.slow
def test_foveal_arm_run_moves_tool_and_gripper(arm: StandIn, ours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "--camera",
        "ours:Lens",
        "--gripper",
        "tool-output:1",
        "--steps",
        "8",
        "--speed",
        "0.08",
        "--timeout",
        "0.5",
        "--yes",
    ]

    assert main(["arm", "run", "ours:Grasp", "--host", arm.host, *words, "--log", "log.jsonl"]) == 0

    record = arm.record()
    check = Limits(speed=0.08, timeout=0.5)
    io = [e["values"] for e in data(record) if "tool_digital_output" in e["values"]]
    record["log"] = [e for e in record["log"] if "tool_digital_output" not in e.get("values", {})]
    check_limits(record, check)
    assert_ended(record)
    assert [(v["tool_digital_output_mask"], v["tool_digital_output"]) for v in io] == [(2, 0), (2, 2), (2, 0)]
    assert "gave 8 commands" in capsys.readouterr().out
    logged = [json.loads(line) for line in (ours / "log.jsonl").read_text().splitlines()]
    assert [entry["gripper"] for entry in logged] == ["open", "close", "close", "close", *["open"] * 4]
    assert logged[-1]["velocity"] == pytest.approx([0.08, 0.0, 0.0]) and logged[-1]["sent"] is True
    assert sys.modules["ours"].Lens.closed == 1


@pytest.mark.slow
def test_foveal_arm_run_dry(arm: StandIn, ours: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--camera", "ours:Lens", "--gripper", "tool-output:1", "--steps", "3", "--dry-run"]

    assert main(["arm", "run", "ours:Grasp", "--host", arm.host, *words]) == 0

    shown = capsys.readouterr().out
    assert "step 0: wanted +0.100 +0.000 +0.000 m/s, would send +0.100 +0.000 +0.000 m/s, gripper open" in shown
    assert "would have given 3 commands" in shown
    assert {entry["kind"] for entry in arm.record()["log"]} == {"request"}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["arm", "rum"], "did you mean 'run'"),
        (["arm", "run", "ours:Grasp", "--host", "HOST"], "Somebody must answer this at a terminal"),
        (["arm", "run", "ours:Nothing", "--host", "HOST"], "policy ours:Nothing: module 'ours' has no attribute"),
        (["arm", "run", "Grasp", "--host", "HOST"], "unknown policy 'Grasp': say MODULE:NAME"),
        (["arm", "run", "ours:Grasp", "--host", "HOST", "--speed", "7"], "speed is 7.0; at most 1"),
        (["arm", "run", "ours:Grasp", "--host", "HOST", "--camera", "ours:Grasp", "--yes"], "which has no read()"),
        (["arm", "unlock", "--host", "HOST"], "Somebody must answer this at a terminal"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_at_the_command_line(
    arm: StandIn, ours: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    arm.protective_stop()

    assert main([arm.host if word == "HOST" else word for word in words]) == 2

    assert message in capsys.readouterr().err
    assert "unlock protective stop" not in lines(arm.record()) and commands(arm.record()) == []


@pytest.mark.parametrize(("typed", "status"), [("unlock", 0), ("yes", 2)])
def test_foveal_arm_unlock_asks_first(arm: StandIn, monkeypatch: pytest.MonkeyPatch, typed: str, status: int) -> None:
    arm.reset(unlock_after=0.0)
    arm.protective_stop()
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda question: typed)

    assert main(["arm", "unlock", "--host", arm.host]) == status

    assert ("unlock protective stop" in lines(arm.record())) == (status == 0)


@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([1.0], "must read a dict"),
        ({}, "must read a dict"),
        ({"depth": np.zeros((4, 4), np.uint16)}, "must be .H, W. floats"),
        ({"depth": np.full((4, 4), np.nan, np.float32)}, "not finite: put 0"),
        ({"rgb": np.zeros((4, 4, 4), np.uint8)}, "must be .H, W, 3. uint8"),
    ],
)
def test_pictures_that_no_policy_knows_are_refused(pictures: Any, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        check_pictures(pictures)


def test_what_can_be_brought(ours: Path) -> None:
    assert load_policy("ours:Grasp").calls == 0  # type: ignore[attr-defined]
    assert set(check_pictures(load_camera("ours:Lens").read())) == {"depth"}
    assert isinstance(load_gripper("none", "nowhere"), NoGripper)
    for text, message in (
        ("tool-output:x", "say tool-output:0"),
        ("ours:Lens", "which has no grip"),
        ("hand", "MODULE"),
    ):
        with pytest.raises(FovealError, match=message):
            load_gripper(text, "nowhere")
    with pytest.raises(FovealError, match="there are 0 and 1"):
        ToolOutput("nowhere", 2)
    with pytest.raises(FovealError, match="can't be called"):
        load_policy("ours:number")
