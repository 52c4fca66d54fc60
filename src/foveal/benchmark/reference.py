"""The published order of operations, from the source tree's ``benchmarks/published.py``.

It runs in a process of its own, because foveal changes how the C library allocates memory for a whole process
(``foveal.allocation``): the published code gets the library's defaults, as it does wherever it is run.
"""

from __future__ import annotations

import importlib.util
import multiprocessing
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from foveal.benchmark.stopwatch import seconds
from foveal.errors import FovealError

METHODS = ("sac", "svea", "sgqn")
SOURCE = Path("benchmarks") / "published.py"
STORED = 512
"""Observations of noise that batches are drawn from."""
ANSWER = 600.0
"""Seconds after which a block that isn't over has failed."""


@dataclass(frozen=True)
class Shape:
    """What an update works on.

    Attributes:
        method: "sac", "svea" or "sgqn".
        image: (C, H, W) of the observation.
        actions: size of the action.
        batch_size: transitions of an update.
        device: that computes.
        threads: of the CPU.
    """

    method: str
    image: tuple[int, int, int]
    actions: int
    batch_size: int
    device: str
    threads: int


class Reference:
    """What ``foveal.benchmark.updates.Subject`` is compared with: the same method on the same shapes.

    Args:
        shape: of the work.
        updates: in a block.

    Raises:
        FovealError: there is no source tree around the package, or captum is missing.
    """

    def __init__(self, shape: Shape, updates: int) -> None:
        published()  # what is missing is said here, not in another process
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._updates = updates
        self._process = context.Process(target=_serve, args=(theirs, shape, updates), daemon=True)
        self._process.start()
        theirs.close()

    def block(self) -> None:
        """A block of updates, batches included."""
        self.time()

    def time(self) -> float:
        """Seconds of one update, averaged over a block."""
        try:
            self._connection.send("block")
            if not self._connection.poll(ANSWER):
                raise FovealError(f"the published order of operations took over {ANSWER:.0f} s for a block")
            return self._connection.recv() / self._updates
        except (EOFError, OSError) as error:
            raise FovealError("the process of the published order of operations ended; is memory short?") from error

    def close(self) -> None:
        """End its process."""
        self._connection.close()
        self._process.join()


def _serve(connection: Connection, shape: Shape, updates: int) -> None:
    """Answer each message with the seconds that a block took, until nobody asks any more."""
    torch.set_num_threads(shape.threads)
    device = torch.device(shape.device)
    sample = _noise(shape, device)
    pictures = torch.randint(0, 256, (64, 3, *shape.image[1:]), dtype=torch.uint8)
    plain = published().Published(shape.method, shape.image, shape.actions, pictures, device=shape.device)

    def block() -> None:
        for _ in range(updates):
            plain.update(sample)

    while True:
        try:
            connection.recv()
        except EOFError:
            return
        connection.send(seconds(block, device))


def _noise(shape: Shape, device: torch.device) -> Any:
    """A function that draws a batch: obs, action, reward, next obs, not done."""
    frames = torch.randint(0, 256, (STORED, *shape.image), dtype=torch.uint8)
    size = shape.batch_size

    def sample() -> tuple[torch.Tensor, ...]:
        obs, next_obs = (frames[torch.randint(STORED, (size,))].to(device) for _ in range(2))
        action = torch.rand(size, shape.actions, device=device) * 2 - 1
        reward, not_done = (torch.ones(size, 1, device=device) for _ in range(2))
        return obs, action, reward, next_obs, not_done

    return sample


def published() -> ModuleType:
    """The module of the source tree.

    Raises:
        FovealError: as ``Reference``.
    """
    path = Path(__file__).resolve().parents[3] / SOURCE
    if not path.is_file():
        raise FovealError(f"--reference needs {SOURCE} of foveal's source tree; run it from a clone: pip install -e .")
    specification = importlib.util.spec_from_file_location("foveal_published", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
    except ImportError as error:
        raise FovealError(f"--reference needs {error.name}: pip install 'foveal[dev]'") from error
    return module
