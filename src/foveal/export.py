"""Policies as ONNX files that run without foveal and without PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.learners import Learner, Shapes
from foveal.methods import Method
from foveal.pictures.writing import written_whole
from foveal.types import Observation

TOLERANCE = 1e-3
Module = TypeVar("Module", bound=nn.Module)


class Exported(Protocol):
    """What the export of a value learner's policy needs of an agent.

    Attributes:
        learner: whose ``best_action`` is exported.
        method: whose ``see`` comes before it.
        shapes: of observations and actions.
    """

    learner: Learner
    method: Method
    shapes: Shapes

    @property
    def env_options(self) -> Mapping[str, Any]:
        """Keyword arguments of ``foveal.envs.make``."""


@runtime_checkable
class ComputesIn(Protocol):
    """A part of a network that says what its convolutions compute in.

    Attributes:
        dtype: that.
    """

    dtype: torch.dtype


@dataclass(frozen=True)
class Exportable:
    """A network, and what it can be tried with.

    Attributes:
        network: on the CPU, in float32; see ``portable``.
        examples: gives inputs by name, (B, ...) each, for a batch size B.
        outputs: names of what it gives: a tensor for one, a tuple for several.
    """

    network: nn.Module
    examples: Callable[[int], dict[str, Tensor]]
    outputs: tuple[str, ...] = ("action",)


def portable(network: Module) -> Module:
    """A copy on the CPU whose convolutions are in float32: runtimes rarely have those in bfloat16."""
    copied = copy.deepcopy(network).cpu()
    for module in copied.modules():
        if isinstance(module, ComputesIn):
            module.dtype = torch.float32
    return copied


class DeterministicPolicy(nn.Module):
    """What is exported: (B, C, H, W) ``uint8``, and (B, V) where there is a vector, to actions."""

    def __init__(self, agent: Exported) -> None:
        super().__init__()
        self.method, self.learner = portable(agent.method), portable(agent.learner)

    def forward(self, image: Tensor, vector: Tensor | None = None) -> Tensor:
        """(B, A) in [-1, 1], or (B,) where actions are discrete."""
        obs = Observation(image.to(torch.float32), vector)
        return self.learner.best_action(self.method.see(obs))


def export_onnx(agent: Exported, path: Path) -> Path:
    """Write a value learner's deterministic policy; see ``write_onnx``."""
    return write_onnx(exportable(agent), path)


def exportable(agent: Exported) -> Exportable:
    """A value learner's deterministic policy, which takes its environment's frames.

    Raises:
        FovealError: it is another policy.
    """
    if lacking := [name for name in ("learner", "method", "shapes", "env_options") if not hasattr(agent, name)]:
        raise FovealError(f"a {type(agent).__name__} has no {lacking[0]}, so it can't be exported as an agent is")
    return Exportable(DeterministicPolicy(agent), partial(_random_inputs, agent))


def write_onnx(exported: Exportable, path: Path) -> Path:
    """Write the file once it has been compared with PyTorch on the examples.

    Raises:
        FovealError: the extra is missing, the file can't be written, or the two disagree by more than 1e-3, of numbers
            above 1 by more than a thousandth.
    """
    runtime = _runtime()
    exported.network.eval()
    with written_whole(path) as unfinished:
        _write(exported, unfinished)
        session = runtime.InferenceSession(str(unfinished), providers=["CPUExecutionProvider"])
        for size in (1, 3):
            _compare(exported.network, session, exported.examples(size))
    return path


def _write(exported: Exportable, path: Path) -> None:
    """Export with any batch size."""
    inputs = exported.examples(2)
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.onnx.export(
            exported.network,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(exported.outputs),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is with dynamo=True
    program.save(path, external_data=False)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of itself: torchvision is not needed here, and deprecated calls are its own."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)` is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", r"# The axis name: batch will not be used", UserWarning)
            yield
    finally:
        logger.setLevel(level)


def _compare(policy: nn.Module, session: Any, inputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        given = policy(*inputs.values())
    expected = [output.numpy() for output in (given if isinstance(given, tuple) else (given,))]
    found = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    for one, other in zip(found, expected, strict=True):
        worst = (np.abs(one - other) / np.maximum(1.0, np.abs(other))).max()
        if not worst <= TOLERANCE:
            raise FovealError(f"the exported policy disagrees with PyTorch by {worst:.2g}; nothing was written")


def _random_inputs(agent: Exported, batch: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    size = agent.env_options["image_size"]
    image = torch.randint(0, 256, (batch, agent.shapes.image[0], size, size), generator=generator, dtype=torch.uint8)
    if not agent.shapes.vector:
        return {"image": image}
    return {"image": image, "vector": torch.randn(batch, agent.shapes.vector, generator=generator)}


def _runtime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise FovealError(f"exporting needs {error.name}: pip install 'foveal[onnx]'") from error
    return onnxruntime
