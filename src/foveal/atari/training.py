"""Training on an Atari game, from replay or from rollouts of every game, with scores of whole games."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from foveal import checkpoint
from foveal.atari.vector import AtariVector, finished_games
from foveal.config.environment import requirements
from foveal.config.tree import Config
from foveal.envs import games
from foveal.errors import FovealError
from foveal.learners import LEARNERS
from foveal.learners.rollouts import Rollout
from foveal.training import Episode, ReplayWork, RolloutWork, RunOptions
from foveal.training.agents import LearningAgent
from foveal.training.collecting import Collector
from foveal.types import PREVIOUS_ACTION

RUN = RunOptions(evaluate_every=0, evaluate_episodes=10, checkpoint_every=100_000, log_every=1)
"""What happens beside learning, by default. There are no evaluations: training plays whole games with the same policy
already, and their scores are kept."""

REPLAY_RUN = RunOptions(evaluate_every=0, evaluate_episodes=10, checkpoint_every=50_000)
"""The same for a value learner, which takes many small updates."""

LOST = "this version of ale-py plays the saved games differently: they start again"


class GameWork(RolloutWork):
    """What the training of PPO on a game does; see ``RolloutWork``. Steps count over all games.

    Raises:
        FovealError: games are to be played in processes.
    """

    default_options = RUN
    env: AtariVector

    def _environments(self) -> AtariVector:
        # What one call of ``learn`` plays differs from what the one before it played.
        return played(self.agent, self.agent.seed + self.agent.steps)

    def _episodes(self, rollout: Rollout, infos: Sequence[Mapping[str, Any]]) -> list[Episode]:
        """True scores of the games that ended, whatever lives they took."""
        return [Episode(index, score) for step in infos for index, score, _ in finished_games(step)]

    def state(self) -> dict[str, Any]:
        """How the running games came about."""
        return {"games": self.env.state()}

    def load_state(self, state: Mapping[str, Any], held: checkpoint.Checkpoint) -> None:
        """The games that were running are played again up to where they were."""
        if not self.env.load_state(state["games"]):
            print(LOST)
        self.ppo.begin(self.env.observation)


class GameCollector(Collector):
    """The games that a value learner plays. The episodes that it tells of are whole games, with their true scores.

    Raises:
        FovealError: games are to be played in processes, or the method learns from what the emulator can't tell.
    """

    _envs: AtariVector

    def _environments(self) -> AtariVector:
        for extra in requirements(self._agent.config).extras:
            if extra.source != PREVIOUS_ACTION:
                raise FovealError(
                    f"method {self._agent.config.method!r} learns from {extra.source}(), which games don't have: "
                    "choose another one for atari/..."
                )
        return played(self._agent, self._seed)

    def _record(
        self, actions: NDArray[Any], obs: Any, rewards: Any, terminated: Any, truncated: Any, infos: Mapping[str, Any]
    ) -> None:
        super()._record(actions, obs, rewards, terminated, truncated, infos)
        self.episodes = [(index, score) for index, score, _ in finished_games(infos)]

    def _saved(self) -> Any:
        return self._envs.state()

    def _restored(self, envs: Any) -> bool:
        """Play the saved games again up to where they were."""
        return self._envs.load_state(envs)


class GameReplayWork(ReplayWork):
    """What the training of a value learner on a game does; see ``ReplayWork``."""

    default_options = REPLAY_RUN
    lost = LOST

    def _collector(self) -> GameCollector:
        return GameCollector(self.agent)


def played(agent: LearningAgent, seed: int) -> AtariVector:
    """The games that an agent learns from.

    Raises:
        FovealError: they are to be played in processes.
    """
    config = agent.config
    if config.training.processes:
        raise FovealError("games are played in threads of their own, not in processes: leave training.processes")
    rules = games.rules(agent.env_options)
    return AtariVector(
        config.env, config.training.environments, seed, clip_rewards=config.environment.clip_rewards, **rules
    )


def work_of(config: Config) -> type[ReplayWork] | type[RolloutWork]:
    """The kind of training of an agent of this configuration, on a game or elsewhere."""
    on_policy = LEARNERS.get(config.learner).on_policy
    if games.is_atari(config.env):
        return GameWork if on_policy else GameReplayWork
    return RolloutWork if on_policy else ReplayWork
