"""Results of an evaluation: every episode, what it ran on, and how both are written as a table and as JSON.

The JSON layout is ``foveal.results/1``: the fields of ``Results.as_dict``. Readers ignore keys that they do not know.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.errors import FovealError
from foveal.evaluation.layout import laid_out
from foveal.evaluation.statistics import SuccessRate, Summary, summary
from foveal.machine.cores import available
from foveal.pictures.writing import written_whole
from foveal.saliency.evenness import Evenness

FORMAT = "foveal.results/1"
_RECORDED_VERSIONS = ("foveal", "torch", "numpy", "gymnasium", "mujoco", "dm_control")


@dataclass(frozen=True)
class Episode:
    """One rollout.

    Attributes:
        index: how many episodes came before it in the same stream.
        seed: what the environment's stream was seeded with, before its first episode.
        total: the return, undiscounted.
        length: in agent steps.
        terminated: the environment reached a terminal state; False when a time limit ended the episode.
        quality: render quality, None where the environment has no such thing.
        success: whether the task was solved, None where the environment has no such thing.
    """

    index: int
    seed: int
    total: float
    length: int
    terminated: bool
    quality: str | None
    success: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able; the total is called ``return``, and ``success`` is there where it is known."""
        state = {
            "index": self.index,
            "seed": self.seed,
            "return": self.total,
            "length": self.length,
            "terminated": self.terminated,
            "quality": self.quality,
        }
        return state if self.success is None else {**state, "success": self.success}

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> Episode:
        """The inverse of ``as_dict``."""
        known = {name: state[name] for name in ("index", "seed", "length", "terminated", "quality")}
        return cls(total=state["return"], success=state.get("success"), **known)


@dataclass(frozen=True)
class Condition:
    """All episodes under one perturbation.

    Attributes:
        perturbation: its name, or ``"train"`` for none.
        source: where its colours or videos come from, ``"dmc-gb"`` or ``"generated"``; None without a perturbation.
        quality: render quality.
        items: colours or videos that were at hand; None where there are none to count.
        complete: whether these are all that the benchmark has; None where there is no benchmark to compare with.
        benchmark_items: how many the benchmark has.
        alarms: of a policy behind a shield, the share of steps in which the frame was not to be trusted.
        attention: how even the maps of a network with attention were, on their own grid.
    """

    perturbation: str
    source: str | None
    quality: str | None
    episodes: tuple[Episode, ...]
    items: int | None = None
    complete: bool | None = None
    benchmark_items: int | None = None
    alarms: float | None = None
    attention: Evenness | None = None

    @property
    def note(self) -> str:
        """What a reader must know to compare: see ``provenance``."""
        return provenance(self.source, self.items, self.benchmark_items, self.complete)

    @property
    def comparable(self) -> bool:
        """Whether published numbers may stand beside this one: the whole benchmark's own colours or videos."""
        return self.note in ("", "DMC-GB")

    @property
    def label(self) -> str:
        """The name, with a mark where the perturbation is not the whole benchmark's own."""
        return self.perturbation if self.comparable else f"{self.perturbation} ({self.note})"

    @property
    def returns(self) -> NDArray[np.float64]:
        """(episodes,) undiscounted returns."""
        return np.array([episode.total for episode in self.episodes], dtype=np.float64)

    @cached_property
    def summary(self) -> Summary:
        """Mean, spread and interval of the returns."""
        return summary(self.returns)

    @cached_property
    def success(self) -> SuccessRate | None:
        """How often the task was solved; None where some episode does not tell."""
        successes = [episode.success for episode in self.episodes]
        return None if None in successes else SuccessRate.of([bool(success) for success in successes])

    def as_dict(self) -> dict[str, Any]:
        """JSON-able, without the name, which is its key in ``Results.as_dict``."""
        return {
            **({} if self.success is None else {"success": asdict(self.success)}),
            **({} if self.alarms is None else {"alarms": self.alarms}),
            **({} if self.attention is None else {"attention": self.attention.as_dict()}),
            "source": self.source,
            "quality": self.quality,
            "items": self.items,
            "benchmark_items": self.benchmark_items,
            "complete": self.complete,
            "comparable": self.comparable,
            "summary": dict(self.summary),
            "episodes": [episode.as_dict() for episode in self.episodes],
        }

    @classmethod
    def from_dict(cls, perturbation: str, state: Mapping[str, Any]) -> Condition:
        """The inverse of ``as_dict``; the summary is computed again."""
        episodes = tuple(Episode.from_dict(episode) for episode in state["episodes"])
        known = {name: state.get(name) for name in ("items", "complete", "benchmark_items", "alarms")}
        attention = Evenness.from_dict(state["attention"]) if "attention" in state else None
        return cls(perturbation, state["source"], state["quality"], episodes, **known, attention=attention)


