"""What is a policy worth behind a shield, and what of the shield is it that counts?

    python benchmarks/shield.py run pretrained:walker-stand-sgqn runs/plain --data FOLDER --variants full --seeds 0 1 2
    python benchmarks/shield.py table results/shield

A row is one shield: it is trained for the first policy, in a process of its own, and evaluated before every policy
named, on episodes that are the same for all rows. The variant ``none`` is no shield at all. What is there already is
not run again; start the command twice for two rows at a time. Settings were chosen on corruptions that training lacks,
never on these conditions.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from PIL import Image
from rows import asked, commit, interval, missing, train_to_end
from sb3_policy import POLICY, Theirs
from shield_memory import trained_with_memory

import foveal
from foveal.corruptions import CORRUPTIONS
from foveal.evaluation.results import machine, versions, write_json
from foveal.fovea.config import TRAINED_ON
from foveal.fovea.frames import FrameSet
from foveal.shield.config import ShieldConfig
from foveal.shield.different import different
from foveal.shield.measures import Measured, detection, measure
from foveal.training.looking import collect

CONDITIONS = ("train", "color_hard", "video_easy", "video_hard")
HELD_OUT = tuple(sorted(set(CORRUPTIONS.names()) - set(TRAINED_ON)))
MOVED = ("rotate", "zoom")
"""Held-out corruptions that move the camera: a shield can't know that, and its page says so. Doubt is judged without
them as well."""
FRESH = 1000
"""Frames, of episodes that no training saw, on which errors and doubt are measured."""
VARIANTS: dict[str, tuple[str, ...]] = {
    "none": (),
    "full": (),
    "masked": ("--output", "masked"),
    "restoring": ("--mask-weight", "0", "--task-weight", "0"),
    "motion": ("--masks", "motion"),
    "saliency": ("--masks", "saliency"),
    "frames-300": ("--frames", "300"),
    "frames-1000": ("--frames", "1000"),
    "frames-10000": ("--frames", "10000"),
    "filters-8": ("--filters", "8"),
    "filters-32": ("--filters", "32"),
    "depth-3": ("--depth", "3"),
    "pictures-30": ("--picture-count", "30"),
    "pictures-200": ("--picture-count", "200"),
    "steps-500": ("--steps", "500"),
    "steps-6000": ("--steps", "6000"),
    "overlays-only": ("--corruptions", "overlay"),
    "no-masks": (
        *("--corruptions", "blur", "gamma", "lamp", "noise", "occluder", "overlay", "shift", "tint"),
        *("--mask-weight", "0", "--task-weight", "0"),
    ),
    "memory": (),
    "drawn-5": (),
    "drawn-10": (),
    "backgrounds-only": ("--corruptions", "background", "background_flicker", "background_pan", "background_part"),
}
DRAWN = {"drawn-5": 5, "drawn-10": 10}
"""Variants without a simulator: as many masks as a person would draw, of frames that differ, tell the task."""


@dataclass(frozen=True)
class Run:
    """Train shields and evaluate policies behind them.

    Attributes:
        policies: run folders or pretrained:NAME, written as NAME=FOLDER to give one a name; shields are trained for
            the first.
        data: folder of DMC-GB's colours and videos.
        variants: of the shield.
        seeds: of its training.
        episodes: under each condition.
        conditions: names of them; the bare policy's row must have ``train``.
        out: a file for each row.
        work: the shields.
    """

    policies: tyro.conf.Positional[tuple[str, ...]]
    data: Path
    variants: tuple[str, ...] = ("none", "full")
    seeds: tuple[int, ...] = (0, 1, 2)
    episodes: int = 10
    conditions: tuple[str, ...] = CONDITIONS
    out: Path = Path("results/shield")
    work: Path = Path("runs/shield")


@dataclass(frozen=True)
class Named:
    """A policy with a name."""

    name: str
    source: str
    agent: Any = field(repr=False)

    @classmethod
    def of(cls, words: str) -> Named:
        """From NAME=FOLDER, or what ``foveal.load`` takes; FOLDER may be of ``benchmarks/sb3_policy.py``."""
        name, _, source = words.rpartition("=")
        folder = Path(source)
        agent = Theirs(folder) if (folder / POLICY).is_file() else foveal.load(source)
        return cls(name or Path(source.replace("pretrained:", "")).name, source, agent)


def row(variant: str, seed: int, policies: Sequence[Named], options: Run) -> None:
    """One shield, unless it is there or another process is at it."""
    target = options.out / f"{policies[0].name}-{variant}-{seed}.json"
    with missing(target, options.work) as hold:
        if hold is not None:
            write_json(target, _row(variant, seed, policies, options, hold))


def _row(variant: str, seed: int, policies: Sequence[Named], options: Run, hold: int) -> dict[str, Any]:
    """All that its file says."""
    shield, about = (None, {}) if variant == "none" else taught(variant, seed, policies[0], options.work, hold)
    results: dict[str, Any] = {}
    for policy in policies:
        behind = policy.agent if shield is None else shield.wrap(policy.agent)
        found = foveal.evaluate(behind, options.conditions, options.episodes, data=options.data, progress=False)
        results[policy.name] = {
            condition.perturbation: {
                "returns": [episode.total for episode in condition.episodes],
                "alarms": condition.alarms,
            }
            for condition in found.conditions
        }
        means = {name: round(float(np.mean(one["returns"]))) for name, one in results[policy.name].items()}
        print(variant, seed, "before", policy.name, means, flush=True)
    return {
        "row": {"variant": variant, "seed": seed, "for": policies[0].name, "env": policies[0].agent.env_id},
        "policies": {policy.name: policy.source for policy in policies},
        "commit": commit(),
        **about,
        "results": results,
        "machine": machine(),
        "versions": versions(),
    }


def taught(variant: str, seed: int, policy: Named, work: Path, hold: int) -> tuple[Any, dict[str, Any]]:
    """A shield, and what is known of it: seconds, errors, masks, doubt, time of a step."""
    run = work / f"{policy.name}-{variant}-{seed}"
    if variant == "memory":
        config = ShieldConfig()
        frames = collect(policy.agent.env_id, policy.agent.env_options, config.frames, seed, policy.agent)
        return trained_with_memory(frames, config, seed)
    command = ["shield", "train", policy.source, "--seed", str(seed), *VARIANTS[variant]]
    if variant in DRAWN:
        command += filmed(policy, DRAWN[variant], seed, work / f"{run.name}-frames")
    seconds = train_to_end(command, run, hold)
    shield = foveal.Shield.load(run)
    fresh = collect(policy.agent.env_id, policy.agent.env_options, FRESH, seed + 100_000, policy.agent)
    return shield, {
        "command": " ".join(["foveal", *command]),
        "seconds": seconds,
        "privileged": shield.privileged,
        "parameters": sum(weight.numel() for weight in shield.network.parameters()),
        "milliseconds": milliseconds(shield),
        **judged(shield, fresh),
    }


def filmed(policy: Named, count: int, seed: int, folder: Path) -> list[str]:
    """Frames as a camera would have them, in a folder, and masks of ``count`` of them in another; the flags for both.

    The simulator stands in for the person who draws.
    """
    if not folder.exists():
        frames = collect(policy.agent.env_id, policy.agent.env_options, ShieldConfig.frames, seed, policy.agent)
        for kind in ("frames", "masks"):
            (folder / kind).mkdir(parents=True)
        for number, pixels in enumerate(frames.pixels):
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / "frames" / f"{number:06d}.png")
        for number in different(frames.pixels, count):
            Image.fromarray(frames.masks[number].numpy()).save(folder / "masks" / f"{number:06d}.png")
    return ["--frames", str(folder / "frames"), "--masks", str(folder / "masks")]


def judged(shield: foveal.Shield, fresh: FrameSet) -> dict[str, Any]:
    """Errors, masks and doubt on fresh frames: as trained, and under what training lacked."""
    plain = measure(shield, fresh)
    changed = {
        (name, severity): measure(shield, fresh, name, severity) for name in HELD_OUT for severity in range(1, 6)
    }
    return {
        "trained_look": plain.as_dict(),
        "held_out": {f"{name}:{severity}": one.as_dict() for (name, severity), one in changed.items()},
        "doubt": {
            "false_alarms": float((plain.doubt > shield.limit).mean()),
            **detected([one for (name, _), one in changed.items() if name not in MOVED], shield.limit),
            "with_moved_cameras": detected(list(changed.values()), shield.limit),
        },
    }


def detected(changed: Sequence[Measured], limit: float) -> dict[str, float]:
    """How well doubt tells the frames whose error is in the worst tenth, and how many of them are above the limit."""
    doubt, error = (np.concatenate([getattr(one, what) for one in changed]) for what in ("doubt", "after"))
    worst = error >= np.quantile(error, 0.9)
    return {"auroc": detection(doubt, error), "caught": float((doubt > limit)[worst].mean())}


def milliseconds(shield: foveal.Shield, repeats: int = 200) -> float:
    """Of one frame through the shield, on one core: the median."""
    frames = torch.zeros(1, 3, shield.image_size, shield.image_size, dtype=torch.uint8)
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        shield.restore(frames)
        times.append(time.perf_counter() - start)
    return 1e3 * float(np.median(times))


def table(folder: Path) -> None:
    """Markdown: returns before each policy, as a share of the unshielded policy's on the trained look; then shields."""
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    for name in sorted({name for one in rows for name in one["results"]}):
        _returns(name, [one for one in rows if name in one["results"]])
    _shields([one for one in rows if "doubt" in one])


