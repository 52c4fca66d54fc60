"""Environments of ``foveal.envs``, with and without visual change: the world of agents that bring none of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any, Protocol, TypeAlias

import gymnasium
import numpy as np

from foveal.envs import PixelEnv, make
from foveal.envs.making import EnvLike
from foveal.envs.perturbations import perturbation_names, usual_perturbations
from foveal.envs.vector import make_apart
from foveal.errors import FovealError
from foveal.evaluation.recording import Recording, Sight, Words
from foveal.evaluation.results import Condition, Episode, describe_policy, provenance
from foveal.evaluation.side_by_side import side_by_side
from foveal.evaluation.world import OF_GAMES, SEED_OFFSET, TRAIN, Attending, Bar, World, WorldOptions

Act: TypeAlias = Callable[[Any], Any]
Watch: TypeAlias = Callable[[Any, Any, float], None]
Adapt: TypeAlias = Callable[[Any, Any, float, Any, bool], None]
Adapting: TypeAlias = Callable[[], AbstractContextManager[Adapt | None]]


class Policy(Protocol):
    """What evaluation needs of an agent. ``foveal.Agent`` has it; a policy from elsewhere may have it too.

    Attributes:
        env_id: the environment's id, made anew for every perturbation unless ``env`` is given to ``evaluate`` or the
            policy has an attribute ``env``: an id, an environment or a callable.
        env_options: keyword arguments of ``foveal.envs.make``.
        seed: of its training; an evaluation never uses the same one.
    """

    @property
    def env_id(self) -> str:
        """The environment's id."""

    @property
    def env_options(self) -> Mapping[str, Any]:
        """Keyword arguments of ``foveal.envs.make``."""

    @property
    def seed(self) -> int:
        """Seed of the training."""

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, Any]:
        """The action for one observation."""


def pixel_world(agent: Any, asked: WorldOptions) -> PixelWorld:
    """The world of an agent that brings none, checked before the first environment is made.

    Args:
        agent: a ``Policy``.
        asked: by default the seed is that of the training + 42.

    Raises:
        FovealError: a name is unknown or given twice, the seed is negative, or the agent can't adapt at test time.
    """
    asked.refuse("policies without skills", "skill")
    asked.refuse(f"{agent.env_id}, which is no Atari game", *OF_GAMES)
    adapting: Adapting = nullcontext
    policy = describe_agent(agent)
    if asked.adapt:
        if not hasattr(agent, "adapting"):
            raise FovealError(
                f"a {type(agent).__name__} has no adapting(), so it can't adapt at test time: leave adapt out"
            )
        adapting = agent.adapting
        if getattr(getattr(agent, "method", None), "adapts", True):
            policy = {**policy, "adapted": True}
    options = dict(agent.env_options)
    if asked.data is not None:
        options["quality"] = "exact"
    elif asked.quality is not None:
        options["quality"] = asked.quality
    usual = usual_perturbations(agent.env_id) if isinstance(agent.env_id, str) else ()
    own = getattr(agent, "env", agent.env_id)  # an agent made on the user's own environment remembers it
    return PixelWorld(
        env=own if asked.env is None else asked.env,
        options=options,
        conditions=asked.conditions((TRAIN, *usual), [TRAIN, *perturbation_names()]),
        seed=asked.seed_or(agent.seed + SEED_OFFSET),
        act=lambda observation: agent.predict(observation, deterministic=True)[0],
        policy=policy,
        data=asked.data,
        adapting=adapting,
        agent=agent,
        workers=1 if asked.adapt else asked.workers,
    )


