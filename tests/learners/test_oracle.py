"""Updates of SAC, SVEA and SGQN against numbers that the published code computed: tests/oracle/README.md says how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from foveal.augmentations import AugmentationOptions, overlay
from foveal.learners import Shapes
from foveal.learners import sac as learner_module
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import METHODS, Setup
from foveal.methods import sgqn as method_module
from foveal.networks.encoders import EncoderConfig
from foveal.networks.kernels import winograd
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle import problem
from oracle_layers import nothing_further, of_layers, sac_layers, to_ours, to_theirs

FOLDER = Path(__file__).parents[1] / "oracle"
METHOD_CLASSES = {"sac": "none", "svea": "svea", "sgqn": "sgqn"}
MASKS = {"critic": "critic_mask", "decoder": "fresh_mask"}


@dataclass
class Ours:
    """Our learner and method with the problem's weights, and what was seen of the latest update."""

    learner: Any
    method: Any
    updater: Updater
    seen: dict[str, Any]


def ours(method: str) -> Ours:
    image = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    generator = torch.Generator().manual_seed(0)
    encoder = EncoderConfig(filters=problem.FILTERS, projection=problem.LATENT)
    config = SACConfig(encoder=encoder, hidden=problem.HIDDEN, initial_temperature=problem.TEMPERATURE)
    shapes = Shapes(image, 0, spaces.Box(-1.0, 1.0, (problem.ACTIONS,), np.float32))
    learner = SAC(config, shapes, torch.float32, generator)
    method_class = METHODS.get(METHOD_CLASSES[method])
    settings: dict[str, Any] = {} if method == "sac" else {"shift": 0}
    settings |= {"quantile": problem.QUANTILE} if method == "sgqn" else {}
    options = AugmentationOptions(problem.SIDE, picture_count=1)
    setup = Setup(learner, image, options, generator, torch.float32)
    built = method_class(method_class.Config(**settings), setup)
    updater = Updater(learner, built, pixel_gradient=method == "sgqn")
    held = parameters(learner, built)
    initial = problem.weights(method)
    assert held.keys() == initial.keys()
    with torch.no_grad():
        for name, value in initial.items():
            held[name].copy_(to_ours(name, torch.from_numpy(value)))
    return Ours(learner, built, updater, {})


def parameters(learner: Any, method: Any) -> dict[str, Tensor]:
    """The problem's names -> our tensors."""
    layers = sac_layers(learner)
    if hasattr(method, "decoder"):
        first, second, third = (method.decoder.layers[i] for i in (1, 3, 5))
        layers |= {"decoder.linear": method.decoder.linear, "decoder.0": first}
        layers |= {"decoder.1": second.convolution, "decoder.2": third.convolution}
    return of_layers(layers)


