"""What stops an arm, or keeps it from starting: frozen cameras, postures, joints, doubt; and what ends a run well."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.spatial.transform import Rotation

from board_views import looking, matrix, picture
from foveal.cli import main
from foveal.envs.ur5e.kinematics import LINKS, damped_least_squares, jacobian
from foveal.envs.ur5e.model import STANDS, TOOL_REACH
from foveal.errors import FovealError
from foveal.robot import ArmStopped, Limits, RunSettings, TaskFrame, run
from foveal.robot.calibration import Calibration, load_views
from foveal.robot.cameras import Intrinsics
from foveal.robot.doubt import ShieldedPolicy
from foveal.robot.posture import check_joints, check_tool_down
from foveal.robot.sources import check_pictures, load_success
from foveal.robot.success import STEPS, Lifted
from foveal.robot.watch import StreamWatch
from foveal.shield import Shield, ShieldConfig
from foveal.shield.wrapping import Restored
from ur_stand_in import StandIn

HOME = np.radians([-15.5, -88.0, 109.0, -111.0, -90.0, 74.5])
LIMITS = Limits(timeout=1.0)  # for machines that are busy
STAY, RIGHT = np.array([0.0, 0.0, 0.0, -1.0]), np.array([1.0, 0.0, 0.0, -1.0])


@pytest.fixture(scope="module")
def controller() -> Iterator[StandIn]:
    pid = os.getpid()  # the ports are fixed, so side by side every process has an address of its own
    standing = StandIn(f"127.81.{pid >> 8 & 255}.{pid & 255}" if sys.platform == "linux" else "127.0.0.1")
    yield standing
    standing.close()


@pytest.fixture
def arm(controller: StandIn) -> StandIn:
    controller.reset()
    return controller


def velocities(arm: StandIn) -> int:
    """How many arrived."""
    entries = [entry["values"] for entry in arm.record()["log"] if entry["kind"] == "data"]
    return sum(values.get("input_int_register_0") == 10 for values in entries)


# -------------------------------------------------------------------------------------------------------------- frozen


def frame(value: float, timestamp: float | None = None) -> dict[str, Any]:
    seen: dict[str, Any] = {"depth": np.full((4, 4), value, np.float32)}
    return seen if timestamp is None else {**seen, "timestamp": np.asarray(timestamp)}


def test_a_stream_that_moves_on_is_let_pass() -> None:
    watch = StreamWatch(0.5)
    for number in range(40):
        watch.look(frame(number // 4, number // 4), 0.1 * number)  # each frame is seen four times


@pytest.mark.parametrize(("name", "stands"), [("timestamp", "time"), ("picture", "picture")])
def test_the_same_timestamp_or_the_same_picture_for_too_long_is_frozen(name: str, stands: str) -> None:
    watch = StreamWatch(0.5)

    def look(number: int) -> None:
        moving = min(number, 10)
        watch.look(frame(number, moving) if stands == "time" else frame(moving, number), 0.1 * number)

    for number in range(16):
        look(number)
    with pytest.raises(ArmStopped, match=rf"stream is frozen: the same {name} for 0\.6 s, longer than 0\.5 s"):
        look(16)


def test_without_timestamps_pictures_alone_tell() -> None:
    watch = StreamWatch(0.5)
    watch.look(frame(1.0), 0.0)
    watch.look(frame(1.0), 0.5)
    with pytest.raises(ArmStopped, match=r"the same picture for 0\.6 s"):
        watch.look(frame(1.0), 0.6)


class Lens:
    """A camera that freezes after some frames."""

    def __init__(self, after: int) -> None:
        self.reads, self._after = 0, after

    def read(self) -> dict[str, Any]:
        self.reads += 1
        return frame(min(self.reads, self._after), min(self.reads, self._after))

    def close(self) -> None:
        pass


@pytest.mark.slow
def test_a_frozen_camera_stops_the_arm(arm: StandIn) -> None:
    seen: list[set[str]] = []

    def policy(observation: Any) -> Any:
        seen.append(set(observation))
        return RIGHT

    with pytest.raises(ArmStopped, match="stream is frozen"):
        run(policy, arm.host, RunSettings(limits=LIMITS, frozen=0.4), Lens(6))

    assert 6 <= velocities(arm) < 20 and arm.record()["twist"] == [0.0] * 6
    assert all(names == {"depth", "vector"} for names in seen)  # policies are told no time


def test_a_timestamp_that_is_no_time_is_refused() -> None:
    with pytest.raises(FovealError, match="timestamp is nan"):
        check_pictures(frame(1.0, float("nan")))
    with pytest.raises(FovealError, match="must read a dict"):
        check_pictures({"timestamp": np.asarray(1.0)})


# ------------------------------------------------------------------------------------------------------------- posture


def pose(rotation: Rotation) -> np.ndarray:
    """(6,) in the base's frame, of a tool that is turned in the task's."""
    return np.concatenate([[-0.48, 0.0, 0.24], (Rotation.from_euler("z", 180.0, degrees=True) * rotation).as_rotvec()])


DOWN = Rotation.from_matrix(np.diag([-1.0, 1.0, -1.0]))


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        (Rotation.identity(), ""),
        (Rotation.from_euler("x", 4.0, degrees=True), ""),
        (Rotation.from_euler("z", 12.0, degrees=True), ""),
        (Rotation.from_euler("z", 180.0, degrees=True), ""),  # the same for two fingers
        (Rotation.from_euler("y", 9.0, degrees=True), "tilted by 9 degrees from straight down"),
        (Rotation.from_euler("x", 180.0, degrees=True), "tilted by 180 degrees"),
        (Rotation.from_euler("z", 40.0, degrees=True), "open 40 degrees off the task's y axis"),
    ],
)
def test_the_tool_must_point_down_as_in_training(turn: Rotation, message: str) -> None:
    if not message:
        check_tool_down(pose(turn * DOWN), TaskFrame())
        return
    with pytest.raises(FovealError, match=message):
        check_tool_down(pose(turn * DOWN), TaskFrame())


@pytest.mark.slow
def test_a_tilted_arm_is_not_moved_unless_told(arm: StandIn) -> None:
    arm.turn([0.2, 0.0, 0.0])
    with pytest.raises(FovealError, match="tilted by 11 degrees"):
        run(lambda _: STAY, arm.host)
    report = run(lambda _: STAY, arm.host, RunSettings(2, any_orientation=True, limits=LIMITS))
    assert report.steps == 2


@pytest.mark.parametrize("number", range(6))
def test_no_joint_comes_to_its_limit(number: int) -> None:
    """With a motion that turns the joint on, and with one that turns it back."""
    limit = LINKS[number].limit
    joints = HOME.copy()
    joints[number] = limit - np.radians(4.0)
    speeds = np.zeros(6)
    speeds[number] = 0.2
    twist = jacobian(joints, TOOL_REACH) @ speeds
    expected = damped_least_squares(jacobian(joints, TOOL_REACH), twist)
    if expected[number] < 0.1:
        pytest.fail("this posture does not tell")

    check_joints(joints, -twist, 1.0)
    check_joints(joints, twist, 0.01)
    with pytest.raises(ArmStopped, match=r"joint is at 1?\d\d\d? degrees, and this motion would bring it to its limit"):
        check_joints(joints, twist, 1.0)


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=60)
def test_what_the_check_lets_pass_stays_within_the_limits(seed: int) -> None:
    random = np.random.default_rng(seed)
    limits = np.array([link.limit for link in LINKS])
    joints, twist = random.uniform(-0.95, 0.95, 6) * limits, random.uniform(-0.3, 0.3, 6)
    try:
        check_joints(joints, twist, 0.3)
    except ArmStopped:
        return
    speeds = damped_least_squares(jacobian(joints, TOOL_REACH), twist)
    assert (np.abs(joints + 0.3 * speeds) <= np.maximum(limits, np.abs(joints))).all()


@pytest.mark.slow
def test_a_joint_at_its_limit_keeps_the_arm_from_starting(arm: StandIn) -> None:
    arm.set(joints=[6.27, -1.54, 1.9, -1.94, -1.57, 1.3])
    with pytest.raises(ArmStopped, match="base joint is at 359 degrees"):
        run(lambda _: STAY, arm.host)
    assert velocities(arm) == 0


# ----------------------------------------------------------------------------------------------------- first decision


@pytest.mark.slow
def test_the_first_decision_is_the_first_command(arm: StandIn) -> None:
    decided = []

    def policy(observation: Any) -> Any:
        decided.append(0.1 * (len(decided) + 1))
        return [decided[-1], 0.0, 0.0, -1.0]

    steps: list[Any] = []
    run(policy, arm.host, RunSettings(4, limits=LIMITS), on_step=steps.append)

    assert len(decided) == 4
    assert [step.wanted[0] for step in steps] == pytest.approx([0.2 * wish for wish in decided])


# ------------------------------------------------------------------------------------------------------------- success


def felt(opening: float, height: float) -> dict[str, Any]:
    vector = np.zeros(14, np.float32)
    vector[8], vector[13] = height, opening
    return {"vector": vector}


def test_a_thing_that_hangs_high_for_a_second_is_picked() -> None:
    told = [Lifted() for _ in range(4)]
    for step in range(STEPS + 2):
        assert told[0](felt(0.4, 0.3), True) == (step >= STEPS - 1)
        assert not told[1](felt(0.4, 0.3), False)  # the gripper was not told to close
        assert not told[2](felt(0.01, 0.3), True)  # it closed on nothing
        assert not told[3](felt(0.4, 0.12), True)  # it is not high
    again = Lifted()
    for step in range(3 * STEPS):
        assert not again(felt(0.4, 0.3 if step % STEPS else 0.1), True)


class Hand:
    """A gripper that measures, and holds something when it closes."""

    measures = True

    def __init__(self) -> None:
        self.closing = False

    def grip(self, close: bool) -> None:
        self.closing = close

    def opening(self) -> float:
        return 0.4 if self.closing else 1.0

    def disconnect(self) -> None:
        pass


@pytest.mark.slow
def test_a_run_ends_when_its_task_is_done(arm: StandIn) -> None:
    report = run(
        lambda _: np.array([0.0, 0.0, 0.0, 1.0]),
        arm.host,
        RunSettings(60, limits=LIMITS),
        gripper=Hand,
        success=load_success("pick"),
    )

    assert report.ended == "success" and report.steps == STEPS
    assert arm.record()["runtime"] == 1  # its program has ended
    with pytest.raises(FovealError, match="does not measure its opening"):
        run(lambda _: STAY, arm.host, success=load_success("pick"))


@pytest.mark.slow
def test_a_policy_may_end_its_run(arm: StandIn) -> None:
    class Tired:
        ended = ""
        calls = 0

        def __call__(self, observation: Any) -> Any:
            self.calls += 1
            self.ended = "tired" if self.calls == 3 else ""
            return STAY

    report = run(Tired(), arm.host, RunSettings(60, limits=LIMITS))
    assert (report.ended, report.steps) == ("tired", 3)


def test_what_no_arm_can_tell() -> None:
    with pytest.raises(FovealError, match="can't tell whether 'tower' is done"):
        load_success("tower")


# --------------------------------------------------------------------------------------------------------------- doubt


class Doubting:
    """A shield with the doubts that it is told."""

    image_size, limit = 8, 20.0

    def __init__(self, *doubts: float) -> None:
        self._doubts = iter(doubts)

    def restore(self, frames: np.ndarray) -> Restored:
        doubt = np.array([next(self._doubts) for _ in frames], np.float32)
        return Restored(255 - frames, np.ones((len(frames), 8, 8), np.float32), doubt)


def seen(number: int) -> dict[str, Any]:
    return {"rgb": np.full((8, 8, 3), number, np.uint8), "depth": np.ones((4, 4), np.float32), "vector": np.zeros(14)}


def test_a_policy_behind_a_shield_sees_what_it_gives() -> None:
    given: list[Any] = []
    policy = SimpleNamespace(skill=3)
    behind = ShieldedPolicy(lambda observation: given.append(observation) or STAY, Doubting(1.0), 3)

    assert (behind(seen(40)) == STAY).all()

    assert (given[0]["rgb"] == 215).all() and given[0]["depth"].shape == (4, 4)
    assert ShieldedPolicy(policy, Doubting(), 3).skill == 3  # type: ignore[arg-type]


def test_doubt_that_lasts_stops_the_arm_and_doubt_that_passes_does_not() -> None:
    behind = ShieldedPolicy(lambda _: STAY, Doubting(30.0, 30.0, 5.0, 30.0, 30.0, 31.0, 0.0), 3)
    for number in range(5):
        behind(seen(number))
    with pytest.raises(ArmStopped, match=r"doubts what the camera shows: 31\.0 %, above its limit of 20\.0 %, for 3"):
        behind(seen(5))


@pytest.mark.parametrize(
    ("observation", "message"),
    [({"depth": np.ones((4, 4), np.float32)}, "no picture 'rgb'"), ({"rgb": np.zeros((9, 9, 3), np.uint8)}, "8 x 8")],
)
def test_a_shield_needs_colours_of_its_size(observation: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        ShieldedPolicy(lambda _: STAY, Doubting(1.0))(observation)
    with pytest.raises(FovealError, match="give at least 1"):
        ShieldedPolicy(lambda _: STAY, Doubting(), 0)


@pytest.mark.slow
def test_foveal_arm_run_stops_on_doubt(
    arm: StandIn, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shield = Shield(ShieldConfig(), "ur5e/pick", 32)
    shield.limit = 0.0
    shield.save(tmp_path / "shield")
    (tmp_path / "doubted.py").write_text(
        "import numpy as np\n\n\ndef stay(observation):\n    return [0, 0, 0, -1]\n\n\nclass Noise:\n"
        "    def __init__(self):\n        self.random = np.random.default_rng(0)\n\n    def read(self):\n"
        "        return {'rgb': self.random.integers(0, 255, (32, 32, 3)).astype(np.uint8)}\n\n"
        "    def close(self):\n        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    words = ["doubted:stay", "--host", arm.host, "--camera", "doubted:Noise", "--timeout", "1", "--yes"]

    assert main(["arm", "run", *words, "--shield", "shield", "--doubt-frames", "3"]) == 2

    assert "the shield doubts what the camera shows" in capsys.readouterr().err
    assert velocities(arm) == 2 and arm.record()["twist"] == [0.0] * 6


# ----------------------------------------------------------------------------------------------------------- avoidance


@pytest.mark.slow
def test_what_avoids_collisions_comes_between_the_limits_and_the_wire(arm: StandIn) -> None:
    """It is asked what the limits let pass, and the limits hold for its answer."""
    asked: list[np.ndarray] = []

    def avoid(joints: np.ndarray, twist: np.ndarray) -> np.ndarray:
        assert joints == pytest.approx([-0.27, -1.54, 1.9, -1.94, -1.57, 1.3])
        asked.append(twist)
        return np.array([0.0, 9.0, *twist[2:]])  # aside, much faster than allowed

    steps: list[Any] = []
    run(lambda _: RIGHT, arm.host, RunSettings(6, limits=LIMITS), on_step=steps.append, avoid=avoid)

    assert asked[0][:3] == pytest.approx([-0.1, 0.0, 0.0])  # the first step's acceleration, in the base's frame
    for step in steps:
        assert step.velocity[0] == pytest.approx(0.0, abs=1e-9) and -LIMITS.speed <= step.velocity[1] < 0.0


@pytest.mark.slow
def test_foveal_arm_run_tells_where_its_camera_stands_and_avoids_collisions(
    arm: StandIn, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "plain.py").write_text(
        "import numpy as np\n\n\ndef away(observation):\n    return [1, 0, 0, -1]\n\n\nclass Noise:\n"
        "    def __init__(self):\n        self.random = np.random.default_rng(0)\n\n    def read(self):\n"
        "        return {'rgb': self.random.integers(0, 255, (32, 32, 3)).astype(np.uint8)}\n\n"
        "    def close(self):\n        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    looks = Rotation.from_matrix(looking(*STANDS["side"])[:3, :3])
    in_base = (Rotation.from_euler("z", 180.0, degrees=True) * looks).as_quat()
    quaternion = tuple(np.roll(in_base, 1).tolist())
    lens = Intrinsics(640, 480, 600.0, 600.0, 320.0, 240.0)
    Calibration("beside", (-0.5, -0.95, 0.73), quaternion, lens, 12, 0.2, 0.001, 0.1).save("camera.json")
    words = ["plain:away", "--host", arm.host, "--camera", "plain:Noise", "--calibration", "camera.json", "--dry-run"]

    assert main(["arm", "run", *words, "--steps", "3", "--avoid-collisions"]) == 0

    shown = capsys.readouterr().out
    assert "the camera stands 3.0 cm from where the simulator's nearest does, and looks 0.0 degrees off" in shown
    assert (
        "step 0: wanted +0.200 +0.000 +0.000 m/s, would send +0.1" in shown and "would have given 3 commands" in shown
    )


# ---------------------------------------------------------------------------------------------------------- calibration


@pytest.mark.slow
def test_foveal_arm_calibrate_keeps_views_and_where_the_tool_was(
    arm: StandIn, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "seeing.py").write_text(
        "import numpy as np\nfrom PIL import Image\n\n\nclass Eye:\n    reads = 0\n\n    def read(self):\n"
        "        Eye.reads += 1\n        board = np.asarray(Image.open('board.png'))\n"
        "        return {'rgb': board if Eye.reads != 2 else np.zeros_like(board)}\n\n    def close(self):\n"
        "        pass\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Image.fromarray(picture(matrix([-0.1, -0.07, 0.6], Rotation.identity()))).save("board.png")
    answers = iter(["", "", "", "q"])

    def typed(question: str) -> str:
        arm.turn([0.0, 0.1, 0.0])
        return next(answers)

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", typed)

    assert main(["arm", "calibrate", "--host", arm.host, "--camera", "seeing:Eye", "--views", "views"]) == 2

    captured = capsys.readouterr()
    assert "this view is left out" in captured.out and "24 corners" in captured.out
    assert "seen well in 2 of 2 views, and 6 are the fewest" in captured.err
    views = load_views("views")
    between = Rotation.from_rotvec(views.poses[1][3:]) * Rotation.from_rotvec(views.poses[0][3:]).inv()
    assert len(views) == 2 and between.magnitude() == pytest.approx(0.2, abs=0.01)
    assert {entry["kind"] for entry in arm.record()["log"]} == {"request"}  # nothing was sent but the wish to read
