"""What skills look at: maps against captum, shares against closed forms, whose pixels are whose, pages and films."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from captum.attr import GuidedBackprop, Saliency
from torch import nn

from small_skills import small_policy

pytest.importorskip("h5py", reason='needs the extra "skills"')


from chromium import visit
from foveal.cli import main
from foveal.envs.ur5e import make_arm
from foveal.errors import FovealError
from foveal.evaluation.recording import Recording
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import TRAIN, Bar, WorldOptions
from foveal.explanation import explain
from foveal.explanation.attention import Lens
from foveal.explanation.tables import shares
from foveal.saliency import SALIENCY
from foveal.skills.config import clone_config, master_config
from foveal.skills.flat import FlatPolicy, flat_config
from foveal.skills.insides import GRIPPER, VELOCITY, untrained
from foveal.skills.master import Master
from foveal.skills.policy import SkillPolicy, SkillSet
from foveal.skills.view import View
from foveal.skills.world import Seen

OUTPUTS = (VELOCITY, GRIPPER)

# captum says for every call that it sets hooks; that does not concern the values compared here.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:captum")


def lived_in(policy: SkillPolicy) -> SkillPolicy:
    """Batch norms that have seen something, as those of a trained network."""
    policy.network.train()
    with torch.no_grad():
        for seed in range(3):
            frames = scene(8, policy.stack, policy.skill_set.view.size, seed)
            policy.network(policy.input(frames), policy.one_hot(np.arange(8) % policy.skills))
    policy.network.eval()
    policy.mean, policy.spread = torch.tensor([0.1, -0.2, 0.3]), torch.tensor([0.5, 0.4, 0.3])
    return policy


def scene(count: int, stack: int = 3, size: int = 32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(400, 2200, (count, stack, size, size)).astype(np.uint16)


def seen(frames: np.ndarray, skill: Any) -> list[Seen]:
    return [Seen(one, int(number)) for one, number in zip(frames, skill, strict=True)]


def record(agent: Any, condition: str = TRAIN, *, skill: int | None = None, every: int = 1) -> Recording:
    """An episode of 200 steps, with a sight every so many of them."""
    world = world_of(agent, WorldOptions(condition, skill=skill))
    return world.record(condition, 200 // every, Bar(1, visible=False))


@pytest.fixture(scope="module")
def played() -> tuple[SkillPolicy, Recording]:
    """A policy, and an episode of its skills with ten sights, which nobody changes."""
    policy = small_policy()
    return policy, record(policy, every=20)


class Scalar(nn.Module):
    """What captum takes: a module, with the network's own below it."""

    def __init__(self, policy: SkillPolicy, skill: Any, of: str) -> None:
        super().__init__()
        self.network, self.policy, self.of = policy.network, policy, of
        self.condition = policy.one_hot(skill)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        out = self.network(image, self.condition)
        if self.of == GRIPPER:
            return (out[:, 1] - out[:, 0]).abs()
        return (out[:, 2:5] * self.policy.spread + self.policy.mean).abs().sum(1)


# --- maps -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["debug", "paper"])
@pytest.mark.parametrize("of", OUTPUTS)
def test_maps_are_captums(preset: str, of: str) -> None:
    """FiLM, batch norm, max pool and both heads in float32: the same guided backpropagation to the last digits."""
    config = clone_config(preset, {"precision": "float32"})
    policy = lived_in(SkillPolicy(SkillSet("pick", ("a", "b", "c"), View(32, 32)), config))
    frames, skill = scene(4), np.array([0, 1, 2, 0])
    module, image = Scalar(policy, skill, of), policy.input(frames).requires_grad_()
    for name, oracle in (("guided_backprop", GuidedBackprop(module)), ("gradient", Saliency(module))):
        theirs = oracle.attribute(image).abs().detach()
        found = policy.insides().look(name, seen(frames, skill), of=of)
        assert theirs.abs().max() > 0
        np.testing.assert_allclose(found, theirs.sum(1), rtol=1e-4, atol=1e-6 * float(theirs.max()))
    assert all(parameter.grad is None for parameter in policy.network.parameters())


def test_scalars_say_what_is_carried_out() -> None:
    policy = lived_in(small_policy())
    frames, skill = scene(6), np.arange(6) % 3
    with torch.no_grad():
        out = policy.network(policy.input(frames), policy.one_hot(skill)).numpy()
        insides, observations = policy.insides(), seen(frames, skill)
        speed = insides.scalar(VELOCITY).bind(observations, [])(insides.pixels(observations)).numpy()
        margin = insides.scalar(GRIPPER).bind(observations, [])(insides.pixels(observations)).numpy()
    acted = policy.act(frames, skill)
    np.testing.assert_allclose(np.abs(acted[:, :3]).sum(1), speed, rtol=1e-5)  # none is clipped here
    np.testing.assert_allclose(margin, np.abs(out[:, 1] - out[:, 0]), rtol=1e-6)
    assert insides.scalar() is insides.scalar(VELOCITY)
    with pytest.raises(FovealError, match="no scalar 'grip': did you mean 'gripper'"):
        insides.scalar("grip")


