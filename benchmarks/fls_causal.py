"""Does a map follow what matters? The ball of Breakout is moved or erased in what an agent sees, and nothing else is.

    python benchmarks/fls_causal.py RUN --moments 200 --json ball.json

lets the agent play, paints the ball over or onto the other side of the screen in all four frames of some of its
observations, and measures how much of each map's mass goes with it. ``results/fls/PLAN.md`` says what is concluded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
import tyro
from numpy.typing import NDArray
from rows import commit
from scipy.ndimage import maximum_filter

import foveal
from foveal.atari.vector import AtariVector
from foveal.envs import games
from foveal.errors import FovealError
from foveal.evaluation.insides import BUILT_IN, insides_of
from foveal.evaluation.results import machine, versions, write_json
from foveal.gaze.results import Score, score_of
from foveal.gaze.screens import SIDE, brightness, shrink

Frames: TypeAlias = NDArray[np.uint8]
Maps: TypeAlias = NDArray[np.float64]
Regions: TypeAlias = NDArray[np.bool_]
Look: TypeAlias = Callable[[Frames], Maps]
"""Observations (N, 4, 84, 84) -> maps (N, 84, 84), not negative."""

BALL = (200, 72, 72)
FIELD = (slice(95, 188), slice(8, 152))
"""Rows and columns of Breakout's screen between bricks and paddle, where nothing but the ball has its colour."""
MARGIN = 6
"""Pixels of 84 around an object that count as on it: what is drawn of a coarse map is no sharper."""
BLOCK = 10
"""Moments that the bootstrap draws together."""
AT_ONCE = 50


# --- what is changed --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """Observations before and after an object was moved, erased or planted; everything else is the same.

    Attributes:
        before, after: (N, 4, 84, 84).
        left: (N, 84, 84) where it was and is no longer; nowhere if it was planted.
        reached: (N, 84, 84) where it is and was not before; nowhere if it was erased.
    """

    before: Frames
    after: Frames
    left: Regions
    reached: Regions


def ball_of(screens: Frames) -> Regions:
    """Where the ball is in screens of Breakout, (..., 210, 160, 3) -> (..., 210, 160); nowhere among the bricks."""
    found = np.zeros(screens.shape[:-1], bool)
    rows, columns = FIELD
    found[..., rows, columns] = (screens[..., rows, columns, :] == BALL).all(-1)
    return found


def mirrored(ball: Regions) -> Regions:
    """The other side of the field."""
    other = np.zeros_like(ball)
    rows, columns = FIELD
    other[..., rows, columns] = ball[..., rows, columns][..., ::-1]
    return other


def painted(screens: Frames, ball: Regions, wanted: Regions) -> Frames:
    """The ball painted over with the field's black, and onto where it is wanted."""
    found = screens.copy()
    found[ball] = 0
    found[wanted] = BALL
    return found


def seen(screens: Frames) -> Frames:
    """(N, 4, 210, 160, 3) -> (N, 4, 84, 84), what an agent sees of them."""
    whole = [[shrink(brightness(screen)) for screen in stack] for stack in screens]
    return np.array(whole, np.uint8).reshape(-1, 4, SIDE, SIDE)


def region(places: Regions) -> Regions:
    """(N, 4, 210, 160), an object in every frame -> (N, 84, 84): where it is in any of them, with a margin around."""
    any_frame = places.any(1).astype(np.uint8) * 255
    small = np.array([shrink(place) > 0 for place in any_frame]).reshape(-1, SIDE, SIDE)
    return maximum_filter(small, (1, 2 * MARGIN + 1, 2 * MARGIN + 1))


def ball_changes(screens: Frames) -> dict[str, Change]:
    """The ball moved to the other side, and erased, wherever it is to be seen in all four frames and has moved clear.

    Args:
        screens: (N, 4, 210, 160, 3) of Breakout, oldest first.

    Raises:
        FovealError: it is nowhere to be seen.
    """
    ball = ball_of(screens)
    old, new = region(ball), region(mirrored(ball))
    usable = ball.any((2, 3)).all(1) & ~(old & new).any((1, 2))
    if not usable.any():
        raise FovealError("Breakout's ball is in none of these moments: take more of them")
    screens, ball, old, new = (array[usable] for array in (screens, ball, old, new))
    before, nowhere = seen(screens), np.zeros_like(old)
    return {
        "moved": Change(before, seen(painted(screens, ball, mirrored(ball))), old, new),
        "erased": Change(before, seen(painted(screens, ball, np.zeros_like(ball))), old, nowhere),
    }


# --- what is measured -------------------------------------------------------------------------------------------------


def share(maps: Maps, regions: Regions) -> NDArray[np.float64]:
    """(N,) how much of each map's mass lies in its region; NaN for a map without any."""
    whole = maps.sum((1, 2))
    inside = np.where(regions, maps, 0.0).sum((1, 2))
    return np.divide(inside, whole, out=np.full(len(maps), np.nan), where=whole > 0)


