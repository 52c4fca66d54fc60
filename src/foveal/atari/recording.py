"""One game as an agent played it, kept as its actions: whatever was to be seen on the way is played again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from foveal.errors import FovealError
from foveal.evaluation.results import Episode
from foveal.evaluation.rollouts import SEED_OFFSET, Policy
from foveal.progress import seconds_between_draws


@dataclass(frozen=True)
class Recording:
    """A whole game.

    Attributes:
        env: its id.
        life_loss: as in ``foveal.atari.vector.AtariVector``, which plays it again from ``episode.seed``.
        episode: true score, agent steps, and how it ended.
        actions: (length,) indices into the minimal action set.
        points: (length,) what each agent step brought, unclipped; they sum to the score.
    """

    env: str
    life_loss: bool
    episode: Episode
    actions: NDArray[np.int64]
    points: NDArray[np.float64]

    def observations(self) -> Iterator[NDArray[np.uint8]]:
        """What the agent acted on, (4, 84, 84), before every step."""
        return self._again(in_color=False)

    def screens(self) -> Iterator[NDArray[np.uint8]]:
        """The screen at the same time: (210, 160, 3)."""
        return (stack[-1] for stack in self._again(in_color=True))

    def _again(self, *, in_color: bool) -> Iterator[NDArray[np.uint8]]:
        from foveal.atari.vector import AtariVector

        vector = AtariVector(self.env, 1, self.episode.seed, life_loss=self.life_loss, in_color=in_color)
        vector.reset()
        for action in self.actions:
            yield vector.observation[0]
            vector.step(np.array([action]))
        vector.close()


class Player(Policy, Protocol):
    """An agent whose draws can be repeated; ``foveal.Agent`` is one.

    Attributes:
        acting_generator: draws its actions.
    """

    acting_generator: torch.Generator


def record(agent: Player, seed: int | None = None, *, progress: bool = True) -> Recording:
    """Let an agent play one game to its end, with actions drawn from its policy, as in its evaluation.

    The draws come from the seed, and those of later training stay what they were.

    Args:
        agent: the player.
        seed: of the game and of the actions; by default the training seed + 42.
        progress: show a bar, counted in agent steps.

    Raises:
        FovealError: the seed is negative.
    """
    seed = agent.seed + SEED_OFFSET if seed is None else seed
    if seed < 0:
        raise FovealError(f"seed must not be negative, and it is {seed}")
    held = agent.acting_generator.get_state()
    agent.acting_generator.manual_seed(seed)
    try:
        return _play(agent, seed, progress)
    finally:
        agent.acting_generator.set_state(held)


def _play(agent: Player, seed: int, progress: bool) -> Recording:
    from foveal.atari.vector import AtariVector, finished_games

    life_loss = agent.env_options["life_loss"]
    vector = AtariVector(agent.env_id, 1, seed, life_loss=life_loss)
    seen, _ = vector.reset()
    actions: list[int] = []
    scores: list[float] = [0.0]
    finished: list[tuple[int, float, int]] = []
    interval = seconds_between_draws()
    with tqdm(desc="play", unit="step", disable=not progress, dynamic_ncols=True, mininterval=interval) as bar:
        while not finished:
            action = agent.predict(seen)[0]
            seen, _, _, truncated, infos = vector.step(action)
            finished = list(finished_games(infos))
            actions.append(int(action[0]))
            scores.append(vector.scores[0])
            bar.update()
    vector.close()
    scores[-1] = finished[0][1]  # the vector is in the next game by now
    episode = Episode(0, seed, scores[-1], len(actions), not truncated[0], None)
    return Recording(agent.env_id, life_loss, episode, np.array(actions), np.diff(scores))
