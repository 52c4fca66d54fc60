"""DrQ-v2's learner (Yarats, Fergus, Lazaric and Pinto, "Mastering visual continuous control", 2021).

DDPG with twin critics, returns of n steps, and exploration that fades by schedule. Its random shift of the observations
is a method here: ``--learner drqv2 --method drq`` is DrQ-v2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from foveal.config.bounds import POSITIVE, STEP, Bounded, at_least, one_of
from foveal.learners.actor_critic import ActorCritic
from foveal.learners.base import LEARNERS, CriticInput, linear
from foveal.networks.averaging import blend
from foveal.networks.encoders import EncoderChoice, EncoderConfig
from foveal.networks.heads import with_vector
from foveal.networks.optimization import minimize
from foveal.types import Batch, Observation

STD_STEPS = {"easy": 100_000, "medium": 500_000, "hard": 2_000_000}
"""Agent steps over which exploration fades, by the difficulty of a task in the published configuration."""
EASY_TASKS = {
    *("dmc/cartpole-balance", "dmc/cartpole-balance_sparse", "dmc/cartpole-swingup", "dmc/ball_in_cup-catch"),
    *("dmc/finger-spin", "dmc/hopper-stand", "dmc/pendulum-swingup", "dmc/walker-stand", "dmc/walker-walk"),
}
MARGIN = 1e-6
"""How far explored actions stay from -1 and 1."""


def published_encoder() -> EncoderConfig:
    """Four convolutions of 32 filters with a ReLU after each, over pixels in [-0.5, 0.5], and a latent of 50."""
    return EncoderConfig(strides=(2, 1, 1, 1), initialization="orthogonal", centred=True, last_relu=True, projection=50)


@dataclass(frozen=True)
class DrQV2Config(Bounded, section="drqv2"):
    """Hyperparameters of DrQ-v2; the defaults are the published code's for tasks of medium difficulty.

    Attributes:
        hidden: width of the two hidden layers of actor and critics.
        critic_lr: Adam's step size for convolutions, projection and critics.
        actor_lr: Adam's step size for the actor's projection and policy.
        tau: share of the new weights that the target critics and their projection take at each update.
        initial_std: standard deviation of exploration at agent step 0; actions are in [-1, 1].
        final_std: the same from ``std_steps`` on.
        difficulty: of the task: "easy", "medium" or "hard", which says in how many agent steps exploration fades.
        std_steps: agent steps over which it falls linearly; None for those of ``difficulty``.
        noise_clip: the largest noise on an action that the critic values: in targets and in the actor's step.
    """

    encoder: EncoderChoice = field(default_factory=published_encoder)
    hidden: Annotated[int, at_least(1)] = 1024
    critic_lr: Annotated[float, POSITIVE] = 1e-4
    actor_lr: Annotated[float, POSITIVE] = 1e-4
    tau: Annotated[float, STEP] = 0.01
    initial_std: Annotated[float, POSITIVE] = 1.0
    final_std: Annotated[float, POSITIVE] = 0.1
    difficulty: Annotated[str, one_of(*STD_STEPS)] = "medium"
    std_steps: Annotated[int | None, at_least(1)] = None
    noise_clip: Annotated[float, POSITIVE] = 0.3


@LEARNERS.register("drqv2")
class DrQV2(ActorCritic):
    """Twin critics on a shared encoder, and a deterministic policy that explores by clipped Gaussian noise.

    There is no target encoder: the trained convolutions show the next observation to the policy and to target critics.

    Raises:
        FovealError: the actions are not continuous.
    """

    Config = DrQV2Config
    config: DrQV2Config
    keeps_features = True
    presets = {
        "compact": {
            "encoder": {"strides": (2, 1)},
            "hidden": 256,
            "critic_lr": 3e-4,
            "actor_lr": 3e-4,
            "tau": 0.02,
            "std_steps": 10_000,
        },
        "debug": {"encoder": {"strides": (2, 2, 1), "filters": 8, "projection": 8}, "hidden": 16, "std_steps": 100},
    }
    run_presets = {
        "paper": {
            "environment": {"action_repeat": 2},
            "training": {
                "batch_size": 256,
                "n_step": 3,
                "updates_per_step": 0.5,
                "replay_capacity": 1_000_000,
                "initial_random_steps": 2000,
                "catch_up_updates": 0,
            },
        }
    }

    @classmethod
    def task_settings(cls, env: str) -> Mapping[str, Any]:
        """The published difficulties, and the humanoid's step size and latent."""
        if env in EASY_TASKS:
            return {"difficulty": "easy"}
        if env in {"dmc/humanoid-stand", "dmc/humanoid-walk", "dmc/humanoid-run"}:
            return {"difficulty": "hard", "critic_lr": 8e-5, "actor_lr": 8e-5, "encoder": {"projection": 100}}
        return {}

    @classmethod
    def task_run_presets(cls, env: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        """The published batch and returns of walkers, and the small memory of the running quadruped."""
        if env in {"dmc/walker-stand", "dmc/walker-walk", "dmc/walker-run"}:
            return {"paper": {"training": {"n_step": 1, "batch_size": 512}}}
        return {"paper": {"training": {"replay_capacity": 100_000}}} if env == "dmc/quadruped-run" else {}

    # --- targets --------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def targets(self, batch: Batch) -> Tensor:
        """R + discount * min_i Q'_i(s', a'), a' = pi(s') + clipped noise; (B,)."""
        features, vector = self.features(batch.next_obs), batch.next_obs.vector
        action = self._explored(self._mean(features, vector), self.generator, self.config.noise_clip)
        values = self.target_critics(with_vector(self.target_projection(features), vector), action)  # (2, B)
        return batch.reward + batch.discount * values.amin(0)

    @torch.no_grad()
    def target_latent(self, obs: Observation) -> Tensor:
        """After the target projection of the trained convolutions, (B, D)."""
        return self.target_projection(self.features(obs))

    def update_target_networks(self) -> None:
        """Exponential moving averages of the critics and of their projection."""
        blend(self.target_critics, self.critics, self.config.tau)
        blend(self.target_projection, self.projection, self.config.tau)

    def policy_periods(self) -> tuple[int, int]:
        return 1, 1

    # --- policy ---------------------------------------------------------------------------------------------------

    def policy_step(
        self,
        obs: Observation,
        extra_loss: Callable[[], Tensor] | None = None,
        features: Tensor | None = None,
        critic_input: CriticInput | None = None,
    ) -> dict[str, Tensor]:
        """One step up the smaller value of the policy's action with clipped noise."""
        features, latent = self._seen(obs, features, critic_input)
        action = self._explored(self._mean(features, obs.vector), self.generator, self.config.noise_clip)
        loss = -self.critics(latent, action).amin(0).mean()
        if extra_loss is not None:
            loss = loss + extra_loss()
        minimize(loss, self.actor_optimizer, self.actor_parameters())
        return {"actor/loss": loss.detach(), "actor/std": self.std()}

    def std(self) -> Tensor:
        """Standard deviation of exploration at this agent step, a scalar on the device."""
        config = self.config
        steps = config.std_steps or STD_STEPS[config.difficulty]
        return linear(self.agent_step, config.initial_std, config.final_std, steps)

    def distribution(self, obs: Observation) -> Distribution:
        """A Gaussian over (B, A) around the policy's action: no noise is clipped, no action kept in [-1, 1]."""
        with torch.no_grad():
            features = self.features(obs)
        mean = self._mean(features, obs.vector)
        return Independent(Normal(mean, self.std().expand_as(mean), validate_args=False), 1, validate_args=False)

    def best_action(self, obs: Observation) -> Tensor:
        return self._mean(self.features(obs), obs.vector)

    @torch.no_grad()
    def act(self, obs: Observation, deterministic: bool, generator: torch.Generator) -> Tensor:
        """(B, A) in [-1, 1]; explored with the whole of the noise."""
        mean = self.best_action(obs)
        return mean if deterministic else self._explored(mean, generator)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"actor": self.actor_optimizer}

    def _mean(self, features: Tensor, vector: Tensor | None) -> Tensor:
        """The policy's action, (B, A). The convolutions get no gradient from here where ``features`` has no graph."""
        return torch.tanh(self.policy(with_vector(self.actor_projection(features), vector)))

    def _explored(self, mean: Tensor, generator: torch.Generator | None, clip: float | None = None) -> Tensor:
        """Actions with noise of at most ``clip``, kept in (-1, 1) without an effect on the gradient; (B, A)."""
        noise = self.std() * torch.randn(mean.shape, device=mean.device, generator=generator)
        action = mean + (noise if clip is None else noise.clamp(-clip, clip))
        kept = action.detach().clamp(-1 + MARGIN, 1 - MARGIN)
        return action - action.detach() + kept