@dataclass(frozen=True)
class PixelWorld(World):
    """Environments of ``foveal.envs``, with and without perturbations.

    Attributes:
        env: id, environment or callable.
        options: keyword arguments of ``foveal.envs.make``.
        conditions: names of perturbations, ``"train"`` for none.
        seed: of every environment.
        act: observation -> action; None for chance.
        policy: who acts, as results say it.
        data: DMC-GB's folder, or None for generated colours and videos.
        adapting: see ``foveal.training.adapting``.
        agent: who acts, for the attention that it may have inside; None for chance.
        workers: conditions that are played at the same time, each with its environment in a process of its own.
        apart: make them so.
        turn: held while the policy acts, which is one for all conditions.
    """

    env: EnvLike
    options: Mapping[str, Any]
    conditions: tuple[str, ...]
    seed: int
    act: Act | None
    policy: Mapping[str, Any]
    data: str | Path | None = None
    adapting: Adapting = nullcontext
    agent: object = None
    workers: int = 1
    apart: bool = False
    turn: AbstractContextManager[Any] = field(default_factory=Lock)

    @contextmanager
    def open(self, perturbation: str) -> Iterator[PixelEnv]:
        """The environment under one perturbation, closed afterwards unless the user made it."""
        name = None if perturbation == TRAIN else perturbation
        making: Callable[..., Any] = make_apart if self.apart else make
        env = making(self.env, **self.options, perturbation=name, data=self.data if name else None)
        try:
            yield env
        finally:
            if not isinstance(self.env, gymnasium.Env):
                env.close()

    def rehearse(self) -> None:
        """Make and close each perturbed environment, so that bad data fails now and not after an hour."""
        for perturbation in self.conditions:
            if perturbation != TRAIN:
                with self.open(perturbation):
                    pass

    def by_chance(self) -> PixelWorld:
        """Actions are drawn uniformly, from the seed."""
        return replace(self, act=None, policy={"name": "random"}, adapting=nullcontext, agent=None)

    def play_all(self, episodes: int, bar: Bar) -> list[tuple[dict[str, Any], Condition]]:
        """As many conditions at the same time as there are workers, unless the environment is the user's own object."""
        if min(self.workers, len(self.conditions)) < 2 or isinstance(self.env, gymnasium.Env):
            return super().play_all(episodes, bar)
        world = replace(self, apart=True)
        return side_by_side(
            lambda condition, part: world.play(condition, episodes, part), self.conditions, bar, self.workers
        )

    def play(self, condition: str, episodes: int, bar: Bar) -> tuple[dict[str, Any], Condition]:
        """One stream of episodes."""
        with self.open(condition) as env:
            info = env.spec_info
            bar.enter(condition, info.max_agent_steps)
            act, done = Attending(self._acting(env), self.agent), []

            def in_turn(observation: Any) -> Any:
                with self.turn:
                    return act(observation)

            for index in range(episodes):
                act.follows = False
                with self.adapting() as adapt:
                    done.append(rollout(env, in_turn, seed=self.seed, index=index, watch=bar.step, adapt=adapt))
                bar.finish()
        about = {name: value for name, value in asdict(info).items() if not name.startswith("perturbation")}
        del about["quality"]  # each condition's own
        return about, Condition(
            perturbation=condition,
            source=info.perturbation_source,
            quality=info.quality,
            episodes=tuple(done),
            items=info.perturbation_items,
            complete=info.perturbation_complete,
            benchmark_items=info.perturbation_benchmark_items,
            attention=act.found,
        )

    def record(self, condition: str, most: int, bar: Bar) -> Recording:
        """The first episode of the stream; parts are the agent's own pixels, where the simulator can tell them."""
        with self.open(condition) as env:
            info = env.spec_info
            bar.enter(condition, info.max_agent_steps)
            act = self._acting(env)
            seen = Thinned(most, info.max_agent_steps)
            rewards: list[float] = []

            def noting(observation: Any) -> Any:
                action = act(observation)
                seen.offer(lambda step: Sight(step, observation, action, env.render(), _parts(env)))
                return action

            def watch(observation: Any, action: Any, reward: float) -> None:
                rewards.append(reward)
                bar.step()

            episode = rollout(env, noting, seed=self.seed, watch=watch)
            bar.finish()
        items = info.perturbation_items, info.perturbation_benchmark_items, info.perturbation_complete
        return Recording(
            environment=info.id,
            condition=condition,
            episode=episode,
            rewards=np.array(rewards),
            sights=tuple(seen.kept),
            words=_words(self.policy),
            source=info.perturbation_source,
            note=provenance(info.perturbation_source, *items),
            name=condition,
        )

    def _acting(self, env: PixelEnv) -> Act:
        if self.act is not None:
            return self.act
        env.action_space.seed(self.seed)
        return lambda _: env.action_space.sample()


