"""The ledger of a benchmark: a folder of run folders, one for each cell of the grid.

``OUT/<suite>/<task, / replaced by _>/<learner>-<method>/seed-<n>/`` is a cell. In it are

- ``cell.json``: what the cell is and how it stands, see ``Cell``;
- ``run/``: an ordinary run folder, absent once slimmed;
- ``results.json``: ``foveal.evaluation.results.Results`` of the last policy under all of the suite's conditions;
- ``results-shield.json``, where the suite asks for shields: the same, behind a shield trained for that policy.

``OUT/<suite>/<task>/random.json`` is the task's random policy, and ``OUT/<suite>/<task>/shared/`` has what cells of the
arm share: demonstrations and skills.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from foveal.errors import FovealError
from foveal.evaluation.results import read_json, write_json

FORMAT = "foveal.cell/1"
CELL, RUN, RESULTS, SHIELDED, RANDOM = "cell.json", "run", "results.json", "results-shield.json", "random.json"
SHARED = "shared"
DONE, FAILED, RUNNING = STATES = ("done", "failed", "running")


@dataclass(frozen=True)
class Cell:
    """One training with its evaluations, as ``cell.json`` tells it.

    Attributes:
        suite: its name, or None of a training that belongs to none.
        task: id of the environment.
        learner, method: their names; a method may be a variant that the suite defines.
        seed: of the training.
        shield: name of the shield's folder in the cell's, or None where the suite asks for none.
        steps: agent steps of training; 0 where presets alone say how long it is, as for the arm.
        command: the ``foveal train`` that does the same training, or other commands of foveal.
        commit: of foveal's source, or None where it is no checkout.
        state: ``"done"``, ``"failed"`` or ``"running"``; one whose process has died still says running.
        error: of a failed one, a line.
        seconds: of work on it, over all attempts; None while it runs for the first time.
        machine: processor, cores, threads and the like.
    """

    suite: str | None
    task: str
    learner: str
    method: str
    seed: int
    shield: str | None = None
    steps: int = 0
    command: str = ""
    commit: str | None = None
    state: str = RUNNING
    error: str | None = None
    seconds: float | None = None
    machine: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_dict(cls, state: Any) -> Cell:
        """The inverse of ``as_dict``; what has a default may be missing.

        Raises:
            FovealError: it is of another layout.
        """
        if not isinstance(state, Mapping) or state.get("format") != FORMAT:
            raise FovealError(f"this is no run of a benchmark: its field 'format' must be {FORMAT!r}")
        for name in ("task", "learner", "method", "seed", "state"):
            if name not in state:
                raise FovealError(f"it lacks {name!r}: write it anew with `foveal bench run`")
        if state["state"] not in STATES:
            raise FovealError(f"the state of a cell is one of {', '.join(STATES)}, not {state['state']!r}")
        given = {entry.name: state[entry.name] for entry in fields(Cell) if state.get(entry.name) is not None}
        return cls(**{**given, "suite": given.get("suite") or None})


def cell_folder(out: Path, suite: str, task: str, learner: str, method: str, seed: int) -> Path:
    """Where a cell is."""
    return task_folder(out, suite, task) / f"{learner}-{method}" / f"seed-{seed}"


def task_folder(out: Path, suite: str, task: str) -> Path:
    """Where all cells of a task are."""
    return out / suite / task.replace("/", "_")


def write_cell(folder: Path, cell: Cell) -> None:
    """Write ``cell.json``, whole or not at all."""
    write_json(folder / CELL, cell.as_dict())


def read_cell(folder: Path) -> Cell | None:
    """The cell of a folder; None where it has not begun.

    Raises:
        FovealError: ``cell.json`` can't be read or holds something else.
    """
    path = folder / CELL
    if not path.exists():
        return None
    content = read_json(path)
    try:
        return Cell.from_dict(content)
    except FovealError as error:
        raise FovealError(f"{path}: {error}") from error
