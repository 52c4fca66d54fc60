"""PPO from scratch on the arm's every step: what a master over skills is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Self, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.evaluation.insides import Insides
from foveal.export import Exportable, portable
from foveal.networks.policies import ActorCritic as ActorCriticNetwork
from foveal.networks.policies import GaussianHead
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import ArmSettings
from foveal.skills.config import WITH_TIMEOUTS, MasterConfig, as_dict, master_config, stored_master_config
from foveal.skills.groups import Stepping
from foveal.skills.insides import step_insides
from foveal.skills.policy import depth_input, example_frames, scaled_depth
from foveal.skills.rollouts import InOrder
from foveal.skills.view import View
from foveal.skills.world import Acting

# Learning rate, lambda, clip and value coefficient are Stable-Baselines3's defaults. Rollouts are shorter as there are
# eight arms, each is learned from in 5 epochs of minibatches of 128, the discount is 0.995 as an episode has hundreds
# of steps, and there is an entropy bonus because the reward is rare.
FLAT: dict[str, Any] = {
    **WITH_TIMEOUTS,
    "rollout": 256,
    "minibatches": 16,
    "epochs": 5,
    "learning_rate": 3e-4,
    "discount": 0.995,
    "gae_lambda": 0.95,
    "entropy": 0.01,
    "value": 1.0,
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

    what, kind, task = "policy", "foveal.flat", ""
    view, stack = View(), 3
    near, far = 0.5, 2.0

    def __init__(self, task: str, view: View, config: MasterConfig, seed: int = 0) -> None:
        self.task, self.view = task, view
        super().__init__(config, seed)

    def act(self, frames: NDArray[Any], skill: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return _mean_action(self.network, self.input(frames)).numpy()

    def input(self, frames: Any) -> Tensor:
        """(B, stack, H, W) millimetres -> what the network sees."""
        return depth_input(frames, self.near, self.far)

    def acting(self) -> Acting:
        """It decides all steps."""
        settings, plan, name = self.arms().arms, InOrder((0,)), "a policy of every step"
        return Acting(settings, plan, self, ("",), self.skill_steps, name, self.seed, self.near, self.far)

    def insides(self) -> Insides:
        """What it is about to do, and what it expects."""
        return step_insides(self)

    def next_skill(self, frames: NDArray[Any], decision: int, deterministic: bool) -> int:
        """There is no skill to tell apart."""
        return 0

    def arms(self) -> Stepping:
        return Stepping(ArmSettings(self.task, self.view), self.stack, self.near, self.far, self.seed)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, described = self._learned_state()
        return tensors, {**described, "task": self.task, "view": as_dict(self.view)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Self:
        policy = cls(state["task"], View(**state["view"]), stored_master_config(state["config"]), state["seed"])
        policy._set_learned_state(tensors, state)
        return policy

    def exportable(self) -> Exportable:
        """Frames in, actions out."""
        examples = partial(example_frames, stack=self.stack, size=self.view.size)
        return Exportable(_Acting(self), lambda batch: {"frames": examples(batch)})


def _mean_action(network: ActorCriticNetwork, seen: Tensor) -> Tensor:
    """(B, frames, H, W) in [-1, 1] -> (B, 4) in [-1, 1]."""
    actor = cast(GaussianHead, network.actor)  # of what ``Stepping`` makes
    return actor.mean(network.features(seen)).clamp(-1.0, 1.0)


class _Acting(nn.Module):
    """What ``FlatPolicy.act`` computes, in float32: (B, frames, H, W) millimetres -> (B, 4)."""

    def __init__(self, policy: FlatPolicy) -> None:
        super().__init__()
        self.near, self.far = policy.near, policy.far
        self.network = portable(policy.network)

    def forward(self, frames: Tensor) -> Tensor:
        return _mean_action(self.network, scaled_depth(frames, self.near, self.far))
