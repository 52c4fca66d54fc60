"""``foveal gaze``: how an agent's saliency compares with where people looked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from foveal.commands.plugins import import_plugins
from foveal.errors import FovealError
from foveal.evaluation.insides import BUILT_IN
from foveal.explanation.explain import check_writable
from foveal.explanation.gaze import write_strip
from foveal.gaze.agents import even_look, looks_of
from foveal.gaze.atari_head import Trial, find_trials, game_key
from foveal.gaze.atari_head_summary import SUMMARY, read_summary
from foveal.gaze.comparison import GazeOptions, compare_gaze
from foveal.gaze.maps import Look
from foveal.gaze.results import GameGaze, GazeResults
from foveal.loading import load

EXAMPLES = 6


@dataclass(frozen=True)
class GazeCommandOptions:
    """Saliency of Atari agents against human gaze: NSS, KL, sAUC, CC and SIM, beside baselines.

    Attributes:
        agents: runs' folders, or folders that agent.save wrote; without any, the baselines alone.
        data: folder of Atari-HEAD or part of it, or one with a gaze_summary.csv.
        game: of the recordings, where the data does not say, or the only one to compare on.
        saliency: names of maps: attention (built into the network; the default where there is that), gradient (of the
            state's value; the default elsewhere), guided_backprop; several are compared. An agent that lacks attention
            has its other maps compared.
        frames: compare on at most so many pictures of each game, evenly spread; by default all of the paper's subset.
        skip_missing: leave out pictures whose frames are missing, instead of an error.
        seed: of the random map and the shuffled AUC.
        json: write everything to this file.
        out: draw some frames, the gaze and every map into this PNG; for one game.
        device: cpu or cuda; by default as in training.
        plugins: module that registers things of your own.
    """

    data: Path
    agents: tyro.conf.Positional[tuple[Annotated[str, tyro.conf.arg(metavar="AGENT")], ...]] = ()
    game: str | None = None
    saliency: tuple[str, ...] = ()
    frames: int | None = None
    skip_missing: bool = False
    seed: int = 0
    json: Path | None = None
    out: Path | None = None
    device: str | None = None
    plugins: Annotated[str | None, tyro.conf.arg(name="import")] = None


@dataclass(frozen=True)
class _Agents:
    """Maps, even maps and descriptions by name; maps for each game (by ``game_key``)."""

    looks: dict[str, dict[str, Look]] = field(default_factory=dict)
    even: dict[str, dict[str, Look]] = field(default_factory=dict)
    described: dict[str, dict[str, str]] = field(default_factory=dict)


def main(arguments: Sequence[str]) -> None:
    """Compare, print the tables, and write what was asked for."""
    options = tyro.cli(GazeCommandOptions, args=import_plugins(arguments), prog="foveal gaze")
    for path in (options.json, options.out):
        if path is not None:
            check_writable(path)
    if options.out is not None and options.out.suffix != ".png":
        raise FovealError(f"--out draws a PNG: call it {options.out.with_suffix('.png')}")
    settings = GazeOptions(
        pictures=options.frames,
        skip_missing=options.skip_missing,
        examples=EXAMPLES if options.out is not None else 0,
        seed=options.seed,
        progress=True,
    )
    agents = _load(options)
    recordings = _recordings(options, agents.looks)
    if options.out is not None and len(recordings) > 1:
        raise FovealError(f"--out draws one game, and there are {len(recordings)}: say --game NAME")
    games = [
        _compare(trials, {**agents.looks.get(key, {}), **agents.even.get(key, {})}, settings, options.out)
        for key, trials in recordings.items()
    ]
    results = GazeResults(tuple(games), str(options.data), agents.described, options.seed)
    if options.json is not None:
        print(f"wrote {results.save(options.json)}")


def _load(options: GazeCommandOptions) -> _Agents:
    agents = _Agents()
    names = [Path(path).name for path in options.agents]
    for path, name in zip(options.agents, names, strict=True):
        agent: Any = load(path, device=options.device)
        shown = name if names.count(name) == 1 else path
        looks = looks_of(agent, shown, options.saliency)
        env_id, encoder = agent.env_id, agent.encoder_name
        if options.game is not None and game_key(env_id) != game_key(options.game):
            raise FovealError(f"{path} plays {env_id}, and --game is {options.game}")
        agents.looks.setdefault(game_key(env_id), {}).update(looks)
        even = even_look(agent) if f"{shown} ({BUILT_IN})" in looks else None
        if even is not None:
            agents.even.setdefault(game_key(env_id), {})[f"even attention ({encoder})"] = even
        agents.described.update({row: {"folder": path, "environment": env_id, "encoder": encoder} for row in looks})
    return agents


def _recordings(options: GazeCommandOptions, looks: Mapping[str, object]) -> dict[str, list[Callable[[], Trial]]]:
    """What to read of each game, by ``game_key``: the games of the agents, or all where there are none.

    Raises:
        FovealError: there are no recordings of an agent's game.
    """
    folder = options.data.expanduser()
    if (folder / SUMMARY).is_file():
        if options.game is None:
            raise FovealError(f"{folder / SUMMARY} does not tell of which game it is: say --game NAME")
        return {game_key(options.game): [partial(read_summary, folder, options.game)]}
    found: dict[str, list[Callable[[], Trial]]] = {}
    for files in find_trials(folder, options.game):
        found.setdefault(game_key(files.game), []).append(files.read)
    absent = sorted(set(looks) - set(found))
    if absent:
        raise FovealError(f"no recordings of {absent[0]} in {folder}; there are some of {', '.join(sorted(found))}")
    return {key: files for key, files in found.items() if key in looks or not looks}


def _compare(
    recordings: list[Callable[[], Trial]], looks: Mapping[str, Look], settings: GazeOptions, out: Path | None
) -> GameGaze:
    game, examples = compare_gaze([read() for read in recordings], looks, settings)
    print(game.table())
    print()
    if out is not None:
        print(f"wrote {write_strip(out, examples)}")
    return game