def _returns(name: str, rows: Sequence[dict[str, Any]]) -> None:
    """Means over seeds of the shield, of the returns and of their share of the bare policy's on the trained look."""
    bare = next((one for one in rows if one["row"]["variant"] == "none"), None)
    if bare is None:
        print(f"\n{name}: nothing to compare with yet, as there is no row of the variant none")
        return
    clean = float(np.mean(bare["results"][name]["train"]["returns"]))
    print(f"\n{name}: mean return (share of the {clean:.0f} that it reaches, bare, on the trained look)\n")
    conditions = [condition for condition in CONDITIONS if all(condition in one["results"][name] for one in rows)]
    print(f"| shield | seeds | {' | '.join(conditions)} |")
    print(f"|---|---|{'---|' * len(conditions)}")
    for variant, seeds in _by_variant(rows).items():
        cells = [
            [float(np.mean(one["results"][name][condition]["returns"])) for one in seeds] for condition in conditions
        ]
        words = [f"{np.mean(means):.0f} ({interval([mean / clean for mean in means], 2)})" for means in cells]
        print(f"| {variant} | {len(seeds)} | {' | '.join(words)} |")


def _shields(rows: Sequence[dict[str, Any]]) -> None:
    """What is known of each shield without any policy; errors under the corruptions that all rows were measured on."""
    common = set.intersection(*(set(row["held_out"]) for row in rows)) if rows else set()
    print(
        "\n| shield | weights | training, s | one frame, ms | IoU, trained look | error there | error, held out | "
        "AUROC of doubt | false alarms | caught |"
    )
    print(f"|{'---|' * 10}")
    for variant, seeds in _by_variant(rows).items():
        held = [np.mean([row["held_out"][name]["after"] for name in common]) for row in seeds]
        print(
            f"| {variant} | {seeds[0]['parameters']:,} | {np.mean([row['seconds'] or np.nan for row in seeds]):.0f} | "
            f"{np.mean([row['milliseconds'] for row in seeds]):.1f} | "
            f"{np.mean([row['trained_look']['overlap'] for row in seeds]):.3f} | "
            f"{np.mean([row['trained_look']['after'] for row in seeds]):.2f} | {np.mean(held):.2f} | "
            f"{np.mean([row['doubt']['auroc'] for row in seeds]):.3f} | "
            f"{np.mean([row['doubt']['false_alarms'] for row in seeds]):.3f} | "
            f"{np.mean([row['doubt']['caught'] for row in seeds]):.2f} |"
        )


def _by_variant(rows: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """In the order of ``VARIANTS``."""
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for one in rows:
        found[one["row"]["variant"]].append(one)
    return {variant: found[variant] for variant in VARIANTS if variant in found}


def main() -> None:
    """Run or show."""
    options = asked(Run, table)
    if options is None:
        return
    torch.set_num_threads(1)
    policies = [Named.of(words) for words in options.policies]
    for seed in options.seeds:
        for variant in options.variants:
            row(variant, seed, policies, options)


if __name__ == "__main__":
    main()
