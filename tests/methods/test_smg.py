"""SMG against numbers of the published code (tests/oracle/smg.md), its formulas, and what each of its steps moves."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from foveal.augmentations import AugmentationOptions, overlay
from foveal.config.tree import configure
from foveal.learners import Shapes
from foveal.learners import sac as learner_module
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import Setup
from foveal.methods import smg as method_module
from foveal.methods.smg import SMG, Changed, Due, SMGConfig
from foveal.networks.encoders import EncoderConfig
from foveal.networks.kernels import winograd
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle import problem, smg_problem
from oracle_layers import nothing_further, of_layers, sac_layers, to_ours, to_theirs

PUBLISHED = Path(__file__).parents[1] / "oracle" / "smg.npz"
SMALL = SACConfig(encoder=EncoderConfig(strides=(2, 1), filters=6, projection=8), hidden=16)
SMALL_METHOD = SMGConfig(decoder_filters=(3, 5, 4), hidden=7)
SIDE = 21


def built(
    learner_config: SACConfig = SMALL, config: SMGConfig = SMALL_METHOD, side: int = SIDE, shake: float = 0.05
) -> Any:
    """A learner, SMG on it, and what takes their updates."""
    torch.manual_seed(0)
    generator, image = torch.Generator().manual_seed(0), (9, side, side)
    shapes = Shapes(image, 0, spaces.Box(-1.0, 1.0, (problem.ACTIONS,), np.float32))
    learner = SAC(learner_config, shapes, torch.float32, generator)
    method = SMG(config, Setup(learner, image, AugmentationOptions(side, picture_count=8), generator, torch.float32))
    with torch.no_grad():
        for parameter in [*learner.parameters(), *method.parameters()]:
            parameter.add_(shake * torch.randn_like(parameter))
    return Updater(learner, method, pixel_gradient=False)


def transitions(size: int = 4, side: int = SIDE) -> Batch:
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, size, 9, side, side), generator=draws, dtype=torch.uint8)
    action = torch.rand(size, problem.ACTIONS, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


# --- the published numbers --------------------------------------------------------------------------------------------

LOSSES = {
    "train_critic/loss": ("critic/loss", 1.0),
    "train_critic/consistency_loss": ("critic/consistency", 0.5),
    "train_actor/loss": ("actor/loss", 1.0),
    "train/recon_loss": ("smg/reconstruction", 1.0),
    "train/back_recon_loss": ("smg/background", 1.0),
    "train/mask_loss": ("smg/mask", 1.0),
    "train/action_loss": ("smg/action", 1.0),
    "train/fore_loss": ("smg/foreground", 1.0),
    "train/aux_loss": ("smg/loss", 1.0),
}
"""What the published code logs -> what we do, and the weight that ours has in it already."""


@dataclass
class Ours:
    """Our learner and method with the problem's weights."""

    updater: Updater
    learner: Any
    method: Any

    @classmethod
    def ready(cls) -> Ours:
        encoder = EncoderConfig(filters=problem.FILTERS, projection=problem.LATENT)
        learner_config = SACConfig(encoder=encoder, hidden=problem.HIDDEN, initial_temperature=problem.TEMPERATURE)
        config = SMGConfig(mask_from=smg_problem.MASK_FROM, shift=0)
        updater = built(learner_config, config, problem.SIDE, shake=0.0)
        case = cls(updater, updater.learner, updater.method)
        held, initial = case.parameters(), smg_problem.weights()
        assert held.keys() == initial.keys()
        with torch.no_grad():
            for name, value in initial.items():
                held[name].copy_(to_ours(name, torch.from_numpy(value)))
        return case

    def parameters(self) -> dict[str, Tensor]:
        """The problem's names -> our tensors; the published decoder has image and mask in two convolutions."""
        learner, method = self.learner, self.method
        layers = sac_layers(learner)
        convolutions, projection, head = method.background_encoder
        layers |= {f"background.convolutions.{i}": convolutions.layers[2 * i] for i in range(problem.LAYERS)}
        layers |= {f"background.projection.{name}": getattr(projection, name) for name in ("linear", "norm")}
        layers |= {"foreground_head": method.foreground_head, "background_head": head}
        layers |= {f"action.{i}": method.action[2 * i] for i in range(3)}
        decoders = {"foreground": method.foreground_decoder, "background": method.background_decoder}
        for name, decoder in decoders.items():
            layers |= {f"{name}_decoder.linear": decoder.linear, f"{name}_decoder.0": decoder.layers[1]}
            layers[f"{name}_decoder.1"] = decoder.layers[3].convolution
        found = of_layers(layers)
        for name, decoder in decoders.items():
            for kind in ("weight", "bias"):
                last = getattr(decoder.layers[5].convolution, kind)
                found[f"{name}_decoder.image.{kind}"] = last[:3]
        last = method.foreground_decoder.layers[5].convolution
        return found | {f"foreground_decoder.mask.{kind}": getattr(last, kind)[3:] for kind in ("weight", "bias")}

    def gradients(self) -> dict[str, Tensor]:
        """The problem's names -> what the parameters' gradients are now, where there are any."""
        held = {id(p): p for p in [*self.learner.parameters(), *self.method.parameters()]}
        kept = {key: p.detach().clone() for key, p in held.items()}
        with torch.no_grad():  # read the gradients under the names of the weights
            for p in held.values():
                p.copy_(torch.full_like(p, torch.nan) if p.grad is None else p.grad)
            found = {name: tensor.detach().clone() for name, tensor in self.parameters().items()}
            for key, p in held.items():
                p.copy_(kept[key])
        return {name: tensor for name, tensor in found.items() if not bool(tensor.isnan().any())}

    def update(self, number: int, patch: pytest.MonkeyPatch) -> dict[str, Any]:
        """One update on the problem's batch, with its draws; what was seen."""
        batch, drawn = problem.transitions(number), problem.draws(number)
        noises = iter([drawn["target_noise"], drawn["actor_noise"]])
        behind, over = (torch.from_numpy(p).float() for p in (smg_problem.backgrounds(number), drawn["overlays"]))
        seen: dict[str, Any] = {"values": []}
        patch.setattr(learner_module, "_normal_like", lambda like, generator: torch.from_numpy(next(noises)))
        patch.setattr(torch, "rand", lambda *_, **__: torch.tensor(0.0 if smg_problem.BEHIND[number] else 0.99))
        patch.setattr(SMG, "begin_update", lambda self, number: None)
        bank = type("Bank", (), {"sample": lambda self, *_: behind})()
        patch.setattr(SMG, "_pictures", type("Pictures", (), {"bank": bank})())
        patch.setattr(method_module, "overlay", lambda image, bank, generator: overlay(image, over))
        targets, estimate = self.learner.targets, self.learner.estimate
        patch.setattr(self.learner, "targets", lambda batch: seen.setdefault("target", targets(batch)))

        def noted(obs: Observation, action: Tensor) -> Any:
            made = estimate(obs, action)
            seen["values"].append(made.values.detach())
            return made

        patch.setattr(self.learner, "estimate", noted)
        real_step = torch.optim.Adam.step

        def step(optimizer: Any, *arguments: Any, **named: Any) -> Any:
            kinds = {"smg": "aux"}
            kind = next(kind for kind, one in self.updater.optimizers().items() if one is optimizer)
            mine = {id(p) for group in optimizer.param_groups for p in group["params"]}
            for p in [*self.learner.parameters(), *self.method.parameters()]:
                if id(p) not in mine:
                    p.grad = None
            seen.update({f"{kinds.get(kind, kind)}/{name}": grad for name, grad in self.gradients().items()})
            return real_step(optimizer, *arguments, **named)

        patch.setattr(torch.optim.Adam, "step", step)
        obs, next_obs = (Observation(torch.from_numpy(batch[key])) for key in ("obs", "next_obs"))
        discount = problem.DISCOUNT * torch.from_numpy(batch["going_on"])
        action, reward = torch.from_numpy(batch["action"]), torch.from_numpy(batch["reward"])
        metrics = self.updater.update(Batch(obs, action, reward, discount, next_obs), nothing_further)
        patch.undo()
        return {**seen, **metrics}


