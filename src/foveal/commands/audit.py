"""``foveal audit``: which changes of the picture break a policy of anybody's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from foveal.auditing import audit
from foveal.auditing.running import EPISODES, SEVERITIES
from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError


@dataclass(frozen=True)
class AuditOptions:
    """Which changes of the picture break a policy, and whether it looks at its camera at all: one page.

    Attributes:
        model: a zip file of Stable-Baselines3, a file of TorchScript or ONNX, the address of a policy server (ws://...),
            a run's folder or pretrained:NAME. All else from Python: foveal.audit(policy, env).
        env: where it acts: an id of foveal's or Gymnasium's; by default the policy's own.
        against: another policy, named in the same ways, in the same episodes of the same environment.
        frames: show it recorded frames instead: a folder of pictures, a film, or a LeRobotDataset.
        out: the page.
        json: write everything to this file.
        mp4: also film the first episode, as it is and under the weakest change, with a map beside it.
        png: also draw the curves over severities as a picture.
        rrd: also record what the page's player shows, and actions and rewards, for Rerun's viewer.
        changes: names, comma-separated or apart, of changes of the picture (foveal list corruptions); by default all.
        severities: of each, from 1 to 5.
        episodes: under each change and severity, the same for all.
        longest: agent steps after which an episode is cut.
        seed: of the first episode, and of all changes.
        data: folder of DMC-GB's colours and videos, for color_hard and the like in dmc/.
        maps: saliency maps that are tried, names comma-separated or apart (foveal list maps), or none; by default
            gradient, guided_backprop and the agent's own, of a black box occlusion and rise.
        of: what the maps are of, as in foveal explain: q1, value, log_prob, velocity, ...; by default the first.
        shield: every row again behind a shield: a folder, or pretrained:NAME.
        trust: load a file of Stable-Baselines3 by that library, which runs whatever code is in the file.
        pixels: what a bare network takes: bytes (0 to 255) or unit (0 to 1).
        prompt: the task in words, for policies that take some.
        drawn: let it draw its actions, as it does in training, in an episode alike under all changes.
        discrete: with frames: what a bare network gives is a number for each action.
        image_size: with frames: side that they are resized to, for policies that don't say which they see.
        camera: with a LeRobotDataset: which picture, for policies that see one.
        plugins: module that registers your own environments, changes or adapters.
    """

    model: tyro.conf.Positional[Annotated[str, tyro.conf.arg(metavar="MODEL")]]
    env: str | None = None
    against: str | None = None
    frames: Path | None = None
    out: Path = Path("report.html")
    json: Path | None = None
    mp4: Path | None = None
    png: Path | None = None
    rrd: Path | None = None
    changes: tuple[str, ...] | None = None
    severities: tuple[str, ...] = tuple(map(str, SEVERITIES))
    episodes: int = EPISODES
    longest: int | None = None
    seed: int = 0
    data: Path | None = None
    maps: tuple[str, ...] | None = None
    of: str | None = None
    shield: str | None = None
    trust: bool = False
    pixels: str | None = None
    prompt: str = ""
    drawn: bool = False
    discrete: bool = False
    image_size: int | None = None
    camera: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


def main(arguments: Sequence[str]) -> None:
    """Audit a policy and print the table; the page's path is the last line."""
    options = tyro.cli(AuditOptions, args=import_plugins(arguments), prog="foveal audit")
    asked = vars(options) | {
        "changes": None if options.changes is None else split(options.changes),
        "severities": [whole(word) for word in split(options.severities)],
        "maps": None if options.maps is None else [] if options.maps == ("none",) else split(options.maps),
    }
    del asked["plugins"]
    found = audit(asked.pop("model"), **asked)  # whose arguments are called like the options
    print(found)
    for written in (options.json, options.mp4, options.png, options.rrd):
        if written is not None:
            print(f"wrote {written}")
    print(found.page)


def split(words: Sequence[str]) -> list[str]:
    """Words that stand apart, or with commas between them."""
    return [part for word in words for part in word.split(",") if part]


def whole(word: str) -> int:
    """A severity.

    Raises:
        FovealError: it is no whole number.
    """
    if not word.isdecimal():
        raise FovealError(f"a severity is a whole number from 1 to 5, not {word}")
    return int(word)
