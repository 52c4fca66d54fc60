"""Whole Atari games: their true scores, every game kept, and one game recorded."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from foveal.atari.recording import Replay
from foveal.envs import games
from foveal.evaluation.pixel_world import Policy, describe_agent, pixel_world
from foveal.evaluation.recording import Recording, Words
from foveal.evaluation.results import Condition, Episode, Results
from foveal.evaluation.rollouts import run
from foveal.evaluation.world import SEED_OFFSET, TRAIN, Attending, Bar, World, WorldOptions
from foveal.learners import Learner

SIDE_BY_SIDE = 8
EPSILON = 0.05
"""Share of random actions of value learners: without any, a game may go on for ever without a point (Mnih et al.)."""

Act: TypeAlias = Callable[[NDArray[np.uint8]], NDArray[np.int64]]


class Player(Policy, Protocol):
    """An agent whose draws can be repeated; ``foveal.Agent`` is one.

    Attributes:
        acting_generator: draws its actions.
        learner: whose policy is drawn from, or whose best actions are taken.
    """

    acting_generator: torch.Generator
    learner: Learner


@dataclass(frozen=True)
class GameWorld(World):
    """Games as they are, unclipped, in the environment that the agent was trained in.

    Attributes:
        env: the game's id.
        seed: of how games begin.
        act: observations of games side by side -> actions.
        policy: who acts, as results say it.
        rules: keyword arguments of ``foveal.atari.vector.AtariVector``.
        words: how a recording is called.
        agent: who acts, for the attention that it may have inside; None for chance.
        acting: what ``act`` draws from, where a recording must leave it as it was.
        conditions: ``"train"`` alone.
    """

    env: str
    seed: int
    act: Act
    policy: Mapping[str, Any]
    rules: Mapping[str, Any]
    words: Words = field(default_factory=Words)
    acting: torch.Generator | None = None
    agent: object = None
    conditions: tuple[str, ...] = (TRAIN,)

    def play(self, condition: str, episodes: int, bar: Bar) -> tuple[dict[str, Any], Condition]:
        """Games side by side.

        How many each emulator plays is settled beforehand: taking the first to finish would prefer short ones.
        """
        from foveal.atari.vector import AtariVector, finished_games

        bar.enter(condition)
        count = min(SIDE_BY_SIDE, episodes)
        wanted = [episodes // count + (index < episodes % count) for index in range(count)]
        played: list[list[Episode]] = [[] for _ in range(count)]
        vector = AtariVector(self.env, count, self.seed, **self.rules)
        seen, _ = vector.reset()
        act = Attending(self.act, self.agent)
        while any(len(done) < target for done, target in zip(played, wanted, strict=True)):
            seen, _, terminated, truncated, infos = vector.step(act(seen))
            act.follows = ~(terminated | truncated)
            for index, score, length in finished_games(infos):
                if len(played[index]) < wanted[index]:
                    ended = not truncated[index]
                    played[index].append(Episode(len(played[index]), self.seed, score, length, ended, None))
                    bar.finish()
        vector.close()
        about = {
            "id": self.env,
            "image_size": self.rules["size"],
            "frame_stack": 4,
            "action_repeat": 4,
            "life_loss": self.rules["life_loss"],
            "sticky": self.rules["sticky"],
            "frame_limit": self.rules["frame_limit"],
        }
        episodes_of_all = tuple(episode for done in played for episode in done)
        return about, Condition(condition, None, None, episodes_of_all, attention=act.found)

    def record(self, condition: str, most: int, bar: Bar) -> Recording:
        """One game to its end. Draws come from the seed, and those of later training stay what they were."""
        bar.enter(condition)
        if self.acting is None:
            return self._record(condition, bar)
        before = self.acting.get_state()
        self.acting.manual_seed(self.seed)
        try:
            return self._record(condition, bar)
        finally:
            self.acting.set_state(before)

    def _record(self, condition: str, bar: Bar) -> Recording:
        from foveal.atari.vector import AtariVector, finished_games

        vector = AtariVector(self.env, 1, self.seed, **self.rules)
        seen, _ = vector.reset()
        actions: list[int] = []
        scores: list[float] = [0.0]
        finished: list[tuple[int, float, int]] = []
        while not finished:
            action = self.act(seen)
            seen, _, _, truncated, infos = vector.step(action)
            finished = list(finished_games(infos))
            actions.append(int(action[0]))
            scores.append(vector.scores[0])
            bar.step()
        vector.close()
        bar.finish()
        scores[-1] = finished[0][1]  # the vector is in the next game by now
        return Recording(
            environment=self.env,
            condition=condition,
            episode=Episode(0, self.seed, scores[-1], len(actions), not truncated[0], None),
            rewards=np.diff(scores),
            sights=Replay(self.env, self.rules, self.seed, np.array(actions)),
            words=self.words,
            name=self.env,
        )

    def by_chance(self) -> GameWorld:
        """Actions are drawn uniformly, from the seed, by the same protocol."""
        return chance_world(self.env, self.seed, {name: self.rules[name] for name in ("sticky", "frame_limit")})


def agent_world(agent: Player, options: WorldOptions) -> World:
    """Where ``foveal.Agent`` acts: games on Atari, else the environments of ``foveal.envs``."""
    return game_world(agent, options) if games.is_atari(agent.env_id) else pixel_world(agent, options)


def game_world(agent: Player, options: WorldOptions, *, deterministic: bool = False) -> GameWorld:
    """Where an Atari agent plays.

    A policy is sampled from: PPO trains the one that samples, and so do the published scores. A value learner takes its
    best action, but for the share ``EPSILON`` of random ones.

    Args:
        agent: the policy.
        options: the seed; by default the training seed + 42.
        deterministic: take the likeliest or best action always.

    Raises:
        FovealError: another condition than ``"train"``, or an option that means nothing for games.
    """
    options.refuse(agent.env_id, "data", "quality", "env", "adapt", "skill")
    options.conditions((TRAIN,), (TRAIN,), "condition")
    seed = options.seed_or(agent.seed + SEED_OFFSET)
    epsilon = 0.0 if deterministic or agent.learner.on_policy else EPSILON
    described = describe_agent(agent) | {"deterministic": deterministic} | ({"epsilon": epsilon} if epsilon else {})
    generator, count = agent.acting_generator, games.action_count(agent.env_id)

    def act(frames: NDArray[np.uint8]) -> NDArray[np.int64]:
        actions: NDArray[np.int64] = agent.predict(frames, deterministic=deterministic or epsilon > 0)[0]
        if not epsilon:
            return actions
        chance = torch.rand(len(frames), generator=generator, device=generator.device).cpu().numpy() < epsilon
        anything = torch.randint(count, (len(frames),), generator=generator, device=generator.device).cpu().numpy()
        return np.where(chance, anything, actions)

    rules = {**games.rules(agent.env_options), **_protocol(agent.env_id, options)}
    words = _words(described, epsilon, deterministic=deterministic)
    return GameWorld(agent.env_id, seed, act, described, rules, words, generator, agent)


def evaluate(
    agent: Player,
    episodes: int = 30,
    seed: int | None = None,
    *,
    deterministic: bool = False,
    progress: bool = True,
) -> Results:
    """``foveal.evaluate`` for a game; arguments as there and of ``game_world``."""
    world = game_world(agent, WorldOptions(seed=seed), deterministic=deterministic)
    return run(world, episodes, progress=progress)


def random_scores(
    env: str, episodes: int = 30, seed: int = SEED_OFFSET, *, protocol: str = "v4", progress: bool = True
) -> Results:
    """The same for the uniformly random policy: what any agent has to beat; by the protocol "v4" or another one."""
    env = games.env_id(env)
    world = chance_world(env, WorldOptions(seed=seed).seed_or(seed), games.protocol_rules(env, protocol))
    return run(world, episodes, progress=progress)


def chance_world(env: str, seed: int, protocol: Mapping[str, Any]) -> GameWorld:
    """Games in which chance acts, whatever it sees.

    Args:
        env: id of the game.
        seed: of games and actions.
        protocol: of ``foveal.envs.games.protocol_rules``.
    """
    policy, rules = {"name": "random"}, {"life_loss": True, "size": games.OBSERVED[-1], **protocol}
    return GameWorld(env, seed, _chance(env, seed), policy, rules, _words({"method": "chance"}, 0.0))


def _protocol(env: str, options: WorldOptions) -> dict[str, Any]:
    """The rules that were asked for in place of the training's."""
    asked = games.protocol_rules(env, options.protocol or "v4", options.sticky, options.frame_limit)
    given = {name for name in asked if options.protocol is not None or getattr(options, name) is not None}
    return {name: value for name, value in asked.items() if name in given}


def _words(policy: Mapping[str, Any], epsilon: float, *, deterministic: bool = False) -> Words:
    """How a recorded game of a policy is called."""
    learner = str(policy.get("learner", "")).upper()
    drawn = "Actions are drawn from the policy, as in training."
    greedy = f"Actions are those of the highest value, but for {epsilon:.0%} random ones."
    likeliest = "Actions are the likeliest or those of the highest value."
    return Words(
        who=str(policy["method"]),
        played=f"One whole game of {'the network ' * (learner == 'PPO')}{policy['method']}, after "
        f"{policy.get('steps', 0):,} agent steps of {learner}",
        acting=likeliest if deterministic else greedy if epsilon else drawn,
        picture="game",
        shows="the screen; the agent sees it in grey, 84 pixels wide and high, with the three steps before",
        section="One game",
        total="score",
        reward="points per step",
        digits=0,
        ends=(", to the end of the game", ", then cut off at the limit of frames"),
        smooth=True,
    )


def _chance(env: str, seed: int) -> Act:
    count = games.action_count(env)
    random = np.random.default_rng(seed)
    return lambda frames: random.integers(count, size=len(frames))
