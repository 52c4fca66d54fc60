"""Updates of DrQ-v2 against numbers that the published code computed: tests/oracle/drqv2.md says how."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from foveal.augmentations import AugmentationOptions
from foveal.learners import Shapes
from foveal.learners.drqv2 import DrQV2, DrQV2Config, published_encoder
from foveal.methods import METHODS, Setup
from foveal.networks.kernels import winograd
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle import drqv2_problem, problem

FILE = Path(__file__).parents[1] / "oracle" / "drqv2.npz"
FEATURES = (drqv2_problem.FEATURES, drqv2_problem.FEATURES)


def ours() -> tuple[Any, Updater]:
    """Our learner with the problem's weights."""
    encoder = replace(published_encoder(), projection=problem.LATENT)
    config = DrQV2Config(encoder=encoder, hidden=problem.HIDDEN, std_steps=100_000)
    image, generator = (problem.CHANNELS, problem.SIDE, problem.SIDE), torch.Generator().manual_seed(0)
    shapes = Shapes(image, 0, spaces.Box(-1.0, 1.0, (problem.ACTIONS,), np.float32))
    learner = DrQV2(config, shapes, torch.float32, generator)
    held, initial = parameters(learner), drqv2_problem.weights()
    assert held.keys() == initial.keys()
    with torch.no_grad():
        for name, value in initial.items():
            held[name].copy_(to_ours(name, torch.from_numpy(value)))
    setup = Setup(learner, image, AugmentationOptions(problem.SIDE), generator, torch.float32)
    method = METHODS.get("drq")
    return learner, Updater(learner, method(method.Config(shift=0), setup), pixel_gradient=False)


def parameters(learner: Any) -> dict[str, Tensor]:
    """The problem's names -> our tensors."""
    layers: dict[str, Any] = {
        f"convolutions.{i}": learner.convolutions.layers[2 * i] for i in range(len(drqv2_problem.STRIDES))
    }
    for prefix in ("", "target_", "actor_"):
        projection = getattr(learner, f"{prefix}projection")
        layers |= {f"{prefix}projection.{name}": getattr(projection, name) for name in ("linear", "norm")}
    for prefix in ("", "target_"):
        heads = getattr(learner, f"{prefix}critics").heads
        layers |= {f"{prefix}critics.{h}.{i}": heads[h][2 * i] for h in range(2) for i in range(3)}
    layers |= {f"policy.{i}": learner.policy[2 * i] for i in range(3)}
    return {f"{name}.{kind}": getattr(layer, kind) for name, layer in layers.items() for kind in ("weight", "bias")}


def to_ours(name: str, tensor: Tensor) -> Tensor:
    """The published flattening is channel by channel, ours pixel by pixel."""
    if not name.endswith("projection.linear.weight"):
        return tensor
    return tensor.unflatten(1, (drqv2_problem.FILTERS, *FEATURES)).permute(0, 2, 3, 1).flatten(1)


