"""Training on an Atari game: a rollout of every game, with scores of whole games."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from foveal import checkpoint
from foveal.atari.vector import AtariVector, finished_games
from foveal.config.tree import Config
from foveal.envs import games
from foveal.errors import FovealError
from foveal.learners import LEARNERS
from foveal.learners.rollouts import Rollout
from foveal.training import Episode, ReplayWork, RolloutWork, RunOptions

RUN = RunOptions(evaluate_every=0, evaluate_episodes=10, checkpoint_every=100_000, log_every=1)
"""What happens beside learning, by default. There are no evaluations: training plays whole games with the same policy
already, and their scores are kept."""


class GameWork(RolloutWork):
    """What the training of an agent on a game does; see ``RolloutWork``. Steps count over all games.

    Raises:
        FovealError: games are to be played in processes.
    """

    default_options = RUN
    env: AtariVector

    def _environments(self) -> AtariVector:
        agent, training = self.agent, self.agent.config.training
        if training.processes:
            raise FovealError("games are played in threads of their own, not in processes: leave training.processes")
        # What one call of ``learn`` plays differs from what the one before it played.
        life_loss = agent.config.environment.life_loss
        return AtariVector(agent.env_id, training.environments, agent.seed + agent.steps, life_loss=life_loss)

    def _episodes(self, rollout: Rollout, infos: Sequence[Mapping[str, Any]]) -> list[Episode]:
        """True scores of the games that ended, whatever lives they took."""
        return [Episode(index, score) for step in infos for index, score, _ in finished_games(step)]

    def state(self) -> dict[str, Any]:
        """How the running games came about."""
        return {"games": self.env.state()}

    def load_state(self, state: Mapping[str, Any], held: checkpoint.Checkpoint) -> None:
        """The games that were running are played again up to where they were."""
        if not self.env.load_state(state["games"]):
            print("this version of ale-py plays the saved games differently: they start again")
        self.ppo.begin(self.env.observation)


def work_of(config: Config) -> type[ReplayWork] | type[RolloutWork]:
    """The kind of training of an agent of this configuration, on a game or elsewhere."""
    if games.is_atari(config.env):
        return GameWork
    return RolloutWork if LEARNERS.get(config.learner).on_policy else ReplayWork
