"""TSTM: where its mask comes from, when it learns it, what it sees through it, and its losses written plainly."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gymnasium import spaces
from torch import Tensor, nn

import foveal
from foveal.augmentations import AugmentationOptions
from foveal.config.tree import configure
from foveal.envs import make
from foveal.errors import FovealError
from foveal.learners import Shapes
from foveal.learners.sac import SAC, SACConfig
from foveal.methods import METHODS, Setup
from foveal.methods.tstm import TSTM, TSTMConfig, imitation_loss, mask_loss, scene_masks, vicreg
from foveal.networks.encoders import EncoderConfig
from foveal.networks.segmenter import ConvLSTM, Segmenter
from foveal.training.replay_work import ReplayWork
from foveal.training.updater import Updater
from foveal.types import Batch, Observation
from oracle_layers import nothing_further
from small_env import SIZE, Counter, SavedCounter, differing, small_agent, weights

SMALL = SACConfig(encoder=EncoderConfig(strides=(2, 1), filters=6, projection=8), hidden=16)
TINY: dict[str, Any] = {
    "filters": (4, 6, 8),
    "teacher_filters": (),
    "segmenter_updates": 3,
    "segmenter_batch": 4,
    "projection": 6,
}
SIDE, FRAMES, ACTIONS = 24, 5, 2
QUIET: dict[str, Any] = {"progress": False, "evaluate_every": 0}


def built(**settings: Any) -> Any:
    torch.manual_seed(0)
    generator, image = torch.Generator().manual_seed(0), (3 * FRAMES, SIDE, SIDE)
    learner = SAC(SMALL, Shapes(image, 0, spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32)), torch.float32, generator)
    options = AugmentationOptions(SIDE, picture_count=8)
    method = TSTM(TSTMConfig(**{**TINY, **settings}), Setup(learner, image, options, generator, torch.float32))
    with torch.no_grad():
        for parameter in [*learner.parameters(), *method.project.parameters()]:
            parameter.add_(0.05 * torch.randn_like(parameter))
        method.segmenter.last.bias -= method.segmenter(transitions().obs.image).median()  # masks of about a half
    return Updater(learner, method, pixel_gradient=False)


def transitions(size: int = 6) -> Batch:
    draws = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (2, size, 3 * FRAMES, SIDE, SIDE), generator=draws, dtype=torch.uint8)
    action = torch.rand(size, ACTIONS, generator=draws) * 2 - 1
    reward = torch.rand(size, generator=draws)
    return Batch(Observation(images[0]), action, reward, torch.full((size,), 0.9), Observation(images[1]))


# --- the segmenter ----------------------------------------------------------------------------------------------------


def plain_memory(memory: ConvLSTM, frames: Tensor) -> Tensor:
    """Shi et al.'s cell, one position's gates after the other, without peepholes."""
    batch, count, size, height, width = frames.shape
    hidden, cell, told = torch.zeros(batch, size, height, width), torch.zeros(batch, size, height, width), []
    for number in range(count):
        both = F.pad(torch.cat([frames[:, number], hidden], 1), (1, 1, 1, 1))
        depth = torch.zeros(batch, 2 * size, height, width)
        for y in range(3):
            for x in range(3):
                tap = memory.depthwise.weight[:, 0, y, x][None, :, None, None]
                depth = depth + tap * both[:, :, y : y + height, x : x + width]
        depth = depth + memory.depthwise.bias[None, :, None, None]  # type: ignore[index]
        gates = torch.einsum("oc,bchw->bohw", memory.pointwise.weight[:, :, 0, 0], depth)
        gates = gates + memory.pointwise.bias[None, :, None, None]  # type: ignore[index]
        enter, keep, tell, new = (
            gates[:, :size],
            gates[:, size : 2 * size],
            gates[:, 2 * size : 3 * size],
            gates[:, 3 * size :],
        )
        cell = cell / (1 + torch.exp(-keep)) + new.tanh() / (1 + torch.exp(-enter))
        hidden = cell.tanh() / (1 + torch.exp(-tell))
        told.append(hidden)
    return torch.stack(told, 1)


def test_the_memory_is_a_convolutional_lstm() -> None:
    torch.manual_seed(0)
    memory = ConvLSTM(4)
    frames = torch.randn(2, 5, 4, 6, 7)
    torch.testing.assert_close(memory(frames), plain_memory(memory, frames), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("height", "width"), [(24, 24), (36, 36), (21, 30)])
def test_the_segmenter_is_what_the_paper_draws(height: int, width: int) -> None:
    torch.manual_seed(0)
    network = Segmenter((4, 6, 8), torch.float32)
    with torch.no_grad():  # fresh networks answer nearly the same to everything
        for parameter in network.parameters():
            parameter.mul_(2.5)
    images = torch.randint(0, 256, (2, 3 * FRAMES, height, width)).float()
    logits = network(images)
    assert float(logits.detach().std()) > 0.1
    frames = []
    for number in range(FRAMES):
        hidden = images[:, 3 * number : 3 * number + 3] / 255
        for index, layer in enumerate(network.down):
            hidden = F.relu(F.conv2d(hidden, layer.weight, layer.bias, padding=1))
            hidden = F.max_pool2d(hidden, 2, ceil_mode=True) if index < 2 else hidden
        frames.append(hidden)
    remembered = plain_memory(network.memory, torch.stack(frames, 1))
    for number in range(FRAMES):
        hidden = remembered[:, number]
        for layer in network.up:
            doubled = hidden.repeat_interleave(2, 2).repeat_interleave(2, 3)
            hidden = F.relu(F.conv2d(doubled, layer.convolution.weight, layer.convolution.bias, padding=1))
        plain = F.conv2d(hidden, network.last.weight, network.last.bias)[:, 0, :height, :width]
        torch.testing.assert_close(logits[:, number], plain, rtol=1e-4, atol=1e-4)


def test_the_published_student_has_37_thousand_parameters() -> None:
    count = sum(p.numel() for p in Segmenter((16, 32, 32), torch.float32).parameters())
    assert count == 37_185


def test_a_frames_mask_knows_nothing_of_later_frames() -> None:
    torch.manual_seed(0)
    network = Segmenter((4, 6, 8), torch.float32)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.5)
    images = torch.rand(2, 3 * FRAMES, 24, 24) * 255
    later = images.clone()
    later[:, 9:] = 0
    one, other = network(images), network(later)
    assert torch.equal(one[:, :3], other[:, :3]) and not torch.allclose(one[:, 3:], other[:, 3:])


# --- losses -----------------------------------------------------------------------------------------------------------


def test_the_losses_of_the_mask() -> None:
    draws = torch.Generator().manual_seed(0)
    logits, answer = (3 * torch.randn(2, 5, 6, 7, generator=draws) for _ in range(2))
    truth = torch.rand(2, 5, 6, 7, generator=draws) < 0.3
    total = []
    for sample in range(2):
        for frame in range(5):
            p, t = 1 / (1 + np.exp(-logits[sample, frame].double().numpy())), truth[sample, frame].double().numpy()
            entropy = -(t * np.log(p) + (1 - t) * np.log(1 - p)).mean()
            dice = 1 - (2 * (p * t).sum() + 1e-5) / (p.sum() + t.sum() + 1e-5)
            total.append(0.5 * entropy + 0.5 * dice)
    assert float(mask_loss(logits, truth)) == pytest.approx(np.mean(total), rel=1e-4)
    soft = [1 / (1 + np.exp(-x.double().numpy() / 4)) for x in (logits, answer)]
    assert float(imitation_loss(logits, answer, 4.0)) == pytest.approx(16 * ((soft[0] - soft[1]) ** 2).mean(), rel=1e-4)
    assert float(mask_loss(100.0 * (2 * truth.float() - 1), truth)) < 1e-4


def test_vicreg_is_the_published_formula() -> None:
    draws = torch.Generator().manual_seed(0)
    first, second = (torch.randn(7, 4, generator=draws).double() * scale for scale in (0.5, 2.0))
    invariance, variance, covariance = vicreg(first, second)
    assert float(invariance) == pytest.approx(float(((first - second) ** 2).mean()))
    short = correlated = 0.0
    for view in (first.numpy(), second.numpy()):
        short += np.maximum(0, 1 - np.sqrt(view.var(0, ddof=1) + 1e-4)).mean()
        matrix = np.cov(view.T)
        correlated += (matrix**2).sum() / 4 - (np.diag(matrix) ** 2).sum() / 4
    assert float(variance) == pytest.approx(short) and short > 0.1
    assert float(covariance) == pytest.approx(correlated)
    shift = torch.full((4,), 3.0).double()
    moved = vicreg(first + shift, second + shift)  # where they are does not matter
    for one, other in zip(moved, (invariance, variance, covariance), strict=True):
        torch.testing.assert_close(one, other)
    assert float(vicreg(first, first)[0]) == 0.0


def test_packed_masks_come_back() -> None:
    draws = np.random.default_rng(0)
    truth = draws.random((2, FRAMES, 9, 9)) < 0.5  # 81 pixels: eleven bytes with seven bits to spare
    packed = np.packbits(truth.reshape(2, FRAMES, -1), axis=2)
    batch = transitions(2).replace(extras={"scene": torch.from_numpy(packed)})
    assert torch.equal(scene_masks(batch, 9), torch.from_numpy(truth))


# --- the update -------------------------------------------------------------------------------------------------------


def test_every_network_sees_objects_before_black() -> None:
    updater = built()
    method = updater.method
    seen: dict[str, list[Tensor]] = {"estimate": [], "targets": [], "policy": []}
    learner: Any = updater.learner
    estimate, targets, policy = learner.estimate, learner.targets, learner.policy_step
    learner.estimate = lambda obs, action: (seen["estimate"].append(obs.image), estimate(obs, action))[1]
    learner.targets = lambda batch: (seen["targets"].append(batch.next_obs.image), targets(batch))[1]
    learner.policy_step = lambda obs, *rest: (seen["policy"].append(obs.image), policy(obs, *rest))[1]
    shown: list[Batch] = []
    views: list[Any] = []
    real = method.views
    method.views = lambda batch: (shown.append(batch), views.append(real(batch)), views[-1])[2]
    batch = transitions()
    updater.update(batch, nothing_further)

    def masked(image: Tensor, of: Tensor | None = None) -> Tensor:
        keep = torch.sigmoid(method.segmenter(image if of is None else of).double()) > 0.5
        assert 0.02 < float(keep.float().mean()) < 0.98
        return torch.cat([image[:, 3 * f : 3 * f + 3] * keep[:, f : f + 1] for f in range(FRAMES)], 1)

    assert torch.equal(shown[0].next_obs.image, batch.next_obs.image.float())  # only the observation is shifted
    assert not torch.equal(shown[0].obs.image, batch.obs.image.float())
    clean, strong = (masked(view.obs.image) for view in views[0])
    assert torch.equal(seen["estimate"][0], clean) and torch.equal(seen["estimate"][1], strong)
    assert torch.equal(seen["targets"][0], masked(batch.next_obs.image.float()))
    assert torch.equal(seen["policy"][0], torch.cat([clean, strong]))  # half its loss on either
    pixels = batch.obs.image.float().requires_grad_()
    (gradient,) = torch.autograd.grad(method.observe(Observation(pixels)).image.sum(), pixels)
    assert torch.equal(gradient, masked(torch.ones_like(pixels), of=pixels.detach()))  # saliency goes through the mask


def test_the_critics_loss_is_half_of_each_view_and_vicreg() -> None:
    updater = built()
    updater.updates = 1
    method, learner = updater.method, updater.learner
    losses: list[Tensor] = []
    latents: list[Tensor] = []
    td, estimate = learner.td_loss, learner.estimate
    learner.td_loss = lambda *a: (losses.append(td(*a).detach()), td(*a))[1]

    def noted(obs: Observation, action: Tensor) -> Any:
        made = estimate(obs, action)
        latents.append(made.latent.detach())
        return made

    learner.estimate = noted
    project = [p.detach().clone() for p in method.project.parameters()]
    metrics = updater.update(transitions(), nothing_further)

    def projected(latent: Tensor) -> Tensor:
        hidden = latent
        for index in range(0, 12, 4):
            hidden = hidden @ project[index].T + project[index + 1]
            if index < 8:
                scale, offset = project[index + 2], project[index + 3]
                hidden = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt() * scale + offset
                hidden = hidden.clamp(min=0)
        return hidden

    parts = vicreg(*(projected(latent) for latent in latents))
    regular = 1.25 * parts[0] + 1.25 * parts[1] + 0.005 * parts[2]
    torch.testing.assert_close(metrics["critic/vicreg"], regular, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(metrics["critic/loss"], 0.5 * (losses[0] + losses[1]) + regular, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_each_step_moves_what_it_should_and_never_the_mask() -> None:
    for number, wanted in (
        (1, {"learner.convolutions", "learner.projection", "learner.critics"}),
        (2, {"learner.policy"}),
    ):
        updater = built()
        both = {**updater.learner.state_dict(prefix="learner."), **updater.method.state_dict(prefix="method.")}
        before = {name: value.clone() for name, value in both.items()}
        updater.updates = number
        updater.update(transitions(), nothing_further)
        moved = {".".join(n.split(".")[:2]) for n, value in both.items() if not torch.equal(value, before[n])}
        assert wanted <= moved and "method.project" in moved and "method.segmenter" not in moved
        assert number != 1 or moved == wanted | {"method.project"}


# --- learning the mask ------------------------------------------------------------------------------------------------


def first_update_of(agent: foveal.Agent) -> tuple[ReplayWork, list[int]]:
    """A training up to its first update, and how often the environment was asked at each agent step."""
    work = ReplayWork(agent)
    asked: list[int] = []
    work.begin(100)
    real = SavedCounter.scene_mask
    count = [0]

    def noted(self: Any) -> Any:
        count[0] += 1
        return real(self)

    SavedCounter.scene_mask = noted  # type: ignore[method-assign]
    try:
        while agent.updates < 3:
            work.collect()
            work.learn(lambda: None)
            asked.append(count[0])
    finally:
        SavedCounter.scene_mask = real  # type: ignore[method-assign]
    return work, asked


@pytest.mark.slow
def test_the_simulator_is_asked_until_the_first_update_and_the_mask_is_learnt_once() -> None:
    agent = small_agent(method="tstm")
    method: Any = agent.method
    untrained = weights_of(method.segmenter)
    fits: list[int] = []
    real = method._fit
    method._fit = lambda *a, **k: (fits.append(agent.steps), real(*a, **k))
    work, asked = first_update_of(agent)
    assert fits == [10] and bool(method.trained)
    # Once for every picture since the first: ten steps, and the reset between the two episodes.
    assert asked[:11] == list(range(1, 12)) and asked[11:] == [11] * len(asked[11:]) and len(asked) > 11
    assert not torch.equal(weights_of(method.segmenter), untrained)
    trained = weights_of(method.segmenter)
    work.close()
    agent.learn(3, progress=False)  # a second training asks once, learns nothing anew
    assert fits == [10] and torch.equal(weights_of(method.segmenter), trained)


def weights_of(network: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in network.parameters()])


@pytest.mark.slow
def test_batches_of_updates_come_without_the_masks() -> None:
    agent = small_agent(method="tstm").learn(12, **QUIET)
    assert agent.replay is not None
    assert dict(agent.replay.sample(3).extras) == {}
    batch = agent.replay.sample(3, early=True)
    size = -(-SIZE * SIZE // 8)
    assert batch.extras["scene"].shape == (3, 5, size) == batch.next_extras["scene"].shape
    early = [extra for extra in agent.replay.extras if extra.early]
    assert [(extra.source, extra.shape, extra.dtype) for extra in early] == [("packed_scene_mask", (size,), "uint8")]
    truth = scene_masks(agent.replay.sample(60, early=True), SIZE)
    corner = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    corner[:8, :8] = True
    assert all(torch.equal(mask, corner) or not mask.any() for mask in truth.flatten(0, 1))


@pytest.mark.slow
def test_the_mask_finds_what_is_to_be_found() -> None:
    """The corner that flickers, in the counter's pictures."""
    agent = small_agent(
        method="tstm",
        tstm={"segmenter_updates": 120, "segmenter_batch": 8, "segmenter_lr": 1e-2},
        training={"initial_random_steps": 60},
    )
    agent.learn(60, **QUIET)
    method: Any = agent.method
    assert agent.replay is not None
    assert method.overlap(agent.replay.sample(16, early=True)) > 0.85
    fresh: Any = small_agent(method="tstm", seed=1).method
    assert fresh.overlap(agent.replay.sample(16, early=True)) < 0.1


