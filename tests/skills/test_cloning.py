"""Cloned skills: network, loss, the epoch that is kept, arms that act by them; depth noise and augmentation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import foveal
from small_skills import episode, small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')

from foveal.envs.ur5e import TASKS
from foveal.envs.ur5e.experts import script, skills
from foveal.errors import FovealError
from foveal.evaluation.statistics import SuccessRate
from foveal.networks.film_resnet import POINTS, FilmBlock, FilmResNet, Relief, SpatialPoints
from foveal.skills import cloning, seeds
from foveal.skills.arms import Arms, ArmSettings
from foveal.skills.augmentation import TRANSFORMS, Augmentation, _furthest_within_5
from foveal.skills.cloning import clone, losses
from foveal.skills.conditions import CONDITIONS
from foveal.skills.config import CloneConfig, clone_config
from foveal.skills.demos import collect, demo_options
from foveal.skills.minari import DemoWriter, open_demos
from foveal.skills.noise import DepthNoise, StructuredLight, repaired
from foveal.skills.policy import SkillPolicy, depth_input
from foveal.skills.rollouts import InOrder, Outcome, play
from foveal.skills.view import View

# --- network and loss -----------------------------------------------------------------------------------------------


def test_film_follows_its_equation():
    torch.manual_seed(0)
    block = FilmBlock(3, 5, 2, 4).double().eval()
    for norm in (block.first_norm, block.second_norm):
        norm.running_mean.uniform_(-1, 1)
        norm.running_var.uniform_(0.5, 2)
    x, condition = torch.randn(2, 3, 8, 8).double(), torch.eye(4).double()[[1, 3]]
    out = block.second_norm(block.second(block.first_norm(block.first(x)).relu()))
    gamma, beta = block.film.weight.T[[1, 3]].chunk(2, dim=1)  # the bias begins at 0
    expected = (out * (1 + gamma[..., None, None]) + beta[..., None, None] + block.shortcut(x)).relu()
    torch.testing.assert_close(block(x, condition), expected)
    assert not torch.allclose(block(x, condition), block(x, condition.flip(0)))


def test_published_network_is_resnet_18_narrow():
    network = FilmResNet((3, 224, 224), 4, 20)
    assert network.feature_shape == (256, 7, 7)
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in network.modules()) == 16


def test_points_are_the_places_of_peaks():
    head = SpatialPoints(1, 2 * POINTS)
    with torch.no_grad():
        head.maps.weight.fill_(1.0)
        head.maps.bias.zero_()
    seen = {}
    head.layers.register_forward_pre_hook(lambda _, given: seen.update(given=given[0]))
    features = torch.zeros(1, 1, 5, 10)
    features[0, 0, 4, 2] = 50.0
    head(features)
    assert seen["given"][0, 0].item() == pytest.approx(-0.5) and seen["given"][0, POINTS].item() == pytest.approx(0.8)
    assert seen["given"][0, -1].item() == pytest.approx(1.0)


def test_losses_by_hand():
    prediction = torch.tensor([[2.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 3.0]])  # two horizons
    velocity = torch.tensor([[[0.0, 0.0, 0.0], [0.0, 0.0, 1.0]]])
    gripper, motion = losses(prediction, velocity, torch.tensor([[False, False]]))
    expected = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1))) / 2
    assert gripper.item() == pytest.approx(expected) and motion.item() == pytest.approx((1 + 4) / 6)


def test_depth_is_seen_between_near_and_far():
    assert depth_input([0, 500, 1250, 2000, 5000], 0.5, 2.0).tolist() == [-1.0, -1.0, 0.0, 1.0, 1.0]


def test_saved_skills_act_alike(tmp_path):
    policy = small_policy(3)
    policy.mean, policy.spread = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([1.0, 2.0, 3.0])
    frames = np.random.default_rng(0).integers(500, 2000, (4, 3, 32, 32)).astype(np.uint16)
    again = foveal.load(policy.save(tmp_path / "skills"))
    assert isinstance(again, SkillPolicy)
    np.testing.assert_array_equal(policy.act(frames, [0, 1, 2, 1]), again.act(frames, [0, 1, 2, 1]))
    assert again.skill_set == policy.skill_set and again.config == policy.config
    features = policy.features(frames)
    assert features.shape == (4, *policy.feature_shape)
    with torch.no_grad():  # the second skill's part is what the network sees for it
        alone = policy.network.features(policy.input(frames), policy.one_hot([1] * 4)).numpy()
    channels = alone.shape[1]
    np.testing.assert_allclose(features[:, channels : 2 * channels], alone, atol=1e-5)


def test_actions_undo_standardisation():
    policy = small_policy()
    policy.mean, policy.spread = torch.tensor([0.1, -0.2, 0.0]), torch.tensor([0.5, 0.5, 0.5])
    head = policy.network.head.layers[-1]
    with torch.no_grad():
        head.weight.zero_()
        head.bias[:5] = torch.tensor([0.0, 1.0, 1.0, 1.0, 9.0])
    action = policy.act(np.full((1, 3, 32, 32), 900, np.uint16), [2])
    assert action[0].tolist() == pytest.approx([0.6, 0.3, 1.0, 1.0])


# --- cloning --------------------------------------------------------------------------------------------------------


def told_by_depth(folder, episodes=6, steps=40):
    """Demonstrations of an easy pair of skills: one moves away from what is near, the other towards it."""
    writer, random = DemoWriter(folder, {"task": "bowl", "skills": ["away", "towards"]}), np.random.default_rng(0)
    for seed in range(episodes):
        near = random.random(steps + 1) < 0.5
        skill = np.repeat([0, 1], steps // 2)
        advice = np.full((steps, 4), -1.0, np.float32)
        advice[:, 0] = np.where(near[:-1], 0.8, -0.8) * np.where(skill, 1, -1)
        depth = np.where(near, 700, 1600).astype(np.uint16)[:, None, None] * np.ones((1, 32, 32), np.uint16)
        vector = np.zeros((steps + 1, 14), np.float32)
        rewards = np.zeros(steps)
        same = {"advice": advice, "actions": advice, "vector": vector, "rewards": rewards, "seed": seed}
        writer.add(episode(steps, skill, depth=depth, **same))
    return open_demos(folder)


@pytest.mark.slow
def test_cloning_tells_skills_and_pictures_apart(tmp_path):
    config = clone_config(
        "debug", {"rollouts": 0, "epochs": 14, "horizons": (1,), "held_out": 0.2, "learning_rate": 3e-3}
    )
    cloned = clone(told_by_depth(tmp_path / "demos"), config)
    near, far = (np.full((1, 3, 32, 32), depth, np.uint16) for depth in (700, 1600))
    for skill, frames, expected in ((0, near, -0.8), (0, far, 0.8), (1, near, 0.8), (1, far, -0.8)):
        assert cloned.act(frames, [skill])[0, 0] == pytest.approx(expected, abs=0.3)
    epochs = cloned.about["epochs"]
    assert cloned.about["best"] == 14 and epochs[-1]["held_out"] < 0.3 * epochs[0]["loss"]
    assert clone(tmp_path / "demos", config).about == cloned.about


@pytest.mark.slow
def test_best_epoch_is_chosen_by_rollouts(tmp_path, monkeypatch):
    successes, weights = iter([0.2, 0.6, 0.4]), []

    def tried(policy, episodes, crew):
        assert episodes == 1
        weights.append(policy.network.stem.weight.detach().clone())
        return next(successes)

    monkeypatch.setattr(cloning, "_tried", tried)
    config = clone_config("debug", {"epochs": 5, "rollouts_every": 2})
    cloned = clone(told_by_depth(tmp_path / "demos", 2), config)
    successes = [epoch["success"] for epoch in cloned.about["epochs"]]
    assert cloned.about["best"] == 3 and successes == [0.2, None, 0.6, None, 0.4]
    assert torch.equal(cloned.network.stem.weight, weights[1])
    assert not torch.equal(weights[1], weights[2])


def test_what_cameras_saw_of_one_demonstration_is_held_out_together():
    shown = [episode(seed=number // 5) for number in range(20)]
    kept, learned = cloning._divided(shown, clone_config("debug", {"held_out": 0.25}), 0)
    assert len(kept) == 5 and len(learned) == 15
    assert len({one.seed for one in kept}) == 1 and not {one.seed for one in kept} & {one.seed for one in learned}


def test_the_best_epoch_is_chosen_on_scenes_of_its_own(monkeypatch):
    played = []

    def noted(settings, plan, actor, chosen, **_):
        played.extend(chosen)
        return [Outcome(seed, True, 1, (0,)) for seed in chosen]

    monkeypatch.setattr(cloning, "play", noted)
    assert cloning._tried(small_policy(), 25, None) == 1.0
    ends = [seeds.DEMONSTRATIONS_EACH * 1000, seeds.CHOICE, seeds.TURNS, seeds.EVALUATION, seeds.training(0, 0, 0)]
    assert ends == sorted(ends) and played == list(range(seeds.CHOICE, seeds.CHOICE + 25)) and max(played) < ends[2]


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.slow
def test_the_debug_preset_shows_every_skill(tmp_path, task):
    demos = collect(task, tmp_path / "demos", demo_options("debug"))
    cloned = clone(demos.folder, clone_config("debug", {"rollouts": 0}))
    assert cloned.skill_set.names == tuple(skill.name for skill in skills(task))


def test_skills_that_nobody_showed_are_refused(tmp_path):
    writer = DemoWriter(tmp_path / "demos", {"task": "bowl", "skills": ["a", "b", "c"]})
    writer.add(episode())
    writer.add(episode())
    with pytest.raises(FovealError, match=r"not \[2\]: collect more"):
        clone(tmp_path / "demos", clone_config("debug"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizons": (10, 1)}, "begin with 1"),
        ({"near": 3.0}, "below far"),
        ({"widths": (8,)}, "as many entries"),
        ({"pooling": "max"}, "choose one of: average, points"),
        ({"epoch": 3}, "did you mean 'epochs'"),
    ],
)
def test_bad_settings_are_refused(changes, message):
    with pytest.raises(FovealError, match=message):
        clone_config("compact", changes)


# --- arms -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_experts_in_order_solve_the_task_and_others_do_not():
    arms = ArmSettings("pick", View(size=0))
    good = play(arms, InOrder(script("pick")), None, [1, 2, 3])
    assert all(outcome.success and outcome.chosen == (2, 0, 1)[: len(outcome.chosen)] for outcome in good)
    bad = play(arms, InOrder((1,)), None, [1])
    assert not bad[0].success and bad[0].steps == 200 and bad[0].chosen == (1,) * 4


@pytest.mark.slow
def test_the_actor_does_its_skills_and_experts_the_others():
    class Actor:
        stack = 1

        def act(self, frames, skill):
            asked.append((frames.shape, skill.tolist()))
            return np.zeros((len(frames), 4), np.float32)

    asked = []
    arms = Arms(ArmSettings("pick", View(8, 8)), 2, stack=1)
    for index in range(2):
        arms.reset(index, seed=index)
    before = [env.truth().tool for env in arms.envs]
    arms.run(Actor(), np.array([2, 1]), 3, cloned=(2,))
    after = [env.truth().tool for env in arms.envs]
    arms.close()
    assert asked == [((1, 1, 8, 8), [2])] * 3
    assert np.abs(after[0] - before[0]).max() < 1e-3  # told to stand still
    assert arms.steps.tolist() == [3, 3]


@pytest.mark.slow
def test_frames_are_stacked_oldest_first():
    arms = Arms(ArmSettings("pick", View(8, 8)), 1, stack=3)
    arms.reset(0, seed=0)
    first = arms.frames()[0].copy()
    assert (first[0] == first[1]).all() and (first[1] == first[2]).all()
    arms.run(None, np.array([2]), 5)
    second = arms.frames()[0].copy()
    arms.run(None, np.array([2]), 1)
    assert (arms.frames()[0][:2] == second[1:]).all()
    arms.close()


def test_success_rates_have_wilsons_interval():
    rate = SuccessRate.of([True] * 8 + [False] * 2)
    z, p, n = 1.959964, 0.8, 10  # the formula of Wilson 1927
    middle, half = (
        (p + z * z / (2 * n)) / (1 + z * z / n),
        z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)),
    )
    assert (rate.low, rate.high) == (pytest.approx(middle - half, abs=1e-6), pytest.approx(middle + half, abs=1e-6))
    assert str(rate).startswith("8 of 10, 80 %")
    with pytest.raises(FovealError, match="no episode"):
        SuccessRate.of([])


# --- noise and augmentation -----------------------------------------------------------------------------------------


def test_noise_grows_with_the_square_of_distance():
    noise = DepthNoise(subpixel=1e6, holes=0.0, window=0.0, missing=0.0, swapped=0.0, repair=False)
    spread = []
    for metres in (0.6, 1.2):
        frame = np.full((80, 80), 1000 * metres, np.uint16)
        seen = noise.apply(frame, np.random.default_rng(0)).astype(float) / 1000
        spread.append(seen.std())
        assert seen.std() == pytest.approx(metres**2 / noise.focal_baseline * noise.disparity, rel=0.1)
    assert spread[1] / spread[0] == pytest.approx(4.0, rel=0.1)


def test_depth_comes_in_steps_of_disparity():
    noise = DepthNoise(holes=0.0, missing=0.0, swapped=0.0)
    seen = np.unique(noise.apply(np.full((60, 60), 1500, np.uint16), np.random.default_rng(0)))
    steps = noise.focal_baseline / (seen / 1000.0) * noise.subpixel
    assert len(seen) > 2 and np.abs(steps - steps.round()).max() < 0.2


def test_pixels_go_missing_at_edges_and_not_on_slopes():
    frame = np.tile(np.linspace(900, 1500, 60).astype(np.uint16), (60, 1))
    frame[20:30, 20:30] -= 300
    noise = DepthNoise(holes=0.0, missing=1.0, swapped=0.0, repair=False)
    gone = noise.apply(frame, np.random.default_rng(0)) == 0
    near_edge = np.zeros_like(gone)
    near_edge[19:31, 19:31] = True
    near_edge[21:29, 21:29] = False
    assert gone[near_edge].mean() > 0.8 and not gone[~near_edge].any()


@pytest.mark.slow
def test_structured_light_errs_as_was_measured():
    """Nguyen et al.'s formulas at places worked out by hand, and what a flat wall gives of them."""
    sensor = StructuredLight(baseline=0.0, repair=False)
    assert sensor.axial(np.array([1.4]), np.array([0.0]))[0] == pytest.approx(0.0012 + 0.0019)
    steep = math.radians(70.0)
    expected = 0.0012 + 0.0019 * 0.36 + 1e-4 * (steep / (math.pi / 2 - steep)) ** 2
    assert sensor.axial(np.array([1.0]), np.array([steep]))[0] == pytest.approx(expected)
    wall = sensor.apply(np.full((80, 80), 1400, np.uint16), np.random.default_rng(0)).astype(float)
    assert wall.std() == pytest.approx(3.1, rel=0.1) and wall.mean() == pytest.approx(1400, abs=0.2)
    slope = np.tile(1.0 + np.arange(60) / sensor.focal, (60, 1))  # a metre and more away, turned by nearly 45 degrees
    assert sensor.slant(slope)[30, 1] == pytest.approx(math.pi / 4, abs=0.02)


