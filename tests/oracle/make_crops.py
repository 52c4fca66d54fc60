"""Computes curl.npz, pad.npz, rad.npz and srm.npz with published classes. See crops.md.

    PYTHONPATH=tests python tests/oracle/make_crops.py DMCGB CURL SMG     # checkouts of three repositories

Needs torch. What those classes import but do not need here is replaced by empty modules.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from oracle import crops_problem, make_oracle, problem

Arrays = dict[str, Any]


def settings(**changes: Any) -> argparse.Namespace:
    """Sizes of the problem, and the hyperparameters of DMC-GB's command line."""
    return argparse.Namespace(**{**vars(make_oracle.settings()), "aux_lr": 1e-3, **changes})


def kernels(encoder: Any) -> list[Any]:
    """The convolutions of one of DMC-GB's encoders, first to last."""
    layers = [*encoder.shared_cnn.layers, *encoder.head_cnn.layers]
    return [layer for layer in layers if isinstance(layer, torch.nn.Conv2d)]


def named(layers: dict[str, Any]) -> dict[str, Tensor]:
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def critic_layers(critic: Any, prefix: str = "") -> dict[str, Any]:
    """The problem's names -> layers of a critic."""
    layers = {f"convolutions.{index}": layer for index, layer in enumerate(kernels(critic.encoder))}
    projection = critic.encoder.projection.projection
    layers |= {"projection.linear": projection[0], "projection.norm": projection[1]}
    for head, network in enumerate((critic.Q1, critic.Q2)):
        layers |= {f"critics.{head}.{layer}": network.trunk[2 * layer] for layer in range(3)}
    return {prefix + name: layer for name, layer in layers.items()}


def parameters(agent: Any) -> dict[str, Tensor]:
    """The problem's names -> all tensors of an agent."""
    layers = critic_layers(agent.critic) | critic_layers(agent.critic_target, "target_")
    mine = agent.actor.encoder.projection.projection
    layers |= {"actor_projection.linear": mine[0], "actor_projection.norm": mine[1]}
    layers |= {f"policy.{layer}": agent.actor.mlp[2 * layer] for layer in range(3)}
    if hasattr(agent, "curl_head"):
        return {**named(layers), "similarity": agent.curl_head.W}
    encoder = agent.pad_head.encoder
    own = kernels(encoder)[crops_problem.SHARED :]
    layers |= {f"pad.convolutions.{crops_problem.SHARED + index}": layer for index, layer in enumerate(own)}
    layers |= {f"pad.projection.{name}": encoder.projection.projection[i] for i, name in enumerate(("linear", "norm"))}
    layers |= {f"pad.head.{layer}": agent.pad_head.mlp[2 * layer] for layer in range(3)}
    return named(layers)


def built(method: str, **changes: Any) -> Any:
    """DMC-GB's agent with the problem's weights."""
    kind = getattr(importlib.import_module(f"algorithms.{method}"), method.upper())
    image = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    agent = kind(image, (problem.ACTIONS,), settings(**changes))
    held, initial = parameters(agent), crops_problem.weights(method)
    assert set(held) == set(initial), set(held) ^ set(initial)
    for name, value in initial.items():
        held[name].data.copy_(torch.from_numpy(value))
    return agent


def update(agent: Any, number: int) -> Arrays:
    """One update of an agent on the problem's batch and draws; what it logged."""
    batch, drawn = problem.transitions(number), problem.draws(number)
    tensors = {key: torch.from_numpy(value) for key, value in batch.items()}
    columns = (tensors["obs"].float(), tensors["action"], tensors["reward"][:, None], tensors["next_obs"].float())
    positive = torch.from_numpy(crops_problem.positives(number)).float()
    memory = types.SimpleNamespace()
    memory.sample = lambda: (*columns, tensors["going_on"][:, None])
    memory.sample_curl = lambda: (*memory.sample(), positive)
    seen: Arrays = {}
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    randn_like = torch.randn_like
    torch.randn_like = lambda like: torch.from_numpy(next(noises)).to(like)
    log = types.SimpleNamespace(log=lambda key, value, step: seen.update({key: np.float32(value.detach().item())}))
    try:
        agent.update(memory, log, number + 2)  # even steps are due
    finally:
        torch.randn_like = randn_like
    return seen