@pytest.mark.slow
def test_a_run_that_is_resumed_learns_no_mask_anew(tmp_path: Path) -> None:
    options = {**QUIET, "checkpoint_every": 0}
    whole = small_agent(method="tstm").learn(26, run=tmp_path / "whole", **options)
    small_agent(method="tstm").learn(16, run=tmp_path / "cut", **options)
    trainer = foveal.resume(tmp_path / "cut", env=SavedCounter, progress=False)
    trained = weights_of(trainer.agent.method.segmenter)
    assert bool(trainer.agent.method.trained)
    trainer.train(10)
    assert torch.equal(weights_of(trainer.agent.method.segmenter), trained)
    assert differing(weights(whole), weights(trainer.agent)) == []


@pytest.mark.slow
def test_a_run_that_was_cut_before_it_learns_it_then(tmp_path: Path) -> None:
    options = {**QUIET, "checkpoint_every": 0}
    whole = small_agent(method="tstm").learn(14, run=tmp_path / "whole", **options)
    small_agent(method="tstm").learn(6, run=tmp_path / "cut", **options)
    trainer = foveal.resume(tmp_path / "cut", env=SavedCounter, progress=False)
    assert not bool(trainer.agent.method.trained)
    trainer.train(8)
    assert differing(weights(whole), weights(trainer.agent)) == []


