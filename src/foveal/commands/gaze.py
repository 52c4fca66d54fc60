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
from foveal.explanation.explain import check_ending, check_writable
from foveal.explanation.gaze import write_strip
from foveal.gaze.agents import even_look, looks_of
from foveal.gaze.atari_head import Trial, find_trials, game_key
from foveal.gaze.atari_head_summary import SUMMARY, read_summary
from foveal.gaze.comparison import BLOCK, GazeOptions, compare_gaze
from foveal.gaze.maps import BASELINES, Look
from foveal.gaze.pairing import paired, paired_table
from foveal.gaze.protocols import FOVEAL, GAZE_PROTOCOLS
from foveal.gaze.results import GameGaze, GazeResults, Rows, read_rows
from foveal.loading import load
from foveal.registry import nearest

EXAMPLES = 6


@dataclass(frozen=True)
class GazeCommandOptions:
    """Saliency of Atari agents against human gaze: NSS, KL, sAUC, CC and SIM, beside baselines.

    Attributes:
        agents: runs' folders, or folders that agent.save wrote; without any, the baselines alone.
        data: folder of Atari-HEAD or part of it, or one with a gaze_summary.csv.
        protocol: foveal, or paper: the details of the authors' evaluation.
        game: of the recordings, where the data does not say, or the only one to compare on.
        saliency: names of maps: attention (built into the network; the default where there is that), gradient (of the
            state's value; the default elsewhere), guided_backprop; several are compared. An agent that lacks attention
            has its other maps compared.
        frames: compare on at most so many pictures of each game, evenly spread; by default all of the paper's subset.
        skip_missing: leave out pictures whose frames are missing, instead of an error.
        seed: of the random map and the shuffled AUC.
        paired: names of two maps, as tables have them: print the first's scores minus the second's, picture by picture.
        results: a file that --json wrote, to take the pictures' scores from for --paired, instead of --data.
        json: write everything to this file.
        out: draw some frames, the gaze and every map into this PNG; for one game.
        device: cpu or cuda; by default as in training.
        plugins: module that registers things of your own.
    """

    data: Path | None = None
    agents: tyro.conf.Positional[tuple[Annotated[str, tyro.conf.arg(metavar="AGENT")], ...]] = ()
    game: str | None = None
    protocol: str = FOVEAL.name
    saliency: tuple[str, ...] = ()
    frames: int | None = None
    skip_missing: bool = False
    seed: int = 0
    paired: tuple[str, str] | None = None
    results: Path | None = None
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
    check_writable(options.json)
    check_writable(options.out)
    if options.out is not None:
        check_ending(options.out, ".png", "--out draws a PNG")
    if options.results is not None:
        _print_paired(options, read_rows(options.results))
        return
    if options.data is None:
        raise FovealError("say --data FOLDER, a folder of Atari-HEAD; or --results FILE --paired ONE OTHER")
    settings = GazeOptions(
        pictures=options.frames,
        skip_missing=options.skip_missing,
        examples=EXAMPLES if options.out is not None else 0,
        seed=options.seed,
        progress=True,
        protocol=options.protocol,
    )
    agents = _load(options)
    _check_paired(options.paired, agents)
    recordings = _recordings(options, options.data.expanduser(), agents.looks)
    if options.out is not None and len(recordings) > 1:
        raise FovealError(f"--out draws one game, and there are {len(recordings)}: say --game NAME")
    games = [
        _compare(trials, {**agents.looks.get(key, {}), **agents.even.get(key, {})}, settings, options.out)
        for key, trials in recordings.items()
    ]
    results = GazeResults(tuple(games), str(options.data), agents.described, options.seed)
    if options.paired is not None:
        _print_paired(options, {game.game: game.rows for game in games})
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


def _check_paired(names: tuple[str, str] | None, agents: _Agents) -> None:
    """Refuse maps that will not be there, before an hour of work goes into others.

    Raises:
        FovealError: there will be no such map in some game.
    """
    for game in agents.looks or {"": {}}:
        known = [*agents.looks.get(game, ()), *agents.even.get(game, ()), *BASELINES]
        for name in names or ():
            if name not in known:
                raise FovealError(f"--paired names a map {name!r} that will not be there: {nearest(name, known)}")


def _print_paired(options: GazeCommandOptions, games: Mapping[str, Rows]) -> None:
    """The difference of two maps in every game.

    Raises:
        FovealError: no maps were named, or a game has no map of that name.
    """
    if options.paired is None:
        raise FovealError("--results goes with --paired ONE OTHER, the names of two maps")
    one, other = options.paired
    wanted = [game for game in games if options.game is None or game_key(game) == game_key(options.game)]
    if not wanted:
        raise FovealError(f"no game {options.game} in {options.results}: {nearest(str(options.game), list(games))}")
    for game in wanted:
        print(paired_table(game, one, other, paired(games[game], one, other, BLOCK), BLOCK))
        print()


def _recordings(
    options: GazeCommandOptions, folder: Path, looks: Mapping[str, object]
) -> dict[str, list[Callable[[], Trial]]]:
    """What to read of each game, by ``game_key``: the games of the agents, or all where there are none.

    Raises:
        FovealError: there are no recordings of an agent's game.
    """
    rounded = GAZE_PROTOCOLS[options.protocol].rounded
    if (folder / SUMMARY).is_file():
        if options.game is None:
            raise FovealError(f"{folder / SUMMARY} does not tell of which game it is: say --game NAME")
        return {game_key(options.game): [partial(read_summary, folder, options.game, rounded=rounded)]}
    found: dict[str, list[Callable[[], Trial]]] = {}
    for files in find_trials(folder, options.game):
        found.setdefault(game_key(files.game), []).append(partial(files.read, rounded=rounded))
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
