"""Checkpoints of Atari agents as earlier versions wrote them, in the form of today's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gymnasium import spaces
from torch import Tensor

from foveal.envs import games
from foveal.learners import Shapes

KIND = "foveal.atari"
"""Of their folders and runs; those that are resumed keep it."""

FORMER_NAMES = {"features_extractor.encoder.": "encoder.", "action_net.": "actor.linear.", "value_net.": "critic."}
"""How weights were called where Stable-Baselines3 trained, and what that is now. Adam's moments kept their order."""


def in_todays_form(tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """A checkpoint of any version as ``foveal.Agent.load_state`` takes it."""
    if "policy" not in state["networks"]:
        return dict(tensors), dict(state)
    policy, generators = (state["networks"][name] for name in ("policy", "generators"))
    learner = {f"policy.{_todays(name)}": weight for name, weight in policy.items()}
    moments = {name: value for name, value in tensors.items() if name.startswith("optimizer/")}
    others = {name: value for name, value in tensors.items() if name not in moments}
    return {
        **others,
        **{name.replace("optimizer/", "optimizers/ppo/", 1): value for name, value in moments.items()},
    }, {
        **state,
        "shapes": Shapes(games.OBSERVED, 0, spaces.Discrete(state["actions"])).as_dict(),
        "networks": {"learner": learner, "method": {}, "generators": generators},
        "optimizers": {"ppo": state["optimizer"]},
        "policy_only": not state["optimizer"],
    }


def _todays(name: str) -> str:
    former = next((former for former in FORMER_NAMES if name.startswith(former)), "")
    return FORMER_NAMES.get(former, "") + name.removeprefix(former)