@pytest.mark.slow
def test_the_teacher_is_not_kept_and_disturbs_nobodys_generator() -> None:
    agent = small_agent(method="tstm", tstm={"teacher_filters": (3, 4, 5)})
    before = torch.get_rng_state()
    agent.learn(11, **QUIET)
    assert torch.equal(torch.get_rng_state(), before)
    assert {name.split(".")[0] for name, _ in agent.method.named_parameters()} == {"segmenter", "project"}
    assert not any(p.requires_grad for p in agent.method.segmenter.parameters())  # type: ignore[union-attr]


@pytest.mark.slow
def test_the_bar_and_the_overlap_are_shown_where_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    small_agent(method="tstm").learn(11, progress=False)
    assert capsys.readouterr().err == ""
    small_agent(method="tstm").learn(11, progress=True)
    told = capsys.readouterr().err
    assert "segmenter" in told and "in common with the simulator's, by IoU" in told


# --- environments -----------------------------------------------------------------------------------------------------


class Blind(Counter):
    """One without segmentation."""

    scene_mask = None  # type: ignore[assignment]

    def __getattribute__(self, name: str) -> Any:
        if name == "scene_mask":
            raise AttributeError(name)
        return super().__getattribute__(name)


def test_an_environment_without_segmentation_is_refused_before_any_work() -> None:
    agent = small_agent(Blind, method="tstm")
    with pytest.raises(FovealError, match=r"Blind has no segmentation, scene_mask\(\), .* such as sgqn or madi"):
        agent.learn(5, progress=False)
    assert agent.steps == 0 and agent.updates == 0


