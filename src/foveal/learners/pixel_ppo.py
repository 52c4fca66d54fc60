"""PPO (Schulman et al. 2017) on pictures: an encoder by name, and on it one linear layer each for actor and critic."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.learners.base import LEARNERS, Learner, Shapes
from foveal.learners.ppo import PPOConfig, actor_critic
from foveal.networks.encoders import EncoderChoice, Projection, build_encoder
from foveal.networks.policies import CategoricalHead
from foveal.types import Observation


@dataclass(frozen=True)
class PixelPPOConfig(PPOConfig, section="ppo"):
    """PPO's hyperparameters, see ``PPOConfig``, and its network.

    The defaults are those of Nikulin et al. (2019) on Atari, which are OpenAI Baselines' own.

    Attributes:
        encoder: which network sees. Behind one without a dense layer of its own stands a projection.
    """

    encoder: EncoderChoice = field(default_factory=lambda: EncoderChoice("sparse-fls"))


@LEARNERS.register("ppo")
class PixelPPO(Learner):
    """The networks that ``foveal.learners.ppo.PPO`` trains from pictures, in discrete and in continuous actions.

    Attributes:
        policy: encoder, actor and critic.

    Raises:
        FovealError: a vector stands beside the picture, or PPO has no policy for the actions.
    """

    Config = PixelPPOConfig
    config: PixelPPOConfig
    on_policy = True
    presets = {"debug": {"rollout": 16, "minibatches": 2, "epochs": 1}}
    run_presets = {
        "*": {"training": {"environments": 8}},
        "debug": {"training": {"environments": 2}},
    }

    @classmethod
    def task_run_presets(cls, env: str) -> dict[str, dict[str, dict[str, Any]]]:
        """On games ``paper`` computes in float32, as published: that bfloat16 costs no return is not shown."""
        return {"paper": {"training": {"precision": "float32"}}} if env.startswith("atari/") else {}

    @classmethod
    def task_settings(cls, env: str) -> dict[str, Any]:
        """On games, as OpenAI Baselines: a time limit ends the return."""
        return {"bootstrap_timeouts": False} if env.startswith("atari/") else {}

    def __init__(
        self, config: PixelPPOConfig, shapes: Shapes, dtype: torch.dtype, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(config, shapes, dtype, generator)
        if shapes.vector:
            raise FovealError(
                f"learner 'ppo' sees pictures alone, and this environment has a vector of {shapes.vector} numbers "
                "beside: choose a value learner, or leave the vector out of its observations"
            )
        self.action_space = shapes.action
        encoder = build_encoder(shapes.image, config.encoder, dtype)
        network: nn.Module = encoder
        size = encoder.output_size
        if not encoder.dense:
            size = config.encoder.projection
            network = nn.Sequential(encoder, Projection(encoder.output_size, size))
        self.policy = actor_critic(network, size, shapes.action)
        self.policy.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def check(cls, config: PixelPPOConfig, environments: int) -> None:
        config.check_minibatches(environments)

    def encoder(self) -> nn.Module:
        """The network that sees, without the projection behind it."""
        network = self.policy.encoder
        return network[0] if isinstance(network, nn.Sequential) else network

    @torch.no_grad()
    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        """Indices (B,), or vectors (B, A) within the environment's bounds."""
        if deterministic:
            return self.best_action(obs)
        return self._bounded(self.policy.actor.sample(self.policy.features(obs.image), generator)[0])

    def best_action(self, obs: Observation) -> Tensor:
        return self._bounded(self.policy.actor.mode(self.policy.features(obs.image)))

    def decision(self, obs: Observation) -> Tensor:
        """Log-probabilities of discrete actions, (B, actions), or the likeliest vector, (B, A)."""
        actor = self.policy.actor
        if isinstance(actor, CategoricalHead):
            return actor.log_probabilities(self.policy.features(obs.image))
        return self.best_action(obs)

    def values(self, obs: Observation, action: Tensor | None = None) -> Tensor:
        """Of states, whatever the action: (1, B)."""
        return self.policy.values(obs.image)[None]

    def log_prob(self, obs: Observation, action: Tensor) -> Tensor:
        """Of an action in each state, with a graph back to the observation: (B,)."""
        return self.policy.actor.evaluate(self.policy.features(obs.image), action)[0]

    def _bounded(self, actions: Tensor) -> Tensor:
        space: Any = self.action_space
        return actions.clamp(-1.0, 1.0) if isinstance(space, spaces.Box) else actions