def following(change: Change, before: Maps, after: Maps) -> NDArray[np.float64]:
    """(N,) how much of a map's mass goes with the object: lost where it left, gained where it came to, or their mean.

    1 for a map that lies on the object alone, 0 for one that does not heed it.
    """
    lost = share(before, change.left) - share(after, change.left)
    gained = share(after, change.reached) - share(before, change.reached)
    parts = [part for part, where in ((lost, change.left), (gained, change.reached)) if where.any()]
    return np.mean(parts, axis=0)


@dataclass(frozen=True)
class Found:
    """What a map does under one change; see ``following``.

    Attributes:
        moments: (N,) following of each.
        on_it: how many times its share of an even map is the object's share of the map before the change; None where
            it was not there before.
        ceiling: following of the best map on the agent's own grid; None of maps that have no grid.
    """

    moments: NDArray[np.float64]
    on_it: float | None
    ceiling: float | None = None

    @property
    def following(self) -> Score:
        """Over moments."""
        return over_moments(self.moments)

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        ceiling = {} if self.ceiling is None else {"ceiling": self.ceiling}
        return {"following": self.following.as_dict(), "on_it": self.on_it, **ceiling}


Findings: TypeAlias = Mapping[str, Mapping[str, Found]]
"""Change -> map -> what it does."""