@pytest.mark.parametrize(
    ("task", "more"), [("walker-stand", False), ("cartpole-swingup", True), ("finger-spin", False)]
)
@pytest.mark.slow
def test_the_scene_is_all_geoms_but_the_floor(task: str, more: bool) -> None:
    """The paper's truth: every pixel whose geom id is above 0. Cartpole's rail stands still and counts."""
    env = make(f"dmc/{task}", image_size=84, seed=0)
    env.reset(seed=0)
    scene, own = env.scene_mask(), env.agent_mask()
    labels = env.inner.unwrapped.physics.render(84, 84, camera_id=0, segmentation=True)
    np.testing.assert_array_equal(scene, labels[..., 0] > 0)
    assert 0.01 < scene.mean() < 0.5 and not (own & ~scene).any()
    assert bool((scene & ~own).any()) == more
    np.testing.assert_array_equal(np.unpackbits(env.packed_scene_mask()).reshape(84, 84), scene)
    env.close()


def test_it_says_that_it_is_told_more_than_pictures_show() -> None:
    assert {name for name in METHODS.names() if METHODS.get(name).privileged} == {"foveal", "tstm"}


@pytest.mark.slow
def test_it_learns_with_values_alone() -> None:
    agent = small_agent(lambda: SavedCounter(discrete=True), method="tstm", learner="dqn")
    agent.learn(14, **QUIET)
    assert agent.updates == 5 and not agent.method.needs_policy


