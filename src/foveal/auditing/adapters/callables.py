"""Any function: observation -> action."""

from __future__ import annotations

from typing import Any

from torch import nn

from foveal.auditing.adapters.base import ADAPTERS, Adapter


@ADAPTERS.register("callable")
class CallablePolicy(Adapter):
    """Any function from an observation, as the environment gives it, to an action or a number for each discrete one.

    One that has ``reset()`` is told where an episode begins; what it declares as ``observation_space`` and
    ``action_space`` is heeded.
    """

    rank = 90
    kind = "function"

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        self.observation_space = getattr(policy, "observation_space", None)
        self.action_space = getattr(policy, "action_space", None)

    @classmethod
    def recognises(cls, policy: Any) -> bool:
        return callable(policy) and not isinstance(policy, (type, nn.Module))

    def reset(self) -> None:
        begin = getattr(self.policy, "reset", None)
        if begin is not None:
            begin()

    def act(self, observation: Any) -> Any:
        return self.policy(observation)

    @property
    def about(self) -> dict[str, Any]:
        return {"name": getattr(self.policy, "__name__", type(self.policy).__name__), "kind": self.kind}
