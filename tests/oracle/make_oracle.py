"""Computes the numbers beside this file with the published repository's own classes. See README.md.

    python tests/oracle/make_oracle.py FOLDER     # FOLDER is DMC/src of that repository

Needs torch and captum. What those classes import but do not need here is replaced by empty modules.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

import numpy as np
import problem
import torch
from torch import Tensor

CLASSES = {"sac": ("sac", "SAC"), "svea": ("svea", "SVEA"), "sgqn": ("sgsac", "SGSAC")}


class Empty:
    """Whatever is asked of it, it is there and does nothing."""

    def __getattr__(self, name: str) -> Any:
        return Empty()

    def __call__(self, *_: Any, **__: Any) -> Any:
        return Empty()


def attribute(name: str) -> Any:
    """Of an empty module: anything but what Python itself looks for."""
    if name.startswith("__"):
        raise AttributeError(name)
    return Empty()


def prepare(folder: str) -> None:
    """Make the repository's modules importable, on the CPU."""
    torch.set_num_threads(1)
    sys.path.insert(0, folder)
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[assignment]
    torch.nn.Module.cuda = lambda self, *_, **__: self  # type: ignore[assignment,method-assign]
    for name in ("turtle", "kornia", "torchvision", "torchvision.transforms", "torchvision.datasets"):
        module = types.ModuleType(name)
        module.__getattr__ = attribute  # type: ignore[method-assign]
        sys.modules[name] = module
    sys.modules["torchvision.utils"] = types.ModuleType("torchvision.utils")
    sys.modules["torchvision.utils"].make_grid = Empty()  # type: ignore[attr-defined]
    board = types.ModuleType("torch.utils.tensorboard")
    board.SummaryWriter = Empty()  # type: ignore[attr-defined]
    sys.modules["torch.utils.tensorboard"] = board
    # Its helpers import gym and dm_control; the three that an update calls are these.
    helpers = types.ModuleType("utils")
    helpers.soft_update_params = blend  # type: ignore[attr-defined]
    helpers.cat = lambda x, y, axis=0: torch.cat([x, y], axis)  # type: ignore[attr-defined]
    helpers.load_config = lambda key=None: []  # type: ignore[attr-defined]
    sys.modules["utils"] = helpers


def blend(network: Any, target: Any, tau: float) -> None:
    """Exponential moving average, parameter by parameter."""
    for new, held in zip(network.parameters(), target.parameters(), strict=True):
        held.data.copy_(tau * new.data + (1 - tau) * held.data)


def settings() -> argparse.Namespace:
    """Sizes of the problem, and the hyperparameters of the repository's command line."""
    return argparse.Namespace(
        discount=problem.DISCOUNT, critic_tau=0.01, encoder_tau=0.05, actor_update_freq=2, critic_target_update_freq=2,
        num_shared_layers=problem.LAYERS, num_head_layers=0, num_filters=problem.FILTERS,
        projection_dim=problem.LATENT, hidden_dim=problem.HIDDEN, actor_log_std_min=-10, actor_log_std_max=2,
        init_temperature=problem.TEMPERATURE, actor_lr=1e-3, actor_beta=0.9, critic_lr=1e-3, critic_beta=0.9,
        critic_weight_decay=0, alpha_lr=1e-4, alpha_beta=0.5, svea_alpha=0.5, svea_beta=0.5,
        sgqn_quantile=problem.QUANTILE, aux_update_freq=2, consistency=1, aux_lr=3e-4, aux_beta=0.9,
        log_dir=tempfile.mkdtemp(), domain_name="d", task_name="t", algorithm="a", seed=0,
    )  # fmt: skip


def modules(agent: Any, critic: Any, prefix: str = "") -> dict[str, Any]:
    """The problem's names -> their layers."""
    encoder = critic.encoder
    kernels = [layer for layer in encoder.shared_cnn.layers if isinstance(layer, torch.nn.Conv2d)]
    found = {f"convolutions.{index}": layer for index, layer in enumerate(kernels)}
    found |= {
        "projection.linear": encoder.projection.projection[0],
        "projection.norm": encoder.projection.projection[1],
    }
    for index, head in enumerate((critic.Q1, critic.Q2)):
        found |= {f"critics.{index}.{layer}": head.trunk[2 * layer] for layer in range(3)}
    if prefix:
        return {prefix + name: layer for name, layer in found.items()}
    mine = agent.actor.encoder.projection.projection
    found |= {"actor_projection.linear": mine[0], "actor_projection.norm": mine[1]}
    found |= {f"policy.{layer}": agent.actor.mlp[2 * layer] for layer in range(3)}
    if hasattr(agent, "attribution_predictor"):
        decoder = agent.attribution_predictor.decoder
        found |= {f"decoder.{index}": getattr(decoder, f"conv{index + 1}") for index in range(3)}
        found["decoder.linear"] = decoder.proj
    return found


