"""Files of ONNX, run as a black box by onnxruntime (the extra ``onnx``)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.auditing.adapters.base import ADAPTERS, UNIT, Adapter, is_file
from foveal.auditing.cameras import SMALLEST
from foveal.errors import FovealError, require

TYPES: Mapping[str, Any] = {
    "tensor(uint8)": np.uint8,
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
}
"""What inputs may be."""


@ADAPTERS.register("onnx")
class ONNXPolicy(Adapter):
    """A file of ONNX: inputs (B, ...) by name, of which one or more are pictures; the first output is the action's.

    Whether a picture of floats is from 0 to 255 or from 0 to 1 no file says: ``pixels`` must.

    Raises:
        FovealError: the extra is missing, the file is damaged, it takes what no environment gives, or ``pixels`` is
            not said.
    """

    rank = 20
    kind = "ONNX file"

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        self._session = _opened(Path(policy))
        self._inputs = {given.name: given for given in self._session.get_inputs()}
        entries: dict[str, spaces.Space[Any]] = {name: self._space(given) for name, given in self._inputs.items()}
        self.observation_space = next(iter(entries.values())) if len(entries) == 1 else spaces.Dict(entries)

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return is_file(policy, ".onnx")

    def act(self, observation: Any) -> Any:
        given = observation if len(self._inputs) > 1 else {next(iter(self._inputs)): observation}
        batch = {name: np.asarray(given[name], TYPES[about.type])[None] for name, about in self._inputs.items()}
        return self._session.run(None, batch)[0][0]

    @property
    def about(self) -> dict[str, Any]:
        return {**super().about, "pixels": self.options.pixels}

    def _space(self, given: Any) -> spaces.Box:
        """What one input takes, without the batch."""
        shape = given.shape[1:]
        if given.type not in TYPES or not all(isinstance(size, int) for size in shape):
            raise FovealError(
                f"the input {given.name!r} of {self.policy} is {given.type} {given.shape}: foveal gives one of "
                f"{', '.join(TYPES)} whose sizes are known but for the batch's"
            )
        kind = TYPES[given.type]
        if kind is np.uint8:
            return spaces.Box(0, 255, shape, np.uint8)
        if len(shape) != 3 or min(sorted(shape)[-2:]) < SMALLEST:
            return spaces.Box(-np.inf, np.inf, shape, kind)
        if self.options.pixels is None:
            raise FovealError(
                f"{self.policy} takes {given.name!r} in floating point, and doesn't say whether from 0 to 255 or from "
                "0 to 1: say --pixels bytes or --pixels unit (in Python pixels=...)"
            )
        return spaces.Box(0, 1 if self.options.pixels == UNIT else 255, shape, kind)


def _opened(path: Path) -> Any:
    onnxruntime = require("onnxruntime", "ONNX files need onnxruntime: pip install 'foveal[onnx]'")
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is raised
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except (Fail, InvalidArgument, InvalidGraph, InvalidProtobuf) as error:
        raise FovealError(f"{path} is no ONNX file that can be run: {error}") from error
