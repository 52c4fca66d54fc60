"""PPO from scratch on the arm's every step: what a master over skills is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveal.skills.arms import ArmSettings
from foveal.skills.config import MasterConfig, as_dict, master_config
from foveal.skills.groups import Stepping
from foveal.skills.minari import require_extra
from foveal.skills.policy import depth_input
from foveal.skills.view import View

# Stable-Baselines3's learning rate, lambda, clip and value coefficient. Rollouts are shorter as there are eight arms,
# each is learned from in 5 epochs of minibatches of 128, the discount is 0.995 as an episode has hundreds of steps, and
# there is an entropy bonus because the reward is rare.
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


class FlatPolicy:
    """Depth frames in, tool velocity and gripper out, learned from the task's reward alone.

    Args:
        task: such as ``"bowl"``.
        view: what the depth frames show.
        config: PPO's hyperparameters.
        seed: of its training.
    """

    stack = 3
    near, far = 0.5, 2.0

    def __init__(self, task: str, view: View | None = None, config: MasterConfig | None = None, seed: int = 0) -> None:
        require_extra()
        from foveal.skills.heads import actor_critic

        self.config = replace(master_config("paper"), **FLAT) if config is None else config
        self.task, self.view, self.seed = task, View() if view is None else view, seed
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network: Any = actor_critic(*self._settings().spaces, self.config.channels, self.config.learning_rate)
        self.network.set_training_mode(False)
        self.curve: list[dict[str, Any]] = []

    def learn(self, steps: int, *, workers: int = 1, progress: bool = False) -> FlatPolicy:
        """Train for so many steps of the simulator; returns itself."""
        from foveal.skills.ppo import train

        trained = train(
            self._settings(), self.config, seed=self.seed, actions=steps, workers=workers, progress=progress, what="ppo"
        )
        self.network = trained.policy
        self.network.set_training_mode(False)
        self.curve = [as_dict(point) for point in trained.curve]
        return self

    def act(self, frames: NDArray[Any], skill: NDArray[np.int64]) -> NDArray[np.float32]:
        """The mean action; there is no skill to tell apart."""
        with torch.inference_mode():
            mode = self.network.get_distribution(depth_input(frames, self.near, self.far)).mode()
        return mode.clamp(-1.0, 1.0).numpy()

    def _settings(self) -> Stepping:
        return Stepping(ArmSettings(self.task, self.view), self.stack, self.near, self.far, self.seed)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Weights, and JSON."""
        described = {"task": self.task, "view": as_dict(self.view), "config": as_dict(self.config), "seed": self.seed}
        return dict(self.network.state_dict()), described

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> FlatPolicy:
        """Undo of ``state``."""
        policy = cls(state["task"], View(**state["view"]), master_config("paper", state["config"]), state["seed"])
        policy.network.load_state_dict(dict(tensors))
        return policy
