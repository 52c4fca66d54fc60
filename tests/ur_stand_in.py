"""A stand-in for a Universal Robots controller on a loopback address: what ur_rtde's clients need of it, for tests.

It speaks RTDE, protocol version 2 (port 30004; Universal Robots' "Real-Time Data Exchange (RTDE) Guide"), takes scripts
(30002 and 30003) and answers like the dashboard server (29999). The uploaded script isn't interpreted: as long as one
"runs", ``Program`` answers commands in the registers as ur_rtde's control script does. The tool moves as told.

ur_rtde's constructors keep Python's global lock, so this runs in a process of its own: ``StandIn`` starts it, and talks
to it in lines of JSON.
"""

from __future__ import annotations

import asyncio
import json
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

RTDE, SCRIPTS, DASHBOARD = 30004, (30002, 30003), 29999
STOPPED, PLAYING, PAUSED = 1, 2, 4  # runtime_state
NORMAL, PROTECTIVE = 1 << 0, 1 << 2 | 1 << 10  # safety_status_bits
VERSION = (5, 11, 0, 108249)
READY, DONE = 1, 2  # what ur_rtde's script writes into output integer register 0

FORMATS = {
    "UINT8": "B",
    "UINT32": "I",
    "INT32": "i",
    "UINT64": "Q",
    "DOUBLE": "d",
    "VECTOR3D": "3d",
    "VECTOR6D": "6d",
    "VECTOR6INT32": "6i",
}
OUTPUTS = {
    "timestamp": "DOUBLE",
    "actual_q": "VECTOR6D",
    "actual_TCP_pose": "VECTOR6D",
    "actual_TCP_speed": "VECTOR6D",
    "robot_mode": "INT32",
    "runtime_state": "UINT32",
    "robot_status_bits": "UINT32",
    "safety_status_bits": "UINT32",
    **{f"output_int_register_{n}": "INT32" for n in range(48)},
    **{f"output_double_register_{n}": "DOUBLE" for n in range(48)},
}
INPUTS = {
    "standard_digital_output_mask": "UINT8",
    "standard_digital_output": "UINT8",
    "configurable_digital_output_mask": "UINT8",
    "configurable_digital_output": "UINT8",
    "tool_digital_output_mask": "UINT8",
    "tool_digital_output": "UINT8",
    "speed_slider_mask": "UINT32",
    "speed_slider_fraction": "DOUBLE",
    "standard_analog_output_mask": "UINT8",
    "standard_analog_output_type": "UINT8",
    "standard_analog_output_0": "DOUBLE",
    "standard_analog_output_1": "DOUBLE",
    "external_force_torque": "VECTOR6D",
    **{f"input_int_register_{n}": "INT32" for n in range(48)},
    **{f"input_double_register_{n}": "DOUBLE" for n in range(48)},
}
SPEED_L, SPEED_STOP, SET_WATCHDOG, GET_TCP_OFFSET, STOP_SCRIPT = 10, 15, 35, 40, 255


