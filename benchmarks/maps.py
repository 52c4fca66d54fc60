"""Whose maps find the agent? Guided backpropagation of the critic, over the runs of a ledger of ``foveal bench run``.

    python benchmarks/maps.py measure bench/dmc-cpu --data FOLDER --out results/maps
    python benchmarks/maps.py table results/maps

Each policy plays, and now and then the map of its first critic at its own action is taken of all frames that it sees.
All policies are asked the same: which share of the most important pixels of the newest frame lies on the agent
(``precision``, of as many pixels for each method, whatever quantile it was trained with), beside the share that pixels
drawn at random have (``chance``); and SimGRL's TID score with its variance over the stacked frames. Maps of policies
with a network of the simulator's knowledge before them (``foveal``, ``tstm``) pass through it: they are privileged.
"""

from __future__ import annotations

import json
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rows import asked, commit, interval, missing

import foveal
from foveal.bench.cells import DONE, RUN, Cell, read_cell
from foveal.evaluation.insides import insides_of
from foveal.evaluation.pixel_world import pixel_world
from foveal.evaluation.results import machine, versions, write_json
from foveal.evaluation.world import WorldOptions
from foveal.saliency import guided_backprop
from foveal.saliency.agreement import agreement
from foveal.saliency.tid import tid

OF = "q1"
COLOURS = 3
NUMBERS = ("precision", "chance", "ratio", "tid", "tid_variance")


@dataclass(frozen=True)
class Measure:
    """Measure what is missing of a ledger.

    Attributes:
        ledger: folder of cells, ``TASK/LEARNER-METHOD/seed-N``.
        out: a file for each cell.
        data: folder of DMC-GB's colours and videos; without it they are generated.
        conditions: under which policies play.
        moments: maps of each cell and condition.
        every: agent steps between them.
        quantile: of the mask of the newest frame.
    """

    ledger: tyro.conf.Positional[Path]
    out: Path = Path("results/maps")
    data: Path | None = None
    conditions: tuple[str, ...] = ("train", "video_hard")
    moments: int = 60
    every: int = 10
    quantile: float = 0.95


@dataclass(frozen=True)
class Moment:
    """What an agent sees, and where the task is in it.

    Attributes:
        view: the observation, (3 * F, H, W).
        masks: (F, H, W) bool, of each of its frames, oldest first.
    """

    view: NDArray[np.uint8]
    masks: NDArray[np.bool_]


def moments(agent: Any, condition: str, options: Measure) -> Iterator[Moment]:
    """Of the agent's own episodes, once the first frames of an episode have gone by."""
    world = pixel_world(agent, WorldOptions((condition,), data=options.data))
    stack = agent.env_options["frame_stack"]
    with world.open(condition) as env:
        observation, _ = env.reset(seed=world.seed)
        masks: deque[NDArray[np.bool_]] = deque([env.agent_mask()], maxlen=stack)
        step = found = 0
        while found < options.moments:
            observation, _, terminated, truncated, _ = env.step(agent.predict(observation, deterministic=True)[0])
            masks.append(env.agent_mask())
            step += 1
            if terminated or truncated:
                observation, _ = env.reset()
                masks = deque([env.agent_mask()], maxlen=stack)
            elif len(masks) == stack and step % options.every == 0:
                found += 1
                yield Moment(np.asarray(observation).copy(), np.stack(masks))


def numbers(agent: Any, seen: Sequence[Moment], quantile: float) -> dict[str, float]:
    """Means over moments of what ``NUMBERS`` names."""
    insides, views = insides_of(agent), [moment.view for moment in seen]
    actions = [agent.predict(view, deterministic=True)[0] for view in views]
    maps = guided_backprop(insides.scalars[OF].bind(views, actions), insides.pixels(views)).cpu().numpy()
    rows = np.array([_of(found, moment, quantile) for found, moment in zip(maps, seen, strict=True)])
    return dict(zip(NUMBERS, np.nanmean(rows, 0).tolist(), strict=True))


def _of(found: NDArray[np.float32], moment: Moment, quantile: float) -> tuple[float, ...]:
    newest, where = np.abs(found[-COLOURS:]).sum(0), moment.masks[-1]
    precision, chance = agreement(newest, where, quantile).precision, float(where.mean())
    score = tid(found, moment.masks)
    return precision, chance, precision / chance if chance else float("nan"), score.score, score.variance


def measure(options: Measure) -> None:
    """Every cell that is done and has no file yet."""
    for folder in sorted(options.ledger.glob(f"*/*/seed-*/{RUN}")):
        cell = read_cell(folder.parent)
        if cell is None or cell.state != DONE:
            continue
        target = options.out / f"{cell.task.replace('/', '_')}-{cell.learner}-{cell.method}-{cell.seed}.json"
        with missing(target, options.out / "locks") as hold:
            if hold is not None:
                write_json(target, _measured(cell, foveal.load(folder), options))
                print(target.stem, flush=True)


def _measured(cell: Cell, agent: Any, options: Measure) -> dict[str, Any]:
    """All that a cell's file says."""
    settings = {"moments": options.moments, "every": options.every, "quantile": options.quantile}
    return {
        "row": {"task": cell.task, "learner": cell.learner, "method": cell.method, "seed": cell.seed},
        "privileged": bool(getattr(agent.method, "privileged", False)),
        "settings": {**settings, "benchmark_data": options.data is not None},
        "conditions": {
            condition: numbers(agent, list(moments(agent, condition, options)), options.quantile)
            for condition in options.conditions
        },
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
    }


def table(folder: Path) -> None:
    """Markdown: means over training seeds with Student's interval."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.json")):
        one = json.loads(path.read_text())
        name = f"{one['row']['learner']}, {one['row']['method']}{' (privileged)' if one['privileged'] else ''}"
        for condition in one["conditions"]:
            found[one["row"]["task"], condition, name].append(one)
    print("| task | look | policy | seeds | mask on the agent | by chance | times chance | TID | its variance |")
    print(f"|{'---|' * 9}")
    for (task, condition, name), seeds in sorted(found.items()):
        cells = [
            interval([one["conditions"][condition][number] for one in seeds], digits)
            for number, digits in zip(NUMBERS, (3, 3, 1, 3, 0), strict=True)
        ]
        print(f"| {task} | {condition} | {name} | {len(seeds)} | {' | '.join(cells)} |")


def main() -> None:
    """Measure or show."""
    options = asked(Measure, table, "measure")
    torch.set_num_threads(1)
    if options is not None:
        measure(options)


if __name__ == "__main__":
    main()