def test_near_things_throw_a_shadow_on_one_side():
    sensor = StructuredLight(focal=100.0, baseline=0.1, repair=False)
    frame = np.full((30, 60), 1000, np.uint16)
    frame[10:20, 20:30] = 500
    gone = sensor.apply(frame, np.random.default_rng(0)) == 0
    # Disparities 20 and 10: ten columns to the right of the near thing are hidden from a projector on the left.
    assert gone[12:18, 32:39].all() and not gone[12:18, 42:].any() and not gone[:, :18].any() and not gone[:8].any()
    assert (StructuredLight(focal=100.0, baseline=0.1).apply(frame, np.random.default_rng(0)) > 0).all()


def test_the_cameras_of_search_and_test_are_of_different_kinds():
    searched, tested = CONDITIONS["noisy_depth"].noise, CONDITIONS["structured_light"].noise
    assert searched == DepthNoise() and tested == StructuredLight() and type(searched) is not type(tested)


def test_what_is_missing_is_filled_from_beside_it_and_lone_errors_vanish():
    table = np.tile(np.arange(1000, 1040, dtype=np.uint16), (30, 1))
    measured = table.copy()
    measured[10:14, 20:23] = 0
    measured[3, 5] = 700
    assert np.abs(repaired(measured).astype(int) - table).max() <= 2
    nothing = np.zeros((4, 4), np.uint16)
    assert np.array_equal(repaired(nothing), nothing)
    torn, whole = (DepthNoise(repair=repair).apply(table, np.random.default_rng(0)) for repair in (False, True))
    assert (torn == 0).any() and np.array_equal(whole, repaired(torn)) and (whole > 0).all()


