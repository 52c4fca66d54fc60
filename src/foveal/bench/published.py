"""What papers print of other methods, and whether measured numbers may stand beside it.

The numbers are in ``foveal/data/published.yaml``, with the paper of each, the protocol, and what is comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from foveal.bench.scores import Score
from foveal.evaluation.world import TRAIN

FORMAT = "foveal.published/1"
OWN = "DMC-GB"
"""What the provenance of a condition says where all of its colours or videos are the benchmark's own."""


@dataclass(frozen=True)
class Protocol:
    """How published numbers were measured.

    Attributes:
        name: of the protocol.
        says: in words.
        suite: the suite whose runs follow it; None where none of foveal's does.
        steps: agent steps of a training.
        quality: of rendering.
        episodes: that a run's score must rest on, at least.
    """

    name: str
    says: str
    suite: str | None
    steps: int = 0
    quality: str = ""
    episodes: int = 0

    def obstacles(self, scores: Sequence[Score]) -> list[str]:
        """Why published numbers can't stand beside these; empty where they can."""
        if self.suite is None:
            return [f"no suite of foveal's follows its protocol, {self.says}"]
        suites = {score.run.suite or "none" for score in scores}
        found = [f"measured in the suite {name}, not {self.suite}" for name in sorted(suites - {self.suite})]
        looks = {score.look for score in scores}
        notes = {look.note for look in looks if look.perturbation != TRAIN}
        found += [
            f"colours or videos are not all of the benchmark's own, but: {n or '?'}" for n in sorted(notes - {OWN})
        ]
        qualities = {look.quality or "other" for look in looks}
        found += [f"{quality} rendering, not {self.quality}" for quality in sorted(qualities - {self.quality})]
        steps = {score.run.steps for score in scores}
        found += [f"{count:,} agent steps, not {self.steps:,}" for count in sorted(steps - {self.steps})]
        fewest = min(len(score.condition.episodes) for score in scores)
        return [*found, *([f"{fewest} episodes a run, not {self.episodes}"] if fewest < self.episodes else [])]


@dataclass(frozen=True)
class PublishedRow:
    """One method of a published table.

    Attributes:
        method: its name, as printed.
        paper, table: where it is printed.
        read: how it came here: ``"compilation"`` of tables, or ``"second hand"``.
        scores: task -> mean return over seeds.
        mean: over tasks, as printed; None where none is.
        seeds: of training, where that is known.
        privileged: whether the method learns from what the simulator alone knows.
    """

    method: str
    paper: str
    table: str
    read: str
    scores: Mapping[str, float]
    mean: float | None = None
    seeds: int | None = None
    privileged: bool = False

    @property
    def source(self) -> str:
        """Where it is printed, in a line."""
        table = "" if self.table == "not recorded" else f", {self.table}"
        return f"{self.paper}{table}{' (second hand)' if self.read == 'second hand' else ''}"


@dataclass(frozen=True)
class PublishedTable:
    """Published returns under one condition.

    Attributes:
        id: of the table.
        condition: name of the perturbation.
        protocol: how they were measured.
        comparable: what of it may be compared, in words.
        rows: a method each.
    """

    id: str
    condition: str
    protocol: Protocol
    comparable: str
    rows: tuple[PublishedRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        rows = [{**vars(row), "scores": dict(row.scores)} for row in self.rows]
        known = {"id": self.id, "condition": self.condition, "comparable": self.comparable}
        return {**known, "protocol": vars(self.protocol), "rows": rows}


@cache
def published_tables() -> tuple[PublishedTable, ...]:
    """All of them."""
    text = files("foveal").joinpath("data", "published.yaml").read_text(encoding="utf-8")
    content = yaml.safe_load(text)
    protocols = {name: Protocol(name, **told) for name, told in content["protocols"].items()}
    return tuple(
        PublishedTable(
            id=table["id"],
            condition=table["condition"],
            protocol=protocols[table["protocol"]],
            comparable=table["comparable"],
            rows=tuple(PublishedRow(**row) for row in table["rows"]),
        )
        for table in content["tables"]
    )
