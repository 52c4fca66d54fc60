"""PPO on the arm's every step, from scratch or from cloning: what a master over skills is compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from foveal.export import Exportable, portable
from foveal.networks.policies import ActorCritic as ActorCriticNetwork
from foveal.skills.actor_critic import ActorCritic
from foveal.skills.arms import ArmSettings
from foveal.skills.base import load_weights
from foveal.skills.config import WITH_TIMEOUTS, CloneConfig, MasterConfig, master_config, stored_master_config
from foveal.skills.groups import Stepping
from foveal.skills.insides import step_insides
from foveal.skills.networks import cloned_actor_critic
from foveal.skills.policy import SkillPolicy, SkillSet, depth_input, portable_config, scaled_depth
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


# From cloned weights: smaller steps and less change at once, so that a critic that knows nothing yet does not ruin what
# was cloned; no bonus for entropy, which the policy has from ``FIRST_STD``.
CLONED: dict[str, Any] = {"learning_rate": 1e-4, "clip": 0.1, "epochs": 3, "entropy": 0.0}
FIRST_STD = 0.2
"""Standard deviation of actions where PPO starts from cloning."""


def flat_config(steps: int, *, cloned: bool = False) -> MasterConfig:
    """How it learns for so many steps of the simulator, from scratch or from cloned weights."""
    settings = {**FLAT, **CLONED} if cloned else FLAT
    return replace(master_config("paper"), **settings, decisions=steps)


class FlatPolicy(ActorCritic):
    """Depth frames in, tool velocity and gripper out, learned by PPO on every control step.

    Args:
        task: such as ``"bowl"``.
        view: what the depth frames show.
        config: PPO's hyperparameters, see ``flat_config``; a decision is a control step.
        seed: of its training.
        shaped: whether a potential guides it (``foveal.envs.ur5e.shaping``), or the task's reward alone.
        cloning: how the network that it starts from was cloned; None where it starts from scratch, see ``from_cloned``.
    """

    what, kind, task = "policy", "foveal.flat", ""
    view, stack = View(), 3
    near, far = 0.5, 2.0

    def __init__(
        self,
        task: str,
        view: View,
        config: MasterConfig,
        seed: int = 0,
        *,
        shaped: bool = False,
        cloning: CloneConfig | None = None,
    ) -> None:
        self.task, self.view, self.shaped, self.cloning = task, view, shaped, cloning
        if cloning is not None:
            self.stack, self.near, self.far = cloning.stack, cloning.near, cloning.far
        super().__init__(config, seed)

    @classmethod
    def from_cloned(cls, cloned: SkillPolicy, config: MasterConfig, seed: int = 0) -> Self:
        """A policy that acts as what has cloned the whole task, and learns from there.

        Raises:
            FovealError: that one has several skills.
        """
        if cloned.skills != 1:
            raise FovealError(f"PPO starts from the whole task cloned as one skill, and these are {cloned.skills}")
        policy = cls(cloned.task, cloned.view, config, seed, cloning=cloned.config)
        start = cloned_actor_critic(cloned.copy().network, cloned.mean, cloned.spread, FIRST_STD)
        start.critic = policy.network.critic
        load_weights(policy.network, start.state_dict())
        return policy

    def fresh_network(self) -> ActorCriticNetwork:
        if self.cloning is None:
            return super().fresh_network()
        blank = SkillPolicy(SkillSet(self.task, ("",), self.view), self.cloning, self.seed)
        return cloned_actor_critic(blank.network, blank.mean, blank.spread, FIRST_STD)

    def act(self, frames: NDArray[Any], skill: NDArray[np.int64]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return _mean_action(self.network, self.input(frames)).numpy()

    def input(self, frames: Any) -> Tensor:
        """(B, stack, H, W) millimetres -> what the network sees."""
        return depth_input(frames, self.near, self.far)

    def acting(self) -> Acting:
        settings, plan, name = self.arms().arms, InOrder((0,)), "a policy of every step"
        return Acting(settings, plan, self, ("",), self.skill_steps, name, self.seed, self.near, self.far)

    def insides(self) -> Insides:
        """What it is about to do, and what it expects."""
        return step_insides(self)

    def next_skill(self, frames: NDArray[Any], decision: int, deterministic: bool) -> int:
        """There is no skill to tell apart."""
        return 0

    def arms(self) -> Stepping:
        arms, shaping = ArmSettings(self.task, self.view), self.config.discount * self.shaped
        return Stepping(arms, self.stack, self.near, self.far, self.seed, shaping)

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        tensors, described = self._learned_state()
        described |= {"task": self.task, "view": asdict(self.view), "shaped": self.shaped}
        return tensors, {**described, "cloning": None if self.cloning is None else asdict(self.cloning)}

    @classmethod
    def from_state(cls, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Self:
        cloning = None if state.get("cloning") is None else portable_config(state["cloning"])
        config, shaped = stored_master_config(state["config"]), state.get("shaped", False)  # earlier versions lack it
        policy = cls(state["task"], View(**state["view"]), config, state["seed"], shaped=shaped, cloning=cloning)
        policy._set_learned_state(tensors, state)
        return policy

    def exportable(self) -> Exportable:
        """Frames in, actions out."""
        return Exportable(_Acting(self), self.examples)


def _mean_action(network: ActorCriticNetwork, seen: Tensor) -> Tensor:
    """(B, frames, H, W) in [-1, 1] -> (B, 4) in [-1, 1]."""
    return network.actor.mode(network.features(seen)).clamp(-1.0, 1.0)


class _Acting(nn.Module):
    """What ``FlatPolicy.act`` computes, in float32: (B, frames, H, W) millimetres -> (B, 4)."""

    def __init__(self, policy: FlatPolicy) -> None:
        super().__init__()
        self.near, self.far = policy.near, policy.far
        self.network = portable(policy.network)

    def forward(self, frames: Tensor) -> Tensor:
        return _mean_action(self.network, scaled_depth(frames, self.near, self.far))
