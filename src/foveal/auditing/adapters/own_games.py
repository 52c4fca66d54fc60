"""foveal's own agents in the Atari games that they learned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from gymnasium import spaces

from foveal.atari.single import GameMaker
from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.cameras import Camera
from foveal.auditing.fitting import FIRST, ZEROS
from foveal.envs import games
from foveal.evaluation.insides import Insides, insides_of
from foveal.evaluation.results import describe_policy
from foveal.evaluation.world import WorldOptions


@ADAPTERS.register("foveal-game")
class OwnGame(Adapter):
    """An agent of games, which acts as in ``foveal evaluate``.

    It draws from its policy, or takes its best action but for some random ones. The draws are the same whenever an
    episode is played, so that an episode under a change differs by what was seen alone.

    Raises:
        FovealError: the extra that brings the games is missing.
    """

    rank = 10
    draws = True  # asked or not

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        games.require_extra()
        self._world = policy.world(WorldOptions())
        self._before = self._world.acting.get_state()
        rules = games.rules(policy.env_options)
        self.observation_space = spaces.Box(0, 255, (4, rules["size"], rules["size"]), np.uint8)
        self.fill = FIRST if rules["repeat_first"] else ZEROS
        self.kind = describe_policy(self._world.policy)
        self.remarks = (self._world.words.acting,)

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return hasattr(policy, "acting_generator") and games.is_atari(str(getattr(policy, "env_id", "")))

    def world(self, env: Any) -> Callable[[], Any] | None:
        if env is not None and not (isinstance(env, str) and games.is_atari(env)):
            return None
        return GameMaker(games.env_id(env or self.policy.env_id), games.rules(self.policy.env_options))

    def begin_draws(self, number: int) -> None:
        self._world.acting.manual_seed(self._world.seed + number)

    def act(self, observation: Any) -> Any:
        return int(self._world.act(np.asarray(observation)[None])[0])

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        return insides_of(self.policy)

    def close(self) -> None:
        self._world.acting.set_state(self._before)  # a later training draws what it would have drawn

    @property
    def about(self) -> dict[str, Any]:
        return {**self._world.policy, "kind": self.kind}