@pytest.mark.slow
def test_it_is_joined_with_others() -> None:
    agent = small_agent(method="tstm+sgqn")
    agent.learn(14, **QUIET)
    assert agent.updates == 5 and type(agent.method).privileged
    assert bool(agent.method.parts["tstm"].trained)  # type: ignore[index, union-attr]


def test_a_teacher_has_three_convolutions_or_there_is_none() -> None:
    with pytest.raises(FovealError, match=r"tstm\.teacher_filters must have three entries, .* not \(3, 4\)"):
        TSTMConfig(teacher_filters=(3, 4))


def test_the_defaults_are_the_published_ones() -> None:
    config = configure("dmc/walker-walk", "tstm", "sac")
    assert (config.environment.frame_stack, config.training.initial_random_steps) == (5, 12_500)
    assert config.training.batch_size == 128
    method: Any = config.method_config
    assert (method.filters, method.teacher_filters, method.segmenter_lr) == ((16, 32, 32), (64, 128, 256), 1e-3)
    assert (method.imitation, method.temperature, method.overlay_share) == (0.7, 4.0, 0.5)
    assert (method.invariance, method.variance, method.covariance, method.regularization) == (1.25, 1.25, 0.005, 1.0)
    assert (method.projection, method.agreement_weight) == (2048, 2.0)


@pytest.mark.slow
def test_the_mask_is_exported_with_the_policy(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    agent = small_agent(method="tstm", training={"precision": "float32"}).learn(12, **QUIET)
    image = np.random.default_rng(0).integers(0, 256, (3, 15, SIZE, SIZE), np.uint8)
    method: Any = agent.method
    with torch.no_grad():
        method.segmenter.last.bias -= method.segmenter(torch.from_numpy(image)).quantile(0.7)
    session = onnxruntime.InferenceSession(
        str(agent.export(tmp_path / "policy.onnx")), providers=["CPUExecutionProvider"]
    )
    (actions,) = session.run(["action"], {"image": image})
    np.testing.assert_allclose(actions, agent.predict(image, deterministic=True)[0], atol=1e-4)
