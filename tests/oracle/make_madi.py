"""Computes madi.npz with the published repository's own classes. See madi.md.

    PYTHONPATH=tests python tests/oracle/make_madi.py CHECKOUT

Needs torch. What those classes import but do not need here is replaced by empty modules.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import make_oracle
import numpy as np
import problem
import torch
from torch import Tensor

from oracle import views_problem

UNUSED = ("algorithms.rl_utils", "algorithms.vit", "algorithms.vit.vit", "imageio", "logger", "video")


def empty_modules() -> None:
    """Stand in for what is imported and never called."""
    for name in UNUSED:
        module = types.ModuleType(name)
        module.__getattr__ = make_oracle.attribute  # type: ignore[method-assign]
        sys.modules[name] = module
    sys.modules["algorithms.vit"].vit = sys.modules["algorithms.vit.vit"]  # type: ignore[attr-defined]


def settings() -> argparse.Namespace:
    """Of that repository's command line, in the sizes of the problem."""
    more = {"algorithm": "madi", "augment": "overlay", "overlay_alpha": 0.5, "frame_stack": 3, "mask_type": "soft"}
    more |= {"masker_lr": 1e-3, "masker_beta": 0.9, "masker_num_layers": 3, "mask_threshold": 0.5}
    more |= {"masker_num_filters": views_problem.MASKER_FILTERS, "mask_threshold_type": "fix"}
    return argparse.Namespace(**{**vars(make_oracle.settings()), **more})


def modules(agent: Any, critic: Any, prefix: str = "") -> dict[str, Any]:
    """The problem's names -> their layers."""
    kernels = [layer for layer in critic.encoder.shared.layers if isinstance(layer, torch.nn.Conv2d)]
    found: dict[str, Any] = {f"{prefix}convolutions.{index}": layer for index, layer in enumerate(kernels)}
    named = {"projection": critic.encoder.projection.projection}
    named |= {"actor_projection": agent.actor.encoder.projection.projection} if not prefix else {}
    for name, projection in named.items():
        found |= {f"{prefix}{name}.linear": projection[0], f"{prefix}{name}.norm": projection[1]}
    for index, head in enumerate((critic.Q1, critic.Q2)):
        found |= {f"{prefix}critics.{index}.{layer}": head.trunk[2 * layer] for layer in range(3)}
    return found | ({} if prefix else {f"policy.{layer}": agent.actor.mlp[2 * layer] for layer in range(3)})


def parameters(agent: Any) -> dict[str, Tensor]:
    """The problem's names -> their tensors; the masker's are ``masker.0.weight`` and so on."""
    layers = modules(agent, agent.critic) | modules(agent, agent.critic_target, "target_")
    kernels = [layer for layer in agent.masker.layers if isinstance(layer, torch.nn.Conv2d)]
    layers |= {f"masker.{index}": layer for index, layer in enumerate(kernels)}
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def given(agent: Any) -> None:
    """Load the problem's weights."""
    held, initial = parameters(agent), problem.weights("sac")
    for index, (weight, bias) in enumerate(views_problem.masker()):
        initial |= {f"masker.{index}.weight": weight, f"masker.{index}.bias": bias}
    assert set(held) == set(initial), set(held) ^ set(initial)
    for key, value in initial.items():
        held[key].data.copy_(torch.from_numpy(value))


def one_update(agent: Any, augmentations: Any, number: int) -> dict[str, Any]:
    """One update of theirs, with our batch and draws, and what it logged."""
    batch, drawn = problem.transitions(number), problem.draws(number)
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    columns = tensors["obs"].float(), tensors["action"], tensors["reward"][:, None]
    columns = *columns, tensors["next_obs"].float(), tensors["going_on"][:, None]
    memory = types.SimpleNamespace(sample_svea=lambda: columns)
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    pictures = torch.from_numpy(drawn["overlays"]).float() / 255.0
    augmentations._get_places_batch = lambda batch_size: pictures
    augmentations.places_dataloader = True
    seen: dict[str, Any] = {}
    log = types.SimpleNamespace(log=lambda key, value, step: seen.update({key: np.float32(value.detach().item())}))
    randn_like = torch.randn_like
    torch.randn_like = lambda like: torch.from_numpy(next(noises)).to(like)
    try:
        agent.update(memory, log, number)
    finally:
        torch.randn_like = randn_like
    return seen


def compute() -> dict[str, np.ndarray[Any, Any]]:
    """The mask of a picture, and three updates in a row."""
    import augmentations

    shape = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    agent = importlib.import_module("algorithms.madi").MaDi(
        shape, (problem.ACTIONS,), settings(), types.SimpleNamespace(record=lambda *_, **__: None)
    )
    given(agent)
    found: dict[str, Any] = {}
    image = torch.from_numpy(problem.transitions(0)["obs"]).float()
    with torch.no_grad():
        found["mask"] = problem.summary(torch.cat([agent.masker(frame) for frame in image.chunk(3, dim=1)], 1).numpy())
        found["masked"] = problem.summary(agent.apply_mask(image).numpy())
    names = {id(tensor): name for name, tensor in parameters(agent).items()}

    def note(optimizer: Any, *_: Any) -> None:
        for parameter in optimizer.param_groups[0]["params"]:
            name = names[id(parameter)]
            found.setdefault(f"gradient/{name}", problem.summary(parameter.grad.numpy()))

    for optimizer in (agent.critic_optimizer, agent.masker_optimizer):
        optimizer.register_step_pre_hook(note)
    for number in range(problem.UPDATES):
        seen = one_update(agent, augmentations, number)
        found |= {f"{number}/{key}": value for key, value in seen.items()}
        for name, tensor in parameters(agent).items():
            if name.startswith("masker"):
                found[f"{number}/weight/{name}"] = problem.summary(tensor.detach().numpy())
    return found


if __name__ == "__main__":
    make_oracle.prepare(str(Path(sys.argv[1]) / "src"))
    empty_modules()
    arrays = compute()
    path = Path(__file__).parent / "madi.npz"
    np.savez_compressed(path, **arrays)
    print(path, len(arrays), path.stat().st_size)
