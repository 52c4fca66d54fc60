"""Computes ``smg.npz`` with the published repository's own classes. See smg.md.

    python tests/oracle/make_smg.py CHECKOUT

Needs torch and captum. What those classes import but do not need here is replaced by empty modules.
"""

from __future__ import annotations

import argparse
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import make_oracle
from make_oracle import Empty

from oracle import problem, smg_problem


def settings() -> argparse.Namespace:
    """Those of SAC, and of ``scripts/smg.sh``."""
    found = make_oracle.settings()
    found.__dict__.update(
        consistency_scale=0.5, frame_stack=3, back_scale=2, recon_scale=1, mask_scale=1, mask_percentage=0.06,
        fore_scale=0.1, action_scale=1, grad_clip_norm=100,
    )  # fmt: skip
    return found


def parameters(agent: Any) -> dict[str, Tensor]:
    """The problem's names -> their tensors."""
    layers = make_oracle.modules(agent, agent.critic) | make_oracle.modules(agent, agent.critic_target, "target_")
    model = agent.predictor
    behind = model.back_encoder.encoder
    kernels = [layer for layer in behind.shared_cnn.layers if isinstance(layer, torch.nn.Conv2d)]
    layers |= {f"background.convolutions.{index}": layer for index, layer in enumerate(kernels)}
    layers |= {
        f"background.projection.{name}": behind.projection.projection[i] for i, name in enumerate(("linear", "norm"))
    }
    layers |= {"foreground_head": model.fore_encoder.head.proj, "background_head": model.back_encoder.head.proj}
    for name, decoder in (("foreground", model.fore_decoder), ("background", model.back_decoder)):
        layers |= {f"{name}_decoder.linear": decoder.proj, f"{name}_decoder.image": decoder.conv3}
        layers |= {f"{name}_decoder.0": decoder.conv1, f"{name}_decoder.1": decoder.conv2}
    layers["foreground_decoder.mask"] = model.fore_decoder.conv4
    layers |= {f"action.{index}": model.inverse_dynamic.mlp[2 * index] for index in range(3)}
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def compute() -> dict[str, np.ndarray[Any, Any]]:
    """Everything worth comparing of three updates in a row."""
    import algorithms.smg as code

    import augmentations

    shape = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    agent = code.SMG(shape, (problem.ACTIONS,), settings(), Empty())
    agent.predictor.shape_raw = (problem.BATCH, *shape)  # it reshapes for batches of 64
    held, initial = parameters(agent), smg_problem.weights()
    assert set(held) == set(initial), set(held) ^ set(initial)
    for key, value in initial.items():
        held[key].data.copy_(torch.from_numpy(value))
    found: dict[str, np.ndarray[Any, Any]] = {}
    gradients: dict[str, Tensor] = {}
    watch(agent, held, gradients)
    for number in range(problem.UPDATES):
        gradients.clear()
        seen = one_update(agent, code, augmentations, number)
        if number == 0:
            seen |= table("gradients", gradients)
        if number in (0, problem.UPDATES - 1):
            seen |= table("weights", held)
        found |= {f"{number}/{key}": np.asarray(value) for key, value in seen.items()}
    return found


def table(what: str, tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Their names, sorted, and their summaries one after the other."""
    names = sorted(tensors)
    summaries = [smg_problem.summary(tensors[name].detach().numpy()) for name in names]
    return {f"{what}/names": np.array(names), f"{what}/values": np.concatenate(summaries)}


def watch(agent: Any, held: dict[str, Tensor], gradients: dict[str, Tensor]) -> None:
    """Note every gradient at the moment at which its optimizer steps, after it was clipped."""
    names = {id(tensor): name for name, tensor in held.items()}

    def note(kind: str) -> Any:
        def hook(optimizer: Any, *_: Any) -> None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None and id(parameter) in names:
                        gradients[f"{kind}/{names[id(parameter)]}"] = parameter.grad.clone()

        return hook

    for kind in ("critic", "actor", "aux"):
        getattr(agent, f"{kind}_optimizer").register_step_pre_hook(note(kind))


def one_update(agent: Any, code: Any, augmentations: Any, number: int) -> dict[str, Any]:
    """One update of theirs, with our batch and draws; what it logged and compared."""
    batch, drawn = problem.transitions(number), problem.draws(number)
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    memory = types.SimpleNamespace()
    memory.sample_drq = lambda: (
        *(tensors["obs"].float(), tensors["action"], tensors["reward"][:, None]),
        *(tensors["next_obs"].float(), tensors["going_on"][:, None]),
    )
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    pictures = iter([smg_problem.backgrounds(number), drawn["overlays"]])
    augmentations._load_places = Empty()
    augmentations._get_places_batch = lambda batch_size: torch.from_numpy(next(pictures)).float() / 255.0
    augmentations.places_dataloader = augmentations.places_iter = True
    code.random = types.SimpleNamespace(randint=lambda low, high: 0 if smg_problem.BEHIND[number] else high)
    compared: list[tuple[Tensor, Tensor]] = []
    mse, randn_like = torch.nn.functional.mse_loss, torch.randn_like

    def noted(one: Tensor, other: Tensor) -> Tensor:
        compared.append((one.detach(), other.detach()))
        return mse(one, other)

    seen: dict[str, Any] = {}
    log = types.SimpleNamespace(log=lambda key, value, step: seen.update({key: np.float32(value.detach().item())}))
    torch.nn.functional.mse_loss = noted
    torch.randn_like = lambda like: torch.from_numpy(next(noises)).to(like)
    try:
        agent.update(memory, log, smg_problem.STEPS[number])
    finally:
        torch.nn.functional.mse_loss, torch.randn_like = mse, randn_like
    seen["values"] = torch.stack([one[:, 0] for one, _ in compared[:2]]).numpy()
    seen["target"] = compared[0][1][:, 0].numpy()
    seen["changed_values"] = torch.stack([one[:, 0] for one, _ in compared[2:4]]).numpy()
    return seen


if __name__ == "__main__":
    make_oracle.prepare(str(Path(sys.argv[1]) / "src"))
    arrays = compute()
    path = Path(__file__).parent / "smg.npz"
    np.savez_compressed(path, **arrays)
    print(path, len(arrays), path.stat().st_size)
