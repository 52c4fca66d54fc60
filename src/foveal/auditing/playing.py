"""Episodes of a policy in its environment under one condition after another, the same ones under each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol

import gymnasium
import numpy as np
from gymnasium import spaces

from foveal.auditing.adapters import Adapter
from foveal.auditing.blindness import Film
from foveal.auditing.cameras import Camera, Frames, check_sees, described
from foveal.auditing.changing import Changed
from foveal.auditing.conditions import CHANCE, Condition, changed_under
from foveal.auditing.fitting import Fit, as_action, check_actions
from foveal.auditing.places import Place, mask_of
from foveal.auditing.results import Picture
from foveal.auditing.shielding import Shielding
from foveal.errors import FovealError
from foveal.evaluation.results import Episode, provenance

SHOWN = 20
"""Agent steps into the first episode, or its last if it is shorter: when pictures are taken."""
FILMED, LONGEST_FILM = 3, 1000
"""Episodes, and frames of each at most, that the test of blindness shows instead of the present ones."""
FILM_BYTES = 1 << 26
"""Of such an episode, in memory."""
OTHERS = 1_000_000
"""What is added to the numbers of episodes that are filmed, so that none is among those that are tried."""
REFUSALS = (
    AssertionError,
    AttributeError,
    IndexError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What policies say by raising when they are given something that they can't take."""

Watch = Callable[[Any], None]


@dataclass(frozen=True)
class Played:
    """Episodes under one condition.

    Attributes:
        condition: what.
        episodes: as they went.
        alarms: share of steps in which the shield doubted; None without one.
        note: see ``foveal.evaluation.results.provenance``.
        pictures: see ``foveal.auditing.results.Point``.
    """

    condition: Condition
    episodes: tuple[Episode, ...]
    alarms: float | None = None
    note: str = ""
    pictures: tuple[Picture, ...] = ()


