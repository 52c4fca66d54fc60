"""Returns of a policy where it was trained and under visual change, every episode kept.

The protocol is DMC-GB's (Hansen and Wang 2021): the deterministic policy, 30 episodes, a test seed 42 above that of the
training. An environment is seeded once and then reset again and again, as there: its colours and videos come in order.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import gymnasium
from tqdm import tqdm

from foveal.envs import PixelEnv, make
from foveal.envs.perturbations import PERTURBATIONS
from foveal.errors import FovealError
from foveal.evaluation.results import Condition, Episode, Results, machine, now, versions
from foveal.progress import seconds_between_draws
from foveal.registry import nearest

TRAIN = "train"
"""The name of the environment as it is, without any perturbation."""

SEED_OFFSET = 42
"""DMC-GB's test environments are seeded with the training seed plus this."""

EnvLike: TypeAlias = str | gymnasium.Env[Any, Any] | Callable[[], gymnasium.Env[Any, Any]]
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


@runtime_checkable
class Adapts(Protocol):
    """A policy that may go on learning at test time."""

    def adapting(self) -> AbstractContextManager[Adapt | None]:
        """What to tell each step of an episode, None for nothing; what was learnt is undone when the block ends."""


@dataclass(frozen=True)
class Plan:
    """Which environments an evaluation runs on, checked before the first of them is made.

    Attributes:
        env: id, environment or callable.
        options: keyword arguments of ``foveal.envs.make``.
        perturbations: names, ``"train"`` for none.
        seed: of every environment.
        data: DMC-GB's folder, or None for generated colours and videos.
    """

    env: EnvLike
    options: Mapping[str, Any]
    perturbations: tuple[str, ...]
    seed: int
    data: str | Path | None = None

    @contextmanager
    def open(self, perturbation: str) -> Iterator[PixelEnv]:
        """The environment under one perturbation, closed afterwards unless the user made it."""
        name = None if perturbation == TRAIN else perturbation
        env = make(self.env, **self.options, perturbation=name, data=self.data if name else None)
        try:
            yield env
        finally:
            if not isinstance(self.env, gymnasium.Env):
                env.close()

    def rehearse(self) -> None:
        """Make and close each perturbed environment, so that bad data is found now and not after an hour."""
        for perturbation in self.perturbations:
            if perturbation != TRAIN:
                with self.open(perturbation):
                    pass


def evaluate(
    agent: Policy,
    on: str | Sequence[str] = TRAIN,
    episodes: int = 30,
    seed: int | None = None,
    data: str | Path | None = None,
    quality: str | None = None,
    progress: bool = True,
    *,
    env: EnvLike | None = None,
    adapt: bool = False,
) -> Results:
    """Roll out the deterministic policy and keep every episode's return.

    Atari games have a protocol of their own, see ``foveal.atari.evaluation.evaluate``: an agent that has ``scores``, a
    function and not None, is asked for them.

    Args:
        agent: the policy.
        on: ``"train"`` for the environment as it is, names of perturbations, or a list of both.
        episodes: per name.
        seed: of the environments; by default the training seed + 42, so that no episode was seen in training.
        data: folder of DMC-GB's colours and videos. Its scores mean something at the benchmark's own rendering alone,
            so this forces the quality ``"exact"``. Without it colours and videos are generated, and tables say so.
        quality: of rendering: ``"exact"``, ``"fast"`` or ``"draft"``; by default what the agent was trained with.
        progress: show a bar with the time left.
        env: evaluate here instead of in the agent's own environment; an environment given as an object is not closed.
        adapt: let the agent's method learn from every step, if it can; each episode begins with the trained weights,
            and the agent is left with them.

    Raises:
        FovealError: a name is unknown or given twice, ``episodes`` or ``seed`` is out of range, the data folder lacks
            something, a reward is not finite, or the policy can't be asked to adapt.
    """
    scores: Callable[..., Results] | None = getattr(agent, "scores", None)
    if scores is not None:
        if on not in (TRAIN, [TRAIN], (TRAIN,)) or not data is quality is env is None or adapt:
            raise FovealError(
                f"scores of {agent.env_id} are taken on {TRAIN!r} alone, without data, quality, env or adapt"
            )
        return scores(episodes, seed, progress=progress)
    seed = agent.seed + SEED_OFFSET if seed is None else seed
    plan = plan_for(agent, on, seed=seed, data=data, quality=quality, env=env)

    def deterministic(_: PixelEnv) -> Act:
        return lambda observation: agent.predict(observation, deterministic=True)[0]

    if not adapt:
        return _run(plan, deterministic, describe_agent(agent), episodes, progress)
    if not isinstance(agent, Adapts):
        raise FovealError(
            f"a {type(agent).__name__} has no adapting(), so it can't adapt at test time: leave adapt out"
        )
    return _run(plan, deterministic, {**describe_agent(agent), "adapted": True}, episodes, progress, agent.adapting)


