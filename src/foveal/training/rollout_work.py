"""Learning from rollouts: let the policy act in every environment, and improve it on what came of that."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv

from foveal import checkpoint
from foveal.errors import FovealError
from foveal.learners.ppo import PPO
from foveal.learners.rollouts import Rollout
from foveal.training.agent_work import AgentWork
from foveal.training.agents import LearningAgent
from foveal.training.attending import attention_in_rollout
from foveal.training.collecting import environments, first_seed, saved
from foveal.training.options import RunOptions
from foveal.training.work import Episode


class RolloutWork(AgentWork):
    """What an on-policy learner's training does; see ``foveal.training.Work``. Steps count over all environments.

    Args:
        agent: what learns; its counters and its optimizer go on from where they are.

    Raises:
        FovealError: its environments can't be made.
    """

    default_options: ClassVar[RunOptions] = RunOptions(log_every=1)

    def __init__(self, agent: LearningAgent) -> None:
        super().__init__(agent)
        self.ppo: PPO = agent.updater
        self.env = self._environments()
        self.ppo.steps = agent.steps
        self.ppo.begin()
        if self.env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP:  # else some steps only begin an episode
            self.steps_at_once = self.env.num_envs * self.ppo.config.rollout
        self._returns = np.zeros(self.env.num_envs)
        self._latest: dict[str, float] = {}
        self._began = self._collected = 0.0

    def _environments(self) -> VectorEnv[Any, Any, Any]:
        return environments(self.agent, first_seed(self.agent))

    def begin(self, target: int) -> None:
        """Rates decay towards the target."""
        self.ppo.total = target

    def collect(self) -> Sequence[Episode]:
        """One rollout of every environment.

        Raises:
            FovealError: a reward is not finite.
        """
        infos: list[Mapping[str, Any]] = []
        self._began = time.monotonic()
        rollout = self.ppo.collect(self.env, infos.append)
        self._collected = time.monotonic()
        self.agent.steps = self.ppo.steps
        if not np.isfinite(rollout.rewards).all():
            wrong = rollout.rewards[~np.isfinite(rollout.rewards)][0]
            raise FovealError(f"by agent step {self.steps} the environment gave reward {wrong}, which must be finite")
        return self._episodes(rollout, infos)

    def _episodes(self, rollout: Rollout, infos: Sequence[Mapping[str, Any]]) -> list[Episode]:
        """Those that ended in a rollout; the returns of others are carried on."""
        episodes = []
        ends = rollout.terminations | rollout.truncations
        for rewards, ended in zip(rollout.rewards, ends, strict=True):
            self._returns += rewards
            for index in np.flatnonzero(ended):
                episodes.append(Episode(int(index), float(self._returns[index])))
                self._returns[index] = 0.0
        return episodes

    def learn(self, after_update: Callable[[], None]) -> None:
        """The update on the rollout; it reads the losses from the device."""
        ppo, rollout = self.ppo, self.ppo.rollout
        self._latest = {name: float(value) for name, value in ppo.update().items()}
        assert rollout is not None  # the update has learnt from it
        taken = time.monotonic() - self._began
        self._latest |= {
            "train/learning_rate": ppo.learning_rate,
            "train/clip_range": ppo.clip,
            "time/steps_per_second": int(rollout.valid.sum()) / taken,
            "time/rollout_share": (self._collected - self._began) / taken,
        }
        after_update()

    def metrics(self) -> dict[str, float]:
        """Of the latest update, and of the attention inside the network that came of it."""
        looked = (
            {} if self.ppo.rollout is None else attention_in_rollout(self.agent.learner.encoder(), self.ppo.rollout)
        )
        return {**self._latest, **looked}

    def state(self) -> dict[str, Any]:
        """The running episodes, and what the environments show."""
        return {
            "envs": saved(self.env),
            "seen": self.ppo.seen,
            "beginning": self.ppo.beginning,
            "returns": self._returns,
            "global_random": checkpoint.global_random_state(),
        }

    def load_state(self, state: Mapping[str, Any], held: checkpoint.Checkpoint) -> None:
        """Undo of ``state``; says so where the running episodes could not be saved."""
        checkpoint.load_global_random_state(*state["global_random"])
        if state["envs"] is None:
            print("these environments can't be saved: the episodes that were running start again")
            return
        self.env.set_state(state["envs"])  # type: ignore[attr-defined]
        self.ppo.begin(state["seen"], state["beginning"])
        self._returns = np.array(state["returns"], np.float64)

    def close(self) -> None:
        """Let go of the environments; one that the user made stays open."""
        super().close()
        self.env.close()
