"""OnRobot's RG2 and RG6, through the Compute Box or the Eye Box, by Modbus TCP.

Registers are those of OnRobot's "Connectivity guide" for device 65: target force in tenths of a newton, target width in
tenths of a millimetre and control at 0 to 2; actual width at 267; status at 268, whose lowest bit says that it moves.
Widths are between the finger tips as they were shipped.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from foveal.errors import FovealError
from foveal.robot.optional import optional
from foveal.robot.stops import ArmStopped

PORT, DEVICE = 502, 65
FORCE, WIDTH, CONTROL, ACTUAL_WIDTH = 0, 1, 2, 267
GRIP = 1  # of control
_ANSWER = 0.2  # seconds


class Model(NamedTuple):
    """What a gripper can do: width in tenths of a millimetre, and force in tenths of a newton."""

    width: int
    force: int


MODELS = {"rg2": Model(1100, 400), "rg6": Model(1600, 1200)}


class OnRobot:
    """An RG2 or RG6.

    Args:
        model: ``"rg2"`` or ``"rg6"``.
        host: address of the Compute Box, 192.168.1.1 as it is shipped.
        force: newtons.
        port: of Modbus TCP.

    Raises:
        FovealError: no such model, a force that it does not have, the extra is missing, or nothing answers.
    """

    measures = True

    def __init__(self, model: str, host: str, force: float = 20.0, port: int = PORT) -> None:
        if model not in MODELS:
            raise FovealError(f"unknown OnRobot gripper {model!r}: rg2 or rg6")
        self._model, self._force = MODELS[model], round(10.0 * force)
        if not 0 < self._force <= self._model.force:
            raise FovealError(f"the gripper's force is {force:g} N; an {model} has up to {self._model.force / 10:g}")
        client = optional("pymodbus.client", "onrobot", "an OnRobot gripper").ModbusTcpClient
        self._client = client(host, port=port, timeout=_ANSWER, retries=0)
        self._failures = optional("pymodbus.exceptions", "onrobot", "an OnRobot gripper").ModbusException
        if not self._client.connect():
            raise FovealError(f"no OnRobot gripper answers at {host}, port {port}: give the Compute Box's address")
        try:
            self.opening()
        except ArmStopped as error:
            self.disconnect()
            raise FovealError(str(error)) from error

    def grip(self, close: bool) -> None:
        width = 0 if close else self._model.width
        self._answer(lambda: self._client.write_registers(FORCE, [self._force, width, GRIP], device_id=DEVICE))

    def opening(self) -> float:
        answer = self._answer(lambda: self._client.read_holding_registers(ACTUAL_WIDTH, count=1, device_id=DEVICE))
        return min(1.0, float(answer.registers[0]) / self._model.width)

    def disconnect(self) -> None:
        self._client.close()

    def _answer(self, ask: Any) -> Any:
        try:
            answer = ask()
        except self._failures as error:
            raise ArmStopped(f"the OnRobot gripper does not answer: {error}") from error
        if answer.isError():
            raise ArmStopped(f"the OnRobot gripper refused: {answer}")
        return answer
