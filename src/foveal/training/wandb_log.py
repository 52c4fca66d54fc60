"""A run's curves at Weights & Biases, beside those of TensorBoard.

The run's folder keeps the id of its W&B run, so that a training which is resumed goes on there too. Curves are over
agent steps and not over W&B's own count of calls: what a resumed training does again is drawn again, at its place.
``WANDB_MODE``, ``WANDB_ENTITY`` and the like are W&B's own and hold as always.
"""

from __future__ import annotations

import importlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foveal.errors import FovealError, require
from foveal.evaluation.results import Results, write_json

IDENTITY = "wandb.json"
STEP = "agent_step"


def check_wandb() -> None:
    """Import the package ``wandb``.

    Raises:
        FovealError: it is not installed.
    """
    require("wandb", '--wandb needs the extra that brings it: pip install "foveal[wandb]"')


class WandbLog:
    """One run at W&B, open until it is closed.

    Args:
        project: its name.
        run: the folder of the training run, which exists.
        config: everything that the training was made with, JSON-able.

    Raises:
        FovealError: ``wandb`` is not installed, or W&B refuses: no key, no network, a project that isn't there.
    """

    def __init__(self, project: str, run: Path, config: Mapping[str, Any]) -> None:
        check_wandb()
        self._wandb: Any = importlib.import_module("wandb")
        identity = self._identity(project, run)
        try:
            self._run = self._wandb.init(
                **identity,
                name=run.name,
                dir=str(run),
                config=dict(config),
                resume="allow",
                settings=self._wandb.Settings(console="off"),  # the progress bar is no log
            )
        except self._wandb.errors.Error as error:
            raise FovealError(
                f"Weights & Biases refused: {error}; log in with `wandb login`, or keep the curves here for later with "
                "WANDB_MODE=offline"
            ) from error
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric("*", step_metric=STEP)
        self._step: int | None = None
        self._values: dict[str, Any] = {}

    def _identity(self, project: str, run: Path) -> dict[str, str]:
        """Project and id of the W&B run: those of before, where there was one."""
        path = run / IDENTITY
        if path.is_file():
            known = json.loads(path.read_text(encoding="utf-8"))
            return {"project": known["project"], "id": known["id"]}
        made = {"project": project, "id": secrets.token_hex(6)}
        write_json(path, made)
        return made

    def scalar(self, name: str, value: float, step: int) -> None:
        """Log a number; those of one agent step go together."""
        if step != self._step:
            self._send()
            self._step = step
        self._values[name] = value

    def results(self, step: int, results: Results) -> None:
        """Log what TensorBoard has no place for: spread and single returns of an evaluation."""
        for condition in results.conditions:
            for key in ("iqm", "low", "high"):
                self.scalar(f"evaluation/{condition.perturbation}/{key}", condition.summary[key], step)
            self._values[f"evaluation/{condition.perturbation}/returns"] = self._wandb.Histogram(condition.returns)

    def close(self) -> None:
        """Send the rest, and finish."""
        self._send()
        self._run.finish()

    def _send(self) -> None:
        if self._values:
            self._run.log({STEP: self._step, **self._values})
            self._values = {}