def summaries(tensors: dict[str, Tensor], kind: str) -> Arrays:
    return {f"{kind}/{name}": crops_problem.summary(tensor.detach().numpy()) for name, tensor in tensors.items()}


def gradients(agent: Any, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Filled with what an optimizer steps on, by name."""
    names, found = {id(tensor): name for name, tensor in parameters(agent).items()}, {}

    def note(*_: Any) -> None:
        for parameter in optimizer.param_groups[0]["params"]:
            if parameter.grad is not None:
                found.setdefault(names[id(parameter)], parameter.grad.clone())

    optimizer.register_step_pre_hook(note)
    return found


def curl(authors: str) -> Arrays:
    """Three updates of DMC-GB's CURL, and one contrastive step of the authors' own at the initial weights."""
    agent = built("curl", aux_update_freq=1)
    found = {f"authors/{key}": value for key, value in authors_step(authors, copy.deepcopy(agent)).items()}
    stepped = gradients(agent, agent.curl_optimizer)
    logits, compute = [], agent.curl_head.compute_logits
    agent.curl_head.compute_logits = lambda *z: (logits.append(compute(*z).detach().numpy()), compute(*z))[1]
    for number in range(problem.UPDATES):
        seen = update(agent, number)
        seen["logits"] = logits[-1]
        if number == problem.UPDATES - 1:
            seen |= summaries(parameters(agent), "weight")
        found |= {f"{number}/{key}": value for key, value in seen.items()}
    return found | {f"0/{key}": value for key, value in summaries(stepped, "gradient").items()}


def authors_step(folder: str, agent: Any) -> Arrays:
    """``CurlSacAgent.update_cpc`` with the authors' ``CURL`` around DMC-GB's encoder."""
    sys.path.insert(0, folder)
    code = importlib.import_module("curl_sac")
    image = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    contrast = code.CURL(image, problem.LATENT, problem.BATCH, agent.critic, agent.critic_target)
    contrast.W.data.copy_(agent.curl_head.W.data)
    agent.curl_head.W = contrast.W  # so that it has its name
    self = types.SimpleNamespace(CURL=contrast, device="cpu", log_interval=1)
    self.cross_entropy_loss = torch.nn.CrossEntropyLoss()
    self.encoder_optimizer = torch.optim.Adam(agent.critic.encoder.parameters(), lr=1e-3)
    self.cpc_optimizer = torch.optim.Adam(contrast.parameters(), lr=1e-3)
    stepped = gradients(agent, self.cpc_optimizer)
    seen: Arrays = {}
    log = types.SimpleNamespace(log=lambda key, value, step: seen.update({key: np.float32(value.detach().item())}))
    anchor = torch.from_numpy(problem.transitions(0)["obs"]).float()
    positive = torch.from_numpy(crops_problem.positives(0)).float()
    code.CurlSacAgent.update_cpc(self, anchor, positive, {}, log, 0)
    trained = {name: value for name, value in parameters(agent).items() if name in stepped}
    return {**seen, **summaries(stepped, "gradient"), **summaries(trained, "weight")}


def pad() -> Arrays:
    """Three updates of DMC-GB's PAD, then three steps of an episode at test time, as its evaluation has them."""
    augmentations = importlib.import_module("augmentations")
    agent = built("pad", num_shared_layers=crops_problem.SHARED, num_head_layers=problem.LAYERS - crops_problem.SHARED)
    stepped, found = gradients(agent, agent.pad_optimizer), {}
    for number in range(problem.UPDATES):
        found |= {f"{number}/{key}": value for key, value in update(agent, number).items()}
    found |= {f"0/{key}": value for key, value in summaries(stepped, "gradient").items()}
    found |= {f"trained/{key}": value for key, value in summaries(parameters(agent), "weight").items()}
    adapted = copy.deepcopy(agent)
    adapted.init_pad_optimizer()
    for step in range(crops_problem.STEPS):
        seen: Arrays = {}
        log = types.SimpleNamespace(log=lambda key, value, _, seen=seen: seen.update({key: np.float32(value.item())}))
        told = {key: torch.from_numpy(value) for key, value in crops_problem.episode(step).items()}
        crops = []
        for index, key in enumerate(("obs", "next_obs")):
            many = augmentations.batch_from_obs(told[key].float(), crops_problem.COPIES)
            crops.append(cropped(augmentations, many, problem.SIDE, *told["places"][2 * index : 2 * index + 2]))
        action = told["action"].repeat(crops_problem.COPIES, 1)
        adapted.update_inverse_dynamics(*crops, action, log, step)
        with torch.no_grad():
            seen["action"] = adapted.actor(told["next_obs"].float(), compute_pi=False, compute_log_pi=False)[0].numpy()
        found |= {f"step {step}/{key}": value for key, value in seen.items()}
    changed = {name: tensor for name, tensor in parameters(adapted).items() if not name.startswith("target_")}
    return found | {f"adapted/{key}": value for key, value in summaries(changed, "weight").items()}


def cropped(code: Any, images: Tensor, size: int, rows: Tensor, columns: Tensor) -> Tensor:
    """DMC-GB's ``random_crop`` at given places. It refuses what is not on a GPU."""
    torch.Tensor.is_cuda = property(lambda _: True)  # type: ignore[assignment]
    try:
        return code.random_crop(images, size, w1=rows, h1=columns)
    finally:
        del torch.Tensor.is_cuda


def rad() -> Arrays:
    """Crops at given places, and the centre of 100 pixels."""
    augmentations, modules = (importlib.import_module(name) for name in ("augmentations", "algorithms.modules"))
    side, size = crops_problem.LITTLE
    images = torch.from_numpy(crops_problem.pictures(side, 100, 5))
    places = np.random.Generator(np.random.PCG64([8])).integers(0, side - size, (2, 5))
    found = {"places": places, "crops": cropped(augmentations, images, size, *torch.from_numpy(places)).numpy()}
    whole = torch.from_numpy(crops_problem.pictures(crops_problem.RENDERED, 101))
    found["centre"] = modules.CenterCrop(problem.SIDE)(whole)[:, :2].numpy()
    return found


def srm(folder: str) -> Arrays:
    """SMG's ``random_mask_freq_v2`` with given edges of the ring."""
    del sys.modules["utils"]
    sys.path.insert(0, f"{folder}/src")
    code = importlib.import_module("utils")
    image = torch.from_numpy(crops_problem.pictures(crops_problem.LITTLE[0], 102)).float()
    found = {}
    for number, ring in enumerate(crops_problem.RINGS):
        drawn = iter([0.3, *ring])  # below 0.5: the batch is masked
        code.random = types.SimpleNamespace(uniform=lambda low, high, drawn=drawn: next(drawn))
        masked, *_, out = code.random_mask_freq_v2(image)
        assert masked
        found[str(number)] = out.numpy()
    return found


if __name__ == "__main__":
    dmcgb, authors, smg = sys.argv[1:]
    make_oracle.prepare(f"{dmcgb}/src")
    for name in ("gym", "cv2", "skimage", "skimage.util", "skimage.util.shape", "matplotlib", "matplotlib.pyplot"):
        empty = types.ModuleType(name)
        empty.__getattr__ = make_oracle.attribute  # type: ignore[method-assign]
        sys.modules.setdefault(name, empty)
    for name, arrays in {"curl": curl(authors), "pad": pad(), "rad": rad(), "srm": srm(smg)}.items():
        path = Path(__file__).parent / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        print(path, len(arrays), path.stat().st_size)