@dataclass
class Machine:
    """The arm: where its tool is, how it moves, what state it is in. ``log`` keeps all that arrived."""

    position: np.ndarray = field(default_factory=lambda: np.array([-0.48, 0.0, 0.24]))
    rotation: Rotation = field(default_factory=lambda: Rotation.from_matrix(np.diag([1.0, -1.0, -1.0])))
    joints: list[float] = field(default_factory=lambda: [-0.27, -1.54, 1.9, -1.94, -1.57, 1.3])
    tcp_offset: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.145, 0.0, 0.0, 0.0])
    twist: np.ndarray = field(default_factory=lambda: np.zeros(6))
    target: np.ndarray = field(default_factory=lambda: np.zeros(6))
    acceleration: float = 1.0
    runtime: int = STOPPED
    safety: int = NORMAL
    mode: int = 7  # RUNNING
    remote: bool = True
    mute: bool = False  # sends no data
    unlock_after: float = 5.0  # seconds
    stopped_at: float = 0.0
    watchdog: float | None = None  # seconds
    heard: float = 0.0  # when integer register 0 was last written
    outputs: dict[str, float] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    path: list[list[float]] = field(default_factory=list)

    def note(self, kind: str, **what: Any) -> None:
        self.log.append({"kind": kind, "time": time.monotonic(), "moving": self.runtime == PLAYING, **what})

    def tick(self, seconds: float) -> None:
        if self.watchdog is not None and time.monotonic() - self.heard > self.watchdog:
            self.note("watchdog")
            self.halt()
        change = self.target - self.twist
        size = np.linalg.norm(change)
        self.twist = self.twist + change * min(1.0, self.acceleration * seconds / max(size, 1e-12))
        self.position = self.position + self.twist[:3] * seconds
        self.rotation = Rotation.from_rotvec(self.twist[3:] * seconds) * self.rotation
        self.path.append([time.monotonic(), *self.position])

    def halt(self, runtime: int = STOPPED) -> None:
        """The program ends, and with it its watchdog; or it pauses. The arm stands at once."""
        self.runtime, self.watchdog = runtime, None
        self.twist, self.target = np.zeros(6), np.zeros(6)

    def protective_stop(self) -> None:
        self.halt(PAUSED)
        self.safety, self.stopped_at = PROTECTIVE, time.monotonic()

    def value(self, name: str) -> Any:
        known = {
            "timestamp": time.monotonic(),
            "actual_q": self.joints,
            "actual_TCP_pose": [*self.position, *self.rotation.as_rotvec()],
            "actual_TCP_speed": self.twist.tolist(),
            "robot_mode": self.mode,
            "runtime_state": self.runtime,
            "robot_status_bits": 1 | (self.runtime == PLAYING) << 1,
            "safety_status_bits": self.safety,
        }
        return known[name] if name in known else self.outputs.get(name, 0)


