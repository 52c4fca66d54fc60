"""CURL, PAD, RAD's crops and SRM against numbers that published code computed: tests/oracle/crops.md says how."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from foveal.augmentations import AugmentationOptions, center_crop, mask_spectrum, random_crop, random_rings
from foveal.learners import Shapes
from foveal.learners import sac as learner_module
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import METHODS, Setup
from foveal.methods.curl import KEY, contrastive_loss
from foveal.networks.encoders import EncoderConfig
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle import crops_problem, problem
from oracle_layers import nothing_further, of_layers, sac_layers, to_ours, to_theirs

FOLDER = Path(__file__).parents[1] / "oracle"
NEAR = 1e-4
"""The largest difference over the largest number. Measured: 8e-6 at most; other processors sum in another order."""


def stored(name: str) -> dict[str, Any]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return dict(arrays)


def assert_near(our: Any, their: Any, what: str, share: float = NEAR) -> None:
    ours, theirs = np.asarray(torch.as_tensor(our).detach(), np.float64), np.asarray(their, np.float64)
    assert ours.shape == theirs.shape, what
    error = float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1e-12))
    assert error < share, f"{what}: off by {error:.1e} of the largest"


class Ours:
    """SAC and a method with the problem's weights."""

    def __init__(self, name: str, **settings: Any) -> None:
        image = (problem.CHANNELS, problem.SIDE, problem.SIDE)
        self.generator = torch.Generator().manual_seed(0)
        encoder = EncoderConfig(filters=problem.FILTERS, projection=problem.LATENT)
        config = SACConfig(encoder=encoder, hidden=problem.HIDDEN, initial_temperature=problem.TEMPERATURE)
        shapes = Shapes(image, 0, spaces.Box(-1.0, 1.0, (problem.ACTIONS,), np.float32))
        self.learner = SAC(config, shapes, torch.float32, self.generator)
        kind = METHODS.get(name)
        setup = Setup(self.learner, image, AugmentationOptions(problem.SIDE), self.generator, torch.float32)
        self.method: Any = kind(kind.Config(**settings), setup)
        self.updater = Updater(self.learner, self.method, pixel_gradient=False)
        held, initial = self.parameters(), crops_problem.weights(name)
        assert held.keys() == initial.keys()
        with torch.no_grad():
            for key, value in initial.items():
                held[key].copy_(to_ours(key, torch.from_numpy(value)))

    def parameters(self) -> dict[str, Tensor]:
        """The problem's names -> our tensors."""
        layers = sac_layers(self.learner)
        found = {}
        if hasattr(self.method, "similarity"):
            found["similarity"] = self.method.similarity
        else:
            own = enumerate(self.method.own_layers, crops_problem.SHARED)
            layers |= {f"pad.convolutions.{index}": layer for index, layer in own}
            layers |= {f"pad.projection.{name}": getattr(self.method.projection, name) for name in ("linear", "norm")}
            layers |= {f"pad.head.{i}": self.method.head[2 * i] for i in range(3)}
        return found | of_layers(layers)

    def update(self, number: int, patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
        """One update on the problem's batch, whose pictures are crops already, with its draws."""
        batch, drawn = problem.transitions(number), problem.draws(number)
        noises = iter([drawn["target_noise"], drawn["actor_noise"]])
        patch.setattr(learner_module, "_normal_like", lambda like, generator: torch.from_numpy(next(noises)))
        positive = torch.from_numpy(crops_problem.positives(number))
        patch.setattr(self.method, "prepare", lambda batch: batch.replace(extras={KEY: positive}))
        obs, next_obs = (Observation(torch.from_numpy(batch[key])) for key in ("obs", "next_obs"))
        action, reward = torch.from_numpy(batch["action"]), torch.from_numpy(batch["reward"])
        discount = problem.DISCOUNT * torch.from_numpy(batch["going_on"])
        metrics = self.updater.update(Batch(obs, action, reward, discount, next_obs), nothing_further)
        patch.undo()
        return metrics

    def assert_weights(self, theirs: dict[str, Any], prefix: str) -> None:
        for name, tensor in self.parameters().items():
            if f"{prefix}{name}" in theirs:
                assert_near(summarized(name, tensor), theirs[f"{prefix}{name}"], f"{prefix}{name}")

    def stepped(self, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
        """Filled with the gradients of the optimizer's first step."""
        names, found = {id(tensor): name for name, tensor in self.parameters().items()}, {}

        def note(*_: Any) -> None:
            for parameter in optimizer.param_groups[0]["params"]:
                found.setdefault(names[id(parameter)], parameter.grad.clone())

        optimizer.register_step_pre_hook(note)
        return found


def summarized(name: str, tensor: Tensor) -> Tensor:
    """In the published layout."""
    return torch.from_numpy(crops_problem.summary(to_theirs(name, tensor.detach()).contiguous().numpy()))


LOSSES = {"train_critic/loss": "critic/loss", "train_actor/loss": "actor/loss"}


def assert_losses(metrics: dict[str, Tensor], theirs: dict[str, Any], number: int, auxiliary: str) -> None:
    for their, our in {**LOSSES, "train/aux_loss": auxiliary}.items():
        assert (our in metrics) == (f"{number}/{their}" in theirs), f"{number}/{their}"
        if our in metrics:
            assert_near(metrics[our], theirs[f"{number}/{their}"], f"{number}/{their}")


# --- CURL -------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_three_updates_of_curl(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = stored("curl"), Ours("curl")
    gradients = ours.stepped(ours.method.auxiliary_optimizer)
    for number in range(problem.UPDATES):
        assert_losses(ours.update(number, monkeypatch), theirs, number, "curl/loss")
    assert len(gradients) == 2 * problem.LAYERS + 4 + 1
    for name, gradient in gradients.items():
        assert_near(summarized(name, gradient), theirs[f"0/gradient/{name}"], f"gradient of {name}")
    ours.assert_weights(theirs, f"{problem.UPDATES - 1}/weight/")


def test_the_authors_contrastive_step_and_that_it_moves_the_encoder_twice() -> None:
    """Two of their optimizers hold the encoder, so that each step of theirs moves it as two of ours would."""
    theirs, ours = stored("curl"), Ours("curl")
    anchor = Observation(torch.from_numpy(problem.transitions(0)["obs"]).float())
    positive = Observation(torch.from_numpy(crops_problem.positives(0)).float())
    method, learner = ours.method, ours.learner
    start = {name: tensor.detach().clone() for name, tensor in ours.parameters().items()}
    loss = contrastive_loss(learner.latent(anchor), method.keys(learner, positive), method.similarity)
    assert_near(loss, theirs["authors/train/curl_loss"], "loss")
    loss.backward(inputs=method.auxiliary_parameters())
    held = ours.parameters()
    names = [name.removeprefix("authors/gradient/") for name in theirs if name.startswith("authors/gradient/")]
    assert len(names) == 2 * problem.LAYERS + 4 + 1
    for name in names:
        gradient = held[name].grad
        assert gradient is not None
        assert_near(summarized(name, gradient), theirs[f"authors/gradient/{name}"], f"gradient of {name}")
    method.auxiliary_optimizer.step()
    for name, factor in (("similarity", 1), ("projection.norm.bias", 2), ("convolutions.10.bias", 2)):
        way = summarized(name, held[name]) - summarized(name, start[name])
        expected = summarized(name, start[name]) + factor * way
        assert_near(expected, theirs[f"authors/weight/{name}"], name)


# --- PAD --------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_three_updates_of_pad_and_three_steps_of_an_episode(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs, ours = stored("pad"), Ours("pad", hidden=problem.HIDDEN, adaptation_batch=crops_problem.COPIES)
    gradients = ours.stepped(ours.method.auxiliary_optimizer)
    for number in range(problem.UPDATES):
        assert_losses(ours.update(number, monkeypatch), theirs, number, "pad/loss")
    for name, gradient in gradients.items():
        assert_near(summarized(name, gradient), theirs[f"0/gradient/{name}"], f"gradient of {name}")
    assert len(gradients) == 2 * problem.LAYERS + 4 + 6
    ours.assert_weights(theirs, "trained/weight/")
    for step in range(crops_problem.STEPS):
        told = {key: torch.from_numpy(value) for key, value in crops_problem.episode(step).items()}
        places = iter(told["places"])
        monkeypatch.setattr(torch, "randint", lambda *_, places=places, **__: next(places))
        losses: list[Tensor] = []
        real = type(ours.method).loss
        monkeypatch.setattr(
            ours.method, "loss", lambda *a, real=real, into=losses: (into.append(real(ours.method, *a)), into[0])[1]
        )
        obs, next_obs = Observation(told["obs"]), Observation(told["next_obs"])
        ours.method.adapt(Batch(obs, told["action"], torch.zeros(1), torch.ones(1), next_obs))
        monkeypatch.undo()
        assert_near(losses[0], theirs[f"step {step}/train/aux_loss"], f"loss of step {step}")
        seen = ours.method.observe(next_obs.float())
        assert_near(ours.learner.best_action(seen), theirs[f"step {step}/action"], f"action after step {step}")
    ours.assert_weights(theirs, "adapted/weight/")


# --- RAD and SRM ------------------------------------------------------------------------------------------------------


def test_rads_crops(monkeypatch: pytest.MonkeyPatch) -> None:
    theirs = stored("rad")
    side, size = crops_problem.LITTLE
    places = iter(torch.from_numpy(theirs["places"]))
    monkeypatch.setattr(torch, "randint", lambda *_, **__: next(places))
    images = torch.from_numpy(crops_problem.pictures(side, 100, 5))
    assert torch.equal(random_crop(images, size, torch.Generator()), torch.from_numpy(theirs["crops"]))
    whole = torch.from_numpy(crops_problem.pictures(crops_problem.RENDERED, 101))
    assert torch.equal(center_crop(whole, problem.SIDE)[:, :2], torch.from_numpy(theirs["centre"]))


@pytest.mark.parametrize("number", range(len(crops_problem.RINGS)))
def test_srms_pictures(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    side, (low, width) = crops_problem.LITTLE[0], crops_problem.RINGS[number]
    drawn = torch.tensor([low / 0.5, width / 0.05]).view(2, 1, 1, 1, 1)
    monkeypatch.setattr(torch, "rand", lambda *_, **__: drawn)
    image = torch.from_numpy(crops_problem.pictures(side, 102))
    out = mask_spectrum(image, random_rings(1, side, side, torch.Generator()))
    assert_near(out, stored("srm")[str(number)], f"ring {number}", 1e-6)
    assert bool((out - image).abs().max() > 1) == (width > 0)


def test_nothing_of_ours_was_replaced() -> None:
    """The layers that carry the published weights are those of the published architecture."""
    ours = Ours("pad", hidden=problem.HIDDEN)
    encoder = ours.learner.convolutions.layers
    assert isinstance(encoder, nn.Sequential)
    assert sum(isinstance(layer, nn.Conv2d) for layer in encoder) == problem.LAYERS == 11
    assert len(ours.method.own_layers) == problem.LAYERS - crops_problem.SHARED == 3