def random_returns(
    env_id: EnvLike,
    on: str | Sequence[str] = TRAIN,
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
    plan = _plan(env_id, options or {}, on, seed, data, quality)

    def uniform(env: PixelEnv) -> Act:
        env.action_space.seed(plan.seed)
        return lambda _: env.action_space.sample()

    return _run(plan, uniform, {"name": "random"}, episodes, progress)


def plan_for(
    agent: Policy,
    on: str | Sequence[str],
    *,
    seed: int,
    data: str | Path | None = None,
    quality: str | None = None,
    env: EnvLike | None = None,
) -> Plan:
    """The environments that ``evaluate`` would use; arguments and errors as there."""
    own = getattr(agent, "env", agent.env_id)  # an agent made on the user's own environment remembers it
    return _plan(own if env is None else env, agent.env_options, on, seed, data, quality)


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
    while not (terminated or truncated):
        action = act(observation)
        following, reward, terminated, truncated, _ = env.step(action)
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
        observation = following
    return Episode(index, seed, total, length, bool(terminated), env.spec_info.quality)


def describe_agent(agent: object) -> dict[str, Any]:
    """What a result says of the agent: method, learner, seed, steps and updates, as far as it tells."""
    names = {"method": "method_name", "learner": "learner_name", "seed": "seed", "steps": "steps", "updates": "updates"}
    told = {key: getattr(agent, attribute) for key, attribute in names.items() if hasattr(agent, attribute)}
    return {"name": type(agent).__name__.lower(), **told}


def _run(
    plan: Plan,
    policy: Callable[[PixelEnv], Act],
    description: dict[str, Any],
    episodes: int,
    progress: bool,
    adapting: Adapting = nullcontext,
) -> Results:
    if episodes < 1:
        raise FovealError(f"episodes must be at least 1, not {episodes}")
    start = time.monotonic()
    if plan.data is not None:
        plan.rehearse()
    conditions: list[Condition] = []
    environment: dict[str, Any] = {}
    with _Progress(episodes * len(plan.perturbations), visible=progress) as bar:
        for perturbation in plan.perturbations:
            with plan.open(perturbation) as env:
                environment = environment or _environment(env)
                conditions.append(_condition(env, policy(env), plan, perturbation, episodes, bar, adapting))
    return Results(
        environment=environment,
        policy=description,
        seed=plan.seed,
        conditions=tuple(conditions),
        data=None if plan.data is None else str(plan.data),
        seconds=round(time.monotonic() - start, 1),
        created=now(),
        versions=versions(),
        machine=machine(),
    )


def _condition(
    env: PixelEnv, act: Act, plan: Plan, perturbation: str, episodes: int, bar: _Progress, adapting: Adapting
) -> Condition:
    bar.enter(perturbation, env.spec_info.max_agent_steps)
    done = []
    for index in range(episodes):
        with adapting() as adapt:
            done.append(rollout(env, act, seed=plan.seed, index=index, watch=bar.step, adapt=adapt))
        bar.finish()
    info = env.spec_info
    return Condition(
        perturbation=perturbation,
        source=info.perturbation_source,
        quality=info.quality,
        episodes=tuple(done),
        items=info.perturbation_items,
        complete=info.perturbation_complete,
        benchmark_items=info.perturbation_benchmark_items,
    )


def _environment(env: PixelEnv) -> dict[str, Any]:
    """What the conditions have in common."""
    told = asdict(env.spec_info)
    return {name: value for name, value in told.items() if not name.startswith("perturbation") and name != "quality"}


def _plan(
    env: EnvLike,
    options: Mapping[str, Any],
    on: str | Sequence[str],
    seed: int,
    data: str | Path | None,
    quality: str | None,
) -> Plan:
    if seed < 0:
        raise FovealError(f"seed must not be negative, and it is {seed}")
    options = dict(options)
    if data is not None:
        options["quality"] = "exact"
    elif quality is not None:
        options["quality"] = quality
    return Plan(env, options, _checked_names(on), seed, data)


def _checked_names(on: str | Sequence[str]) -> tuple[str, ...]:
    names = (on,) if isinstance(on, str) else tuple(on)
    if not names:
        raise FovealError(f"nothing to evaluate on: name {TRAIN!r} or a perturbation")
    known = [TRAIN, *PERTURBATIONS.names()]
    for position, name in enumerate(names):
        if name not in known:
            raise FovealError(f"unknown perturbation {name!r}: {nearest(name, known)}")
        if name in names[:position]:
            raise FovealError(f"{name!r} is named twice; name every perturbation once")
    return names


class _Progress:
    """One bar over all conditions, counted in episodes; where an episode's length is known it moves with every step."""

    def __init__(self, episodes: int, *, visible: bool) -> None:
        layout = "{desc}{percentage:3.0f}% |{bar}| {elapsed} passed, {remaining} left{postfix}"
        self._bar = tqdm(
            total=float(episodes),
            disable=not visible,
            bar_format=layout,
            smoothing=0.1,
            mininterval=seconds_between_draws(),
        )
        self._base = 0.0
        self._longest: int | None = None
        self._steps = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def enter(self, perturbation: str, longest: int | None) -> None:
        """Begin a condition whose episodes last at most ``longest`` steps."""
        self._base, self._steps, self._longest = round(self._bar.n), 0, longest
        self._bar.set_description(perturbation)

    def step(self, *_: object) -> None:
        """One step more in this episode."""
        self._steps += 1
        if self._longest:
            self._move(self._base + min(1.0, self._steps / self._longest))

    def finish(self) -> None:
        """The episode is over."""
        self._base, self._steps = self._base + 1, 0
        self._move(self._base)

    def _move(self, position: float) -> None:
        self._bar.update(position - self._bar.n)