@pytest.mark.parametrize("name", list(TRANSFORMS))
def test_transforms(name):
    generator = torch.Generator().manual_seed(0)
    image = (torch.rand(6, 1, 24, 24, generator=generator) * 1.6 - 0.8).repeat(1, 3, 1, 1)
    image[:, :, 8:14, 8:14] -= 0.2
    kept = image.clone()
    out = Augmentation(((name, 1.0, 1.0),))(image, torch.Generator().manual_seed(1))
    assert torch.equal(image, kept) and out.shape == image.shape and out.abs().max() <= 1.0
    assert not torch.equal(out, image)
    again = Augmentation(((name, 1.0, 1.0),))(image, torch.Generator().manual_seed(1))
    assert torch.equal(out, again)
    if name not in {"white_noise", "edge_noise"}:  # a sensor's noise differs from frame to frame; the rest does not
        assert torch.equal(out[:, 0], out[:, 1]) and torch.equal(out[:, 0], out[:, 2])
    for magnitude, probability in ((0.0, 1.0), (1.0, 0.0)):
        assert torch.equal(Augmentation(((name, magnitude, probability),))(image, generator), image)


def test_each_sample_is_transformed_or_not():
    image = torch.zeros(400, 1, 4, 4)
    out = Augmentation((("scale", 1.0, 0.25),))(image, torch.Generator().manual_seed(0))
    assert (out != 0).flatten(1).any(1).float().mean().item() == pytest.approx(0.25, abs=0.06)


