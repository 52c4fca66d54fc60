"""Visual changes at test time, which an agent has not seen in training.

Here are the four of the DMControl Generalization Benchmark (Hansen and Wang, ICRA 2021) and ``track_colors`` of Car
Racing; the corruptions of ``foveal.corruptions`` join them as ``"noise:3"`` and so on, for any environment. A
perturbation of your own, for any environment, is one file:

    @PERTURBATIONS.register("night")
    class Night(Perturbation):
        def apply(self, env):
            return Darker(env)          # a gymnasium.Wrapper that changes the frames

It is applied before frames are stacked: ``env`` gives single frames, (3, H, W) ``uint8`` RGB (or a dict with such an
``"image"``). A wrapper with ``get_state() -> dict`` and ``set_state(state)`` can be saved in the middle of an episode.
"""

from __future__ import annotations

from pathlib import Path

from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation, usual_perturbations
from foveal.errors import FovealError
from foveal.registry import nearest

__all__ = ["PERTURBATIONS", "Perturbation", "named_perturbation", "perturbation_names", "usual_perturbations"]


def perturbation_names() -> list[str]:
    """Every name that ``named_perturbation`` takes."""
    from foveal.envs.perturbations.corruption import corruption_names  # and with it PyTorch, when it is first needed

    return [*PERTURBATIONS.names(), *corruption_names()]


def named_perturbation(name: str, data: Path | None = None) -> Perturbation:
    """A perturbation by name, or a corruption at a severity, such as ``"noise:3"``.

    Raises:
        FovealError: an unknown name; the message has the nearest.
    """
    if name in PERTURBATIONS.names():
        return PERTURBATIONS.get(name)(data)
    from foveal.envs.perturbations.corruption import CorruptedPicture  # see ``perturbation_names``

    if name not in perturbation_names():
        raise FovealError(f"unknown perturbation {name!r}: {nearest(name, perturbation_names())}")
    return CorruptedPicture(name, data)
