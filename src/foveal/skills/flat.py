"""PPO from scratch on the arm's every step: what a master over skills is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.envs.ur5e.experts import SKILL_STEPS
from foveal.evaluation.insides import Insides
from foveal.evaluation.world import WorldOptions
from foveal.networks.policies import GaussianHead
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import ArmSettings
from foveal.skills.config import MasterConfig, as_dict, master_config
from foveal.skills.groups import Stepping
from foveal.skills.insides import step_insides
from foveal.skills.policy import depth_input
from foveal.skills.rollouts import InOrder
from foveal.skills.view import View
from foveal.skills.world import Acting, ArmWorld

# Learning rate, lambda, clip and value coefficient are Stable-Baselines3's defaults. Rollouts are shorter as there are
# eight arms, each is learned from in 5 epochs of minibatches of 128, the discount is 0.995 as an episode has hundreds
# of steps, and there is an entropy bonus because the reward is rare.
FLAT: dict[str, Any] = {
    "rollout": 256,
    "minibatches": 16,
    "epochs": 5,
    "learning_rate": 3e-4,
    "discount": 0.995,
    "gae_lambda": 0.95,
    "entropy": 0.01,
    "value": 0.5,
}


def flat_config(steps: int) -> MasterConfig:
    """How it learns for so many steps of the simulator."""
    return replace(master_config("paper"), **FLAT, decisions=steps)


class FlatPolicy(ActorCritic):
    """Depth frames in, tool velocity and gripper out, learned from the task's reward alone.

    Args:
        task: such as ``"bowl"``.
        view: what the depth frames show.
        config: PPO's hyperparameters, see ``flat_config``; a decision is a control step.
        seed: of its training.

    Raises:
        FovealError: the extra ``skills`` is missing.
    """

    what, kind, run_kind = "policy", "foveal.flat", "foveal.flat.run"
    stack = 3
    near, far = 0.5, 2.0

    def __init__(self, task: str, view: View, config: MasterConfig, seed: int = 0) -> None:
        self.task, self.view = task, view
        super().__init__(config, seed)

    def act(self, frames: NDArray[Any], skill: NDArray[np.int64]) -> NDArray[np.float32]:
        """The mean action; there is no skill to tell apart."""
        with torch.inference_mode():
            features = self.network.features(self.input(frames))
            mean = cast(GaussianHead, self.network.actor).mean(features)  # of what ``Stepping`` makes
        return mean.clamp(-1.0, 1.0).numpy()

    def input(self, frames: Any) -> Tensor:
        """(B, stack, H, W) millimetres -> what the network sees."""
        return depth_input(frames, self.near, self.far)

    @property
    def env_id(self) -> str:
        """Id of its task's environment."""
        return f"ur5e/{self.task}"

    def world(self, options: WorldOptions) -> ArmWorld:
        """The simulated arm, all of whose steps it decides."""
        arms, name = ArmSettings(self.task, self.view), "a policy of every step"
        return ArmWorld(
            Acting(arms, InOrder((0,)), self, ("",), SKILL_STEPS, name, self.seed, self.near, self.far), options
        )

    def insides(self) -> Insides:
        """What it is about to do, and what it expects."""
        return step_insides(self)

    def _settings(self) -> Stepping:
        return Stepping(ArmSettings(self.task, self.view), self.stack, self.near, self.far, self.seed)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights and optimizer, and JSON."""
        tensors, described = self._learned_state()
        return tensors, {**described, "task": self.task, "view": as_dict(self.view)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> FlatPolicy:
        """Undo of ``state``.

        Raises:
            FovealError: the weights don't fit the configuration.
        """
        policy = cls(state["task"], View(**state["view"]), master_config("paper", state["config"]), state["seed"])
        policy._set_learned_state(tensors, state)
        return policy
