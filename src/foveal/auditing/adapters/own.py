"""Agents of foveal's that say how their environment is made."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.cameras import Camera
from foveal.envs import games
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides, insides_of
from foveal.evaluation.pixel_world import describe_agent
from foveal.evaluation.results import describe_policy


@ADAPTERS.register("foveal")
class OwnAgent(Adapter):
    """An agent that says by ``env_id`` and ``env_options`` how its environment is made.

    Attributes:
        env, env_options: where it acts, as ``foveal.envs.make`` takes them.

    Raises:
        FovealError: it acts in another kind of world.
    """

    rank = 11  # after those of games and of the arm

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        env_id = getattr(policy, "env_id", None)
        if env_id is None or not hasattr(policy, "env_options") or games.is_atari(str(env_id)):
            raise FovealError(
                f"a {type(policy).__name__} acts in a world of its own, whose picture audits don't change: foveal "
                "evaluate knows what there is to test it under"
            )
        self.env: Any = getattr(policy, "env", env_id)  # one made on the user's own environment remembers it
        self.env_options = policy.env_options
        self.observation_space = _sees(policy)
        self.kind = describe_policy(describe_agent(policy))

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return hasattr(policy, "predict") and (hasattr(policy, "env_options") or hasattr(policy, "world"))

    def act(self, observation: Any) -> Any:
        return self.policy.predict(observation, deterministic=True)[0]

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        able = hasattr(self.policy, "insides") or hasattr(self.policy, "values")
        return insides_of(self.policy) if able else None

    @property
    def about(self) -> dict[str, Any]:
        return {**describe_agent(self.policy), "kind": self.kind}


def _sees(agent: Any) -> spaces.Box | None:
    """Its stacked frames, channels first; None where there is a vector beside them, whose bounds nobody keeps."""
    shapes, size = getattr(agent, "shapes", None), agent.env_options.get("image_size")
    if shapes is None or shapes.vector or size is None:
        return None
    return spaces.Box(0, 255, (shapes.image[0], size, size), np.uint8)
