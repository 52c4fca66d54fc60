"""The published order of operations, from the source tree's ``benchmarks/published.py``."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from foveal.benchmark.updates import PERIOD, Subject, seconds_of_update
from foveal.errors import FovealError

METHODS = ("sac", "svea", "sgqn")
SOURCE = Path("benchmarks") / "published.py"


class Reference:
    """What ``foveal.benchmark.updates.Subject`` is compared with: the same method on the same shapes.

    Raises:
        FovealError: there is no source tree around the package, or captum is missing.
    """

    def __init__(self, subject: Subject) -> None:
        agent = subject.agent
        module = published()
        pictures = torch.randint(0, 256, (64, 3, *agent.shapes.image[1:]), dtype=torch.uint8)
        actions = agent.shapes.action.shape or ()
        self._subject = subject
        self._plain = module.Published(
            subject.method, agent.shapes.image, actions[0], pictures, device=str(subject.device)
        )

    def block(self) -> None:
        """``PERIOD`` updates, batches included."""
        for _ in range(PERIOD):
            self._plain.update(self._sample)

    def time(self) -> float:
        """Seconds of one update, averaged over a block."""
        return seconds_of_update(self.block, self._subject.device)

    def _sample(self) -> tuple[Any, ...]:
        batch = self._subject.sample(self._subject.batch_size)
        not_done = torch.ones_like(batch.reward)
        return batch.obs.image, batch.action, batch.reward[:, None], batch.next_obs.image, not_done[:, None]


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