class Program:
    """What ur_rtde's control script does with the registers: a continuous command leaves it ready, another is done once
    and waits until the client has cleared the register.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.inputs: dict[str, Any] = {}
        self.executing = False

    def start(self) -> None:
        self.executing = False
        self.machine.runtime = PLAYING
        self._signal(READY)
        self.look()

    def heed(self, values: dict[str, Any]) -> None:
        """New values of input registers."""
        self.machine.heard = time.monotonic()
        self.inputs.update(values)
        if self.machine.runtime == PLAYING:
            self.look()

    def look(self) -> None:
        """What the command in the registers asks for; one that is left over from before is obeyed as well."""
        machine, values = self.machine, self.inputs
        command = values.get("input_int_register_0", 0)
        if command == 0:
            self.executing = False
            self._signal(READY)
        elif command == SPEED_L:
            numbers = [values[f"input_double_register_{n}"] for n in range(8)]
            machine.target, machine.acceleration = np.array(numbers[:6]), numbers[6]
        elif not self.executing:
            self.executing = True
            self._once(command, values)

    def _once(self, command: int, values: dict[str, Any]) -> None:
        machine = self.machine
        if command == STOP_SCRIPT:
            machine.halt()
            return
        if command == SPEED_STOP:
            machine.target, machine.acceleration = np.zeros(6), values["input_double_register_0"]
        elif command == SET_WATCHDOG:
            machine.watchdog = 1.0 / values["input_double_register_0"]
        elif command == GET_TCP_OFFSET:
            machine.outputs.update({f"output_double_register_{n}": x for n, x in enumerate(machine.tcp_offset)})
        else:
            machine.note("unknown command", command=command)
        self._signal(DONE)

    def _signal(self, state: int) -> None:
        self.machine.outputs["output_int_register_0"] = state


class Servers:
    """The ports of one controller."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.machine = Machine()
        self.program = Program(self.machine)
        self.owned: dict[str, int] = {}  # input register -> the connection that writes it
        self.writers: list[asyncio.StreamWriter] = []

    async def run(self) -> None:
        await asyncio.start_server(self._serve(self.rtde), self.host, RTDE)
        await asyncio.start_server(self._serve(self.dashboard), self.host, DASHBOARD)
        for port in SCRIPTS:
            await asyncio.start_server(self._serve(self.scripts), self.host, port)
        reader = asyncio.StreamReader(limit=1 << 20)
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        ticking = asyncio.create_task(self.tick())
        print(json.dumps("ready"), flush=True)
        while line := await reader.readline():
            print(json.dumps(self.obey(json.loads(line))), flush=True)
        ticking.cancel()

    def obey(self, order: dict[str, Any]) -> Any:
        """One order of the test."""
        machine = self.machine
        if order["do"] == "reset":
            self.machine = Machine(**order["changes"])
            self.machine.position = np.array(self.machine.position)
            self.program = Program(self.machine)
        elif order["do"] == "set":
            for name, value in order["changes"].items():
                setattr(machine, name, value)
        elif order["do"] == "protective stop":
            machine.protective_stop()
        elif order["do"] == "turn":
            machine.rotation = Rotation.from_rotvec(order["by"]) * machine.rotation
        elif order["do"] == "hang up":
            for writer in self.writers:
                writer.close()
        elif order["do"] == "log":
            return {
                "log": machine.log,
                "path": machine.path,
                "runtime": machine.runtime,
                "twist": machine.twist.tolist(),
            }
        return True

    async def tick(self) -> None:
        before = time.monotonic()
        while True:
            await asyncio.sleep(0.002)
            now = time.monotonic()
            self.machine.tick(now - before)
            before = now

    def _serve(self, talk: Any) -> Any:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.writers.append(writer)
            try:
                await talk(reader, writer)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                self.writers.remove(writer)
                writer.close()

        return serve

    # ------------------------------------------------------------------------------------------------------------ RTDE

    async def rtde(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = id(writer)
        recipes: dict[int, list[str]] = {}
        outputs: list[str] = []
        frequency, sending = 125.0, None
        try:
            while True:
                size, kind = struct.unpack(">HB", await reader.readexactly(3))
                body = await reader.readexactly(size - 3)
                letter = chr(kind)
                if letter == "U":
                    self.data(recipes, body)
                    continue
                self.machine.note("request", letter=letter)
                if letter == "V":
                    reply = struct.pack(">B", struct.unpack(">H", body)[0] == 2)
                elif letter == "v":
                    reply = struct.pack(">4I", *VERSION)
                elif letter == "O":
                    (frequency,), outputs = struct.unpack(">d", body[:8]), names_in(body[8:])
                    reply = b"\x01" + ",".join(OUTPUTS.get(name, "NOT_FOUND") for name in outputs).encode()
                elif letter == "I":
                    reply = self.set_up_inputs(connection, recipes, names_in(body))
                elif letter == "S":
                    reply = b"\x01"
                    sending = asyncio.create_task(self.send(writer, outputs, frequency))
                elif letter == "P":
                    reply = b"\x01"
                    if sending is not None:
                        sending.cancel()
                else:
                    continue
                writer.write(struct.pack(">HB", len(reply) + 3, kind) + reply)
        finally:
            if sending is not None:
                sending.cancel()
            self.owned = {name: owner for name, owner in self.owned.items() if owner != connection}

    def set_up_inputs(self, connection: int, recipes: dict[int, list[str]], names: list[str]) -> bytes:
        types = [INPUTS.get(name, "NOT_FOUND") for name in names]
        types = [
            "IN_USE" if self.owned.get(n, connection) != connection else t for n, t in zip(names, types, strict=True)
        ]
        number = 0
        if not {"IN_USE", "NOT_FOUND"} & set(types):
            number = len(recipes) + 1
            recipes[number] = names
            self.owned.update(dict.fromkeys(names, connection))
        return bytes([number]) + ",".join(types).encode()

    def data(self, recipes: dict[int, list[str]], body: bytes) -> None:
        names = recipes[body[0]]
        form = ">" + "".join(FORMATS[INPUTS[name]] for name in names)
        values = dict(zip(names, struct.unpack(form, body[1:]), strict=True))
        self.machine.note("data", values=values)
        if "input_int_register_0" in values:
            self.program.heed(values)

    async def send(self, writer: asyncio.StreamWriter, names: list[str], frequency: float) -> None:
        form = ">B" + "".join(FORMATS[OUTPUTS[name]] for name in names)
        while True:
            if not self.machine.mute:
                values: list[Any] = []
                for name in names:
                    value = self.machine.value(name)
                    values += value if isinstance(value, list) else [value]
                package = struct.pack(form, 1, *values)
                writer.write(struct.pack(">HB", len(package) + 3, ord("U")) + package)
            await asyncio.sleep(1.0 / frequency)

    # ------------------------------------------------------------------------------------------------------- the others

    async def scripts(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = b""
        while chunk := await reader.read(65536):
            text += chunk
            if text.rstrip().endswith(b"\nend"):
                self.machine.note("script", text=text.decode())
                self.program.start()
                text = b""

    async def dashboard(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"Connected: Universal Robots Dashboard Server\n")
        while line := (await reader.readline()).decode().strip():
            self.machine.note("dashboard", line=line)
            writer.write((self.answer(line) + "\n").encode())

    def answer(self, line: str) -> str:
        machine = self.machine
        if line == "stop":
            if machine.runtime == STOPPED:
                return "Failed to execute: stop"
            machine.halt()
            return "Stopped"
        if line == "unlock protective stop":
            if time.monotonic() - machine.stopped_at < machine.unlock_after:
                return "Cannot unlock protective stop until 5s after occurrence. Always inspect cause before unlocking"
            machine.safety = NORMAL
            return "Protective stop releasing"
        status = "PROTECTIVE_STOP" if machine.safety == PROTECTIVE else "NORMAL"
        state = {STOPPED: "STOPPED", PLAYING: "PLAYING", PAUSED: "PAUSED"}[machine.runtime]
        known = {
            "programState": f"{state} <unnamed>",
            "PolyscopeVersion": f"URSoftware {'.'.join(map(str, VERSION))} (Oct 01 2021)",
            "get serial number": "20205500000",
            "is in remote control": str(machine.remote).lower(),
            "safetystatus": f"Safetystatus: {status}",
            "close safety popup": "closing safety popup",
        }
        return known.get(line, f"could not understand: '{line}'")


def names_in(body: bytes) -> list[str]:
    return [name for name in body.decode().split(",") if name]


class StandIn:
    """The stand-in's process, as tests see it."""

    def __init__(self, host: str) -> None:
        self.host = host
        self._process = subprocess.Popen(
            [sys.executable, __file__, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def reset(self, **changes: Any) -> None:
        """As new, with some attributes of ``Machine`` changed."""
        self._order(do="reset", changes=changes)

    def set(self, **changes: Any) -> None:
        self._order(do="set", changes=changes)

    def protective_stop(self) -> None:
        self._order(do="protective stop")

    def turn(self, by: list[float]) -> None:
        """Turn the tool by a rotation vector, as nothing in the world does."""
        self._order(do="turn", by=by)

    def hang_up(self) -> None:
        """Close every connection."""
        self._order(do="hang up")

    def record(self) -> dict[str, Any]:
        """All that arrived, the tool's path, and the present state."""
        return self._order(do="log")

    def close(self) -> None:
        self._process.communicate(timeout=10)

    def _order(self, **order: Any) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


if __name__ == "__main__":
    asyncio.run(Servers(sys.argv[1]).run())