def update(case: Ours, number: int, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """One update of ours on the problem's batch, with its draws; what was seen."""
    batch, drawn, seen = problem.transitions(number), problem.draws(number), case.seen
    seen.clear()
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    pictures = torch.from_numpy(drawn["overlays"]).float()
    patch.setattr(learner_module, "_normal_like", lambda like, generator: torch.from_numpy(next(noises)))
    patch.setattr(torch, "rand", lambda *_, **__: torch.tensor(drawn["fill"]))
    patch.setattr(type(case.method), "begin_update", lambda self, number: None)
    patch.setattr(case.method, "augment", lambda images, generator: overlay(images, pictures), raising=False)
    watch(case, patch)
    images = (Observation(torch.from_numpy(batch[key])) for key in ("obs", "next_obs"))
    action, reward = torch.from_numpy(batch["action"]), torch.from_numpy(batch["reward"])
    discount = problem.DISCOUNT * torch.from_numpy(batch["going_on"])
    obs, next_obs = images
    metrics = case.updater.update(Batch(obs, action, reward, discount, next_obs), nothing_further)
    patch.undo()
    return {**seen, **metrics}


def watch(case: Ours, patch: pytest.MonkeyPatch) -> None:
    """Note targets, values, masks, and gradients as each optimizer steps."""
    seen, learner = case.seen, case.learner
    targets, estimate = learner.targets, learner.estimate
    values: list[Tensor] = []
    seen["estimates"] = values

    def noted(obs: Any, action: Any) -> Any:
        made = estimate(obs, action)
        values.append(made.values.detach())
        return made

    patch.setattr(learner, "targets", lambda batch: seen.setdefault("target", targets(batch)))
    patch.setattr(learner, "estimate", noted)
    for kind, name, place in (("critic", "fill_masked", 1), ("decoder", "binary_cross_entropy", 1)):
        real = getattr(method_module, name)
        patch.setattr(
            method_module, name, lambda *a, k=kind, r=real, p=place: (seen.update({MASKS[k]: a[p]}), r(*a))[1]
        )
    names = {id(tensor): name for name, tensor in parameters(learner, case.method).items()}
    names[id(learner.log_alpha)] = "log_alpha"
    real_step = torch.optim.Adam.step

    def step(optimizer: Any, *arguments: Any, **named: Any) -> Any:
        kind = next(kind for kind, one in case.updater.optimizers().items() if one is optimizer)
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    seen[f"gradient/{kind}/{names[id(parameter)]}"] = parameter.grad.clone()
        return real_step(optimizer, *arguments, **named)

    patch.setattr(torch.optim.Adam, "step", step)


def assert_near(our: Tensor, their: np.ndarray[Any, Any], share: float, what: str) -> None:
    """The largest difference is at most a share of the largest number."""
    expected = torch.from_numpy(np.asarray(their))
    assert our.shape == expected.shape, what
    error = float((our.detach() - expected).abs().max() / expected.abs().max().clamp_min(1e-12))
    assert error < share, f"{what}: off by {error:.1e} of the largest"


def summarized(name: str, tensor: Tensor) -> Tensor:
    return torch.from_numpy(problem.summary(to_theirs(name, tensor.detach()).contiguous().numpy()))


@pytest.fixture(scope="module", params=problem.METHODS)
def run(request: pytest.FixtureRequest) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The published numbers, and what was seen of our updates; each update's weights are among it."""
    case, patch = ours(request.param), pytest.MonkeyPatch()
    seen = []
    for number in range(problem.UPDATES):
        seen.append(update(case, number, patch))
        for name, tensor in parameters(case.learner, case.method).items():
            seen[-1][f"weight/{name}"] = tensor.detach().clone()
    with np.load(FOLDER / f"{request.param}.npz") as arrays:
        return {"method": request.param, **arrays}, seen


# Float32 sums differ in their order. What was measured: 2e-6 of targets, values and losses, 7e-6 of gradients.
LOSSES = {
    "train_critic/loss": "critic/loss",
    "train_actor/loss": "actor/loss",
    "train_alpha/loss": "gradient/alpha/log_alpha",  # the loss is alpha times what its gradient is alpha times, too
    "train/aux_loss": "attribution/loss",
}


@pytest.mark.slow
def test_losses_are_the_published_ones(run: Any) -> None:
    published, seen = run
    for number, ours in enumerate(seen):
        wanted = {
            key.removeprefix(f"{number}/"): value
            for key, value in published.items()
            if key.startswith(f"{number}/train")
        }
        wanted.pop("train_alpha/value", None)
        due = {"actor/loss", "gradient/alpha/log_alpha"} if problem.due(number) else set()
        due |= {"attribution/loss"} if problem.due(number) and published["method"] == "sgqn" else set()
        assert {LOSSES[key] for key in wanted} == {"critic/loss"} | due
        for key, value in wanted.items():
            assert float(ours[LOSSES[key]]) == pytest.approx(float(value), rel=2e-5), (number, key)
    alpha = [float(ours["actor/alpha"]) for ours in seen[::2]]
    assert alpha == pytest.approx([float(published[f"{number}/alpha"]) for number in (0, 2)], rel=1e-6)
    assert [set(LOSSES.values()) & set(ours) for ours in seen][1] == {"critic/loss"}


@pytest.mark.slow
def test_targets_and_values_are_the_published_ones(run: Any) -> None:
    published, seen = run
    for number, ours in enumerate(seen):
        assert_near(ours["target"], published[f"{number}/target"], 2e-5, f"targets of update {number}")
        views = 2 if published["method"] == "svea" else 1  # SVEA's views stand side by side there
        values = torch.cat(ours["estimates"][:views], dim=1)
        assert_near(values, published[f"{number}/values"], 2e-5, f"values of update {number}")
        if published["method"] == "sgqn":
            assert_near(ours["estimates"][1], published[f"{number}/masked_values"], 2e-5, f"masked values of {number}")
            terms = np.square(published[f"{number}/values"] - published[f"{number}/masked_values"]).mean(1).sum()
            assert float(ours["critic/consistency"]) == pytest.approx(0.5 * float(terms), rel=1e-4)


def test_masks_are_the_published_ones_to_the_last_pixel(run: Any) -> None:
    published, seen = run
    if published["method"] != "sgqn":
        assert not any("mask" in key for key in published)
        return
    for number, ours in enumerate(seen):
        for key in MASKS.values():
            if key == "fresh_mask" and not problem.due(number):
                assert key not in ours
                continue
            mask = np.packbits(ours[key].contiguous().numpy())
            np.testing.assert_array_equal(mask, published[f"{number}/{key}"])
    assert not torch.equal(seen[0]["critic_mask"], seen[0]["fresh_mask"])


def test_gradients_are_the_published_ones_and_go_to_the_same_weights(run: Any) -> None:
    published, seen = run
    kinds = {"aux": "attribution"}
    wanted = {key.removeprefix("0/gradient/"): value for key, value in published.items() if "0/gradient/" in key}
    wanted = {kinds.get(kind, kind) + "/" + name: v for key, v in wanted.items() for kind, name in [key.split("/")]}
    ours = {key.removeprefix("gradient/"): value for key, value in seen[0].items() if key.startswith("gradient/")}
    ours.pop("alpha/log_alpha")
    assert ours.keys() == wanted.keys()
    for key, value in wanted.items():
        assert_near(summarized(key, ours[key]), value, 5e-5, f"gradient of {key}")


def test_weights_after_one_update_and_after_three_are_the_published_ones(run: Any) -> None:
    published, seen = run
    names = [key.removeprefix("0/weight/") for key in published if key.startswith("0/weight/")]
    assert set(names) == set(problem.weights(published["method"]))
    initial = problem.weights(published["method"])
    for number in (0, problem.UPDATES - 1):
        for name in names:
            wanted = published[f"{number}/weight/{name}"]
            ours = summarized(name, seen[number][f"weight/{name}"]).numpy()
            start = problem.summary(initial[name])
            # Adam's step is the gradient's sign where a gradient is next to nothing: a few entries may differ by it,
            # and a few more where Winograd's sums are rounded otherwise than the published code's.
            close = np.isclose(ours, wanted, rtol=5e-6, atol=2e-6)
            assert close.mean() > (0.99 if winograd.library() is None else 0.975), f"{name} after update {number}"
            np.testing.assert_allclose(ours[: problem.KEPT], wanted[: problem.KEPT], atol=4e-3)
            assert np.abs(wanted - start).max() > 4e-6, f"{name} has not moved"


def test_what_departs_from_the_published_density_of_actions() -> None:
    """There the logarithm is of 1 - tanh(x)^2 + 1e-6; ours is exact, so the densities of saturated actions differ."""
    raw = torch.tensor([[0.5], [3.0], [8.0]])
    zero = torch.zeros_like(raw)
    exact = learner_module.squashed_log_prob(zero, zero, raw)
    published = -0.5 * np.log(2 * np.pi) - torch.log(torch.relu(1 - torch.tanh(raw.double()) ** 2) + 1e-6)[:, 0]
    assert (exact - published).abs().tolist() == pytest.approx([1e-6, 1e-4, 2.3], rel=0.5)
