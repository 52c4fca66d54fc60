"""A shield and the policy behind it as one network, to be exported."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foveal.errors import FovealError
from foveal.export import Exportable, exportable, portable, write_onnx
from foveal.shield.wrapping import CHANNELS


class Guarded(nn.Module):
    """Stacked frames -> the policy's action on the restored ones, and the doubt of the newest.

    Args:
        shield: frames, (B, 3, H, W) ``uint8`` -> those restored, in [0, 255], masks, and doubts, (B,).
        policy: frames (and a vector beside them) -> action.
    """

    def __init__(self, shield: nn.Module, policy: nn.Module) -> None:
        super().__init__()
        self.shield, self.policy = shield, policy

    def forward(self, image: Tensor, vector: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B, 3 * frames, H, W) ``uint8``, and (B, V) where there is a vector, to actions and (B,) doubts."""
        _, channels, height, width = image.shape
        depth = channels // CHANNELS
        given, _, doubt = self.shield(image.reshape(-1, CHANNELS, height, width))
        stacked = given.reshape(-1, channels, height, width)
        action = self.policy(stacked) if vector is None else self.policy(stacked, vector)
        return action, doubt.reshape(-1, depth)[:, -1]


def export_behind(shield: Any, policy: Any, path: Path) -> Path:
    """Write both as one ONNX file; see ``foveal.export.write_onnx``.

    Args:
        shield: ``foveal.Shield``.
        policy: a value learner's or PPO's agent that sees RGB frames of the shield's size.
        path: the file.

    Raises:
        FovealError: the policy is none of these, or the shield is none of ours; also as for ``write_onnx``.
    """
    module: Callable[[], nn.Module] | None = getattr(shield, "module", None)
    if module is None:
        raise FovealError(f"a {type(shield).__name__} has no module(), so it can't be exported: only foveal.Shield can")
    alone = exportable(policy)
    image = alone.examples(1).get("image")
    size = shield.image_size
    if image is None or image.dtype != torch.uint8 or image.shape[1] % CHANNELS or image.shape[2:] != (size, size):
        raise FovealError(
            f"this shield is for uint8 RGB frames of {size} x {size} pixels, and this policy sees others, so they "
            "can't be exported together"
        )
    network = Guarded(portable(module()), alone.network)
    return write_onnx(Exportable(network, alone.examples, ("action", "doubt")), path)