def test_maps_do_not_depend_on_their_neighbours() -> None:
    policy = lived_in(small_policy())
    frames, skill = scene(20), np.arange(20) % 3
    observations, insides = seen(frames, skill), policy.insides()
    together = insides.look("guided_backprop", observations)
    alone = insides.look("guided_backprop", observations[17:18])
    np.testing.assert_allclose(together[17], alone[0], rtol=1e-4, atol=1e-7)


@pytest.mark.bfloat16
def test_twins_for_looking() -> None:
    policy = lived_in(small_policy(precision="bfloat16"))
    exact, fresh = policy.copy(precision="float32"), untrained(policy)
    assert exact.network.dtype == torch.float32 and policy.network.dtype == torch.bfloat16
    for name, value in policy.network.state_dict().items():
        assert torch.equal(value, exact.network.state_dict()[name])
    assert not torch.equal(fresh.network.stem.weight, exact.network.stem.weight)
    assert torch.equal(fresh.spread, policy.spread)


# --- episodes -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_every_pixel_is_somebodys_or_nobodys() -> None:
    env = make_arm("bowl", size=120, depth=False, rgb=True, randomization="none", quality="draft")
    observation, _ = env.reset(seed=3)
    parts = env.part_masks()
    assert list(parts) == ["gripper", "arm", "cube", "bowl"]
    assert np.sum(list(parts.values()), axis=0).max() == 1
    np.testing.assert_array_equal(np.any(list(parts.values()), axis=0), env.agent_mask())  # what the task is about
    red = observation["rgb"][..., 0].astype(float) > 2.0 * observation["rgb"][..., 1]
    assert (red & parts["cube"]).sum() / (red | parts["cube"]).sum() > 0.8
    rows = [np.flatnonzero(parts[name].any(1)) for name in ("arm", "gripper")]
    assert rows[0].min() <= rows[1].min() and rows[1].max() > rows[0].max()  # the gripper is at the lower end
    env.close()


@pytest.mark.slow
def test_skills_follow_the_script_and_one_alone_is_seen_where_its_turn_is(played: Any) -> None:
    policy, recording = played
    assert [(sight.step, sight.observation.skill) for sight in recording.sights] == [
        *[(0, 2), (20, 2), (40, 2), (60, 0), (80, 0), (100, 0), (120, 1), (140, 1), (160, 1)],
        (180, 2),
    ]
    assert recording.episode.length == 200 == len(recording.rewards) and not recording.episode.terminated
    assert recording.episode.success is False
    for sight in list(recording.sights)[:2]:
        observation = sight.observation
        acted = policy.act(observation.frames[None], np.array([observation.skill]))[0]
        np.testing.assert_array_equal(acted, sight.action)
    alone = record(policy, skill=0)
    assert [sight.step for sight in alone.sights] == list(range(60, 120))
    assert {(sight.observation.skill, sight.note) for sight in alone.sights} == {(0, "a")}
    first = next(iter(alone.sights))
    assert first.observation.frames.shape == (3, 32, 32) and first.parts["cube"].shape == (32, 32)
    again = record(policy, "moved_camera", skill=0)
    assert not np.array_equal(next(iter(again.sights)).observation.frames, first.observation.frames)
    for number, message in ((3, r"no skill 3; these are: 0 \(a\), 1"), (-1, "no skill -1")):
        with pytest.raises(FovealError, match=message):
            record(policy, skill=number)


@pytest.mark.slow
def test_masters_choose_in_their_own_episodes() -> None:
    master = Master("pick", small_policy(), master_config("debug", {"skill_steps": 40}))
    master.choose = lambda arms, which, decision, seeds: np.array([decision % 2])  # type: ignore[method-assign]
    recording = record(master, every=40)
    assert [sight.observation.skill for sight in recording.sights] == [0, 1, 0, 1, 0]
    blind = Master("pick", None, master_config("debug"))
    for mistake in (blind.insides, lambda: record(blind)):
        with pytest.raises(FovealError, match="chooses among scripted experts"):
            mistake()


# --- numbers --------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_map_that_is_the_same_everywhere_has_every_ratio_at_one(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = SALIENCY.get
    monkeypatch.setattr(
        SALIENCY, "get", lambda name: (lambda fn, obs: torch.ones_like(obs)) if name == "flat" else plain(name)
    )
    policy, recording = played
    (attention,) = Lens.on(policy, "flat").look(recording, 10)
    found = shares(attention)
    assert list(found) == ["all", "c", "a", "b"]
    for parts in found.values():
        assert list(parts) == ["gripper", "arm", "cube", "elsewhere"]
        for share in parts.values():
            assert share.saliency == pytest.approx(share.pixels) == pytest.approx(share.untrained)
        assert sum(share.saliency for share in parts.values()) == pytest.approx(1.0)


