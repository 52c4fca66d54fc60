"""Bare networks of PyTorch: modules, and programs of TorchScript."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foveal.auditing.adapters.base import ADAPTERS, BYTES, UNIT, Adapter, is_file
from foveal.auditing.adapters.differentiable import network_insides
from foveal.auditing.adapters.files import is_torchscript
from foveal.auditing.cameras import SMALLEST, Camera
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides

THREE_LINES = "a function of your own says everything: lambda obs: module(torch.from_numpy(obs)[None].float() / 255)"


class Network(Adapter):
    """A network alone: a batch of one float picture, channels first, to one action or a number for each.

    A network does not say what it takes pixels in, and a guess would be silently wrong: ``pixels`` must.

    Raises:
        FovealError: ``pixels`` is not said.
    """

    rank = 60

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        if self.options.pixels is None:
            raise FovealError(
                f"a {self.kind} doesn't say whether it takes pixels from 0 to 255 or from 0 to 1: say --pixels bytes "
                f"or --pixels unit (in Python pixels=...), or {THREE_LINES}"
            )
        self.network: nn.Module = policy

    @torch.no_grad()
    def act(self, observation: Any) -> Any:
        given = self._tensors(observation)
        output = self.network(given)
        return (output[0] if isinstance(output, tuple) else output).detach().numpy()

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        scale = 255.0 if self.options.pixels == UNIT else 1.0

        def network(pixels: Tensor) -> Tensor:
            output = self.network(pixels / scale)
            numbers: Tensor = output[0] if isinstance(output, tuple) else output
            return numbers.reshape(len(pixels), -1)

        return network_insides(network, camera, discrete=discrete)

    @property
    def about(self) -> dict[str, Any]:
        return {**super().about, "pixels": self.options.pixels}

    def _tensors(self, observation: Any) -> Any:
        if isinstance(observation, dict):
            return {name: self._tensors(entry) for name, entry in observation.items()}
        return as_network_sees(np.asarray(observation), self.options.pixels or BYTES)


@ADAPTERS.register("torch")
class ModulePolicy(Network):
    """A module of PyTorch."""

    kind = "module of PyTorch"

    def __init__(self, policy: nn.Module, options: Any = None) -> None:
        super().__init__(policy, options)
        policy.eval()

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return isinstance(policy, nn.Module) and not hasattr(policy, "predict") and not hasattr(policy, "select_action")


@ADAPTERS.register("torchscript")
class TorchScriptPolicy(Network):
    """A file of TorchScript, which is run as a black box."""

    rank = 20
    kind = "program of TorchScript"

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        try:
            self.network = _loaded(str(policy))
        except RuntimeError as error:
            raise FovealError(f"can't load the program {policy}: {_first_line(error)}") from error
        self.network.eval()

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return is_file(policy) and is_torchscript(Path(policy))


def _loaded(path: str) -> nn.Module:
    """A program; that PyTorch no longer makes such files is no reason not to read them."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch.jit", DeprecationWarning)
        program: nn.Module = torch.jit.load(path, map_location="cpu")
    return program


def as_network_sees(array: np.ndarray[Any, Any], pixels: str) -> Tensor:
    """A picture as (1, C, H, W) ``float32``; other arrays as (1, ...).

    Args:
        array: of bytes, where it is a picture: (C, H, W), (H, W, C) or (H, W).
        pixels: "bytes" or "unit".
    """
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or min(sorted(array.shape)[-2:]) < SMALLEST:
        return torch.from_numpy(np.array(array, np.float32))[None]
    if array.ndim == 2:
        array = array[None]
    elif array.shape[2] <= array.shape[0]:
        array = array.transpose(2, 0, 1)
    scale = 255.0 if pixels == UNIT else 1.0
    return torch.from_numpy(np.array(array, np.float32) / scale)[None]


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
