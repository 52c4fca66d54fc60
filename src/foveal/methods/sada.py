"""SADA: stabilised actor-critic under data augmentation (Almuzairee, Hansen and Christensen, RLC 2024).

SVEA lets the critic alone see strong augmentations, and fails under those that move the scene, which an action depends
on. SADA lets the policy act on them too, but has the value of what it does there judged on the clean observation:

1. sample (s, a, r, s') and shift both observations at random: ``prepare``;
2. compute the TD target from the clean s' alone: the learner's ``targets``;
3. step the critic on half the TD loss of s and half that of aug(s): ``views``;
4. step the policy on both, pi(s) and pi(aug(s)), each valued by Q(s, .), and the temperature on the entropy of both:
   ``policy_views``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from foveal.augmentations import AUGMENTATIONS
from foveal.config.bounds import registered
from foveal.methods.base import METHODS, Context, PolicyView
from foveal.methods.svea import SVEA, SVEAConfig


@dataclass(frozen=True)
class SADAConfig(SVEAConfig, section="sada"):
    """Hyperparameters of SADA, which are SVEA's; the defaults are the published code's."""

    augmentation: Annotated[str, registered(AUGMENTATIONS)] = "mixture"


@METHODS.register("sada")
class SADA(SVEA):
    """SVEA whose policy acts on both views, and whose actions are both valued on the clean one."""

    Config = SADAConfig
    run_presets = {
        "paper": {
            "environment": {"action_repeat": 2},
            "training": {
                "batch_size": 256,
                "updates_per_step": 0.5,
                "initial_random_steps": 2000,
                "catch_up_updates": 0,
            },
            "encoder": {
                "strides": (2, 1, 1, 1),
                "initialization": "orthogonal",
                "centred": True,
                "last_relu": True,
                "projection": 50,
            },
        },
    }

    def policy_views(self, context: Context) -> list[PolicyView]:
        """The policy acts on every view; the critic sees the clean observation each time."""
        clean = context.batch.obs
        augmented = [context.seen(number) for number in range(1, len(context.views))]
        return [PolicyView(obs, clean) for obs in (clean, *augmented)]
