"""The state of an environment with the Gymnasium wrappers around it, layer by layer.

An environment or a wrapper, ours or a user's, is saved by its ``get_state() -> dict`` and ``set_state(state)``; a
wrapper's are for its own fields alone (an empty dict if it has none, see ``Stateless``). Gymnasium's own bookkeeping
wrappers are known here. Anything else is refused: a state that misses a layer would resume wrongly in silence.
"""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from foveal.errors import FovealError

_BOOKKEEPING: dict[type, tuple[str, ...]] = {
    OrderEnforcing: ("_has_reset",),
    PassiveEnvChecker: ("checked_reset", "checked_step", "checked_render"),
    TimeLimit: ("_elapsed_steps",),
}


class Stateless:
    """Mixed into a wrapper that has no changing fields of its own, and so nothing to save."""

    def get_state(self) -> dict[str, Any]:
        """An empty dict."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Do nothing."""


def get_state(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """The state of every layer, outermost first.

    Raises:
        FovealError: a layer can't be saved.
    """
    return [{"layer": type(layer).__name__, "state": _get(layer)} for layer in _layers(env)]


def set_state(env: gymnasium.Env[Any, Any], saved: list[dict[str, Any]]) -> None:
    """Go on where ``get_state`` was called on an equal stack; the innermost layer comes first.

    Raises:
        FovealError: the stack is another one.
    """
    layers = _layers(env)
    here, there = [type(layer).__name__ for layer in layers], [entry["layer"] for entry in saved]
    if here != there:
        raise FovealError(f"this state is of an environment built as {there}, and this one is built as {here}")
    for layer, entry in zip(reversed(layers), reversed(saved), strict=True):
        _set(layer, entry["state"])


def _layers(env: gymnasium.Env[Any, Any]) -> list[Any]:
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _get(layer: Any) -> dict[str, Any]:
    if type(layer) in _BOOKKEEPING:
        return {name: getattr(layer, name) for name in _BOOKKEEPING[type(layer)]}
    if not all(callable(getattr(type(layer), name, None)) for name in ("get_state", "set_state")):
        raise FovealError(
            f"{type(layer).__name__} can't be saved in the middle of an episode: it has no get_state() and "
            "set_state(state). Give it these two, or start a new episode after resuming"
        )
    state: dict[str, Any] = layer.get_state()
    return state


def _set(layer: Any, state: dict[str, Any]) -> None:
    if type(layer) not in _BOOKKEEPING:
        layer.set_state(state)
        return
    for name, value in state.items():
        setattr(layer, name, value)