@dataclass(frozen=True)
class Player:
    """A policy in its environment.

    Attributes:
        place: where.
        adapter: who.
        episodes: how many under each condition.
        seed: of the first; each next has one more.
        longest: agent steps after which an episode is cut; None for the environment's own limit alone.
        shield: what may stand before the policy.
        films: of other episodes, for the test of blindness.
    """

    place: Place
    adapter: Adapter
    episodes: int
    seed: int
    longest: int | None = None
    shield: Any = None
    films: Sequence[Film] = ()

    def rehearse(self) -> tuple[tuple[Camera, ...], bool]:
        """Take one step, so that what doesn't fit fails now and not after an hour.

        Returns:
            The cameras, and whether the environment tells which pixels are the task's own.

        Raises:
            FovealError: the environment has no picture, or observations or actions don't fit the policy.
        """
        with self.place.open() as env:
            cameras = check_sees(env.observation_space, self.place.name)
            fit = self.adapter.fitting(env.observation_space)
            check_actions(env.action_space, self.adapter.action_space)
            observation, _ = env.reset(seed=self.seed)
            if self.shield is not None:
                observation = Shielding(self.shield, cameras).see(observation)
            self.adapter.reset()
            output = asked(self.adapter, fit, observation, "what the environment shows", env.observation_space)
            env.step(as_action(output, env.action_space))
            return cameras, mask_of(env, cameras) is not None

    def filmed(self, env: gymnasium.Env[Any, Any]) -> tuple[Film, ...]:
        """Frames of some episodes that are none of those that are tried."""
        cameras = check_sees(env.observation_space, self.place.name)
        most = min(LONGEST_FILM, FILM_BYTES // sum(3 * camera.height * camera.width for camera in cameras))
        return tuple(self._filmed(env, cameras, OTHERS + number, max(1, most)) for number in range(FILMED))

    def _filmed(self, env: gymnasium.Env[Any, Any], cameras: Sequence[Camera], number: int, most: int) -> Film:
        kept: dict[tuple[str, ...], list[Frames]] = {camera.path: [] for camera in cameras}

        def keep(observation: Any) -> None:
            for camera in cameras:
                kept[camera.path].append(camera.read(observation)[-1])

        self._episode(env, self._acting(env), number, _Seen(None, None, keep, most))
        return {path: np.stack(frames) for path, frames in kept.items()}

    def play(self, condition: Condition, plain: gymnasium.Env[Any, Any]) -> Played:
        """Episodes under one condition.

        Args:
            condition: what.
            plain: the place as it is, which is used again where it has no perturbation of its own.

        Raises:
            FovealError: it can't be made, a reward is not finite, or the policy refuses what it sees.
        """
        perturbation = condition.perturbation
        with nullcontext(plain) if perturbation is None else self.place.open(perturbation) as env:
            cameras = check_sees(env.observation_space, self.place.name)
            shielding = Shielding(self.shield, cameras) if condition.shielded else None
            changed = changed_under(condition, cameras, self.films, self.seed)
            shown: list[Any] = []
            act = self._by_chance(env) if condition.change == CHANCE else self._acting(env)
            done = []
            for number in range(self.episodes):
                watch = shown.append if number == 0 else None
                done.append(self._episode(env, act, number, _Seen(changed, shielding, watch, SHOWN)))
            info = getattr(env.unwrapped, "spec_info", None)
        note = ""
        if perturbation is not None and info is not None:
            items = info.perturbation_items, info.perturbation_benchmark_items, info.perturbation_complete
            note = provenance(info.perturbation_source, *items)
        alarms = None if shielding is None else shielding.alarms.share
        return Played(condition, tuple(done), alarms, note, _pictures(shown, cameras[0], shielding))

    def behave(self, env: gymnasium.Env[Any, Any], through: Through) -> tuple[Episode, ...]:
        """The same episodes with the picture as it is, the policy being given what ``through`` makes of it."""
        act = replace(self._acting(env), through=through)
        return tuple(self._episode(env, act, number, _Seen(None, None, None, 0)) for number in range(self.episodes))

    def watch(self, condition: Condition, env: gymnasium.Env[Any, Any], through: Through) -> Episode:
        """The first episode under a condition, the policy being given what ``through`` makes of what it would see."""
        cameras = check_sees(env.observation_space, self.place.name)
        changed = changed_under(condition, cameras, self.films, self.seed)
        return self._episode(env, replace(self._acting(env), through=through), 0, _Seen(changed, None, None, 0))

    def _acting(self, env: gymnasium.Env[Any, Any]) -> Act:
        return Act(self.adapter, self.adapter.fitting(env.observation_space), env)

    def _by_chance(self, env: gymnasium.Env[Any, Any]) -> Act:
        env.action_space.seed(self.seed)
        return Act(None, Fit(env.observation_space, None), env)

    def _episode(self, env: gymnasium.Env[Any, Any], act: Act, number: int, seen: _Seen) -> Episode:
        observation, info = env.reset(seed=self.seed + number)
        act.reset(number)
        seen.begin((self.seed, number))
        total, length, terminated, truncated = 0.0, 0, False, False
        while not (terminated or truncated):
            action = act(seen(observation, env))
            observation, reward, terminated, truncated, info = env.step(action)
            length += 1
            if not math.isfinite(float(reward)):
                raise FovealError(
                    f"the reward of {self.place.name} is {reward} at step {length} of episode {number}; the audit "
                    "stopped: make the environment's reward a finite number"
                )
            total += float(reward)
            truncated = truncated or (self.longest is not None and length >= self.longest)
        success = next((bool(info[key]) for key in ("success", "is_success") if key in info), None)
        return Episode(number, self.seed + number, total, length, bool(terminated), None, success)


class Through(Protocol):
    """What observations go through on their way to the policy, in the policy's own layout."""

    def begin(self) -> None:
        """A new episode."""

    def __call__(self, given: Any) -> Any:
        """What the policy is given."""


@dataclass(frozen=True)
class Act:
    """Observation -> action of the environment; at random where there is no policy."""

    adapter: Adapter | None
    fit: Fit
    env: gymnasium.Env[Any, Any]
    through: Through | None = None

    def reset(self, number: int) -> None:
        """Episode ``number`` begins."""
        self.fit.reset()
        if self.through is not None:
            self.through.begin()
        if self.adapter is not None:
            self.adapter.reset()
            self.adapter.begin_draws(number)

    def __call__(self, observation: Any) -> Any:
        if self.adapter is None:
            return self.env.action_space.sample()
        given = self.fit(observation)
        if self.through is not None:
            given = self.through(given)
        return as_action(self.adapter.act(given), self.env.action_space)


class _Seen:
    """What a policy is shown of an observation: changed, and behind a shield where there is one.

    Args:
        changed: what happens to the pictures.
        shielding: what stands before the policy.
        watch: is given the first ``most`` observations, after the change and before the shield.
        most: how many.
    """

    def __init__(self, changed: Changed | None, shielding: Shielding | None, watch: Watch | None, most: int) -> None:
        self._changed, self._shielding, self._watch, self._left = changed, shielding, watch, most

    def begin(self, seed: Sequence[int]) -> None:
        if self._changed is not None:
            self._changed.begin(seed)

    def __call__(self, observation: Any, env: gymnasium.Env[Any, Any]) -> Any:
        if self._changed is not None:
            mask = mask_of(env, self._changed.cameras) if self._changed.needs_mask else None
            observation = self._changed(observation, mask)
        if self._watch is not None and self._left > 0:
            self._left -= 1
            self._watch(observation)
        return observation if self._shielding is None else self._shielding(observation)


def _pictures(shown: Sequence[Any], camera: Camera, shielding: Shielding | None) -> tuple[Picture, ...]:
    if not shown:
        return ()
    views = [shown[-1], *([] if shielding is None else [shielding.see(shown[-1])])]
    return tuple(camera.picture(view) for view in views)


def asked(adapter: Adapter, fit: Fit, observation: Any, what: str, space: spaces.Space[Any]) -> Any:
    """What a policy does on an observation.

    Args:
        adapter: the policy.
        fit: as it sees the observation.
        observation: of ``space``.
        what: that is, in words.
        space: of what is observed.

    Raises:
        FovealError: the policy can't act on it.
    """
    try:
        return adapter.act(fit(observation))
    except REFUSALS as error:
        told = str(error).strip().partition("\n")[0]
        raise FovealError(
            f"this policy can't act on {what}, {described(space)}: {type(error).__name__}: {told}"
        ) from error