def parameters(agent: Any) -> dict[str, Tensor]:
    """The problem's names -> their tensors, target networks' included."""
    layers = modules(agent, agent.critic) | modules(agent, agent.critic_target, "target_")
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def compute(method: str) -> dict[str, np.ndarray[Any, Any]]:
    """Everything worth comparing of some updates in a row."""
    import importlib

    import augmentations

    module, name = CLASSES[method]
    code = importlib.import_module(f"algorithms.{module}")
    agent = getattr(code, name)((problem.CHANNELS, problem.SIDE, problem.SIDE), (problem.ACTIONS,), settings())
    held = parameters(agent)
    initial = problem.weights(method)
    assert set(held) == set(initial), set(held) ^ set(initial)
    for key, value in initial.items():
        held[key].data.copy_(torch.from_numpy(value))
    found: dict[str, np.ndarray[Any, Any]] = {}
    gradients: dict[str, Tensor] = {}
    watch(agent, gradients)
    for number in range(problem.UPDATES):
        gradients.clear()
        seen = one_update(agent, code, augmentations, number)
        seen |= {f"gradient/{key}": problem.summary(value.numpy()) for key, value in gradients.items() if number == 0}
        seen["alpha"] = np.float32(agent.alpha.item())
        if number in (0, problem.UPDATES - 1):
            seen |= {f"weight/{key}": problem.summary(value.detach().numpy()) for key, value in held.items()}
        found |= {f"{number}/{key}": np.asarray(value) for key, value in seen.items()}
    return found


def watch(agent: Any, gradients: dict[str, Tensor]) -> None:
    """Note every gradient at the moment at which its optimizer steps."""
    names = {id(tensor): name for name, tensor in parameters(agent).items()}

    def note(kind: str) -> Any:
        def hook(optimizer: Any, *_: Any) -> None:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.grad is not None and id(parameter) in names:
                        gradients[f"{kind}/{names[id(parameter)]}"] = parameter.grad.clone()

        return hook

    for kind in ("critic", "actor", "aux"):
        optimizer = getattr(agent, f"{kind}_optimizer", None)
        if optimizer is not None:
            optimizer.register_step_pre_hook(note(kind))


def one_update(agent: Any, code: Any, augmentations: Any, number: int) -> dict[str, Any]:
    """One update of theirs, with our batch and draws; what it logged and compared."""
    batch, drawn = problem.transitions(number), problem.draws(number)
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    columns = tensors["obs"].float(), tensors["action"], tensors["reward"][:, None]
    memory = types.SimpleNamespace()
    memory.sample = memory.sample_drq = lambda: (*columns, tensors["next_obs"].float(), tensors["going_on"][:, None])
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    pictures = torch.from_numpy(drawn["overlays"]).float() / 255.0
    augmentations._load_places, augmentations._get_places_batch = Empty(), lambda batch_size: pictures
    augmentations.places_dataloader = augmentations.places_iter = True
    if hasattr(code, "random"):
        code.random = types.SimpleNamespace(uniform=lambda low, high: low + (high - low) * float(drawn["fill"]))
    compared: list[tuple[Tensor, Tensor]] = []
    masks: list[Tensor] = []
    seen: dict[str, Any] = {}
    mse, randn_like = torch.nn.functional.mse_loss, torch.randn_like
    attribution_mask = getattr(code, "compute_attribution_mask", None)
    torch.nn.functional.mse_loss = lambda one, other: (
        compared.append((one.detach(), other.detach())),
        mse(one, other),
    )[1]
    torch.randn_like = lambda like: torch.from_numpy(next(noises)).to(like)
    if attribution_mask is not None:
        code.compute_attribution_mask = lambda *a, **k: (masks.append(attribution_mask(*a, **k)), masks[-1])[1]
    log = types.SimpleNamespace(log=lambda key, value, step: seen.update({key: np.float32(value.detach().item())}))
    try:
        agent.update(memory, log, number + 2)  # even steps are due; at 0 it would draw pictures for its log
    finally:
        torch.nn.functional.mse_loss, torch.randn_like = mse, randn_like
        if attribution_mask is not None:
            code.compute_attribution_mask = attribution_mask
    seen["values"] = torch.stack([one[:, 0] for one, _ in compared[:2]]).numpy()
    seen["target"] = compared[0][1][: problem.BATCH, 0].numpy()  # SVEA's is there twice
    if masks:
        seen["masked_values"] = torch.stack([other[:, 0] for _, other in compared[2:4]]).numpy()
        seen["critic_mask"] = np.packbits(masks[0].numpy())
        seen["fresh_mask"] = np.packbits(masks[-1].numpy())
    return seen


if __name__ == "__main__":
    prepare(sys.argv[1])
    for method in problem.METHODS:
        arrays = compute(method)
        path = Path(__file__).parent / f"{method}.npz"
        np.savez_compressed(path, **arrays)
        print(path, len(arrays), path.stat().st_size)