def summarized(name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
    """In the published layout."""
    tensor = tensor.detach()
    if name.endswith("projection.linear.weight"):
        tensor = tensor.unflatten(1, (*FEATURES, drqv2_problem.FILTERS)).permute(0, 3, 1, 2).flatten(1)
    return problem.summary(tensor.contiguous().numpy())


def one_update(learner: Any, updater: Updater, number: int, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One update of ours on the problem's batch, with its draws; what was seen."""
    drawn = problem.draws(number)
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    patch.setattr(torch, "randn", lambda *_, **__: torch.from_numpy(next(noises)))
    tensors = {key: torch.from_numpy(value) for key, value in problem.transitions(number).items()}
    obs, next_obs = (Observation(tensors[key]) for key in ("obs", "next_obs"))
    batch = Batch(obs, tensors["action"], tensors["reward"], problem.DISCOUNT**3 * tensors["going_on"], next_obs)
    learner.set_step(drqv2_problem.STEPS[number])
    seen: dict[str, Any] = {}
    names = {id(tensor): name for name, tensor in parameters(learner).items()}
    real_targets, real_loss, real_step = learner.targets, learner.td_loss, torch.optim.Adam.step

    def targets(batch: Batch) -> Tensor:
        seen["target"] = real_targets(batch)
        return seen["target"]

    def td_loss(estimate: Any, target: Tensor) -> Tensor:
        seen["values"] = estimate.values.detach()
        return real_loss(estimate, target)

    def step(optimizer: Any, *arguments: Any, **named: Any) -> Any:
        kind = next(kind for kind, one in updater.optimizers().items() if one is optimizer)
        for group in optimizer.param_groups:
            seen.update({f"gradient/{kind}/{names[id(p)]}": p.grad.clone() for p in group["params"]})
        return real_step(optimizer, *arguments, **named)

    patch.setattr(learner, "targets", targets)
    patch.setattr(learner, "td_loss", td_loss)
    patch.setattr(torch.optim.Adam, "step", step)
    seen |= updater.update(batch, lambda size: batch)
    patch.undo()
    return seen


@pytest.fixture(scope="module")
def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The published numbers, and what was seen of our updates; the weights after the last are among it."""
    learner, updater = ours()
    patch = pytest.MonkeyPatch()
    seen = [one_update(learner, updater, number, patch) for number in range(problem.UPDATES)]
    seen[-1] |= {f"weight/{name}": tensor.detach() for name, tensor in parameters(learner).items()}
    with np.load(FILE) as arrays:
        return dict(arrays), seen


def assert_near(our: Any, their: Any, share: float, what: str) -> None:
    """The largest difference is at most a share of the largest number."""
    assert np.shape(our) == np.shape(their), what
    error = np.abs(np.asarray(our) - their).max() / max(np.abs(their).max(), 1e-12)
    assert error < share, f"{what}: off by {error:.1e} of the largest"


# Measured: 9e-6 in the first update; 8e-5 in later ones, as Adam's first step is the sign of a gradient that is next to
# nothing. A policy that learned from the features after the critic's step would be off by 2e-2.
LIMITS = (2e-5, 2e-4, 2e-4)


def test_targets_values_and_losses_are_the_published_ones(run: Any) -> None:
    published, seen = run
    for number, (ours, limit) in enumerate(zip(seen, LIMITS, strict=True)):
        assert_near(ours["target"], published[f"{number}/target"], limit, f"targets of update {number}")
        assert_near(ours["values"], published[f"{number}/values"], limit, f"values of update {number}")
        for key in ("critic", "actor"):
            assert_near(ours[f"{key}/loss"], published[f"{number}/{key}_loss"], limit, f"{key}'s loss of {number}")


def test_gradients_are_the_published_ones_and_go_to_the_same_weights(run: Any) -> None:
    published, seen = run
    wanted = {key.removeprefix("0/"): value for key, value in published.items() if key.startswith("0/gradient/")}
    assert {key for key in seen[0] if key.startswith("gradient/")} == wanted.keys()
    for key, value in wanted.items():
        assert_near(summarized(key, seen[0][key]), value, 5e-5, key)


def test_weights_after_three_updates_are_the_published_ones(run: Any) -> None:
    published, seen = run
    last = problem.UPDATES - 1
    initial = drqv2_problem.weights()
    # Where Winograd's sums are rounded otherwise than the published code's, Adam's steps differ for a few entries whose
    # gradient is next to nothing.
    share = 1.0 if winograd.library() is None else 0.995
    for name, start in initial.items():
        wanted, ours = published[f"{last}/weight/{name}"], summarized(name, seen[last][f"weight/{name}"])
        mine, theirs = np.asarray(ours)[: problem.KEPT], wanted[: problem.KEPT]
        assert np.isclose(mine, theirs, rtol=0, atol=5e-6).mean() >= share, name
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-4, err_msg=name)
        assert np.abs(wanted - problem.summary(start)).max() > 1e-6, f"{name} has not moved"
