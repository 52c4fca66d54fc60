"""Returns of a policy where it was trained and under visual change, every episode kept.

The protocol is DMC-GB's (Hansen and Wang 2021): the deterministic policy, 30 episodes, a test seed 42 above that of the
training. An environment is seeded once and then reset again and again, as there: its colours and videos come in order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.evaluation.pixel_world import Policy, pixel_world
from foveal.evaluation.results import Results, origin
from foveal.evaluation.world import SEED_OFFSET, TRAIN, Bar, BringsWorld, World, WorldOptions


def evaluate(
    agent: Policy | BringsWorld,
    on: str | Sequence[str] | None = TRAIN,
    episodes: int = 30,
    seed: int | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    progress: bool = True,
    *,
    env: EnvLike | None = None,
    adapt: bool = False,
    workers: int = 1,
    protocol: str | None = None,
    sticky: float | None = None,
    frame_limit: int | None = None,
) -> Results:
    """Roll out the deterministic policy and keep every episode's return.

    Agents that bring a world of their own act by its rules: Atari agents play whole games with sampled actions
    (``foveal.atari.evaluation``), policies of the arm solve their task or don't (``foveal.skills.world``).

    Args:
        agent: the policy.
        on: ``"train"`` for the environment as it is, names of other conditions (here of perturbations), or a list of
            both; None for those that are usual for the agent.
        episodes: per name.
        seed: of the environments; by default the training seed + 42, so that no episode was seen in training.
        data: folder of DMC-GB's colours and videos. Its scores mean something at the benchmark's own rendering alone,
            so this forces the quality ``"exact"``. Without it colours and videos are generated, and tables say so.
        quality: of rendering: ``"exact"``, ``"fast"`` or ``"draft"``; by default what the agent was trained with.
        progress: show a bar with the time left.
        env: evaluate here instead of in the agent's own environment; an environment given as an object is not closed.
        adapt: let the agent's method learn from every step, if it can; each episode begins with the trained weights,
            and the agent is left with them.
        workers: processes for simulated arms; or conditions that are played at the same time, each with its environment
            in a process of its own and all with the policy in this one, which needs ``if __name__ == "__main__"`` in a
            script. Results don't depend on it. Games, shields and policies that adapt take one.
        protocol: of Atari games, "v4" or "v5": whose sticky actions and limit of frames there are; by default those
            of the training. See ``foveal.envs.games.PROTOCOLS``.
        sticky, frame_limit: one of these alone, in place of the protocol's or the training's.

    Raises:
        FovealError: a name is unknown or given twice, ``episodes`` or ``seed`` is out of range, the data folder lacks
            something, a reward is not finite, or the agent or its world can't do what was asked for.
    """
    options = WorldOptions(
        on, seed, data, quality, env, adapt, workers, protocol=protocol, sticky=sticky, frame_limit=frame_limit
    )
    return run(world_of(agent, options), episodes, progress=progress)


def random_returns(
    env_id: EnvLike,
    on: str | Sequence[str] | None = TRAIN,
    episodes: int = 30,
    seed: int = SEED_OFFSET,
    options: Mapping[str, Any] | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    progress: bool = True,
) -> Results:
    """The same for the uniformly random policy: what any agent has to beat.

    Args:
        env_id: id, environment or callable, as ``foveal.envs.make`` takes it.
        options: keyword arguments of ``foveal.envs.make``, e.g. ``agent.env_options``.

    The other arguments and the errors are those of ``evaluate``.
    """
    nobody = SimpleNamespace(env_id=env_id, env_options=options or {}, seed=seed)
    world = pixel_world(nobody, WorldOptions(on, seed, data, quality))
    return run(world.by_chance(), episodes, progress=progress)


def world_of(agent: Policy | BringsWorld, options: WorldOptions) -> World:
    """Where an agent acts: its own world if it brings one, else its environment.

    Raises:
        FovealError: what was asked for can't be done there.
    """
    own: Callable[[WorldOptions], World] | None = getattr(agent, "world", None)
    return pixel_world(agent, options) if own is None else own(options)


def run(world: World, episodes: int = 30, *, progress: bool = True) -> Results:
    """Play episodes under every condition of a world.

    Raises:
        FovealError: ``episodes`` is out of range, or the world can't be made.
    """
    if episodes < 1:
        raise FovealError(f"episodes must be at least 1, not {episodes}")
    start = time.monotonic()
    if world.data is not None:
        world.rehearse()
    with closing(world), Bar(episodes * len(world.conditions), visible=progress) as bar:
        played = world.play_all(episodes, bar)
    return Results(
        environment=played[-1][0],
        policy=dict(world.policy),
        seed=world.seed,
        conditions=tuple(condition for _, condition in played),
        data=None if world.data is None else str(world.data),
        seconds=round(time.monotonic() - start, 1),
        **origin(),
    )
