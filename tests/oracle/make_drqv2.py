"""Computes drqv2.npz with the published repository's own agent. See drqv2.md.

    python tests/oracle/make_drqv2.py FOLDER     # FOLDER is a checkout of that repository

Needs torch. What it imports but does not need here is replaced by empty modules.
"""

from __future__ import annotations

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from oracle import drqv2_problem, problem
from oracle.make_oracle import attribute


def prepare(folder: str) -> Any:
    """The repository's module of the agent."""
    torch.set_num_threads(1)
    sys.path.insert(0, folder)
    for name in ("hydra", "omegaconf"):
        module = types.ModuleType(name)
        module.__getattr__ = attribute  # type: ignore[method-assign]
        sys.modules[name] = module
    return importlib.import_module("drqv2")


def modules(critic: Any, prefix: str = "") -> dict[str, Any]:
    """The problem's names -> the layers of a critic and its trunk."""
    found = {f"{prefix}projection.linear": critic.trunk[0], f"{prefix}projection.norm": critic.trunk[1]}
    heads = (critic.Q1, critic.Q2)
    return found | {f"{prefix}critics.{h}.{i}": heads[h][2 * i] for h in range(2) for i in range(3)}


def parameters(agent: Any) -> dict[str, Tensor]:
    """The problem's names -> their tensors, the target critic's included."""
    layers = {f"convolutions.{i}": agent.encoder.convnet[2 * i] for i in range(len(drqv2_problem.STRIDES))}
    layers |= modules(agent.critic) | modules(agent.critic_target, "target_")
    layers |= {"actor_projection.linear": agent.actor.trunk[0], "actor_projection.norm": agent.actor.trunk[1]}
    layers |= {f"policy.{i}": agent.actor.policy[2 * i] for i in range(3)}
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def compute(code: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Everything worth comparing of some updates in a row."""
    agent = code.DrQV2Agent(
        obs_shape=(problem.CHANNELS, problem.SIDE, problem.SIDE), action_shape=(problem.ACTIONS,), device="cpu",
        lr=1e-4, feature_dim=problem.LATENT, hidden_dim=problem.HIDDEN, critic_target_tau=0.01, num_expl_steps=2000,
        update_every_steps=2, stddev_schedule="linear(1.0,0.1,100000)", stddev_clip=0.3, use_tb=True,
    )  # fmt: skip
    agent.aug = lambda pictures: pictures  # the problem's batches are shifted already
    held, initial = parameters(agent), drqv2_problem.weights()
    assert held.keys() == initial.keys(), held.keys() ^ initial.keys()
    for key, value in initial.items():
        held[key].data.copy_(torch.from_numpy(value))
    gradients: dict[str, Tensor] = {}
    watch(agent, gradients)
    found: dict[str, np.ndarray[Any, Any]] = {}
    for number, step in enumerate(drqv2_problem.STEPS):
        gradients.clear()
        seen = one_update(agent, code, number, step)
        if number == 0:
            seen |= {f"gradient/{key}": problem.summary(value.numpy()) for key, value in gradients.items()}
        if number == problem.UPDATES - 1:
            seen |= {f"weight/{key}": problem.summary(value.detach().numpy()) for key, value in held.items()}
        found |= {f"{number}/{key}": np.asarray(value) for key, value in seen.items()}
    return found


def watch(agent: Any, gradients: dict[str, Tensor]) -> None:
    """Note every gradient at the moment at which its optimizer steps; the encoder's belongs to the critic's loss."""
    names = {id(tensor): name for name, tensor in parameters(agent).items()}

    def note(kind: str) -> Any:
        def hook(optimizer: Any, *_: Any) -> None:
            for group in optimizer.param_groups:
                gradients.update({f"{kind}/{names[id(p)]}": p.grad.clone() for p in group["params"]})

        return hook

    for kind, optimizer in (("critic", agent.encoder_opt), ("critic", agent.critic_opt), ("actor", agent.actor_opt)):
        optimizer.register_step_pre_hook(note(kind))


def one_update(agent: Any, code: Any, number: int, step: int) -> dict[str, Any]:
    """One update of theirs at an agent step, with our batch and draws; what it logged and compared."""
    tensors = {key: torch.from_numpy(value) for key, value in problem.transitions(number).items()}
    drawn = problem.draws(number)
    discount = problem.DISCOUNT**3 * tensors["going_on"]
    batch = (tensors["obs"], tensors["action"], tensors["reward"][:, None], discount[:, None], tensors["next_obs"])
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    code.utils._standard_normal = lambda shape, dtype, device: torch.from_numpy(next(noises).copy())
    compared: list[tuple[Tensor, Tensor]] = []
    mse = torch.nn.functional.mse_loss
    code.F.mse_loss = lambda one, other: (compared.append((one.detach(), other.detach())), mse(one, other))[1]
    try:
        logged = agent.update(iter([batch]), step)
    finally:
        code.F.mse_loss = mse
    seen = {key: np.float32(logged[key]) for key in ("critic_loss", "actor_loss")}
    seen["values"] = torch.stack([one[:, 0] for one, _ in compared]).numpy()
    seen["target"] = compared[0][1][:, 0].numpy()
    return seen


if __name__ == "__main__":
    arrays = compute(prepare(sys.argv[1]))
    path = Path(__file__).parent / "drqv2.npz"
    np.savez_compressed(path, **arrays)
    print(path, len(arrays), path.stat().st_size)
