"""DMC-GB's ``video_easy``: a video behind the scene."""

from __future__ import annotations

from foveal.envs.perturbations.base import PERTURBATIONS
from foveal.envs.perturbations.video import VideoPerturbation


@PERTURBATIONS.register("video_easy")
class VideoEasy(VideoPerturbation):
    """The sky becomes one of 10 videos; the floor stays."""

    name = "video_easy"
    benchmark_videos = 10
    textures = ("skybox",)