def summarized(name: str, tensor: Tensor) -> np.ndarray[Any, Any]:
    return smg_problem.summary(to_theirs(name.split("/")[-1], tensor.detach()).contiguous().numpy())


@pytest.fixture(scope="module")
def run() -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The published numbers, and what was seen of our updates, with the weights after each."""
    case, patch, seen = Ours.ready(), pytest.MonkeyPatch(), []
    for number in range(problem.UPDATES):
        seen.append(case.update(number, patch))
        seen[-1]["weights"] = {name: tensor.detach().clone() for name, tensor in case.parameters().items()}
    with np.load(PUBLISHED) as arrays:
        return dict(arrays), seen


@pytest.mark.slow
def test_losses_are_the_published_ones(run: Any) -> None:
    published, seen = run
    for number, ours in enumerate(seen):
        compared = 0
        for theirs, (name, weight) in LOSSES.items():
            wanted = published.get(f"{number}/{theirs}")
            assert (wanted is None) == (name not in ours), name
            if wanted is not None:
                assert float(ours[name]) == pytest.approx(weight * float(wanted), rel=5e-5), (number, name)
                compared += 1
        assert compared == (2 if number == 1 else len(LOSSES))


@pytest.mark.slow
def test_targets_and_values_are_the_published_ones(run: Any) -> None:
    published, seen = run
    for number, ours in enumerate(seen):
        np.testing.assert_allclose(ours["target"], published[f"{number}/target"], rtol=2e-4, atol=2e-5)
        for place, key in enumerate(("values", "changed_values")):
            np.testing.assert_allclose(ours["values"][place], published[f"{number}/{key}"], rtol=2e-4, atol=2e-5)


@pytest.mark.slow
def test_gradients_are_the_published_ones_and_go_to_the_same_weights(run: Any) -> None:
    published, seen = run
    names, values = published["0/gradients/names"].tolist(), published["0/gradients/values"]
    ours = {
        key: grad for key, grad in seen[0].items() if key.split("/")[0] in ("critic", "actor", "aux") and "." in key
    }
    assert sorted(ours) == names
    # Gradients of biases nearly cancel in their sum over pixels: Winograd's rounding is 3e-4 of what is left.
    limit = 2e-4 if winograd.library() is None else 1e-3
    for name, wanted in zip(names, taken_apart(values, [summarized(name, ours[name]) for name in names]), strict=True):
        error = np.abs(summarized(name, ours[name]) - wanted).max() / max(np.abs(wanted).max(), 1e-12)
        assert error < limit, f"gradient of {name}: off by {error:.1e} of the largest"


@pytest.mark.slow
def test_weights_after_one_update_and_after_three_are_the_published_ones(run: Any) -> None:
    published, seen = run
    initial = smg_problem.weights()
    for number in (0, problem.UPDATES - 1):
        names, values = published[f"{number}/weights/names"].tolist(), published[f"{number}/weights/values"]
        ours = {name: summarized(name, tensor) for name, tensor in seen[number]["weights"].items()}
        assert sorted(ours) == names
        close = []
        for name, wanted in zip(names, taken_apart(values, [ours[name] for name in names]), strict=True):
            # Adam's step is the gradient's sign where a gradient is next to nothing: a few entries may differ by it.
            close.append(np.isclose(ours[name][: smg_problem.KEPT], wanted[: smg_problem.KEPT], rtol=1e-5, atol=1e-5))
            np.testing.assert_allclose(ours[name][: smg_problem.KEPT], wanted[: smg_problem.KEPT], atol=8e-3)
            assert np.abs(wanted - smg_problem.summary(initial[name])).max() > 1e-6, f"{name} has not moved"
        assert np.concatenate(close).mean() > 0.98


def taken_apart(values: np.ndarray[Any, Any], like: list[np.ndarray[Any, Any]]) -> list[np.ndarray[Any, Any]]:
    """Summaries that stand one after the other, each as long as ours."""
    ends = np.cumsum([len(one) for one in like])
    assert len(values) == ends[-1]
    return np.split(values, ends[:-1])


# --- formulas and what each step moves --------------------------------------------------------------------------------


def test_the_changed_observation_has_a_picture_behind_its_foreground_or_over_all_of_it() -> None:
    for share, behind in ((1.0, True), (0.0, False)):
        updater = built(config=replace(SMALL_METHOD, attribution_share=share))
        obs = transitions().obs.float()
        changed = updater.method.change(updater.learner, obs)
        mask = updater.method.foreground(updater.learner.latent(obs)).mask.detach()
        assert bool((mask > 0).all() and (mask < 1).all()) and torch.equal(mask[:, 0], mask[:, 2])
        torch.testing.assert_close(changed.attribution, obs.image * mask + changed.background * (1 - mask))
        assert torch.equal(changed.background[:, :3], changed.background[:, 6:])  # the same on every frame
        assert torch.equal(changed.chosen, changed.attribution) == behind
        if not behind:  # half of it is the observation
            assert bool(((changed.chosen - 0.5 * obs.image) >= -1e-3).all())
        assert not changed.chosen.requires_grad


@pytest.mark.slow
def test_one_draw_decides_for_the_batch() -> None:
    updater = built()
    obs = transitions().obs.float()
    behind = []
    for _ in range(60):
        changed = updater.method.change(updater.learner, obs)
        same = (changed.chosen == changed.attribution).flatten(1).all(1)
        assert len(set(same.tolist())) == 1
        behind.append(bool(same[0]))
    assert 5 <= sum(behind) <= 28  # a quarter of 60 is 15


def test_the_losses_are_those_of_the_paper() -> None:
    updater = built()
    method, learner = updater.method, updater.learner
    batch = transitions()
    batch = batch.replace(obs=batch.obs.float(), next_obs=batch.next_obs.float())
    draws = torch.Generator().manual_seed(5)
    one, two, three = (torch.rand(4, 9, SIDE, SIDE, generator=draws) * 255 for _ in range(3))
    losses = method.losses(learner, batch, Changed(one, two, three))

    def apart(image: Tensor) -> tuple[Tensor, Tensor]:
        """Foreground and mask of every frame, written out."""
        fronts, masks = [], []
        for frame, row in enumerate(method.foreground_head(learner.latent(Observation(image))).chunk(3, dim=1)):
            assert frame < 3
            logits = method.foreground_decoder(row.clamp(min=0))
            fronts.append(255 / (1 + torch.exp(-logits[:, :3])))
            masks.append(torch.cat([1 / (1 + torch.exp(-logits[:, 3:]))] * 3, dim=1))
        return torch.cat(fronts, 1), torch.cat(masks, 1)

    def behind(image: Tensor) -> Tensor:
        latent = method.background_encoder[1](method.background_encoder[0](image))
        rows = method.background_encoder[2](latent).chunk(3, dim=1)
        return torch.cat([255 / (1 + torch.exp(-method.background_decoder(row.clamp(min=0)))) for row in rows], 1)

    image = batch.obs.image
    front, mask = apart(image)
    again, mask_again = apart(three)
    told = method.action(torch.cat([learner.latent(batch.obs), learner.latent(batch.next_obs)], 1))
    plain = {
        "reconstruction": (front * mask + behind(image) * (1 - mask) - image).abs().mean(),
        "background": (behind(one) - two).abs().mean(),
        "mask": ((mask[:, ::3].flatten(2).mean(2) - 0.06) ** 2).mean(),
        "action": ((told - batch.action) ** 2).mean(),
        "foreground": (again * mask_again - (front * mask).detach()).abs().mean(),
    }
    assert losses.keys() == plain.keys()
    for name, loss in plain.items():
        torch.testing.assert_close(losses[name], loss, rtol=1e-4, atol=1e-5)
    parameters = method.auxiliary_parameters()
    total = sum(losses.values()), sum(plain.values())
    gradients = [torch.autograd.grad(loss, parameters, allow_unused=True) for loss in total]
    for ours, theirs in zip(*gradients, strict=True):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_the_mask_counts_from_its_update_on() -> None:
    method = built(config=replace(SMALL_METHOD, mask_from=4)).method
    assert [method.due(number) for number in range(3, 6)] == [Due(False, False), Due(True, True), Due(False, True)]
    assert [method.weights(method.due(number))["mask"] for number in (2, 4)] == [0.0, 1.0]


def test_the_consistency_moves_the_changed_side_alone() -> None:
    """Against a target that the plain side meets, only the changed side has a gradient."""
    updater = built(config=replace(SMALL_METHOD, attribution_share=1.0))
    updater.updates = 1
    seen: list[Tensor] = []
    real = updater.learner.estimate

    def noted(obs: Observation, action: Tensor) -> Any:
        made = real(obs, action)
        made.values.retain_grad()
        seen.append(made.values)
        return made

    updater.learner.estimate = noted
    updater.learner.targets = lambda batch: torch.zeros(len(batch.action))
    updater.learner.td_loss = lambda estimate, target: 0.0 * estimate.prediction.sum()
    updater.update(transitions(), nothing_further)
    plain, changed = seen
    assert plain.grad is None or not plain.grad.any()
    torch.testing.assert_close(changed.grad, 2 * 0.5 * (changed - plain).detach() / 4)


@pytest.mark.slow
def test_each_step_moves_what_it_should() -> None:
    def moved(number: int) -> set[str]:
        updater = built()
        both = {**updater.learner.state_dict(prefix="learner."), **updater.method.state_dict(prefix="method.")}
        before = {name: value.clone() for name, value in both.items()}
        updater.updates = number
        updater.update(transitions(), nothing_further)
        return {".".join(name.split(".")[:2]) for name, value in both.items() if not torch.equal(value, before[name])}

    critic = {"learner.convolutions", "learner.projection", "learner.critics"}
    assert moved(1) == critic
    own = {"foreground_head", "background_encoder", "foreground_decoder", "background_decoder", "action"}
    assert {f"method.{name}" for name in own} <= moved(2) and "learner.actor_projection" in moved(2)


def test_the_gradient_is_clipped_to_its_norm() -> None:
    updater = built(config=replace(SMALL_METHOD, gradient_norm=1e-3))
    updater.update(transitions(), nothing_further)
    norm = torch.cat([p.grad.flatten() for p in updater.method.auxiliary_parameters()]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-3)


def test_the_background_encoder_starts_as_a_copy_of_the_critics_and_shares_nothing_with_it() -> None:
    updater = built(shake=0.0)
    mine, theirs = updater.method.background_encoder, updater.learner
    for one, other in zip(mine[0].parameters(), theirs.convolutions.parameters(), strict=True):
        assert torch.equal(one, other) and one is not other


def test_the_defaults_are_the_published_ones() -> None:
    config = configure("dmc/walker-walk", "smg", "sac")
    method: Any = config.method_config
    assert (method.mask_share, method.consistency_weight, method.attribution_share) == (0.06, 0.5, 0.25)
    weights = (method.reconstruction_weight, method.background_weight, method.mask_weight)
    assert weights == (1.0, 2.0, 1.0) and (method.action_weight, method.foreground_weight) == (1.0, 0.1)
    assert (method.auxiliary_lr, method.gradient_norm, method.auxiliary_period) == (1e-3, 100.0, 2)
    assert (config.training.batch_size, config.learner_config.encoder.projection) == (64, 256)
