"""Adapters that find out what a policy is, and leave all else to the adapter of that."""

from __future__ import annotations

from typing import Any

from foveal.auditing.adapters.base import Adapter
from foveal.auditing.cameras import Camera
from foveal.evaluation.insides import Insides


class Delegating(Adapter):
    """Acts, remembers and draws as another adapter does, whose spaces are its own.

    Subclasses call ``leave_to``.
    """

    _acts: Adapter

    def leave_to(self, adapter: Adapter) -> None:
        """Let that one act from now on."""
        self._acts = adapter
        self.observation_space, self.action_space = adapter.observation_space, adapter.action_space
        self.fill, self.draws = adapter.fill, adapter.draws

    def reset(self) -> None:
        self._acts.reset()

    def begin_draws(self, number: int) -> None:
        self._acts.begin_draws(number)

    def act(self, observation: Any) -> Any:
        return self._acts.act(observation)

    def insides(self, camera: Camera, *, discrete: bool) -> Insides | None:
        return self._acts.insides(camera, discrete=discrete)

    def close(self) -> None:
        self._acts.close()
