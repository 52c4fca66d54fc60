"""DMC-GB's ``video_hard``: a video everywhere but on the agent."""

from __future__ import annotations

from foveal.envs.perturbations.base import PERTURBATIONS
from foveal.envs.perturbations.video import VideoPerturbation


@PERTURBATIONS.register("video_hard")
class VideoHard(VideoPerturbation):
    """Sky and floor become one of 100 videos, shadows included."""

    name = "video_hard"
    benchmark_videos = 100
    textures = ("skybox", "grid")
