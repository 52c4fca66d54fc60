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

    def __init__(self, policy: Any, options: Any = None) -> None:
        super().__init__(policy, options)
        self._name = str(getattr(policy, "__name__", type(policy).__name__))
        self.kind = "a lambda" if self._name == "<lambda>" else f"function {self._name}"
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
        return {"name": self._name, "kind": self.kind}
