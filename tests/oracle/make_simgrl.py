"""Computes simgrl.npz with the published repository's own functions and classes. See simgrl.md.

    PYTHONPATH=tests python tests/oracle/make_simgrl.py CHECKOUT

Needs torch and captum. What those classes import but do not need here is replaced by empty modules.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import captum.attr  # noqa: F401  (before the stand-ins for matplotlib, which it can do without)
import make_oracle
import numpy as np
import problem
import torch
from torch import Tensor, nn

from oracle import views_problem

Array = np.ndarray[Any, Any]


def encoder() -> dict[str, Array]:
    """Features of a batch, and the gradients of the mean of their squares."""
    modules = importlib.import_module("algorithms.modules")
    shape = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    network = modules.SharedCNN_feat_stack(shape, problem.LAYERS, problem.FILTERS)
    layers = [m for part in (network.layers, network.layers2) for m in part if isinstance(m, nn.Conv2d)]
    for layer, (weight, bias) in zip(layers, views_problem.frame_stack(), strict=True):
        layer.weight.data.copy_(torch.from_numpy(weight))
        layer.bias.data.copy_(torch.from_numpy(bias))
    image = torch.from_numpy(views_problem.pictures(0)).float().requires_grad_()
    features = network(image)
    features.square().mean().backward()
    found = {"features": features, "gradient/image": image.grad}
    for index, layer in enumerate(layers):
        found |= {f"gradient/{index}.weight": layer.weight.grad, f"gradient/{index}.bias": layer.bias.grad}
    return {name: problem.summary(value.detach().numpy()) for name, value in found.items()}


def overlay() -> dict[str, Array]:
    """A batch under the shifted overlay, with our pictures and steps."""
    augmentations = importlib.import_module("augmentations")
    canvases = torch.from_numpy(views_problem.canvases()).float() / 255.0
    augmentations.places_dataloader, augmentations._get_places_batch = True, lambda batch_size: canvases
    # What is drawn first moves along the rows' axis there, whatever its name says.
    drawn = iter(torch.from_numpy(views_problem.steps()))
    real = torch.Tensor.random_
    torch.Tensor.random_ = lambda self, *_: self.copy_(next(drawn))  # type: ignore[assignment,method-assign]
    try:
        made = augmentations.random_overlay_shift(torch.from_numpy(views_problem.pictures(1)).float())
    finally:
        torch.Tensor.random_ = real  # type: ignore[method-assign]
    return {"overlaid": problem.summary(made.numpy())}


class Linear(nn.Module):
    """A critic whose gradient is a given map."""

    def __init__(self, saliency: Tensor) -> None:
        super().__init__()
        self.saliency = saliency

    def forward(self, obs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        value = (obs * self.saliency).sum((1, 2, 3))[:, None]
        return value, value


def tid() -> dict[str, Array]:
    """The TID score and its variance of some maps, rounded to four digits there."""
    utilities = importlib.import_module("algorithms.rl_utils")
    utilities.plt = types.SimpleNamespace(imsave=lambda *_, **__: None)
    found = []
    for saliency, part in views_problem.saliencies():
        obs = torch.zeros(1, *saliency.shape)
        truth = torch.from_numpy(part.repeat(3, 0)[None].astype(np.float32))
        actor = lambda seen: (None, torch.zeros(len(seen), 2), None, None)  # noqa: E731
        found.append(utilities.compute_TID_score(obs, actor, Linear(torch.from_numpy(saliency)), "", truth))
    return {"tid": np.array(found, np.float64)}


if __name__ == "__main__":
    make_oracle.prepare(str(Path(sys.argv[1]) / "src"))
    for name in ("matplotlib", "matplotlib.pyplot"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["matplotlib"].pyplot = sys.modules["matplotlib.pyplot"]  # type: ignore[attr-defined]
    arrays = encoder() | overlay() | tid()
    path = Path(__file__).parent / "simgrl.npz"
    np.savez_compressed(path, **arrays)
    print(path, len(arrays), path.stat().st_size, arrays["tid"])