def test_erasing_removes_what_stands_out():
    image = torch.full((300, 1, 24, 24), 0.5)
    image[:, :, 11:13, 11:13] = -0.5
    out = TRANSFORMS["erase_object"](image, 1.0, torch.Generator().manual_seed(0))
    assert (out == 0.5).flatten(1).all(1).any() and set(out.unique().tolist()) == {-0.5, 0.5}


@pytest.mark.parametrize("shape", [(2, 3, 17, 12), (1, 1, 84, 84), (3, 1, 4, 30)])
def test_what_is_erased_becomes_the_furthest_around(shape):
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)) * 2.0 - 1.0
    assert torch.equal(_furthest_within_5(image), F.max_pool2d(image, 11, 1, 5))


def test_bad_policies_are_refused():
    with pytest.raises(FovealError, match="did you mean 'cutout'"):
        Augmentation((("cut_out", 0.5, 0.5),))
    with pytest.raises(FovealError, match=r"must be in \[0, 1\]"):
        Augmentation((("cutout", 1.5, 0.5),))


def test_compact_network_keeps_places():
    network = FilmResNet(
        (3, 84, 84),
        4,
        CloneConfig().outputs,
        **{name: getattr(clone_config("compact"), name) for name in ("stem", "widths", "blocks", "strides", "pooling")},
    )
    assert network.feature_shape == (64, 11, 11)
    image = torch.randn(2, 3, 84, 84)
    assert F.mse_loss(network(image, torch.eye(4)[:2]), network(image, torch.eye(4)[2:])).item() > 0.0


