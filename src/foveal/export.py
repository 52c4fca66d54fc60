"""The deterministic policy as an ONNX file that runs without foveal and without PyTorch."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.learners import Learner, Shapes
from foveal.methods import Method
from foveal.networks.encoders import Encoder
from foveal.types import Observation

TOLERANCE = 1e-3


class Exported(Protocol):
    """What an export needs of an agent.

    Attributes:
        learner: whose ``best_action`` is exported.
        method: whose ``observe`` comes before it.
        shapes: of observations and actions.
    """

    learner: Learner
    method: Method
    shapes: Shapes

    @property
    def env_options(self) -> Mapping[str, Any]:
        """Keyword arguments of ``foveal.envs.make``."""


class DeterministicPolicy(nn.Module):
    """What is exported: (B, C, H, W) ``uint8``, and (B, V) where there is a vector, to actions."""

    def __init__(self, agent: Exported) -> None:
        super().__init__()
        self.method = copy.deepcopy(agent.method).cpu()
        self.learner = copy.deepcopy(agent.learner).cpu()
        for module in self.learner.modules():
            if isinstance(module, Encoder):
                module.dtype = torch.float32  # runtimes rarely have bfloat16 convolutions

    def forward(self, image: Tensor, vector: Tensor | None = None) -> Tensor:
        """(B, A) in [-1, 1], or (B,) where actions are discrete."""
        obs = Observation(image.to(torch.float32), vector)
        return self.learner.best_action(self.method.observe(obs))


def export_onnx(agent: Exported, path: Path) -> Path:
    """Write the file once it has been compared with PyTorch on random observations.

    Raises:
        FovealError: the extra is missing, the file can't be written, or the two disagree by more than 1e-3.
    """
    runtime = _runtime()
    policy = DeterministicPolicy(agent).eval()
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        names = _write(policy, _random_inputs(agent, batch=2), partial)
        session = runtime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        for size in (1, 3):
            _compare(policy, session, dict(zip(names, _random_inputs(agent, batch=size), strict=True)))
        partial.replace(path)
    except OSError as error:
        raise FovealError(f"can't write {path}: {error.strerror}") from error
    finally:
        if partial.exists():
            partial.unlink()
    return path


def _write(policy: DeterministicPolicy, inputs: tuple[Tensor, ...], path: Path) -> list[str]:
    """Export with any batch size; returns the names of the inputs."""
    names = ["image", "vector"][: len(inputs)]
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.onnx.export(
            policy,
            inputs,
            input_names=names,
            output_names=["action"],
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # it is with dynamo=True
    program.save(path, external_data=False)
    return names


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


def _compare(policy: DeterministicPolicy, session: Any, inputs: dict[str, Tensor]) -> None:
    with torch.no_grad():
        expected = policy(*inputs.values()).numpy()
    (found,) = session.run(None, {name: tensor.numpy() for name, tensor in inputs.items()})
    if not np.allclose(found, expected, atol=TOLERANCE):
        worst = np.abs(found - expected).max()
        raise FovealError(f"the exported policy disagrees with PyTorch by {worst:.2g}; nothing was written")


def _random_inputs(agent: Exported, batch: int) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    size = agent.env_options["image_size"]
    image = torch.randint(0, 256, (batch, agent.shapes.image[0], size, size), generator=generator, dtype=torch.uint8)
    if not agent.shapes.vector:
        return (image,)
    return image, torch.randn(batch, agent.shapes.vector, generator=generator)


def _runtime() -> Any:
    try:
        import onnx  # noqa: F401
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise FovealError(f"exporting needs {error.name}: pip install 'foveal[onnx]'") from error
    return onnxruntime
