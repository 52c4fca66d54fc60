"""Learning from what a policy has just done: it acts in a vector environment, and keeps that with its advantages."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
from gymnasium.vector import VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from foveal.config.bounds import SHARE, Bounded, at_least
from foveal.learners.rollouts import Rollout, as_actions, as_tensor, resets_at_once
from foveal.networks.policies import ActorCritic

OnStep = Callable[[Mapping[str, Any]], None]
"""Takes the ``infos`` of a step of the vector environment."""


@dataclass(frozen=True)
class RolloutConfig(Bounded, section="rollout"):
    """How a policy's experience is gathered and judged.

    Attributes:
        rollout: steps of each environment between updates.
        discount: gamma, per step.
        gae_lambda: of the generalized advantage estimate.
        bootstrap_timeouts: expect further reward after a time limit, by the critic's estimate; else it ends the return.
        freeze_encoder: leave the encoder as it is; its features are computed once, when acting, and kept.
    """

    rollout: Annotated[int, at_least(1)] = 128
    discount: Annotated[float, SHARE] = 0.99
    gae_lambda: Annotated[float, SHARE] = 0.95
    bootstrap_timeouts: bool = True
    freeze_encoder: bool = False


class OnPolicyLearner:
    """Lets a policy act, and keeps what came of it since the last update.

    Args:
        config: see ``RolloutConfig``.
        policy: on its device already.
        acting: draws actions, on the policy's device.

    Attributes:
        steps: taken so far, by all environments together.
        seen: (N, ...), what the environments show now; None before the first rollout, which then resets them.
        beginning: (N,), where the next step only begins an episode; None before the first rollout.
        rollout: the latest.
    """

    def __init__(self, config: RolloutConfig, policy: ActorCritic, acting: torch.Generator) -> None:
        self.rollout_config, self.policy, self.acting = config, policy, acting
        self.device = acting.device
        self.steps = 0
        self.seen: NDArray[Any] | None = None
        self.rollout: Rollout | None = None
        self.beginning: NDArray[np.bool_] | None = None

    def begin(self, seen: NDArray[Any] | None = None, beginning: NDArray[np.bool_] | None = None) -> None:
        """Go on in environments that show ``seen``, or in ones that the next rollout resets; see the attributes."""
        self.seen, self.beginning = seen, beginning

    @torch.no_grad()
    def collect(self, envs: VectorEnv[Any, Any, Any], on_step: OnStep | None = None) -> Rollout:
        """Let the policy act for ``config.rollout`` steps in every environment.

        Args:
            envs: observe arrays, not dicts; act in a discrete or a continuous space; and reset episodes by themselves.
            on_step: is called with the infos of every step.

        Raises:
            FovealError: the environments are others than that.
        """
        same_step = resets_at_once(envs)
        if self.seen is None:
            self.seen, _ = envs.reset()
        if self.beginning is None:
            self.beginning = np.zeros(envs.num_envs, np.bool_)
        for step in range(self.rollout_config.rollout):
            infos = self._act(envs, step, self.seen, self.beginning, same_step=same_step)
            if on_step is not None:
                on_step(infos)
        return self._estimate(self.seen, same_step=same_step)

    def _act(
        self,
        envs: VectorEnv[Any, Any, Any],
        step: int,
        shown: NDArray[Any],
        beginning: NDArray[np.bool_],
        *,
        same_step: bool,
    ) -> Mapping[str, Any]:
        """One step of every environment; gives its ``infos``."""
        rollout, features = self._see(step, shown)
        actions, rollout.log_probs[step] = self.policy.actor.sample(features, self.acting)
        rollout.actions[step], rollout.values[step] = actions, self.policy.value(features)
        self.seen, rewards, ended, cut, infos = envs.step(as_actions(actions, envs.single_action_space))
        rollout.rewards[step], rollout.terminations[step], rollout.truncations[step] = rewards, ended, cut
        rollout.valid[step] = ~beginning
        self.steps += int(rollout.valid[step].sum())
        timeouts = np.flatnonzero(cut & ~ended)
        if same_step and self.rollout_config.bootstrap_timeouts and len(timeouts):
            final = np.stack([infos["final_obs"][index] for index in timeouts])
            rollout.timeout_values[step, timeouts] = self.policy.values(as_tensor(final, self.device))
        if not same_step:
            self.beginning = ended | cut
        return infos

    def _estimate(self, shown: NDArray[Any], *, same_step: bool) -> Rollout:
        """Advantages and returns of the rollout, where the environments show this after it."""
        config, rollout = self.rollout_config, self.rollout
        assert rollout is not None  # ``_see`` made it
        last_values = self.policy.values(as_tensor(shown, self.device))
        bootstrap, follow = config.bootstrap_timeouts, not same_step
        rollout.estimate(last_values, config.discount, config.gae_lambda, bootstrap=bootstrap, values_follow=follow)
        return rollout

    def _see(self, step: int, shown: NDArray[Any]) -> tuple[Rollout, Tensor]:
        """Keep what the environments show, or its features where the encoder is frozen; and the features."""
        seen = as_tensor(shown, self.device)
        if self.rollout_config.freeze_encoder:
            seen = self.policy.features(seen)
        if self.rollout is None or self.rollout.values.shape[1] != len(shown):
            steps, actor = self.rollout_config.rollout, self.policy.actor
            self.rollout = Rollout(steps, len(shown), seen, actor.action_shape, actor.action_dtype)
        self.rollout.seen[step].copy_(seen)
        return self.rollout, self._features(self.rollout.seen[step])

    def _features(self, seen: Tensor) -> Tensor:
        """Of what a rollout has kept of observations."""
        return seen if self.rollout_config.freeze_encoder else self.policy.features(seen)