@pytest.mark.slow
def test_shares_are_means_over_pictures(played: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the depth frames themselves as a map, worked out one by one."""
    plain, (policy, recording) = SALIENCY.get, played
    monkeypatch.setattr(SALIENCY, "get", lambda name: (lambda fn, obs: obs + 2.0) if name == "depth" else plain(name))
    (attention,) = Lens.on(policy, "depth").look(recording, 10)
    expected = []
    for sight in recording.sights:
        weight = np.clip((sight.observation.frames / 1000.0 - 0.5) * 2.0 / 1.5 - 1.0, -1.0, 1.0).sum(0) + 6.0
        expected.append((weight * sight.parts["gripper"]).sum() / weight.sum())
    assert shares(attention)["all"]["gripper"].saliency == pytest.approx(np.mean(expected), rel=1e-5)
    masks = [moment.mask for moment in attention.moments]
    assert all(0.05 <= mask.mean() < 0.3 for mask in masks)  # the top 5 %, ties kept: all that is far


# --- pages ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_page_and_a_film_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = lived_in(small_policy()).save(tmp_path / "skills")
    page, film = tmp_path / "x.html", tmp_path / "x.mp4"
    options = ["--skill", "0", "--of", "gripper", "--saliency", "guided_backprop", "gradient", "--video", str(film)]
    assert main(["explain", str(folder), "--out", str(page), *options]) == 0
    assert capsys.readouterr().out.splitlines() == [f"wrote {film}", str(page)]
    source = page.read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]*>", " ", source).split())
    assert "What the gripper looks at in ur5e/pick" in text and "of the skill “a”" in text
    assert re.search(r"gripper arm cube elsewhere a train, guided backprop [\d.]+× [\d.]+ % of", text)  # noqa: RUF001
    assert json.loads(re.findall(r'"notes":(\[[^]]*\])', source)[0]) == ["a"] * 60
    found, console = visit(source, tmp_path)
    (player,) = found["players"]
    assert player["shown"] and all(player["painted"]) and len(player["painted"]) == 5
    assert player["first"].startswith("step 60 of") and player["last"].endswith("· a")
    assert all(found["images"]) and found["wide"] <= 0 and not console
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 60


@pytest.mark.slow
def test_a_masters_folder_is_explained_too(tmp_path: Path) -> None:
    folder = Master("pick", small_policy(), master_config("debug", {"skill_steps": 60})).save(tmp_path / "master")
    page = tmp_path / "x.html"
    assert main(["explain", str(folder), "--on", "moved_camera", "--frames", "2", "--out", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "of a master that chooses among cloned skills" in text and ">moved_camera<" in text


@pytest.mark.slow
def test_a_policy_of_every_step_is_explained_by_the_same_page(tmp_path: Path) -> None:
    policy = FlatPolicy("pick", View(48, 48), flat_config(64))
    explain(policy, out=tmp_path / "x.html", moments=4, frames=2, of="value", saliency="gradient", progress=False)
    text = " ".join(re.sub(r"<[^>]*>", " ", (tmp_path / "x.html").read_text(encoding="utf-8")).split())
    assert "of a policy of every step" in text and "the state&#39;s value" in text and "untrained" not in text
    assert re.search(r"gripper arm cube elsewhere all train [\d.]+× [\d.]+ % of", text)  # noqa: RUF001
    insides, sights = policy.insides(), [*record(policy, every=50).sights]
    assert list(insides.scalars) == ["velocity", "gripper", "value", "velocity_x", "velocity_y", "velocity_z"]
    observations = [sight.observation for sight in sights]
    pixels = insides.pixels(observations)
    with torch.no_grad():
        speed, grip, value = (
            insides.scalar(of).bind(observations, [])(pixels).numpy() for of in ("velocity", "gripper", "value")
        )
        expected = policy.network.values(pixels)
    actions = np.stack([sight.action for sight in sights])
    np.testing.assert_allclose(np.abs(actions[:, :3]).sum(1), speed, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.abs(actions[:, 3]), grip, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(value, expected.numpy(), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": "color_hard"}, "unknown condition 'color_hard': choose one of: .*far_starts"),
        ({"on": ["train", "training"]}, "'train' is named twice; name every condition once"),
        ({"on": []}, "nothing to evaluate on: name 'train' or a condition"),
        ({"on": ["train", "far_starts"], "video": "x.mp4"}, "shows one condition"),
        ({"saliency": "attention"}, "no attention module"),
        ({"saliency": "guided"}, "did you mean"),
        ({"of": "speed"}, "no scalar 'speed': choose one of: gripper, velocity"),
        ({"quality": "fast"}, "quality means nothing for a simulated arm"),
        ({"quantile": 1.0}, "quantile must be"),
        ({"skill": 7}, "no skill 7"),
        ({"seed": -1}, "seed must not be negative"),
    ],
)
def test_mistakes_are_told_before_any_work(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    options = {name: tmp_path / value if name == "video" else value for name, value in options.items()}
    with pytest.raises(FovealError, match=message):
        explain(small_policy(), out=tmp_path / "x.html", progress=False, **{"on": "train", **options})
    assert not (tmp_path / "x.html").exists()
