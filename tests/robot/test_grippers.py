"""Grippers: what arrives at stand-ins that speak the makers' public protocols."""

from __future__ import annotations

import socketserver
import struct
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from foveal.errors import FovealError
from foveal.robot.grippers import KNOWN, OnRobot, Robotiq, known_gripper
from foveal.robot.sources import load_gripper
from foveal.robot.stops import ArmStopped
from foveal.robot.success import check_measured


class Server(socketserver.ThreadingTCPServer):
    """A stand-in on a port of its own, with the state of a gripper."""

    daemon_threads = True
    state: Any

    @property
    def port(self) -> int:
        return int(self.server_address[1])


def served(handler: type[socketserver.BaseRequestHandler], state: Any) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), handler) as server:
        server.state = state
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


# ------------------------------------------------------------------------------------------------------------- Robotiq


class UrCap(socketserver.StreamRequestHandler):
    """Lines of ASCII: SET NAME VALUE ... -> ack, GET NAME -> NAME VALUE."""

    def handle(self) -> None:
        state = self.server.state  # type: ignore[attr-defined]
        for line in self.rfile:
            words = line.decode().split()
            state["lines"].append(" ".join(words))
            if state.get("mute"):
                continue
            self.wfile.write((self.answer(state, words) + "\n").encode())

    def answer(self, state: dict[str, Any], words: list[str]) -> str:
        if words[0] == "GET":
            if words[1] == "STA" and state["ACT"] == 1:
                state["STA"] = min(3, state["STA"] + 1)  # activation takes its time
            return f"{words[1]} {state.get('said', state[words[1]])}"
        for name, value in zip(words[1::2], words[2::2], strict=True):
            state[name] = int(value)
            if name == "ACT" and value == "0":
                state["STA"] = 0
        return "ack"


@pytest.fixture
def cap() -> Iterator[Server]:
    yield from served(UrCap, {"lines": [], "ACT": 0, "STA": 0, "POS": 3, "FLT": 0})


def test_robotiq_is_activated_once_and_moves_as_told(cap: Server) -> None:
    gripper = Robotiq("127.0.0.1", port=cap.port)
    assert cap.state["ACT"] == 1 and cap.state["STA"] == 3
    assert gripper.opening() == pytest.approx(1.0 - 3 / 255)

    gripper.grip(True)
    assert cap.state["lines"][-1] == "SET POS 255 SPE 255 FOR 50 GTO 1"
    assert gripper.opening() == 0.0
    gripper.grip(False)
    assert cap.state["POS"] == 0 and gripper.opening() == 1.0
    gripper.disconnect()

    cap.state["lines"].clear()
    again = Robotiq("127.0.0.1", port=cap.port)
    assert not [line for line in cap.state["lines"] if line.startswith("SET")]  # or the fingers would move
    again.disconnect()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "message"), [({"mute": True}, "does not answer"), ({"said": "?"}, "answered .* to a question for POS")]
)
def test_robotiq_that_fails_stops_the_arm(cap: Server, change: dict[str, Any], message: str) -> None:
    gripper = Robotiq("127.0.0.1", port=cap.port)
    cap.state.update(change)
    with pytest.raises(ArmStopped, match=message):
        gripper.opening()
    gripper.disconnect()


def test_no_robotiq_at_the_start(cap: Server) -> None:
    cap.state["mute"] = True
    with pytest.raises(FovealError, match="does not answer"):
        Robotiq("127.0.0.1", port=cap.port)
    with pytest.raises(FovealError, match=r"no Robotiq gripper answers at 127\.0\.0\.1, port 1"):
        Robotiq("127.0.0.1", port=1)


# ------------------------------------------------------------------------------------------------------------- OnRobot


class Modbus(socketserver.BaseRequestHandler):
    """Modbus TCP: functions 3 and 16 on a table of registers ("MODBUS Messaging on TCP/IP", version 1.0b)."""

    def handle(self) -> None:
        state = self.server.state  # type: ignore[attr-defined]
        while header := self.exactly(7):
            transaction, protocol, length, unit = struct.unpack(">HHHB", header)
            body = self.exactly(length - 1)
            state["asked"].append((unit, body[0], *struct.unpack(">HH", body[1:5])))
            if state.get("mute"):
                continue
            reply = b"\x83\x02" if state.get("refuse") else self.answer(state["registers"], body)
            self.request.sendall(struct.pack(">HHHB", transaction, protocol, len(reply) + 1, unit) + reply)

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            chunk = self.request.recv(count - len(data))
            if not chunk:
                return b""
            data += chunk
        return data

    def answer(self, registers: dict[int, int], body: bytes) -> bytes:
        start, count = struct.unpack(">HH", body[1:5])
        if body[0] == 3:
            values = [registers[start + n] for n in range(count)]
            return struct.pack(f">BB{count}H", 3, 2 * count, *values)
        registers.update({start + n: value for n, value in enumerate(struct.unpack(f">{count}H", body[6:]))})
        return body[:5]


@pytest.fixture
def box() -> Iterator[Server]:
    yield from served(Modbus, {"asked": [], "registers": {267: 550}})


def test_onrobot_writes_force_width_and_the_order_and_reads_the_width(box: Server) -> None:
    gripper = OnRobot("rg2", "127.0.0.1", force=25.0, port=box.port)
    assert gripper.opening() == pytest.approx(0.5)  # 55 mm of 110

    gripper.grip(True)
    assert box.state["asked"][-1] == (65, 16, 0, 3)
    assert [box.state["registers"][n] for n in range(3)] == [250, 0, 1]
    gripper.grip(False)
    assert [box.state["registers"][n] for n in range(3)] == [250, 1100, 1]
    gripper.disconnect()

    wide = OnRobot("rg6", "127.0.0.1", port=box.port)
    assert wide.opening() == pytest.approx(550 / 1600)
    wide.disconnect()


@pytest.mark.parametrize(("change", "message"), [("mute", "does not answer"), ("refuse", "refused")])
def test_onrobot_that_fails_stops_the_arm(box: Server, change: str, message: str) -> None:
    gripper = OnRobot("rg2", "127.0.0.1", port=box.port)
    box.state[change] = True
    with pytest.raises(ArmStopped, match=message):
        gripper.opening()
    gripper.disconnect()


@pytest.mark.parametrize(
    ("model", "force", "message"),
    [("rg3", 20.0, "rg2 or rg6"), ("rg2", 100.0, "up to 40"), ("rg2", 0.0, "up to 40"), ("rg2", 20.0, "no OnRobot")],
)
def test_onrobot_that_can_t_be(model: str, force: float, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        OnRobot(model, "127.0.0.1", force, port=1)


def test_without_pymodbus_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pymodbus.client", None)
    with pytest.raises(FovealError, match=r'pip install "foveal\[onrobot\]"'):
        load_gripper("rg2:127.0.0.1", "127.0.0.1")


# --------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("text", "message"),
    [("rg2", "names no Compute Box: say rg2:192"), ("tool-output", "names no output"), ("robotic", "unknown gripper")],
)
def test_names_that_say_too_little(text: str, message: str) -> None:
    with pytest.raises(FovealError, match=message):
        load_gripper(text, "127.0.0.1")


def test_only_grippers_that_measure_tell_success() -> None:
    assert set(KNOWN) == {"none", "tool-output", "robotiq", "rg2", "rg6"}
    assert Robotiq.measures and OnRobot.measures
    with pytest.raises(FovealError, match="does not measure its opening"):
        check_measured(known_gripper("none", "nowhere"))
