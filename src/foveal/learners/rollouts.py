"""What a policy has done since its last update, and how much better than expected that was."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError


class Samples(NamedTuple):
    """Some of the transitions of a rollout.

    Attributes:
        seen: (B, ...) observations, or their features where the encoder is frozen.
        actions: (B,) or (B, A).
        log_probs: (B,), when they were taken.
        values: (B,), as the critic estimated them then.
        advantages: (B,).
        returns: (B,), what the critic is to learn.
    """

    seen: Tensor
    actions: Tensor
    log_probs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


def generalized_advantages(
    rewards: Tensor, values: Tensor, last_values: Tensor, ends: Tensor, discount: float, gae_lambda: float
) -> Tensor:
    """Generalized advantage estimates (Schulman et al. 2016, eq. 16), cut off where an episode or the rollout ends.

    Args:
        rewards: (T, N); at the end of an episode, with whatever is expected after it.
        values: (T, N) of the states in which actions were taken.
        last_values: (N,) of the states after the last of them.
        ends: (T, N), 1 where an episode ended with this step, else 0.
        discount: gamma.
        gae_lambda: lambda.

    Returns:
        (T, N).
    """
    goes_on = 1 - ends
    following = torch.cat([values[1:], last_values[None]])  # (T, N)
    errors = rewards + discount * goes_on * following - values  # delta_t, eq. 10
    advantages = torch.empty_like(errors)
    running = torch.zeros_like(last_values)
    for step in reversed(range(len(errors))):
        running = errors[step] + discount * gae_lambda * goes_on[step] * running
        advantages[step] = running
    return advantages


class Rollout:
    """T steps of N environments. What the networks work with is on their device, what environments tell is not.

    Pictures are kept channels last, as convolutions read them.

    Args:
        steps: T.
        environments: N.
        seen: one step of what is kept of observations, (N, ...), for its shape and type.
        action_shape, action_dtype: of one action.

    Attributes:
        actions: (T, N, ...).
        log_probs, values: (T, N).
        timeout_values: (T, N), what the critic expects after an episode that a time limit ended at this step.
        rewards: (T, N).
        terminations, truncations: (T, N), how an episode ended at this step.
        valid: (T, N), False where a step only began an episode, and took no action.
    """

    def __init__(
        self, steps: int, environments: int, seen: Tensor, action_shape: tuple[int, ...], action_dtype: torch.dtype
    ) -> None:
        device, shape = seen.device, (steps, environments)
        self._pictures = seen.dim() == 4
        kept = seen.permute(0, 2, 3, 1) if self._pictures else seen
        self._seen = torch.empty((steps, *kept.shape), dtype=seen.dtype, device=device)
        self.actions = torch.empty((*shape, *action_shape), dtype=action_dtype, device=device)
        self.log_probs = torch.empty(shape, device=device)
        self.values = torch.empty(shape, device=device)
        self.timeout_values = torch.zeros(shape, device=device)
        self.rewards: NDArray[np.float32] = np.zeros(shape, np.float32)
        self.terminations: NDArray[np.bool_] = np.zeros(shape, np.bool_)
        self.truncations: NDArray[np.bool_] = np.zeros(shape, np.bool_)
        self.valid: NDArray[np.bool_] = np.ones(shape, np.bool_)
        self.advantages = self.returns = torch.empty(0)

    @property
    def seen(self) -> Tensor:
        """(T, N, ...); pictures are (T, N, C, H, W)."""
        return self._seen.permute(0, 1, 4, 2, 3) if self._pictures else self._seen

    def estimate(
        self, last_values: Tensor, discount: float, gae_lambda: float, *, bootstrap: bool, values_follow: bool
    ) -> None:
        """Set advantages and returns.

        Args:
            last_values: (N,) of the states after the last step.
            discount: gamma.
            gae_lambda: lambda.
            bootstrap: add what is expected after a time limit, discounted, to the reward before it.
            values_follow: the state that a time limit cut off is the observation of the next row, so that its value is
                there; else ``timeout_values`` has it.
        """
        device = self.values.device
        rewards = torch.from_numpy(self.rewards).to(device)
        if bootstrap:
            cut = torch.from_numpy(self.truncations & ~self.terminations).to(device)
            following = torch.cat([self.values[1:], last_values[None]]) if values_follow else self.timeout_values
            rewards = rewards + discount * cut * following
        ends = torch.from_numpy((self.terminations | self.truncations).astype(np.float32)).to(device)
        self.advantages = generalized_advantages(rewards, self.values, last_values, ends, discount, gae_lambda)
        self.returns = self.advantages + self.values

    def rows(self) -> Tensor:
        """Which of all T * N rows are transitions, on the CPU."""
        return torch.from_numpy(np.flatnonzero(self.valid))

    def take(self, rows: Tensor) -> Samples:
        """Some rows of all T * N, by their numbers, on the networks' device."""
        seen = self._seen.flatten(0, 1)[rows]
        others = (self.actions, self.log_probs, self.values, self.advantages, self.returns)
        actions, log_probs, values, advantages, returns = (column.flatten(0, 1)[rows] for column in others)
        seen = seen.permute(0, 3, 1, 2) if self._pictures else seen
        return Samples(seen, actions, log_probs, values, advantages, returns)


# --- what goes to the environments, and comes from them ---------------------------------------------------------------


def as_tensor(seen: NDArray[Any], device: torch.device) -> Tensor:
    """A copy of observations on a device; double precision becomes single.

    It begins where PyTorch's own tensors do. NumPy's arrays begin elsewhere, differently in every process, and matrix
    products round by it: a resumed training would come to other weights.
    """
    tensor = torch.from_numpy(seen).to(device, copy=True)
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def as_actions(actions: Tensor, space: spaces.Space[Any]) -> NDArray[Any]:
    """What environments take: numbers from the space's first on, or vectors that are clipped to its bounds."""
    taken: NDArray[Any] = actions.cpu().numpy()
    if isinstance(space, spaces.Box):
        return np.clip(taken, space.low, space.high)
    assert isinstance(space, spaces.Discrete)  # PPO has a policy for no other
    return taken + space.start


def resets_at_once(envs: VectorEnv[Any, Any, Any]) -> bool:
    """Whether the step that ends an episode shows the next one already, and the last observation in its ``infos``.

    Otherwise the next step begins it, and takes no action.

    Raises:
        FovealError: observations are no arrays, or the environments reset themselves in neither way.
    """
    if not isinstance(envs.single_observation_space, spaces.Box):
        raise FovealError(f"PPO learns from one array per observation, not from {envs.single_observation_space}")
    mode = envs.metadata.get("autoreset_mode")
    if mode not in {AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP}:
        raise FovealError(
            f"PPO needs environments that reset themselves, and the autoreset_mode of these is {mode}: "
            "make them with AutoresetMode.NEXT_STEP or SAME_STEP"
        )
    return bool(mode == AutoresetMode.SAME_STEP)
