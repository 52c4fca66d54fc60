"""Frames for a shield's training, from an environment or a camera, with the masks that its settings ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foveal.envs.making import EnvLike
from foveal.errors import FovealError
from foveal.fovea.frames import FrameSet
from foveal.shield.camera import Camera, Drawn, drawn_for, read_camera, read_masks
from foveal.shield.config import FILES, MOTION, SALIENCY, SIMULATOR, ShieldConfig
from foveal.shield.few import masks_from_few
from foveal.shield.motion import motion_masks, restless
from foveal.shield.salient import looking, saliency_masks
from foveal.training.looking import Acts, collect

MOST = 0.5
"""The share of all pixels that masks may say are the task's."""
RESTLESS = 0.1
"""The share of places that may always change before a camera that counts as still."""
DRAW = "draw some masks (foveal shield draw)"


def environment_frames(
    env: EnvLike,
    options: Mapping[str, Any],
    config: ShieldConfig,
    seed: int,
    policy: Acts | None = None,
    *,
    progress: bool = False,
) -> FrameSet:
    """Frames of an environment, with masks as ``config.masks`` says; see ``collect``.

    Raises:
        FovealError: nobody can tell which pixels are the task's.
    """
    if config.masks == FILES:
        raise FovealError(f'masks="{FILES}" go with frames from files: give --frames, a folder or a film')
    check_saliency(config, policy)
    simulated = config.masks == SIMULATOR
    frames = collect(env, options, config.frames, seed, policy, with_masks=simulated, progress=progress)
    if simulated:
        return frames
    return replace(frames, masks=found_masks(frames.pixels, frames.episodes, config.masks, policy))


def camera_frames(
    source: str | Path,
    image_size: int,
    config: ShieldConfig,
    *,
    masks: str | Path | None = None,
    policy: Acts | None = None,
    seed: int = 0,
    progress: bool = False,
) -> FrameSet:
    """Frames of a folder of pictures or of a film, with masks as ``config.masks`` says.

    Args:
        source: folder or film; at most about ``config.frames`` frames are taken, evenly apart.
        image_size: side that they are resized to, as a policy sees them.
        config: of the shield.
        masks: a folder or zip file of masks for some of the frames, where ``config.masks`` is "files"; a small network
            learns from these to label the rest.
        policy: whose saliency tells the task, where that is asked for.
        seed: of everything random.
        progress: show a bar.

    Raises:
        FovealError: there are no frames or no masks, they don't fit together, or there is no simulator to ask.
    """
    if config.masks == SIMULATOR:
        raise FovealError(f"a camera has no simulator to ask which pixels are the task's: say motion, or {DRAW}")
    if (config.masks == FILES) != (masks is not None):
        raise FovealError(f'masks from a folder or a zip file go with masks="{FILES}", and the other way round')
    check_saliency(config, policy)
    given = read_masks(masks) if masks is not None else {}
    camera = read_camera(source, image_size, config.frames, given)
    if given:
        found = _spread(camera, drawn_for(camera, given), seed, progress=progress)
    else:
        found = found_masks(camera.pixels, camera.pieces, config.masks, policy)
    return camera.frame_set(found, seed)


def found_masks(pixels: Tensor, episodes: Tensor, masks: str, policy: Acts | None) -> Tensor:
    """(N, S, S) bool, by motion or by a policy's saliency.

    Args:
        pixels: (N, 3, S, S) ``uint8``.
        episodes: (N,), sorted.
        masks: "motion" or "saliency".
        policy: the one whose saliency that is.

    Raises:
        FovealError: nothing was found, or nearly everything.
    """
    if masks == MOTION:
        if (share := restless(pixels)) > RESTLESS:
            raise FovealError(
                f"{100 * share:.0f} % of each frame change all the time, as before a camera that moves, and motion "
                f"tells the task before a still one alone: {DRAW}"
            )
        found = motion_masks(pixels)
    else:
        assert policy is not None  # ``check_saliency``
        depth = int(getattr(policy, "env_options", {}).get("frame_stack", 1))
        found = saliency_masks(pixels, episodes, looking(policy), depth)
    share = float(found.float().mean())
    if not found.any():
        raise FovealError(f"nothing in these frames moves, so motion tells no task: let it move, or {DRAW}")
    if share > MOST:
        raise FovealError(f"{masks} says that {100 * share:.0f} % of all pixels are the task's: {DRAW}")
    return found


def check_saliency(config: ShieldConfig, policy: Acts | None) -> None:
    """Refuse to look through the eyes of nobody.

    Raises:
        FovealError: saliency is asked for, and there is no policy.
    """
    if config.masks == SALIENCY and policy is None:
        raise FovealError("saliency is a policy's: name one, or choose other masks")


def _spread(camera: Camera, drawn: Drawn, seed: int, *, progress: bool) -> Tensor:
    """Masks of all frames from those of some."""
    if not drawn.masks.flatten(1).any(1).all():
        raise FovealError(
            f"a mask's task covers less than a pixel of frames of {camera.pixels.shape[-1]}: raise --image-size"
        )
    if len(torch.unique(drawn.frames)) == len(camera.names):
        masks = torch.empty_like(drawn.masks)
        masks[drawn.frames] = drawn.masks
        return masks
    return masks_from_few(camera.pixels, drawn.frames, drawn.masks, seed, progress=progress)
