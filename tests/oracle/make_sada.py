"""Computes sada.npz with the published repository's own classes. See sada.md.

    PYTHONPATH=tests python tests/oracle/make_sada.py CHECKOUT

Needs torch and torchvision, of which no compiled operator is used.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import problem
import torch
from torch import Tensor

from oracle import views_problem

Array = np.ndarray[Any, Any]


def agent() -> Any:
    """Theirs, with an actor and a critic of our sizes and weights."""
    code = importlib.import_module("algos.sada")
    made = code.AGENT(
        (problem.CHANNELS, problem.SIDE, problem.SIDE), (problem.ACTIONS,), "cpu", 5e-4, views_problem.LATENT,
        views_problem.HIDDEN, 0.01, 0, 2, problem.TEMPERATURE, [-10, 2], ["conv"],
    )  # fmt: skip
    sizes = views_problem.FEATURES, (problem.ACTIONS,), views_problem.LATENT, views_problem.HIDDEN
    made.actor, made.critic = code.Actor(*sizes, [-10, 2]), code.Critic(*sizes)
    made.actor_opt = torch.optim.Adam(made.actor.parameters(), lr=5e-4)
    held, initial = parameters(made), views_problem.heads()
    assert set(held) == set(initial), set(held) ^ set(initial)
    for name, value in initial.items():
        held[name].data.copy_(torch.from_numpy(value))
    return made


def parameters(made: Any) -> dict[str, Tensor]:
    """The problem's names -> their tensors."""
    layers = {"projection.linear": made.critic.trunk[0], "projection.norm": made.critic.trunk[1]}
    layers |= {"actor_projection.linear": made.actor.trunk[0], "actor_projection.norm": made.actor.trunk[1]}
    for name, network in (("policy", made.actor.policy), ("critics.0", made.critic.Q1), ("critics.1", made.critic.Q2)):
        layers |= {f"{name}.{index}": network[2 * index] for index in range(3)}
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def actor_step() -> dict[str, Array]:
    """One step of actor and temperature on given features, with our noise."""
    made = agent()
    found: dict[str, Any] = {}
    names = {id(tensor): name for name, tensor in parameters(made).items()}

    def note(optimizer: Any, *_: Any) -> None:
        for parameter in optimizer.param_groups[0]["params"]:
            found[f"gradient/{names[id(parameter)]}"] = parameter.grad.numpy().copy()

    made.actor_opt.register_step_pre_hook(note)
    noise = torch.from_numpy(views_problem.noise())
    torch.distributions.normal._standard_normal = lambda shape, dtype, device: noise
    clean, augmented = (torch.from_numpy(value) for value in views_problem.features())
    metrics = made.update_actor(clean, augmented)
    kept = ("actor_loss", "actor_entropy", "alpha_loss")
    return found | {name: np.float64(metrics[name]) for name in kept} | {"alpha": np.float64(made.alpha.item())}


def augmented() -> dict[str, Array]:
    """A batch turned, moved, both, and under random convolutions, with our draws."""
    code = importlib.import_module("augmentations")
    image = torch.from_numpy(views_problem.pictures(2)).float()
    moves = torch.tensor(views_problem.MOVES, dtype=torch.float32)
    # Along x first, counted from the corner of the padded picture; a view moves by the opposite of its scene.
    torch.randint = lambda *_, **__: (moves.flip(1) + 16.0).view(-1, 1, 1, 2).clone()  # type: ignore[assignment]
    rotate, shift = code.random_rotate(), code.random_shift(16)
    turned = []
    for one, angle in zip(image, views_problem.ANGLES, strict=True):
        rotate.torch_rotate.get_params = lambda degrees, angle=angle: angle
        turned.append(rotate(one[None]))
    rotated = torch.cat(turned)
    torch.randn = lambda *_, **__: torch.from_numpy(views_problem.random_kernels())  # type: ignore[assignment]
    made = {"rotated": rotated, "shifted": shift(image), "rotated_shifted": shift(rotated)}
    made["convolved"] = code.random_conv()(image)
    return {name: problem.summary(value.numpy()) for name, value in made.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.path.insert(0, sys.argv[1])
    library = torch.library.Library("torchvision", "DEF")  # so that it can be imported without its operators
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    arrays = actor_step() | augmented()
    path = Path(__file__).parent / "sada.npz"
    np.savez_compressed(path, **arrays)
    print(path, len(arrays), path.stat().st_size)
