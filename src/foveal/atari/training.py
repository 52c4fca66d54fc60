"""Training an Atari agent: a rollout of every game, and PPO's update on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from foveal import checkpoint
from foveal.atari.evaluation import Player, evaluate
from foveal.atari.vector import AtariVector, finished_games
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.evaluation.world import TRAIN
from foveal.learners.ppo import PPO
from foveal.training import VALIDATION_SEED_OFFSET, Episode, RunOptions, Work

KIND = "foveal.atari"
"""Of an Atari agent's checkpoints."""

RUN = RunOptions(evaluate_every=0, evaluate_episodes=10, checkpoint_every=100_000, log_every=1)
"""What happens beside learning, by default. There are no evaluations: training plays whole games with the same policy
already, and their scores are kept."""


class LearningPlayer(Player, Protocol):
    """What learning from games needs of an agent.

    Attributes:
        ppo: takes the updates.
        acting: draws its actions.
        device: that it learns on.
    """

    ppo: PPO
    acting: torch.Generator
    device: torch.device

    @property
    def steps(self) -> int:
        """Agent steps trained for."""

    @property
    def updates(self) -> int:
        """Passes over what was played."""

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Everything an update depends on."""


class GameWork(Work):
    """What an Atari agent's training does; see ``foveal.training.Work``. Steps are agent steps, counted over all games.

    Args:
        agent: what learns; its counters and its optimizer go on from where they are.
    """

    kind = KIND
    agent: LearningPlayer
    can_evaluate = True

    def __init__(self, agent: LearningPlayer) -> None:
        self.agent = agent
        self.device = agent.device
        ppo = agent.config.ppo
        self.steps_at_once = ppo.environments * ppo.rollout
        # What one call of ``learn`` plays differs from what the one before it played.
        self.env = AtariVector(agent.env_id, ppo.environments, agent.seed + agent.steps, life_loss=ppo.life_loss)
        agent.ppo.begin()
        self._latest: dict[str, float] = {}
        self._began = self._collected = 0.0

    def settings(self) -> dict[str, Any]:
        """The agent's configuration."""
        return self.agent.config.as_dict()

    def rehearse(self, options: RunOptions) -> None:
        """Games are evaluated as they are.

        Raises:
            FovealError: a perturbation or data are asked for.
        """
        if options.evaluate_on != (TRAIN,) or options.data is not None:
            raise FovealError(f"{self.agent.env_id} is evaluated on {TRAIN!r} alone, without data")

    def begin(self, target: int) -> None:
        """Rates decay towards the target."""
        self.agent.ppo.total = target

    def collect(self) -> Sequence[Episode]:
        """One rollout of every game; returns the true scores of those that ended."""
        episodes: list[Episode] = []

        def note(infos: Mapping[str, Any]) -> None:
            episodes.extend(Episode(index, score) for index, score, _ in finished_games(infos))

        self._began = time.monotonic()
        self.agent.ppo.collect(self.env, note)
        self._collected = time.monotonic()
        return episodes

    def learn(self, after_update: Callable[[], None]) -> None:
        """The update on the rollout; it reads the losses from the device."""
        ppo = self.agent.ppo
        self._latest = {name: float(value) for name, value in ppo.update().items()}
        taken = time.monotonic() - self._began
        self._latest |= {
            "train/learning_rate": ppo.learning_rate,
            "train/clip_range": ppo.clip,
            "time/steps_per_second": self.steps_at_once / taken,
            "time/rollout_share": (self._collected - self._began) / taken,
        }
        after_update()

    def metrics(self) -> dict[str, float]:
        """Of the latest update."""
        return self._latest

    def evaluate(self, options: RunOptions) -> Results:
        """True scores of the policy that samples, on seeds that no final evaluation uses."""
        acting = self.agent.acting.get_state()  # training must not notice
        seed = self.agent.seed + VALIDATION_SEED_OFFSET
        results = evaluate(self.agent, options.evaluate_episodes, seed, progress=False)
        self.agent.acting.set_state(acting)
        return results

    def agent_state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, optimizer, generators and counters."""
        return self.agent.state()

    def state(self) -> dict[str, Any]:
        """How the running games came about."""
        return {"games": self.env.state()}

    def load_state(self, state: Mapping[str, Any], held: checkpoint.Checkpoint) -> None:
        """The games that were running are played again up to where they were."""
        if not self.env.load_state(state["games"]):
            print("this version of ale-py plays the saved games differently: they start again")
        self.agent.ppo.begin(self.env.observation)

    def close(self) -> None:
        """Let go of the emulators."""
        super().close()
        self.env.close()
