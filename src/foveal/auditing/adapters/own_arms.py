"""foveal's own policies of the arm: skills, masters over them, and policies of every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveal.auditing.adapters.base import ADAPTERS, Adapter
from foveal.auditing.cameras import Camera
from foveal.errors import FovealError
from foveal.evaluation.insides import Bind, Insides, insides_of
from foveal.skills.single import DepthMaker, as_millimetres
from foveal.skills.world import BLIND, Seen


@ADAPTERS.register("foveal-arm")
class OwnArm(Adapter):
    """A policy of the arm. What changes is the depth picture that its network sees, near white and far black.

    Its maps are of the skill that it would choose on the frames, so that they are a function of what it sees alone.

    Raises:
        FovealError: it chooses among scripted experts, which look at nothing, or does not say of which task it is.
    """

    rank = 10

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        self._acting = policy.acting()
        if self._acting.actor is None:
            raise FovealError(BLIND)
        self.kind = self._acting.name
        ends = f"{self._acting.near:g} m and nearer is white, {self._acting.far:g} m and further black"
        self.remarks = (f"It sees depth, and changes are made to that as to a grey one: {ends}. Colours do little.",)
        self._skill = 0

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return callable(getattr(policy, "acting", None)) and callable(getattr(policy, "next_skill", None))

    def world(self, env: Any) -> Callable[[], Any] | None:
        if env not in (None, self.policy.env_id):
            raise FovealError(f"this policy of the arm was made for {self.policy.env_id}, and not for {env}")
        return DepthMaker(self._acting)

    def act(self, observation: Any) -> Any:
        frames = self._frames(observation)
        if int(observation["step"][0]) % self._acting.skill_steps == 0:
            self._skill = self._next(observation)
        return self._acting.actor.act(frames[None], np.array([self._skill]))[0]

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        return _reading(insides_of(self.policy), self._seen)

    @property
    def about(self) -> dict[str, Any]:
        return {"name": type(self.policy).__name__, "kind": self.kind, "seed": self.policy.seed}

    def _next(self, observation: Any) -> int:
        decision = int(observation["step"][0]) // self._acting.skill_steps
        skill: int = self.policy.next_skill(self._frames(observation)[None], decision, True)
        return skill

    def _frames(self, observation: Any) -> NDArray[np.uint16]:
        """(stack, H, W)."""
        return as_millimetres(observation["depth"][:, 0], self._acting.near, self._acting.far)

    def _seen(self, observations: Sequence[Any]) -> list[Seen]:
        return [Seen(self._frames(one), self._next(one)) for one in observations]


def _reading(insides: Insides, read: Callable[[Sequence[Any]], Sequence[Any]]) -> Insides:
    """The same of other observations, which ``read`` makes those that the agent knows."""

    def bound(bind: Bind) -> Bind:
        return lambda observations, actions: bind(read(observations), actions)

    decision = insides.decision
    return replace(
        insides,
        scalars={name: replace(scalar, bind=bound(scalar.bind)) for name, scalar in insides.scalars.items()},
        pixels=lambda observations: insides.pixels(read(observations)),
        decision=None if decision is None else replace(decision, bind=bound(decision.bind)),
        control=None,
    )
