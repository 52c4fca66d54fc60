"""Policies of foveal: a run's folder, what ``save`` wrote, ``pretrained:NAME``, or the agent itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.adapters.delegating import Delegating
from foveal.auditing.adapters.own_arms import OwnArm
from foveal.auditing.adapters.own_games import OwnGame
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
class OwnPolicy(Delegating):
    """A policy of foveal's, which knows its environment.

    Attributes:
        env_id: where it acts.
        env, env_options: as ``foveal.envs.make`` takes them; of games and of the arm, whose worlds are their own, None.

    Raises:
        FovealError: it says nothing of its environment, or, of the arm, looks at nothing.
    """

    rank = 10

    def __init__(self, policy: Any, options: Any = None) -> None:
        loaded: Any = load(policy) if isinstance(policy, (str, Path)) else policy
        super().__init__(loaded, options)
        self.env_id: Any = getattr(loaded, "env_id", None)
        self.env: Any = None
        self.env_options: Mapping[str, Any] | None = None
        self.leave_to(_acting(loaded))
        if isinstance(self._acts, OwnAgent):
            self.env, self.env_options = self._acts.env, loaded.env_options
        self.remarks, self.kind = self._acts.remarks, self._acts.kind

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        if isinstance(policy, str) and policy.startswith(PRETRAINED):
            return True
        if isinstance(policy, (str, Path)):
            return is_ours(Path(policy))
        return hasattr(policy, "predict") and (hasattr(policy, "env_options") or hasattr(policy, "world"))

    def world(self, env: Any) -> Callable[[], Any] | None:
        return self._acts.world(env)

    @property
    def about(self) -> dict[str, Any]:
        return self._acts.about


class OwnAgent(Adapter):
    """An agent that says by ``env_id`` and ``env_options`` how its environment is made.

    Attributes:
        env: where it acts.
    """

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        self.env: Any = getattr(policy, "env", policy.env_id)  # one made on the user's own environment remembers it
        self.observation_space = _sees(policy)
        self.kind = describe_policy(describe_agent(policy))

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        env = getattr(policy, "env_id", None)
        return env is not None and hasattr(policy, "env_options") and not games.is_atari(str(env))

    def act(self, observation: Any) -> Any:
        return self.policy.predict(observation, deterministic=True)[0]

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        able = hasattr(self.policy, "insides") or hasattr(self.policy, "values")
        return insides_of(self.policy) if able else None

    @property
    def about(self) -> dict[str, Any]:
        return {**describe_agent(self.policy), "kind": self.kind}


def _acting(policy: Any) -> Adapter:
    """By the world that it acts in."""
    for kind in (OwnArm, OwnGame, OwnAgent):
        if kind.recognises(policy):
            return kind(policy)
    raise FovealError(
        f"a {type(policy).__name__} acts in a world of its own, whose picture audits don't change: foveal evaluate "
        "knows what there is to test it under"
    )


def _sees(agent: Any) -> spaces.Box | None:
    """Its stacked frames, channels first; None where there is a vector beside them, whose bounds nobody keeps."""
    shapes, size = getattr(agent, "shapes", None), agent.env_options.get("image_size")
    if shapes is None or shapes.vector or size is None:
        return None
    return spaces.Box(0, 255, (shapes.image[0], size, size), np.uint8)


def is_ours(folder: Path) -> bool:
    """Whether a folder is a run's, or what ``save`` wrote."""
    return folder.is_dir() and (kind_of(folder) is not None or (folder / CONFIG).is_file())
