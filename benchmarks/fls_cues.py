"""Does a map follow what matters, or what is to be seen? Two squares of the same look, of which one tells of a reward.

    python benchmarks/fls_cues.py train atari/breakout --seed 0 --steps 500000 --out runs/cues-0
    python benchmarks/fls_cues.py measure runs/cues-0 --json cues-0.json

``train`` (repeated, it goes on from the last checkpoint; ``foveal train --resume`` would go on without squares) lets an
agent learn a game in which now and then a square appears to the left or to the right for some steps.
One of them, by the seed the left or the right one, is followed by a reward whatever the agent does; its twin by
nothing. ``measure`` paints either into observations of ordinary games, and measures how much of each map goes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import tyro
from fls_causal import (
    BLOCK,
    MARGIN,
    SIDE,
    Change,
    Findings,
    Frames,
    as_dicts,
    findings,
    over_moments,
    played,
    seen,
    table,
    untrained,
)
from numpy.typing import NDArray
from rows import claimed, commit, trained
from scipy.ndimage import maximum_filter

import foveal
from foveal import checkpoint
from foveal.atari.training import RUN, GameWork
from foveal.atari.vector import STACK, AtariVector
from foveal.envs import games
from foveal.errors import FovealError
from foveal.evaluation.insides import BUILT_IN
from foveal.evaluation.results import machine, versions, write_json
from foveal.gaze.results import Score
from foveal.training import Trainer
from foveal.training.agents import KIND
from foveal.training.run_folder import RunFolder

LASTING = 8
"""Agent steps that a square is shown; the reward comes with the last."""
RARITY = 1 / 32
"""Probability that one appears in a step, where there is none."""
BRIGHT = 255
PLACES = ((slice(48, 56), slice(8, 16)), (slice(48, 56), slice(68, 76)))
"""Rows and columns of the left and of the right one, in pixels of 84."""


def paint(frames: Frames, where: NDArray[np.bool_]) -> Frames:
    """Squares in frames (..., 84, 84), where (..., 2) says so."""
    found = frames.copy()
    for side, (rows, columns) in enumerate(PLACES):
        chosen = where[..., side]
        found[chosen, rows, columns] = BRIGHT
    return found


class Planted(AtariVector):
    """Games with squares in them; arguments as for ``AtariVector``.

    Args:
        predictive: 0 or 1, the side whose square is followed by a reward of 1.
    """

    def __init__(self, env: str, count: int, seed: int, *, predictive: int, **rules: Any) -> None:
        super().__init__(env, count, seed, **rules)
        self.predictive = predictive
        self._cues = np.random.default_rng((seed, 1))
        self._left = np.zeros(count, np.int64)  # steps that a square will still be shown
        self._side = np.zeros(count, np.int64)
        self._shown = np.zeros((count, STACK, 2), bool)  # which squares are in which frame of the stack

    def reset(self, **more: Any) -> tuple[Frames, dict[str, Any]]:
        """New games, without squares."""
        _, infos = super().reset(**more)
        self._forget(np.ones(self.num_envs, bool))
        return self.observation, infos

    def step(self, actions: NDArray[np.int64]) -> tuple[Frames, Any, Any, Any, dict[str, Any]]:
        """As ``AtariVector.step``, with squares and what one of them is followed by."""
        _, rewards, ended, cut, infos = super().step(actions)
        rewards = rewards + self._bring()
        over = ended | cut
        for index in np.flatnonzero(over):
            infos["final_obs"][index] = paint(infos["final_obs"][index], self._shown[index])
        self._forget(over)
        return self.observation, rewards, ended, cut, infos

    @property
    def observation(self) -> Frames:
        """What the games show now."""
        return paint(self._stacks, self._shown)

    def _bring(self) -> NDArray[np.float32]:
        """Squares that come, stay and go; the rewards that they bring."""
        coming = (self._left == 0) & (self._cues.random(self.num_envs) < RARITY)
        self._side = np.where(coming, self._cues.integers(2, size=self.num_envs), self._side)
        self._left = np.where(coming, LASTING, self._left)
        self._shown[:, :-1] = self._shown[:, 1:]
        self._shown[:, -1] = (self._left > 0)[:, None] & (np.arange(2) == self._side[:, None])
        paid = (self._left == 1) & (self._side == self.predictive)
        self._left = np.maximum(self._left - 1, 0)
        return paid.astype(np.float32)

    def _forget(self, which: NDArray[np.bool_]) -> None:
        self._left[which], self._shown[which] = 0, False

    def state(self) -> dict[str, Any]:
        """Everything that the next steps depend on."""
        cues = {"left": self._left.copy(), "side": self._side.copy(), "shown": self._shown.copy()}
        return {**super().state(), "cues": {**cues, "random": checkpoint.numpy_state(self._cues)}}

    def load_state(self, state: Mapping[str, Any]) -> bool:
        """Undo of ``state``."""
        same = super().load_state(state)
        held = state["cues"]
        checkpoint.load_numpy_state(self._cues, held["random"])
        if same:
            self._left, self._side = (np.asarray(held[name]).astype(np.int64) for name in ("left", "side"))
            self._shown = np.asarray(held["shown"]).astype(bool)
        return same


class PlantedWork(GameWork):
    """Training in games with squares."""

    def _environments(self) -> AtariVector:
        agent, config = self.agent, self.agent.config
        rules = {**games.rules(agent.env_options), "clip_rewards": config.environment.clip_rewards}
        return Planted(
            config.env, config.training.environments, agent.seed, predictive=predictive_side(agent.seed), **rules
        )


def predictive_side(seed: int) -> int:
    """Which square tells of a reward, by the training's seed."""
    return seed % 2


