"""Saving and restoring a stack of Gymnasium wrappers, layer by layer.

A wrapper of ours, or of a user's, is saved if it has ``snapshot() -> dict`` and ``restore(state)`` for its own fields
(an empty dict if it has none). Gymnasium's own bookkeeping wrappers are known here. The innermost environment needs
``get_state`` and ``set_state``. Anything else is refused: a state that misses a layer would resume wrongly in silence.
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


def capture_layers(env: gymnasium.Env[Any, Any]) -> list[dict[str, Any]]:
    """The state of every layer, outermost first.

    Raises:
        FovealError: a layer can't be saved.
    """
    return [{"layer": type(layer).__name__, "state": _capture(layer)} for layer in _layers(env)]


def restore_layers(env: gymnasium.Env[Any, Any], saved: list[dict[str, Any]]) -> None:
    """Undo of ``capture_layers`` on an equal stack; the innermost layer is restored first.

    Raises:
        FovealError: the stack is another one.
    """
    layers = _layers(env)
    here, there = [type(layer).__name__ for layer in layers], [entry["layer"] for entry in saved]
    if here != there:
        raise FovealError(f"this state is of an environment built as {there}, and this one is built as {here}")
    for layer, entry in zip(reversed(layers), reversed(saved), strict=True):
        _restore(layer, entry["state"])


def _layers(env: gymnasium.Env[Any, Any]) -> list[Any]:
    layers = [env]
    while isinstance(layers[-1], gymnasium.Wrapper):
        layers.append(layers[-1].env)
    return layers


def _capture(layer: Any) -> dict[str, Any]:
    if type(layer) in _BOOKKEEPING:
        return {name: getattr(layer, name) for name in _BOOKKEEPING[type(layer)]}
    save, _ = _methods(layer)
    state: dict[str, Any] = getattr(layer, save)()
    return state


def _restore(layer: Any, state: dict[str, Any]) -> None:
    if type(layer) in _BOOKKEEPING:
        for name, value in state.items():
            setattr(layer, name, value)
        return
    _, load = _methods(layer)
    getattr(layer, load)(state)


def _methods(layer: Any) -> tuple[str, str]:
    names = ("snapshot", "restore") if isinstance(layer, gymnasium.Wrapper) else ("get_state", "set_state")
    if not all(callable(getattr(type(layer), name, None)) for name in names):
        raise FovealError(
            f"{type(layer).__name__} can't be saved in the middle of an episode: it has no {names[0]}() and "
            f"{names[1]}(state). Give it these two, or start a new episode after resuming"
        )
    return names
