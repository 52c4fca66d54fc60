"""The shield: its parts by closed forms, its training end to end on an environment whose task it can learn to see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import foveal
from foveal.cli import main
from foveal.commands.shield import behind
from foveal.corruptions import CORRUPTIONS, CorruptionOptions
from foveal.errors import FovealError
from foveal.fovea.mixture import Mixture
from foveal.loading import load
from foveal.shield import Shield, ShieldConfig, train_shield
from foveal.shield.labels import environment_frames
from foveal.shield.measures import detection, measure
from foveal.shield.training import ShieldWork, resumed, settings_of, shield_work
from foveal.shield.wrapping import KEPT, Through
from foveal.training import Trainer
from foveal.training.looking import collect
from small_env import SIZE, Ignorant, differing, small_agent
from small_shield import OPTIONS, SMALL, Ball, Inverter, frames, pictures

# --- frames -----------------------------------------------------------------------------------------------------------


def test_frames_are_collected_with_their_masks_and_a_seed_repeats_them() -> None:
    first, again, other = frames(), frames(), frames(seed=1)
    assert len(first) == 60 and first.pixels.dtype == torch.uint8 and first.masks.dtype == torch.bool
    assert first.pixels.equal(again.pixels) and not first.pixels.equal(other.pixels)
    bright = first.pixels[:, 0] == 230
    assert bright.equal(first.masks)


def test_half_of_the_frames_are_of_the_policy_that_is_to_be_protected() -> None:
    class Still:
        acted = 0

        def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
            assert observation.shape == (6, SIZE, SIZE) and deterministic
            Still.acted += 1
            return np.zeros(2, np.float32), None

    found = collect(Ball, OPTIONS, 60, 0, Still())
    assert Still.acted == 30
    stands = [
        len({bytes(mask.numpy()) for mask in found.masks[found.episodes == n]}) == 1 for n in found.episodes.unique()
    ]
    assert sum(stands) >= 2  # 30 frames of episodes of 20


def test_what_is_kept_back_is_of_other_episodes() -> None:
    training, kept = frames().divided(0.1)
    assert len(training) + len(kept) == 60 and len(kept) > 0
    assert not set(training.episodes.tolist()) & set(kept.episodes.tolist())


def test_an_environment_that_knows_no_task_is_refused_at_once() -> None:
    with pytest.raises(FovealError, match="can't tell which pixels are the agent's"):
        train_shield(Ignorant, OPTIONS, SMALL)


def test_without_a_simulators_masks_the_same_frames_are_told_by_motion() -> None:
    class Unknown(gymnasium.Env[Any, Any]):
        action_space, observation_space = Ball.action_space, Ball.observation_space

        def __init__(self) -> None:
            self.ball = Ball()

        def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, Any]:
            return self.ball.reset(seed=seed)

        def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            return self.ball.step(action)

    known = frames()
    told = environment_frames(Unknown, OPTIONS, replace(SMALL, masks="motion"), 0)
    assert told.pixels.equal(known.pixels)
    assert (told.masks & known.masks).sum() > 0.9 * (told.masks | known.masks).sum()
    with pytest.raises(FovealError, match="can't tell which pixels"):
        environment_frames(Unknown, OPTIONS, SMALL, 0)


@pytest.mark.slow
def test_a_policys_saliency_tells_masks_of_a_share_of_the_frame() -> None:
    agent = small_agent(Ball)
    found = environment_frames(Ball, agent.env_options, replace(SMALL, masks="saliency"), 0, agent)
    shares = found.masks.float().mean((1, 2))
    assert found.masks.shape == (60, SIZE, SIZE) and shares.min() >= 0.05 and shares.max() < 0.4


@pytest.mark.parametrize(("clean", "twice"), [(1.0, 0.0), (0.0, 0.0), (0.0, 1.0)])
def test_the_mixture_leaves_changes_or_changes_twice(clean: float, twice: float) -> None:
    some = frames()
    mixture = Mixture(("contrast", "noise", "background"), CorruptionOptions(SIZE, picture_count=8), clean, twice)
    shown = mixture(some.pixels, some.masks, torch.Generator().manual_seed(0))
    changed = (shown != some.pixels).flatten(1).any(1)
    assert changed.all() if clean == 0 else not changed.any()
    assert type(mixture.corruptions[0]).__name__ == "StillBackground"  # before anything moves the task
    suffered = mixture._suffered(1000, torch.Generator().manual_seed(0)).sum(1)
    assert int(suffered.max()) == (0 if clean else 2 if twice else 1)


# --- through it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(3, SIZE, SIZE), (9, SIZE, SIZE), (4, 9, SIZE, SIZE), (SIZE, SIZE, 3), (2, SIZE, SIZE, 6)]
)
def test_stacks_batches_and_channels_last_keep_their_shape(shape: tuple[int, ...]) -> None:
    seen = pictures(*shape)
    assert np.array_equal(Through(Inverter())(seen), 255 - seen)


def test_each_new_frame_is_restored_once() -> None:
    shield = Inverter()
    see, film = Through(shield), pictures(40, 3, SIZE, SIZE)
    for step in range(2, 40):
        stack = np.concatenate(film[step - 2 : step + 1])
        assert np.array_equal(see(stack), 255 - stack)
    assert shield.restored == 40
    assert len(see._restored) <= KEPT + 3


def test_dicts_have_cameras_and_keep_the_rest() -> None:
    see = Through(Inverter(), ("left", "right"))
    seen = {"left": pictures(3, SIZE, SIZE), "right": pictures(3, SIZE, SIZE, seed=1), "joints": np.ones(4)}
    given = see(seen)
    assert np.array_equal(given["right"], 255 - seen["right"]) and given["joints"] is seen["joints"]
    assert see.doubt == max(seen["left"][0, 0, 0], seen["right"][0, 0, 0])
    with pytest.raises(FovealError, match="no picture 'right' but 'left'"):
        see({"left": seen["left"]})


def test_the_only_picture_needs_no_name_and_a_second_one_does() -> None:
    seen = {"wrist": pictures(3, SIZE, SIZE), "joints": np.ones(4)}
    assert np.array_equal(Through(Inverter())(seen)["wrist"], 255 - seen["wrist"])
    both = {**seen, "front": pictures(3, SIZE, SIZE, seed=1)}
    with pytest.raises(FovealError, match=r"'wrist' and 'front': name those .* cameras=\('wrist', 'front'\)"):
        Through(Inverter())(both)
    given = Through(Inverter(), ("wrist",))(both)
    assert given["front"] is both["front"]
    with pytest.raises(FovealError, match="no picture 'image' but 'joints'"):
        Through(Inverter())({"joints": np.ones(4)})


def test_doubt_is_of_the_newest_frame() -> None:
    see, stack = Through(Inverter()), pictures(2, 6, SIZE, SIZE)
    see(stack)
    assert see.doubt == stack[:, 3, 0, 0].max()
    see(stack[0])
    assert see.doubt == stack[0, 3, 0, 0]


@pytest.mark.parametrize("wrong", [pictures(3, 20, 20), pictures(4, SIZE, SIZE), np.zeros((3, SIZE, SIZE), np.float32)])
def test_pictures_that_it_does_not_know_are_refused(wrong: Any) -> None:
    with pytest.raises(FovealError, match=r"uint8 RGB frames of 36 x 36 pixels.*of shape"):
        Through(Inverter())(wrong)


def test_a_policy_acts_on_what_it_is_given_and_stays_what_it_is() -> None:
    class Mean:
        env_id, seed = "x", 3

        def predict(self, observation: Any, state: Any = None, *, deterministic: bool = False) -> tuple[Any, Any]:
            return observation.mean(), (state, deterministic)

    shielded = foveal.shield.Shielded(Inverter(), Mean())
    dark = np.zeros((3, SIZE, SIZE), np.uint8)
    assert shielded.predict(dark, "memory", deterministic=True) == (255.0, ("memory", True))
    assert (shielded.env_id, shielded.seed, shielded.method_name) == ("x", 3, "Mean behind a shield")
    assert shielded.doubt == 0.0 and shielded.trusted
    shielded.predict(dark + 200)
    assert shielded.doubt == 200.0 and not shielded.trusted
    with pytest.raises(FovealError, match=r"has no predict"):
        foveal.shield.Shielded(Inverter(), object())


def test_an_environment_shows_its_pictures_through_it_and_says_how_far_to_trust_them() -> None:
    wrapped = foveal.shield.ShieldedObservations(Ball(), Inverter())
    observation, info = wrapped.reset(seed=0)
    assert observation[0, 0].tolist() == [255 - 30, 255 - 40, 255 - 80] and info["shield_doubt"] == 30.0
    assert wrapped.step(np.zeros(2))[4]["shield_doubt"] == 30.0
    small = spaces.Box(0, 255, (20, 20, 3), np.uint8)
    cut = gymnasium.wrappers.TransformObservation(Ball(), lambda frame: frame[:20, :20], small)
    with pytest.raises(FovealError, match="36 x 36"):
        foveal.shield.ShieldedObservations(cut, Inverter())


# --- measures ---------------------------------------------------------------------------------------------------------


def test_detection_is_the_area_under_the_curve() -> None:
    error = np.arange(10.0)
    assert detection(error, error, 0.2) == 1.0
    assert detection(-error, error, 0.2) == 0.0
    assert detection(np.zeros(10), error, 0.2) == 0.5
    one_above = np.array([0, 0, 0, 0, 0, 0, 0, 9.0, 8.0, 10.0])  # of 16 pairs one is the wrong way round
    assert detection(one_above, error, 0.2) == pytest.approx(15 / 16)


def test_a_shield_that_passes_everything_on_has_the_error_of_what_came() -> None:
    shield = Shield(SMALL, "x", SIZE)
    with torch.no_grad():
        shield.network.draw.weight.zero_()
        shield.network.draw.bias.copy_(torch.tensor([0.0, 0.0, 0.0, -100.0, 100.0]))
        shield.network.change[2].bias.fill_(100.0)  # nothing seems to be as it was
    found = measure(shield, frames(), "noise", 3)
    assert np.array_equal(found.before, found.after)
    assert found.before.mean() == pytest.approx(18 * np.sqrt(2 / np.pi), rel=0.1)
    assert found.overlap == pytest.approx(64 / SIZE**2, rel=0.05)  # everything is said to be the task's
    assert measure(shield, frames()).after.max() == 0


def test_a_shield_sees_that_its_weights_have_changed() -> None:
    shield, seen = Shield(SMALL, "x", SIZE), frames().pixels[:2]
    before = shield.restore(seen)
    assert shield.restore(seen).masks.tolist() == before.masks.tolist()
    with torch.no_grad():
        shield.network.draw.bias[4] += 1.0
    assert (shield.restore(seen).masks > before.masks).all()


# --- training ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on_to_the_same_shield(tmp_path: Path) -> None:
    whole = train_shield(Ball, OPTIONS, SMALL, seed=3, run=tmp_path / "whole")
    work = shield_work(Ball, collect(Ball, OPTIONS, SMALL.frames, 3), SMALL, 3)
    Trainer(work, settings_of(SMALL), run=tmp_path / "cut", progress=False).train(3)
    trainer = foveal.resume(tmp_path / "cut", progress=False)
    trainer.train(3)
    (mine, about), (theirs, other) = trainer.work.agent.state(), whole.state()
    assert differing(mine, theirs) == []
    assert about == other
    assert whole.limit < float("inf") and whole.about["frames"] == 60


@pytest.mark.slow
def test_a_shield_comes_back_from_the_disk_as_it_was(tmp_path: Path) -> None:
    shield = train_shield(Ball, OPTIONS, SMALL)
    shield.save(tmp_path / "shield")
    loaded = Shield.load(tmp_path / "shield")
    seen = frames().pixels[:4]
    for mine, theirs in zip(shield.restore(seen), loaded.restore(seen), strict=True):
        assert np.array_equal(mine, theirs)
    assert (loaded.limit, loaded.about, loaded.config) == (shield.limit, shield.about, shield.config)
    with pytest.raises(FovealError, match=r"holds a shield, which is no policy: foveal\.Shield\.load"):
        load(tmp_path / "shield")


def test_more_steps_than_the_learning_rate_knows_of_are_refused() -> None:
    work = shield_work(Ball, frames(), SMALL, 0)
    with pytest.raises(FovealError, match="ends after 6 steps, not 7"):
        Trainer(work, settings_of(SMALL), progress=False).train(7)


@pytest.mark.slow
def test_it_learns_to_undo_what_it_is_trained_on_and_to_see_the_task() -> None:
    config = ShieldConfig(
        filters=8, depth=2, frames=300, steps=150, batch_size=32, picture_count=64, corruptions=("background", "tint")
    )
    shield = train_shield(Ball, OPTIONS, config)
    fresh = frames(60, seed=9)
    changed, clean = measure(shield, fresh, "background", 5), measure(shield, fresh)
    assert changed.after.mean() < 0.6 * changed.before.mean()
    assert changed.overlap > 0.7
    assert clean.after.mean() < 3


def test_masked_output_is_black_outside_the_task() -> None:
    shield = Shield(ShieldConfig(filters=4, depth=1, output="masked"), "x", SIZE)
    with torch.no_grad():
        shield.network.draw.weight.zero_()
        shield.network.draw.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 0.0, -100.0]))
    assert shield.restore(frames().pixels[:2]).frames.max() == 0


# --- evaluation and commands ------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_evaluate_and_insides_take_a_policy_behind_a_shield() -> None:
    shield = train_shield(Ball, {"image_size": SIZE}, SMALL)
    agent = small_agent(Ball)
    shielded = shield.wrap(agent)
    results = foveal.evaluate(shielded, on=["train", "noise:5"], episodes=1, progress=False)
    assert results.policy["method"] == "sgqn behind a shield (privileged)"
    observation = pictures(9, SIZE, SIZE)
    action = agent.predict(shielded.see(observation), deterministic=True)[0]
    assert np.array_equal(shielded.predict(observation, deterministic=True)[0], action)
    mine = shielded.insides().look("gradient", [observation], [action])
    assert mine.equal(agent.insides().look("gradient", [shielded.see(observation)], [action]))


@pytest.mark.slow
def test_the_commands_train_a_shield_and_evaluate_behind_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = tmp_path / "run", tmp_path / "shield"
    small = "--preset debug --environment.action-repeat 40 --training.initial-random-steps 20 --evaluate-every 0"
    assert main(["train", "dmc/cartpole-swingup", "--steps", "25", *small.split(), "--out", str(run)]) == 0
    settings = "--filters 4 --depth 1 --frames 40 --steps 4 --batch-size 4 --picture-count 8 --corruptions noise tint"
    assert main(["shield", "train", str(run), "--out", str(out), *settings.split()]) == 0
    assert "foveal evaluate" in capsys.readouterr().out
    assert main(["evaluate", str(run), "--shield", str(out), "--on", "train", "noise:3", "--episodes", "1"]) == 0
    assert "behind a shield" in capsys.readouterr().out


@pytest.mark.slow
def test_the_command_trains_a_shield_for_the_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = "--filters 4 --depth 1 --frames 40 --steps 4 --batch-size 4 --picture-count 8 --corruptions background"
    out = tmp_path / "shield"
    arguments = ["shield", "train", "ur5e/bowl", "--image-size", "40", "--quality", "draft", "--out", str(out)]
    assert main([*arguments, *settings.split()]) == 0
    assert "foveal evaluate" in capsys.readouterr().out
    assert Shield.load(out).env_id == "ur5e/bowl" and (out / "page.html").is_file()


def test_bad_settings_are_told_before_any_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["shield", "train", "dmc/walker-walk", "--corruptions", "nois"]) == 2
    assert "'noise'" in capsys.readouterr().err
    assert main(["shield", "train"]) == 2
    assert "name what to shield" in capsys.readouterr().err
    with pytest.raises(FovealError, match="corruptions is empty"):
        ShieldConfig(corruptions=())
    Shield(SMALL, "dmc/walker-walk", SIZE).save(tmp_path / "shield")
    assert main(["evaluate", "pretrained:walker-stand-sgqn", "--shield", str(tmp_path / "shield")]) == 2
    assert "is for frames of 36 pixels, and this policy sees 40" in capsys.readouterr().err


def test_a_shield_for_frames_rendered_at_another_size_warns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    agent: Any = load("pretrained:walker-stand-sgqn")
    for rendered_size in (None, 84):
        Shield(SMALL, agent.env_id, 40, rendered_size=rendered_size).save(tmp_path / str(rendered_size))
        assert Shield.load(tmp_path / str(rendered_size)).rendered_size == rendered_size
    behind(str(tmp_path / "None"), agent)
    assert capsys.readouterr().out == ""
    behind(str(tmp_path / "84"), agent)
    assert "knows frames rendered with 84 pixels, and the policy's are rendered with 40" in capsys.readouterr().out
    monkeypatch.setattr(type(agent), "env_options", {**agent.env_options, "rendered_size": 84})
    behind(str(tmp_path / "84"), agent)
    assert capsys.readouterr().out == ""
    behind(str(tmp_path / "None"), agent)
    assert "knows frames rendered with 40 pixels, and the policy's are rendered with 84" in capsys.readouterr().out


def test_a_shield_remembers_how_its_frames_were_rendered() -> None:
    shield = train_shield(Ball, {**OPTIONS, "rendered_size": 2 * SIZE}, replace(SMALL, steps=1))
    assert (shield.image_size, shield.rendered_size) == (SIZE, 2 * SIZE)


def test_every_corruption_may_be_trained_on() -> None:
    work = ShieldWork(
        Shield(ShieldConfig(corruptions=tuple(CORRUPTIONS.names()), picture_count=8), "x", SIZE), frames()
    )
    assert len(work.learning.mixture.corruptions) == len(CORRUPTIONS.names())
    assert resumed.__doc__