@dataclass(frozen=True)
class Results:
    """What ``evaluate`` and ``random_returns`` give. Prints as a table; ``results["color_hard"]`` is one condition.

    Attributes:
        environment: id, image size, frame stack, action repeat and the like.
        policy: what acted: method, learner, training seed, steps and updates, or ``{"name": "random"}``.
        seed: of the evaluation.
        conditions: one per perturbation, in the order asked for.
        data: folder of benchmark data, or None for generated perturbations.
        seconds: wall time of the evaluation.
        created: UTC, ISO 8601.
    """

    environment: dict[str, Any]
    policy: dict[str, Any]
    seed: int
    conditions: tuple[Condition, ...]
    data: str | None = None
    seconds: float = 0.0
    created: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, perturbation: str) -> Condition:
        condition = self.get(perturbation)
        if condition is None:
            raise KeyError(perturbation)
        return condition

    def get(self, perturbation: str) -> Condition | None:
        """One condition, or None if it was not evaluated."""
        return next((condition for condition in self.conditions if condition.perturbation == perturbation), None)

    def __str__(self) -> str:
        return self.table()

    @property
    def perturbations(self) -> list[str]:
        """Names of the conditions, in order."""
        return [condition.perturbation for condition in self.conditions]

    def table(self) -> str:
        """A plain-text table for a terminal: one row per condition."""
        head = ("perturbation", "mean", "95 % interval", "IQM", "median", "std", "episodes", "rendering")
        rows = [head, *(_row(condition) for condition in self.conditions)]
        for name, place, tell in _MORE_COLUMNS:
            cells = [tell(condition) for condition in self.conditions]
            if any(cell != "-" for cell in cells):
                rows = [(*row[:place], cell, *row[place:]) for row, cell in zip(rows, [name, *cells], strict=True)]
        return laid_out(self.title, rows)

    @property
    def title(self) -> str:
        """One line: environment, policy and seed."""
        return f"{self.environment.get('id', '?')} · {describe_policy(self.policy)} · evaluation seed {self.seed}"

    def as_dict(self) -> dict[str, Any]:
        """All of it, JSON-able, with a summary for every condition."""
        return {
            "format": FORMAT,
            "environment": self.environment,
            "policy": self.policy,
            "seed": self.seed,
            "data": self.data,
            "perturbations": {condition.perturbation: condition.as_dict() for condition in self.conditions},
            "seconds": self.seconds,
            "created": self.created,
            "versions": self.versions,
            "machine": self.machine,
        }

    @classmethod
    def from_dict(cls, state: Any) -> Results:
        """The inverse of ``as_dict``.

        Raises:
            FovealError: it is not of the layout ``foveal.results/1``.
        """
        if not isinstance(state, Mapping) or state.get("format") != FORMAT:
            raise FovealError(f"these are not results of foveal: the field 'format' must be {FORMAT!r}")
        try:
            conditions = tuple(Condition.from_dict(*item) for item in state["perturbations"].items())
            return cls(
                environment=dict(state["environment"]),
                policy=dict(state["policy"]),
                seed=state["seed"],
                conditions=conditions,
                data=state["data"],
                seconds=state["seconds"],
                created=state["created"],
                versions=dict(state["versions"]),
                machine=dict(state["machine"]),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise FovealError(f"these results are incomplete: {type(error).__name__} {error}") from error

    def save(self, path: str | Path) -> Path:
        """Write ``as_dict`` as JSON; the file is either the old one or the whole new one at any time.

        Raises:
            FovealError: the file cannot be written.
        """
        return write_json(path, self.as_dict())

    @classmethod
    def load(cls, path: str | Path) -> Results:
        """Read what ``save`` wrote.

        Raises:
            FovealError: the file is missing, no JSON, or holds something else.
        """
        state = read_json(path)
        try:
            return cls.from_dict(state)
        except FovealError as error:
            raise FovealError(f"{path}: {error}") from error


def provenance(source: str | None, items: int | None, benchmark_items: int | None, complete: bool | None) -> str:
    """Where colours or videos come from, as tables and pages say it.

    Returns:
        ``"DMC-GB"`` for the whole benchmark's own, ``"20 of 100"`` for so many of its items, ``"generated"``, or
        nothing.
    """
    if source != "dmc-gb":
        return source or ""
    if complete is False:
        return f"{items} of {benchmark_items}" if benchmark_items else f"{items} of DMC-GB's"
    return "DMC-GB"


def describe_policy(policy: Mapping[str, Any]) -> str:
    """One phrase, e.g. ``"tstm on sac, 12,000 updates, privileged"`` or ``"random"``."""
    if "method" not in policy:
        return str(policy.get("name", "unknown policy"))
    updates = f", {policy['updates']:,} updates" if isinstance(policy.get("updates"), int) else ""
    unsaid = policy.get("privileged") and "privileged" not in policy["method"]  # as behind a shield it is
    return f"{policy['method']} on {policy.get('learner', '?')}{updates}{', privileged' if unsaid else ''}"


def machine() -> dict[str, Any]:
    """Processor, cores that this process may use, operating system, and the GPU if PyTorch sees one."""
    return {
        "processor": _processor(),
        "cores": available(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]} {platform.machine()}",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    for name in _RECORDED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def origin() -> dict[str, Any]:
    """When, with what and where something is measured: ``created``, ``versions`` and ``machine``."""
    return {"created": now(), "versions": versions(), "machine": machine()}


def now() -> str:
    """The current time, UTC, ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_json(path: str | Path) -> Any:
    """The content of a JSON file.

    Raises:
        FovealError: it can't be read, or is no JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise FovealError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise FovealError(f"{path} is no JSON file: {error}") from error


def write_json(path: str | Path, content: Any) -> Path:
    """Write JSON as ``write_text`` does. NaN and infinities are refused, since JSON has none."""
    return write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_text(path: str | Path, text: str) -> Path:
    """Write a file under a temporary name, flush it to the disk, then give it its name.

    Raises:
        FovealError: the folder cannot be made or the file cannot be written. An earlier file of that name is unharmed.
    """
    path = Path(path)
    with written_whole(path) as partial, open(partial, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return path


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()


def _row(condition: Condition) -> tuple[str, ...]:
    told = condition.summary
    return (
        condition.label,
        f"{told['mean']:.1f}",
        f"[{told['low']:.1f}, {told['high']:.1f}]",
        f"{told['iqm']:.1f}",
        f"{told['median']:.1f}",
        f"{told['std']:.1f}",
        str(told["n"]),
        condition.quality or "-",
    )


def _solved(rate: SuccessRate | None) -> str:
    return "-" if rate is None else f"{100 * rate.rate:.0f} % [{100 * rate.low:.0f}, {100 * rate.high:.0f}]"


_MORE_COLUMNS: tuple[tuple[str, int, Callable[[Condition], str]], ...] = (
    ("solved, 95 % interval", 1, lambda condition: _solved(condition.success)),
    ("alarms", -1, lambda condition: "-" if condition.alarms is None else f"{100 * condition.alarms:.1f} %"),
    ("attention on its grid", -1, lambda condition: str(condition.attention or "-")),
)
"""Of what some policies have: name, place in the row, and cell, ``-`` where there is nothing."""
