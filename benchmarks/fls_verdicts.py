"""What the studies of the ball and of cues say, by the rules of ``results/fls/PLAN.md``.

    python benchmarks/fls_verdicts.py results/fls/causal

reads ``ball-ENCODER-SEED.json`` (``fls_evidence.py run`` writes them, or ``fls_causal.py``) and ``cues-SEED.json``
(``fls_cues.py measure``). An observation is one training; moments are only averaged.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from scipy import stats

CONFIDENCE = 0.95
"""One-sided."""
USEFUL = 0.1
"""Of the ceiling: what following must reach to be of any use."""
ENCODER = "sparse-fls"
SEEDS = {"ball": 8, "cues": 4}


@dataclass(frozen=True)
class Limits:
    """A mean over seeds with its one-sided 95 % limits, by Student's t."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Limits:
        """Of at least two seeds."""
        reach = stats.t.ppf(CONFIDENCE, len(values) - 1) * stats.sem(values)
        mean = float(np.mean(values))
        return cls(mean, mean - reach, mean + reach)

    def __str__(self) -> str:
        return f"{self.mean:+.4f}, one-sided 95 % limits over seeds {self.low:+.4f} and {self.high:+.4f}"


def ball(rows: Sequence[dict[str, Any]], kind: str) -> list[float]:
    """Each seed's following of the moved ball, minus that of its network before training."""
    return [_mean(row["changes"]["moved"][kind]) - _mean(row["untrained"]["moved"][kind]) for row in rows]


def ball_verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Whether the attention follows the ball."""
    gained = Limits.of(ball(rows, "attention"))
    useful = USEFUL * float(np.mean([row["changes"]["moved"]["attention"]["ceiling"] for row in rows]))
    told = f"{gained}; a tenth of the ceiling is {useful:.4f}"
    if len(rows) < SEEDS["ball"]:
        return f"{told}: nothing is concluded from {len(rows)} of {SEEDS['ball']} seeds"
    if gained.low > 0 and gained.mean > useful:
        return f"{told}: **follows the ball**"
    if gained.high < useful:
        return f"{told}: **refuted**, it does not follow the ball usefully"
    return f"{told}: **open**"


def learnt(row: dict[str, Any]) -> bool:
    """Whether the value of states rises by more with the cue than with its twin, beyond the interval over moments."""
    low = row["value"]["cue_minus_twin"]["low"]
    return low is not None and low > 0


def cues(rows: Sequence[dict[str, Any]], kind: str) -> list[float]:
    """Each seed's following of the cue minus that of its twin, and minus the same of its network before training."""
    return [row["paired"][kind]["mean"] - row["paired_untrained"][kind]["mean"] for row in rows]


def cues_verdict(rows: Sequence[dict[str, Any]]) -> str:
    """Whether the attention follows what matters, and not just what is to be seen."""
    known = [row for row in rows if learnt(row)]
    if len(known) < 2:
        return f"{len(known)} of {len(rows)} agents have learnt the cue: nothing is concluded"
    gained = cues(known, "attention")
    told = f"{len(known)} of {len(rows)} agents have learnt the cue; {Limits.of(gained)}"
    if len(rows) < SEEDS["cues"]:
        return f"{told}: nothing is concluded from {len(rows)} of {SEEDS['cues']} seeds"
    if Limits.of(gained).low > 0:
        return f"{told}: **follows what matters**"
    if sum(value <= 0 for value in gained) >= len(gained) / 2:
        return f"{told}: **refuted**, the twin has as much in half of the seeds or more"
    return f"{told}: **open**"


def _mean(found: dict[str, Any]) -> float:
    return float(found["following"]["mean"])


def main(folder: tyro.conf.Positional[Path]) -> None:
    """Print every seed, and what follows.

    Args:
        folder: of both studies' files.
    """
    balls, planted = (
        [json.loads(path.read_text()) for path in sorted(folder.glob(pattern))]
        for pattern in ("ball-*.json", "cues-*.json")
    )
    for encoder in sorted({row["encoder"] for row in balls}):
        rows = [row for row in balls if row["encoder"] == encoder]
        for kind in rows[0]["changes"]["moved"]:
            each = ", ".join(f"{value:+.4f}" for value in ball(rows, kind))
            print(f"ball moved, {encoder}, {kind}, trained minus untrained: {each}")
    if (rows := [row for row in balls if row["encoder"] == ENCODER])[1:]:
        print(f"ball: {ball_verdict(rows)}")
    for row in planted:
        each = ", ".join(f"{kind} {cues([row], kind)[0]:+.4f}" for kind in row["paired"])
        print(f"cue minus twin, seed {row['seed']}{'' if learnt(row) else ' (has not learnt the cue)'}: {each}")
    if planted:
        print(f"cues: {cues_verdict(planted)}")


if __name__ == "__main__":
    tyro.cli(main)
