"""Policies of foveal: a run's folder, what ``save`` wrote, ``pretrained:NAME``, or the agent itself."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.cameras import Camera
from foveal.checkpoint import kind_of
from foveal.checkpoint.pretrained import PRETRAINED
from foveal.envs import games
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides, insides_of
from foveal.evaluation.pixel_world import describe_agent
from foveal.evaluation.results import describe_policy
from foveal.loading import load
from foveal.training.run_folder import CONFIG


@ADAPTERS.register("foveal")
class OwnPolicy(Adapter):
    """An agent that says by ``env_id`` and ``env_options`` how its environment is made.

    Attributes:
        env_id, env_options: as ``foveal.envs.make`` takes them.
    """

    rank = 10

    def __init__(self, policy: Any, options: Any = None) -> None:
        loaded = load(policy) if isinstance(policy, (str, Path)) else policy
        super().__init__(loaded, options)
        env_id = getattr(loaded, "env_id", None)
        if env_id is None or not hasattr(loaded, "env_options") or games.is_atari(str(env_id)):
            raise FovealError(
                f"a {type(loaded).__name__} acts in a world of its own, games or an arm, whose picture audits don't "
                "change yet: foveal evaluate knows what there is to test it under"
            )
        self.env: Any = getattr(loaded, "env", env_id)  # an agent made on the user's own environment remembers it
        self.env_options: Mapping[str, Any] = loaded.env_options
        self.observation_space = _sees(loaded)
        self.kind = describe_policy(describe_agent(loaded))

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        if isinstance(policy, str) and policy.startswith(PRETRAINED):
            return True
        if isinstance(policy, (str, Path)):
            return is_ours(Path(policy))
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


def is_ours(folder: Path) -> bool:
    """Whether a folder is a run's, or what ``save`` wrote."""
    return folder.is_dir() and (kind_of(folder) is not None or (folder / CONFIG).is_file())
