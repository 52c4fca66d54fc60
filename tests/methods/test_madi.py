"""MaDi: a mask before every network, which the critic's loss alone trains; and what the published code computes."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn

import foveal
from foveal.augmentations import AugmentationOptions, overlay
from foveal.evaluation.insides import insides_of
from foveal.learners import Shapes
from foveal.learners import sac as sac_module
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import Setup, View
from foveal.methods.madi import MaDi, MaDiConfig
from foveal.methods.sada import SADA
from foveal.methods.sgqn import SGQN
from foveal.methods.svea import SVEA
from foveal.networks.encoders import EncoderConfig
from foveal.networks.masker import Masker
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle import problem, views_problem
from oracle_layers import of_layers, sac_layers, to_ours, to_theirs
from small_env import Counter, SavedCounter, differing, small_agent, weights

ORACLE = np.load(Path(__file__).parents[1] / "oracle" / "madi.npz")


def agent_of(method: str = "madi", **settings: Any) -> foveal.Agent:
    agent = small_agent(SavedCounter, method=method, training={"precision": "float32"}, **settings)
    draws = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in [*agent.learner.parameters(), *agent.method.parameters()]:
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=draws))
    agent.method.get_ready()
    return agent


def masker_of(agent: foveal.Agent) -> Any:
    method: Any = agent.method
    return method.masker


def batch_for(agent: foveal.Agent, size: int = 4, seed: int = 0) -> Batch:
    draws = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (2, size, *agent.shapes.image), generator=draws, dtype=torch.uint8)
    action = torch.rand(size, agent.learner.action_size, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


def no_sample(size: int) -> Batch:
    raise AssertionError(f"a further batch of {size}")


def mask(masker: Any, image: Tensor) -> Tensor:
    """Frame after frame, written out: (B, 3 * F, H, W) -> (B, F, H, W)."""
    found = []
    for start in range(0, image.shape[1], 3):
        first, second, third = masker.layers
        hidden = image[:, start : start + 3] / 255.0
        hidden = F.relu(F.conv2d(hidden, first.weight, first.bias, padding=1))
        hidden = F.relu(F.conv2d(hidden, second.weight, second.bias, padding=1))
        found.append(torch.sigmoid(F.conv2d(hidden, third.weight, third.bias, padding=1)))
    return torch.cat(found, 1)


def masked(masker: Any, image: Tensor) -> Tensor:
    return image * mask(masker, image).repeat_interleave(3, 1)


# --- the masker -------------------------------------------------------------------------------------------------------


def masker(filters: int = 6, dtype: torch.dtype = torch.float32, shake: float = 0.2) -> Masker:
    torch.manual_seed(0)
    built = Masker(filters, dtype)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.add_(shake * torch.randn(parameter.shape))
    return built


def images(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0)).float()


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_the_mask_and_its_gradients_equal_plain_convolutions(frames: int) -> None:
    network, image = masker(), images(2, 3 * frames, 11, 13).requires_grad_()
    torch.testing.assert_close(network(image), mask(network, image))
    ours, wanted = network.masked(image), masked(network, image)
    torch.testing.assert_close(ours, wanted)
    inputs = [image, *network.parameters()]
    gradients = torch.autograd.grad(ours.square().sum(), inputs)
    for one, other in zip(gradients, torch.autograd.grad(wanted.square().sum(), inputs), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3)
    assert 0.05 < float(network(image).detach().std()) < 0.5  # it has something to say


def test_what_is_masked_keeps_its_type_and_layout() -> None:
    image = images(2, 9, 12, 12).to(torch.bfloat16, memory_format=torch.channels_last)
    out = masker().masked(image)
    assert out.dtype == torch.bfloat16 and out.is_contiguous(memory_format=torch.channels_last)
    assert masker()(image).dtype == torch.float32


@pytest.mark.bfloat16
def test_the_masker_computes_in_the_type_of_the_convolutions() -> None:
    image = images(2, 9, 12, 12)
    exact, short = masker()(image), masker(dtype=torch.bfloat16)(image)
    assert 0 < float((exact - short).detach().abs().max()) < 0.02


def test_it_starts_as_published() -> None:
    network = Masker(32, torch.float32)
    assert [layer.weight.shape for layer in network.layers] == [(32, 3, 3, 3), (32, 32, 3, 3), (1, 32, 3, 3)]
    for layer in network.layers:
        weight = layer.weight.detach().clone()  # type: ignore[operator]
        gains = torch.linalg.svdvals(weight[:, :, 1, 1])
        torch.testing.assert_close(gains, torch.full_like(gains, 2**0.5))
        weight[:, :, 1, 1] = 0.0
        assert not weight.any() and not layer.bias.any()  # type: ignore[union-attr,operator]


# --- everywhere, once -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_everything_is_seen_through_the_mask_once() -> None:
    agent = agent_of()
    seen: list[Tensor] = []
    real = agent.method.observe
    agent.method.observe = lambda obs: (seen.append(obs.image), real(obs))[1]  # type: ignore[method-assign]
    raw: list[Batch] = []
    views = agent.method.views
    agent.method.views = lambda batch: (raw.append(batch), views(batch))[1]  # type: ignore[method-assign]
    agent.updater.update(batch_for(agent), no_sample)
    (shown,) = raw
    assert seen[0] is shown.obs.image and seen[1] is shown.next_obs.image
    assert not torch.equal(seen[2], shown.obs.image)  # the strong view, augmented before it is masked
    assert seen[3] is shown.obs.image and len(seen) == 4  # for the policy, by the masker that the critic's step trained
    agent.predict(batch_for(agent).obs.image.numpy())
    assert len(seen) == 5


@pytest.mark.slow
def test_loss_and_gradients_equal_a_plain_transcription() -> None:
    agent = agent_of()
    learner, network = copy.deepcopy((agent.learner, masker_of(agent)))
    assert isinstance(learner, SAC)
    views: list[list[View]] = []
    real = agent.method.views
    agent.method.views = lambda batch: (views.append(real(batch)), views[-1])[1]  # type: ignore[method-assign]
    targets = agent.learner.targets
    told: list[Tensor] = []
    batches: list[Batch] = []
    agent.learner.targets = lambda batch: (batches.append(batch), told.append(targets(batch)), told[-1])[2]  # type: ignore[method-assign]
    agent.updater.updates = 1  # the critic's step alone
    batch = batch_for(agent)
    metrics = agent.updater.update(batch, no_sample)
    assert not batches[0].next_obs.image.requires_grad
    loss = torch.zeros(())
    for view in views[0]:
        first, second = learner.estimate(Observation(masked(network, view.obs.image)), batch.action).values
        loss = loss + 0.5 * (F.mse_loss(first, told[0]) + F.mse_loss(second, told[0]))
    torch.testing.assert_close(metrics["critic/loss"], loss.detach(), rtol=1e-4, atol=1e-5)
    trained = [*learner.critic_parameters(), *network.parameters()]
    ours = [*agent.learner.critic_parameters(), *agent.method.critic_parameters()]
    for mine, plain in zip(ours, torch.autograd.grad(loss, trained), strict=True):
        torch.testing.assert_close(mine.grad, plain, rtol=1e-3, atol=1e-5)
    gradients = [p.grad for p in agent.method.critic_parameters() if p.grad is not None]
    assert all(bool(g.abs().max() > 0) for g in gradients) and len(gradients) == 6


@pytest.mark.slow
def test_the_target_sees_the_next_observation_through_the_mask() -> None:
    agent = agent_of()
    network = copy.deepcopy(masker_of(agent))
    batches: list[Batch] = []
    real = agent.learner.targets
    agent.learner.targets = lambda batch: (batches.append(batch), real(batch))[1]  # type: ignore[method-assign]
    raw: list[Batch] = []
    views = agent.method.views
    agent.method.views = lambda batch: (raw.append(batch), views(batch))[1]  # type: ignore[method-assign]
    agent.updater.update(batch_for(agent), no_sample)
    torch.testing.assert_close(batches[0].next_obs.image, masked(network, raw[0].next_obs.image).detach())


@pytest.mark.slow
def test_the_critics_step_trains_the_masker_and_the_actors_does_not() -> None:
    agent = agent_of()
    states: list[dict[str, Tensor]] = []

    def note(*_: Any) -> None:
        states.append({name: p.detach().clone() for name, p in masker_of(agent).named_parameters()})

    agent.updater.critic_optimizer.register_step_post_hook(note)
    note()
    agent.updater.update(batch_for(agent), no_sample)  # critic, actor, temperature and targets
    note()
    assert all(not torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert all(torch.equal(states[1][name], states[2][name]) for name in states[0])


def test_saliency_goes_through_the_mask() -> None:
    """``values`` explains what the agent was shown: where the mask is 0, nothing matters."""
    agent = agent_of()
    network, batch = masker_of(agent), batch_for(agent)
    pixels = batch.obs.image.float().requires_grad_()
    values = agent.values(pixels, batch.action)
    expected = agent.learner.estimate(Observation(masked(network, pixels)), batch.action).values
    torch.testing.assert_close(values, expected)
    with torch.no_grad():
        network.layers[2].bias.fill_(-1e4)
        network.layers[2].weight.zero_()
    blind = agent.values(pixels, batch.action)[0].sum()
    assert not torch.autograd.grad(blind, pixels)[0].any()


# --- its own map ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_map_is_the_newest_frames_mask() -> None:
    agent = agent_of()
    insides = insides_of(agent)
    assert list(insides.maps) == ["masker"]
    image = batch_for(agent).obs.image.numpy()
    found = insides.look("masker", list(image))
    torch.testing.assert_close(found, mask(masker_of(agent), torch.from_numpy(image).float())[:, 2].detach())
    assert not insides_of(small_agent(method="svea")).maps


@pytest.mark.slow
def test_an_attention_module_behind_the_mask_is_drawn_as_it_is() -> None:
    agent = agent_of(encoder="fls")
    image = batch_for(agent).obs.image
    learner: Any = agent.learner
    seen = agent.method.observe(Observation(image.float()))
    torch.testing.assert_close(torch.from_numpy(agent.attention(image.numpy())), learner.attention(seen))
    assert list(insides_of(agent).maps) == ["attention", "masker"]


# --- with other methods -----------------------------------------------------------------------------------------------


def test_only_the_masker_is_beside_svea() -> None:
    for hook in ("views", "prepare", "policy_views", "critic_loss", "auxiliary"):
        assert getattr(MaDi, hook) is getattr(SVEA, hook)
    assert MaDi.capturable and not issubclass(SADA, MaDi)
    assert SGQN.observe is SVEA.observe  # whoever makes the views


@pytest.mark.slow
def test_another_methods_saliency_reaches_the_pixels_behind_the_mask() -> None:
    agent = agent_of("madi+sgqn")
    metrics = agent.updater.update(batch_for(agent), no_sample)
    assert {"critic/consistency", "attribution/loss"} <= set(metrics)
    assert all(bool(value.isfinite()) for value in metrics.values())
    insides = insides_of(agent)
    assert list(insides.maps) == ["masker"]


# --- against the published classes ------------------------------------------------------------------------------------


def published() -> tuple[Updater, dict[str, Tensor]]:
    """Our classes with the problem's weights, and those by the problem's names."""
    image = (problem.CHANNELS, problem.SIDE, problem.SIDE)
    generator = torch.Generator().manual_seed(0)
    encoder = EncoderConfig(filters=problem.FILTERS, projection=problem.LATENT)
    config = SACConfig(encoder=encoder, hidden=problem.HIDDEN, initial_temperature=problem.TEMPERATURE)
    shapes = Shapes(image, 0, spaces.Box(-1.0, 1.0, (problem.ACTIONS,), np.float32))
    learner: Any = SAC(config, shapes, torch.float32, generator)
    options = AugmentationOptions(problem.SIDE, picture_count=1)
    settings = MaDiConfig(shift=0, filters=views_problem.MASKER_FILTERS)
    method = MaDi(settings, Setup(learner, image, options, generator, torch.float32))
    masker = {f"masker.{index}": layer for index, layer in enumerate(method.masker.layers)}
    held = of_layers(masker | sac_layers(learner))
    initial = problem.weights("sac")
    for index, (weight, bias) in enumerate(views_problem.masker()):
        initial |= {f"masker.{index}.weight": weight, f"masker.{index}.bias": bias}
    assert held.keys() == initial.keys()
    with torch.no_grad():
        for name, value in initial.items():
            held[name].copy_(to_ours(name, torch.from_numpy(value)))
    return Updater(learner, method, pixel_gradient=False), held


def one_update(updater: Updater, number: int, patch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    batch, drawn = problem.transitions(number), problem.draws(number)
    noises = iter([drawn["target_noise"], drawn["actor_noise"]])
    pictures = torch.from_numpy(drawn["overlays"]).float()
    patch.setattr(sac_module, "_normal_like", lambda like, generator: torch.from_numpy(next(noises)))
    patch.setattr(MaDi, "begin_update", lambda self, number: None)
    patch.setattr(updater.method, "augment", lambda images, generator: overlay(images, pictures))
    obs, next_obs = (Observation(torch.from_numpy(batch[key])) for key in ("obs", "next_obs"))
    action, reward = torch.from_numpy(batch["action"]), torch.from_numpy(batch["reward"])
    discount = problem.DISCOUNT * torch.from_numpy(batch["going_on"])
    metrics = updater.update(Batch(obs, action, reward, discount, next_obs), no_sample)
    patch.undo()
    return metrics


def assert_near(ours: Tensor, wanted: np.ndarray[Any, Any], limit: float, what: str) -> None:
    found = problem.summary(ours.detach().contiguous().numpy())
    scale = float(np.abs(wanted[: problem.KEPT]).max())
    np.testing.assert_allclose(found[: problem.KEPT], wanted[: problem.KEPT], rtol=0, atol=limit * scale, err_msg=what)
    # The sum and the sum of magnitudes. A sum that is zero but for rounding is so by the measure of what was added up.
    rest, rounding = wanted[problem.KEPT :], 1e-7 * float(abs(wanted[-1]))
    np.testing.assert_allclose(found[problem.KEPT :], rest, rtol=1e-3, atol=max(limit, rounding), err_msg=what)


def test_masks_are_the_published_ones() -> None:
    method: Any = published()[0].method.requires_grad_(False)
    image = torch.from_numpy(problem.transitions(0)["obs"]).float()
    assert_near(method.masker(image), ORACLE["mask"], 2e-6, "mask")
    assert_near(method.observe(Observation(image)).image, ORACLE["masked"], 2e-6, "masked")
    assert float(method.masker(image).std()) > 0.05


@pytest.mark.slow
def test_three_updates_are_the_published_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    updater, held = published()
    gradients: dict[str, Tensor] = {}
    names = {id(tensor): name for name, tensor in held.items()}

    def note(optimizer: Any, *_: Any) -> None:
        for parameter in optimizer.param_groups[0]["params"]:
            gradients.setdefault(names[id(parameter)], parameter.grad.clone())

    updater.critic_optimizer.register_step_pre_hook(note)
    for number in range(problem.UPDATES):
        metrics = one_update(updater, number, monkeypatch)
        assert float(metrics["critic/loss"]) == pytest.approx(float(ORACLE[f"{number}/train_critic/loss"]), rel=2e-5)
        if problem.due(number):
            assert float(metrics["actor/loss"]) == pytest.approx(float(ORACLE[f"{number}/train_actor/loss"]), rel=2e-5)
        for name, tensor in held.items():
            if name.startswith("masker"):
                # Adam's step is the gradient's sign where a gradient is next to nothing: such an entry may differ.
                wanted = ORACLE[f"{number}/weight/{name}"]
                found = problem.summary(tensor.detach().contiguous().numpy())
                assert np.isclose(found, wanted, rtol=2e-5, atol=5e-6).mean() > 0.99, (number, name)
    assert {name for name in ORACLE if "gradient" in name} == {f"gradient/{name}" for name in gradients}
    for name, value in gradients.items():
        assert_near(to_theirs(name, value), ORACLE[f"gradient/{name}"], 5e-5, name)


# --- at work ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    options = {"progress": False, "evaluate_every": 0, "checkpoint_every": 0}
    whole = small_agent(method="madi").learn(26, run=tmp_path / "whole", **options)
    small_agent(method="madi").learn(16, run=tmp_path / "cut", **options)
    trainer = foveal.resume(tmp_path / "cut", env=SavedCounter, progress=False)
    trainer.train(10)
    assert differing(weights(whole), weights(trainer.agent)) == []


@pytest.mark.slow
def test_it_trains_and_is_evaluated_and_explained_by_its_own_map(tmp_path: Path) -> None:
    agent = small_agent(Counter, method="madi").learn(20, progress=False, evaluate_every=0)
    assert agent.updates == 11
    results = foveal.evaluate(agent, episodes=1, progress=False)
    assert len(results.conditions[0].episodes) == 1
    names = ("masker", "guided_backprop")
    page = foveal.explain(agent, out=tmp_path / "page.html", progress=False, moments=4, frames=2, saliency=names)
    assert "the agent&#39;s own map &#39;masker&#39;" in page.read_text(encoding="utf-8")


def test_its_numbers_are_the_papers() -> None:
    assert MaDiConfig() == MaDiConfig(
        clean_weight=0.5, augmented_weight=0.5, augmentation="overlay", shift=4, filters=32
    )
    assert isinstance(agent_of().method, nn.Module)