def rollout(
    env: PixelEnv,
    act: Act,
    *,
    seed: int,
    index: int = 0,
    watch: Watch | None = None,
    adapt: Adapt | None = None,
) -> Episode:
    """One episode.

    Args:
        env: where.
        act: observation -> action.
        seed: of the environment's stream.
        index: episodes before this one in the stream; only the first one seeds it.
        watch: called after every step with the observation acted on, the action and its reward.
        adapt: called after every step with these, the next observation and whether it terminated the episode.

    Raises:
        FovealError: a reward is NaN or infinite; the step is named.
    """
    observation, _ = env.reset(seed=seed if index == 0 else None)
    total, length, terminated, truncated = 0.0, 0, False, False
    success: bool | None = None
    while not (terminated or truncated):
        action = act(observation)
        following, reward, terminated, truncated, info = env.step(action)
        length += 1
        if not math.isfinite(reward):
            raise FovealError(
                f"the reward of {env.spec_info.id} is {reward} at step {length} of episode {index} (seed {seed}); "
                "evaluation stopped: make the environment's reward a finite number"
            )
        if watch is not None:
            watch(observation, action, float(reward))
        if adapt is not None:
            adapt(observation, action, float(reward), following, bool(terminated))
        total += float(reward)
        success = bool(info["success"]) if "success" in info else None
        observation = following
    return Episode(index, seed, total, length, bool(terminated), env.spec_info.quality, success)


class Thinned:
    """Items of a stream at even distances, at most twice as many in memory as wanted in the end.

    Args:
        wanted: how many.
        length: of the stream if it is known: then nothing is taken in vain.

    Attributes:
        kept: the items.
    """

    def __init__(self, wanted: int, length: int | None = None) -> None:
        self.kept: list[Any] = []
        self._wanted = wanted
        self._stride = 1 if length is None else max(1, -(-length // wanted))
        self._step = 0

    def offer(self, item: Callable[[int], Any]) -> None:
        """Take the next item, if its turn has come; only then is it made."""
        if self._step % self._stride == 0:
            self.kept.append(item(self._step))
        self._step += 1
        if len(self.kept) > 2 * self._wanted:
            self.kept = self.kept[::2]
            self._stride *= 2


def describe_agent(agent: object) -> dict[str, Any]:
    """What a result says of the agent: method, learner, seed, steps and updates, as far as it tells.

    ``"privileged"`` is there where its method learned from what the simulator alone knows.
    """
    names = {"method": "method_name", "learner": "learner_name", "seed": "seed", "steps": "steps", "updates": "updates"}
    told = {key: getattr(agent, attribute) for key, attribute in names.items() if hasattr(agent, attribute)}
    if getattr(getattr(agent, "method", None), "privileged", False):
        told["privileged"] = True
    return {"name": type(agent).__name__.lower(), **told}


def _parts(env: PixelEnv) -> dict[str, Any]:
    try:
        return {"agent": env.agent_mask()}
    except FovealError:
        return {}


def _words(policy: Mapping[str, Any]) -> Words:
    method, _, behind = str(policy.get("method") or "none").partition(" ")  # "behind a shield", for one
    who = "the agent" if method == "none" else method.upper()
    who = f"{who} {behind}".rstrip()
    return Words(who, f"One episode of the deterministic policy ({describe_policy(policy)}) under each condition")
