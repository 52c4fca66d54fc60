"""Visual changes at test time, which an agent has not seen in training.

Here are the four of the DMControl Generalization Benchmark (Hansen and Wang, ICRA 2021), and ``track_colors`` of Car
Racing. A perturbation of your own,
for any environment, is one file:

    @PERTURBATIONS.register("night")
    class Night(Perturbation):
        def apply(self, env):
            return Darker(env)          # a gymnasium.Wrapper that changes the frames

It is applied before frames are stacked: ``env`` gives single frames, (3, H, W) ``uint8`` RGB (or a dict with such an
``"image"``). A wrapper with ``get_state() -> dict`` and ``set_state(state)`` can be saved in the middle of an episode.
"""

from __future__ import annotations

from foveal.envs.perturbations.base import PERTURBATIONS, Perturbation, usual_perturbations

__all__ = ["PERTURBATIONS", "Perturbation", "usual_perturbations"]
