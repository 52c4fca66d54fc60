"""True scores of whole Atari games, every game kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveal.envs import games
from foveal.errors import FovealError
from foveal.evaluation.results import Condition, Episode, Results, machine, now, versions
from foveal.evaluation.rollouts import SEED_OFFSET, TRAIN, Policy, describe_agent
from foveal.progress import Progress

SIDE_BY_SIDE = 8
Act: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


def evaluate(
    agent: Policy,
    episodes: int = 30,
    seed: int | None = None,
    *,
    deterministic: bool = False,
    progress: bool = True,
) -> Results:
    """Scores of whole games, unclipped, in the environment that the agent was trained in.

    Games are played side by side, and how many each emulator plays is settled beforehand: taking the first to finish
    would prefer short ones.

    Args:
        agent: the policy.
        episodes: games.
        seed: of how they begin; by default the training seed + 42.
        deterministic: take the likeliest action instead of a sample. PPO trains the policy that samples, and so do the
            published scores.
        progress: show a bar, counted in games.

    Raises:
        FovealError: ``episodes`` or ``seed`` is out of range.
    """

    def act(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        actions: NDArray[np.int64] = agent.predict(frames, deterministic=deterministic)[0]
        return actions

    described = describe_agent(agent) | {"deterministic": deterministic}
    chosen = agent.seed + SEED_OFFSET if seed is None else seed
    return _run(
        agent.env_id, act, described, episodes, chosen, life_loss=agent.env_options["life_loss"], progress=progress
    )


def random_scores(env: str, episodes: int = 30, seed: int = SEED_OFFSET, *, progress: bool = True) -> Results:
    """The same for the uniformly random policy: what any agent has to beat."""
    count = games.action_count(games.env_id(env))
    random = np.random.default_rng(seed)

    def act(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        return random.integers(count, size=len(frames))

    return _run(games.env_id(env), act, {"name": "random"}, episodes, seed, life_loss=True, progress=progress)


def _run(
    env: str, act: Act, described: dict[str, Any], episodes: int, seed: int, *, life_loss: bool, progress: bool
) -> Results:
    if episodes < 1:
        raise FovealError(f"episodes must be at least 1, not {episodes}")
    if seed < 0:
        raise FovealError(f"seed must not be negative, and it is {seed}")
    start = time.monotonic()
    played = _play(env, act, episodes, seed, life_loss=life_loss, progress=progress)
    return Results(
        environment={"id": env, "image_size": 84, "frame_stack": 4, "action_repeat": 4, "life_loss": life_loss},
        policy=described,
        seed=seed,
        conditions=(Condition(TRAIN, None, None, tuple(played)),),
        seconds=round(time.monotonic() - start, 1),
        created=now(),
        versions=versions(),
        machine=machine(),
    )


def _play(env: str, act: Act, episodes: int, seed: int, *, life_loss: bool, progress: bool) -> list[Episode]:
    from foveal.atari.vector import AtariVector, finished_games

    count = min(SIDE_BY_SIDE, episodes)
    wanted = [episodes // count + (index < episodes % count) for index in range(count)]
    played: list[list[Episode]] = [[] for _ in range(count)]
    vector = AtariVector(env, count, seed, life_loss=life_loss)
    seen, _ = vector.reset()
    with Progress(0, episodes, visible=progress, what="evaluate", unit="game") as bar:
        while any(len(done) < target for done, target in zip(played, wanted, strict=True)):
            seen, _, _, truncated, infos = vector.step(act(seen))
            for index, score, length in finished_games(infos):
                if len(played[index]) < wanted[index]:
                    ended = not truncated[index]
                    played[index].append(Episode(len(played[index]), seed, score, length, ended, None))
            bar.advance(sum(len(done) for done in played))
    vector.close()
    return [episode for done in played for episode in done]