def test_relief_is_height_above_the_mean_of_a_window():
    image = torch.linspace(-1.0, 1.0, 36).repeat(36, 1)[None, None].repeat(2, 3, 1, 1)  # a sloping table
    image[:, 1, 10:12, 20] -= 0.03
    seen = Relief(0.1)(image)
    assert seen.shape == (2, 6, 36, 36) and torch.equal(seen[:, :3], image)
    window = image[0, 1, 10 - 3 : 10 + 4, 20 - 3 : 20 + 4]  # a twelfth of the picture to every side
    expected = ((window.mean() - image[0, 1, 10, 20]) / 0.1).item()
    assert seen[0, 4, 10, 20].item() == pytest.approx(expected, abs=1e-5)
    corner = image[0, 0, :4, :4]
    assert seen[0, 3, 0, 0].item() == pytest.approx(((corner.mean() - image[0, 0, 0, 0]) / 0.1).item(), abs=1e-5)
    image[:] = torch.where(torch.arange(36) < 20, 1.0, -1.0)
    assert Relief(0.1)(image)[:, 3:].amax().item() == 1.0 and Relief(0.1)(image)[:, 3:].amin().item() == -1.0


def test_relief_is_of_the_compact_preset_alone():
    assert clone_config("paper").relief == 0.0
    compact = clone_config("compact")
    assert compact.relief_height * (compact.far - compact.near) / 2.0 == pytest.approx(0.05)
    with pytest.raises(FovealError, match="relief"):
        clone_config("compact", {"relief": -1.0})