def over_moments(values: NDArray[np.float64]) -> Score:
    """The mean of (N,) values, and its interval."""
    return score_of(values, np.arange(len(values)) // BLOCK)


def measured(change: Change, look: Look, even: Maps) -> Found:
    """One map under one change.

    Args:
        change: N of them.
        look: the map.
        even: (84, 84), what the map is where it has no preference.
    """
    before, after = (in_batches(look, observations) for observations in (change.before, change.after))
    moved = following(change, before, after)
    on_it = None
    if change.left.any():
        on_it = float(np.nanmean(share(before, change.left) / share(np.broadcast_to(even, before.shape), change.left)))
    return Found(moved, on_it)


def in_batches(look: Look, observations: Frames) -> Maps:
    """(N, 84, 84) of any number of observations."""
    parts = [observations[start : start + AT_ONCE] for start in range(0, len(observations), AT_ONCE)]
    return np.concatenate([np.asarray(look(part), np.float64) for part in parts])


# --- maps to compare with ---------------------------------------------------------------------------------------------


def even_look(drawn: Maps) -> Look:
    """The same everywhere, whatever is seen; ``drawn`` is how that is drawn, (84, 84)."""
    return lambda observations: np.broadcast_to(drawn, (len(observations), SIDE, SIDE))


def random_look(seed: int) -> Look:
    """Noise, anew for every observation."""
    generator = np.random.default_rng(seed)
    return lambda observations: generator.random((len(observations), SIDE, SIDE))


def ceiling(change: Change, render: Callable[[torch.Tensor], torch.Tensor], grid: tuple[int, int]) -> float:
    """The following of the best map on a grid: all at the position whose picture has most of its mass on the object."""
    height, width = grid
    each = torch.eye(height * width).reshape(-1, 1, height, width)
    drawn = render(each).numpy().astype(np.float64)  # (positions, 84, 84)
    drawn /= drawn.sum((1, 2), keepdims=True)

    def best(regions: Regions) -> Maps:
        return drawn[np.einsum("nhw,phw->np", regions.astype(np.float64), drawn).argmax(1)]

    # Where there is no object, the best map lies as far from where it was or will be as it can.
    away_left, away_reached = (drawn[_least(drawn, r)] for r in (change.left, change.reached))
    before = best(change.left) if change.left.any() else away_reached
    after = best(change.reached) if change.reached.any() else away_left
    return float(np.nanmean(following(change, before, after)))


def _least(drawn: Maps, regions: Regions) -> NDArray[np.int64]:
    inside: NDArray[np.int64] = np.einsum("nhw,phw->np", regions.astype(np.float64), drawn).argmin(1)
    return inside


def looks_of(agent: Any, kinds: Sequence[str], seed: int = 0) -> tuple[dict[str, Look], dict[str, Maps]]:
    """Maps of an agent beside even and random ones; and for each what it is without any preference."""
    insides = insides_of(agent)
    flat = np.ones((SIDE, SIDE))
    drawn = flat if insides.even is None else np.asarray(insides.even(), np.float64)
    wanted = [kind for kind in kinds if kind != BUILT_IN or BUILT_IN in insides.maps]
    looks: dict[str, Look] = {kind: _look(insides, kind) for kind in wanted}
    evens = {kind: drawn if kind == BUILT_IN else flat for kind in wanted}
    return {**looks, "even": even_look(drawn), "random": random_look(seed)}, {**evens, "even": drawn, "random": flat}


def _look(insides: Any, kind: str) -> Look:
    return lambda observations: insides.look(kind, list(observations)).numpy()


# --- playing ----------------------------------------------------------------------------------------------------------


def played(agent: Any, moments: int, every: int, seed: int) -> Frames:
    """(moments, 4, 210, 160, 3): screens of games that the agent plays, every so many steps."""
    rules = games.rules(agent.env_options)
    grey, colored = (AtariVector(agent.env_id, 1, seed, in_color=shown, **rules) for shown in (False, True))
    observation, _ = grey.reset()
    colored.reset()
    found = []
    for step in range(1, moments * every + 1):
        action = agent.predict(observation)[0]
        observation = grey.step(action)[0]
        colored.step(action)
        if step % every == 0:
            found.append(colored.observation[0])
    return np.stack(found)


def findings(agent: Any, changes: Mapping[str, Change], kinds: Sequence[str], seed: int) -> Findings:
    """What every map does under every change."""
    looks, evens = looks_of(agent, kinds, seed)
    encoder = agent.learner.encoder()
    rows: dict[str, dict[str, Found]] = {}
    for name, change in changes.items():
        rows[name] = {kind: measured(change, look, evens[kind]) for kind, look in looks.items()}
        if BUILT_IN in looks:
            grid = agent.attention_grid(change.before[0]).shape
            best = ceiling(change, lambda maps: encoder.rendering.render(maps, (SIDE, SIDE)), grid)
            rows[name][BUILT_IN] = replace(rows[name][BUILT_IN], ceiling=best)
    return rows


def as_dicts(rows: Findings) -> dict[str, dict[str, Any]]:
    """JSON-able."""
    return {name: {kind: found.as_dict() for kind, found in maps.items()} for name, maps in rows.items()}


def table(changes: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown of ``as_dicts``."""
    lines = [
        "| change | map | following [95 % over moments] | ceiling | on it before, times an even map |",
        "|---|---|---|---|---|",
    ]
    for name, maps in changes.items():
        for kind, found in maps.items():
            on_it = "" if found["on_it"] is None else f"{found['on_it']:.2f}"
            best = f"{found['ceiling']:.3f}" if "ceiling" in found else ""
            lines.append(f"| {name} | {kind} | {Score(**found['following'])} | {best} | {on_it} |")
    return "\n".join(lines)


def untrained(agent: Any) -> Any:
    """The agent as it was before its first step."""
    return foveal.Agent(agent.env_id, seed=agent.seed, encoder=agent.encoder_name, preset=agent.config.preset)


def ball_study(
    agent: Any,
    name: str,
    moments: int = 400,
    every: int = 5,
    kinds: Sequence[str] = (BUILT_IN, "gradient"),
    seed: int = 10_000,
) -> dict[str, Any]:
    """What goes with Breakout's ball, of the agent's maps and of the same network's before training; JSON-able.

    Both look at the moments of the agent's own games.

    Args:
        agent: of atari/breakout.
        name: of it.
        moments: observations to look at; those without a ball are left out.
        every: agent steps between them.
        kinds: of maps.
        seed: of the games and of the random map.

    Raises:
        FovealError: it plays another game, or the ball is nowhere to be seen.
    """
    if agent.env_id != "atari/breakout":
        raise FovealError(f"{name} plays {agent.env_id}, and the ball is Breakout's")
    changes = ball_changes(played(agent, moments, every, seed))
    return {
        "agent": name,
        "commit": commit(),
        "steps": agent.steps,
        "encoder": agent.encoder_name,
        "seed": agent.seed,
        "moments": len(changes["moved"].before),
        "changes": as_dicts(findings(agent, changes, kinds, seed)),
        "untrained": as_dicts(findings(untrained(agent), changes, kinds, seed)),
        "machine": machine(),
        "versions": versions(),
    }


@dataclass(frozen=True)
class Options:
    """How much of an agent's maps goes with Breakout's ball.

    Attributes:
        agent: a run's folder, or one that agent.save wrote; of atari/breakout.
        moments: observations to look at; those without a ball are left out.
        every: agent steps between them.
        saliency: names of maps.
        seed: of the games and of the random map.
        json: write everything to this file.
    """

    agent: tyro.conf.Positional[str]
    moments: int = 400
    every: int = 5
    saliency: tuple[str, ...] = (BUILT_IN, "gradient")
    seed: int = 10_000
    json: Path | None = None
    device: str | None = field(default=None)


def main() -> None:
    """Measure, print, and write what was asked for."""
    options = tyro.cli(Options)
    agent: Any = foveal.load(options.agent, device=options.device)
    found = ball_study(agent, options.agent, options.moments, options.every, options.saliency, options.seed)
    print(f"{options.agent}: {found['moments']} moments with a ball\n\n{table(found['changes'])}")
    print(f"\nthe same network before training\n\n{table(found['untrained'])}")
    if options.json is not None:
        print(f"wrote {write_json(options.json, found)}")


if __name__ == "__main__":
    main()
