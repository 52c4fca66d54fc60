"""An Atari agent's maps as functions of observations: its own attention, or the gradient of its value."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from foveal.errors import FovealError
from foveal.evaluation.insides import BUILT_IN, Insides, insides_of
from foveal.gaze.maps import Look
from foveal.gaze.screens import SIDE
from foveal.registry import nearest
from foveal.saliency import SALIENCY

GAMES = "atari/"


def looks_of(agent: Any, name: str, kinds: tuple[str, ...] = ()) -> dict[str, Look]:
    """Named maps of an agent.

    Args:
        agent: whose; a policy for a game, which says what is inside it (``foveal.evaluation.insides``).
        name: of the agent.
        kinds: names of maps that it makes by itself and of maps in ``foveal.saliency``, which are taken of its first
            scalar. By default "attention", or "gradient" for an agent without. Beside other kinds, "attention" is left
            out for such an agent.

    Returns:
        "NAME (KIND)" -> map.

    Raises:
        FovealError: it is no Atari agent, a kind is unknown, or it has none of them.
    """
    if not str(getattr(agent, "env_id", "")).startswith(GAMES):
        raise FovealError(f"{name} is no Atari agent; gaze was recorded on Atari games")
    insides = insides_of(agent)
    known = dict.fromkeys([BUILT_IN, *insides.maps, *SALIENCY.names()])
    unknown = [kind for kind in kinds if kind not in known]
    if unknown:
        raise FovealError(f"unknown saliency {unknown[0]!r}: {nearest(unknown[0], list(known))}")
    attentive = BUILT_IN in insides.maps
    wanted = kinds or ((BUILT_IN,) if attentive else ("gradient",))
    if not attentive and set(wanted) != {BUILT_IN}:
        wanted = tuple(kind for kind in wanted if kind != BUILT_IN)
    for kind in wanted:
        insides.check_map(kind)
    return {f"{name} ({kind})": _look(insides, kind) for kind in wanted}


def even_look(agent: Any) -> Look | None:
    """The picture that attention makes where it weighs every position alike: the part of a score that is no merit.

    None for an agent without attention.
    """
    draw = insides_of(agent).even
    if draw is None:
        return None
    even = draw()

    def look(obs: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.broadcast_to(even, (len(obs), SIDE, SIDE))

    return look


def _look(insides: Insides, kind: str) -> Look:
    def look(obs: NDArray[np.uint8]) -> Tensor:
        return insides.look(kind, list(obs))

    return look