# --- measuring --------------------------------------------------------------------------------------------------------


def planted(observations: Frames, side: int) -> Change:
    """A square in all four frames of observations that have none, (N, 4, 84, 84)."""
    where = np.zeros((*observations.shape[:2], 2), bool)
    where[..., side] = True
    place = np.zeros((SIDE, SIDE), bool)
    place[PLACES[side]] = True
    near = np.broadcast_to(maximum_filter(place, 2 * MARGIN + 1), (len(observations), SIDE, SIDE))
    return Change(observations, paint(observations, where), np.zeros_like(near), near)


def changes(observations: Frames, predictive: int) -> dict[str, Change]:
    """The cue and its twin."""
    return {"cue": planted(observations, predictive), "twin": planted(observations, 1 - predictive)}


def paired_following(rows: Findings) -> dict[str, Score]:
    """Map of the agent's -> following of the cue minus that of its twin, moment by moment."""
    cue, twin = rows["cue"], rows["twin"]
    kinds = [kind for kind in cue if kind not in ("even", "random")]
    return {kind: over_moments(cue[kind].moments - twin[kind].moments) for kind in kinds}


def value_rises(agent: Any, both: Mapping[str, Change]) -> dict[str, NDArray[np.float64]]:
    """(N,) by how much the value of each state rises when either is planted: does the agent know what the cue tells?"""

    def values(observations: Frames) -> NDArray[np.float64]:
        with torch.no_grad():
            parts = torch.from_numpy(observations).to(agent.device).float().split(BLOCK)
            return torch.cat([agent.values(part)[0] for part in parts]).double().cpu().numpy()

    return {name: values(change.after) - values(change.before) for name, change in both.items()}


# --- commands ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Train:
    """Train an agent in a game with squares.

    Attributes:
        env: the game.
        encoder: of the agent.
        seed: of everything; odd ones have the reward follow the right square.
        steps: agent steps.
        preset: of the settings.
        out: the run's folder.
    """

    env: tyro.conf.Positional[str]
    out: Path
    encoder: str = "sparse-fls"
    seed: int = 0
    steps: int = 500_000
    preset: str = "paper"


@dataclass(frozen=True)
class Measure:
    """Measure how much of an agent's maps goes to the cue, and to its twin.

    Attributes:
        agent: a run's folder.
        moments: observations of ordinary games.
        every: agent steps between them.
        saliency: names of maps.
        seed: of the games.
        json: write everything to this file.
    """

    agent: tyro.conf.Positional[str]
    moments: int = 200
    every: int = 5
    saliency: tuple[str, ...] = (BUILT_IN, "gradient")
    seed: int = 10_000
    json: Path | None = None


def train(options: Train) -> None:
    """One training, from nothing or from its last checkpoint."""
    with claimed(options.out.parent / f"{options.out.name}.lock") as hold:
        if hold is None:
            raise FovealError(f"another process trains {options.out}")
        begun(options).train(None if options.out.exists() else options.steps)
    print(f"done: {options.out}")


def begun(options: Train) -> Trainer:
    """A new training, or that of a run's last checkpoint."""
    if not trained(options.out):
        agent = foveal.Agent(options.env, encoder=options.encoder, seed=options.seed, preset=options.preset)
        return Trainer(PlantedWork(agent), RUN, run=options.out)
    folder = RunFolder.open(options.out, KIND)
    held = folder.store.latest()
    if held is None:
        raise FovealError(f"all checkpoints of {options.out} are damaged; delete the folder and start again")
    return Trainer.resumed(PlantedWork(foveal.load(options.out)), folder, held)


def measure(options: Measure) -> None:
    """Measure, print, and write what was asked for."""
    agent: Any = foveal.load(options.agent)
    observations = seen(played(agent, options.moments, options.every, options.seed))
    both = changes(observations, predictive_side(agent.seed))
    rows, rises = findings(agent, both, options.saliency, options.seed), value_rises(agent, both)
    before = findings(untrained(agent), both, options.saliency, options.seed)
    knows, pairs = over_moments(rises["cue"] - rises["twin"]), paired_following(rows)
    pairs_before = paired_following(before)
    print(table(as_dicts(rows)))
    print(f"\nvalue of states with the cue {rises['cue'].mean():+.3f}, with its twin {rises['twin'].mean():+.3f}")
    for kind, score in pairs.items():
        print(f"following of the cue minus that of its twin, {kind}: {score}; untrained {pairs_before[kind]}")
    if options.json is not None:
        about = {"agent": options.agent, "steps": agent.steps, "encoder": agent.encoder_name, "seed": agent.seed}
        found = {
            "changes": as_dicts(rows),
            "untrained": as_dicts(before),
            "paired": {kind: score.as_dict() for kind, score in pairs.items()},
            "paired_untrained": {kind: score.as_dict() for kind, score in pairs_before.items()},
            "value": {**{name: float(each.mean()) for name, each in rises.items()}, "cue_minus_twin": knows.as_dict()},
        }
        origin = {"commit": commit(), "machine": machine(), "versions": versions()}
        written = write_json(options.json, {**about, **found, **origin})
        print(f"wrote {written}")


def main() -> None:
    """Train or measure."""
    chosen = tyro.cli(
        Annotated[Train, tyro.conf.subcommand("train")] | Annotated[Measure, tyro.conf.subcommand("measure")]  # type: ignore[arg-type]
    )
    if isinstance(chosen, Train):
        train(chosen)
    else:
        measure(chosen)


if __name__ == "__main__":
    main()
