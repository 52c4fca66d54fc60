"""Explaining Atari agents: the game shown is the one that was played, maps are the agent's, pages and films work."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

pytest.importorskip("ale_py", reason="needs the extra 'atari'")


import foveal
from chromium import visit
from foveal.atari.evaluation import GameWorld
from foveal.atari.maps import resize_maps
from foveal.atari.vector import AtariVector, finished_games
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.recording import Recording
from foveal.evaluation.rollouts import world_of
from foveal.evaluation.world import TRAIN, Bar, WorldOptions
from foveal.explanation.attention import Lens
from foveal.explanation.explain import explain_page
from foveal.explanation.movies import film
from foveal.explanation.pictures import brightest
from foveal.gaze.screens import brightness, shrink

SCREEN = (210, 160)


def record(agent: foveal.Agent, seed: int | None = None) -> Recording:
    return world_of(agent, WorldOptions(seed=seed)).record(TRAIN, 125, Bar(1, visible=False))


def small(encoder: str = "sparse-fls", game: str = "breakout") -> foveal.Agent:
    return foveal.Agent(f"atari/{game}", preset="debug", encoder=encoder, training={"precision": "float32"})


@pytest.fixture(scope="module")
def agent() -> foveal.Agent:
    return small()


@pytest.fixture(scope="module")
def played(agent: foveal.Agent) -> Recording:
    return record(agent)


# --- the game ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_played_again_is_what_the_agent_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, seen = small("nature"), []
    plain = foveal.Agent.predict

    def noting(self: foveal.Agent, observation: Any, **options: Any) -> Any:
        seen.append(observation[0].copy())
        return plain(self, observation, **options)

    monkeypatch.setattr(foveal.Agent, "predict", noting)
    recording = record(agent)
    sights = list(recording.sights)
    assert len(recording.sights) == len(sights) == recording.episode.length == len(seen) > 30
    assert [sight.step for sight in sights] == list(range(len(sights)))
    assert len({int(sight.action) for sight in sights}) > 1
    np.testing.assert_array_equal(np.stack([sight.observation for sight in sights]), np.stack(seen))


@pytest.mark.slow
def test_the_screen_is_that_of_the_same_game(played: Recording) -> None:
    """Grey and shrunk by our own code, every screen is the newest picture of the observation."""
    lives = 0
    for sight in played.sights:
        assert sight.picture.shape == (*SCREEN, 3)
        assert np.abs(shrink(brightness(sight.picture)).astype(int) - sight.observation[-1]).max() <= 1
        lives += not sight.observation[0].any()
    assert lives >= 5  # all of the game, not its first life


@pytest.mark.slow
def test_points_sum_to_the_true_score() -> None:
    """In Ms. Pac-Man points are tens, which training would clip to 1."""
    recording = record(small("nature", "ms_pacman"))
    assert recording.rewards.sum() == recording.episode.total >= 60
    assert set(recording.rewards[recording.rewards > 0]) >= {10.0}
    assert recording.episode.terminated
    vector = AtariVector(recording.environment, 1, recording.episode.seed)
    vector.reset()
    for sight in recording.sights:
        infos = vector.step(np.array([sight.action]))[4]
    assert list(finished_games(infos)) == [(0, recording.episode.total, recording.episode.length)]


@pytest.mark.slow
def test_playing_is_repeatable_and_leaves_training_alone(agent: foveal.Agent, played: Recording) -> None:
    before = agent.acting_generator.get_state()
    again, other = record(agent), record(agent, 3)
    assert torch.equal(agent.acting_generator.get_state(), before)
    actions = [[int(sight.action) for sight in recording.sights] for recording in (played, again, other)]
    assert actions[1] == actions[0]
    assert played.episode.seed == agent.seed + 42
    assert actions[2][:40] != actions[0][:40]
    with pytest.raises(FovealError, match="negative"):
        record(agent, -1)


# --- what is looked at ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_maps_are_the_agents_own(agent: foveal.Agent, played: Recording) -> None:
    own, gradient = Lens.on(agent, None).look(played, 20)
    assert (own.saliency, gradient.saliency) == ("attention", "gradient")
    sights = list(played.sights)
    observations = [sight.observation for sight in sights]
    steps = [moment.step for moment in own.moments]
    assert steps == list(range(0, len(observations), -(-len(observations) // 20)))
    pixels = torch.from_numpy(np.stack([observations[step] for step in steps])).float().requires_grad_()
    values = agent.learner.policy.critic(agent.learner.policy.encoder(pixels))[:, 0]
    values.sum().backward()
    strengths = pixels.grad.abs().sum(1)
    drawn = torch.from_numpy(agent.attention(pixels.detach().to(torch.uint8).numpy()))
    for attention, expected, level in ((own, drawn, drawn.max()), (gradient, strengths, strengths.quantile(0.995))):
        found = np.stack([moment.strength for moment in attention.moments])
        scale = float(expected.max())
        np.testing.assert_allclose(found, resize_maps(expected, SCREEN), rtol=1e-3, atol=1e-4 * scale)
        assert attention.brightest == pytest.approx(float(level), rel=1e-3)
        np.testing.assert_allclose([m.value for m in attention.moments], values.detach(), rtol=1e-3, atol=1e-4)
        assert attention.quantile is attention.precision is attention.weight is None
    for moment, sight in zip(own.moments, sights[:: steps[1]], strict=True):
        np.testing.assert_array_equal(moment.frame, sight.picture)


@pytest.mark.slow
def test_maps_can_be_of_the_actions_probability(agent: foveal.Agent, played: Recording) -> None:
    (found,) = Lens.on(agent, "gradient", of="log_prob").look(played, 5)
    sights = {sight.step: sight for sight in played.sights}
    for moment in found.moments:
        sight = sights[moment.step]
        pixels = torch.from_numpy(sight.observation[None]).float().requires_grad_()
        policy = agent.learner.policy
        log_prob = policy.actor.log_probabilities(policy.features(pixels))[0, int(sight.action)]
        log_prob.backward()
        assert moment.value == pytest.approx(float(log_prob.detach()), rel=1e-4)
        drawn = resize_maps(pixels.grad.abs().sum(1), SCREEN)[0]
        np.testing.assert_allclose(moment.strength, drawn, rtol=1e-3, atol=1e-4 * float(drawn.max()))
    assert found.scalar.symbol == "log p"
    with pytest.raises(FovealError, match="no scalar 'q1': choose one of: log_prob, value"):
        Lens.on(agent, None, of="q1")


def test_a_recording_has_one_scale() -> None:
    strengths = np.zeros((2, 20, 20), np.float32)
    strengths[0, 0, 0], strengths[1] = 8.0, 2.0
    assert brightest("attention", strengths) == 8.0
    assert brightest("gradient", strengths) == 2.0  # one pixel in 800 does not darken the others
    assert brightest("gradient", strengths * np.eye(20)[:1]) > 0
    assert brightest("attention", 0 * strengths) == 1.0


@pytest.mark.slow
def test_networks_without_attention_are_explained_by_gradients_alone() -> None:
    agent = small("nature")
    assert not agent.has_attention and small().has_attention and small("daqn").has_attention
    assert Lens.on(agent, None).names == ("gradient",)
    assert Lens.on(small(), None).names == ("attention", "gradient")
    assert Lens.on(agent, ["guided_backprop", "gradient"]).names == ("guided_backprop", "gradient")
    with pytest.raises(FovealError, match=r"no attention module .* choose a map that needs none: grad_cam, gradient"):
        Lens.on(agent, "attention")
    with pytest.raises(FovealError, match="no saliency map is named"):
        Lens.on(agent, [])


# --- pages and films --------------------------------------------------------------------------------------------------


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.slow
def test_the_page_shows_game_attention_and_gradient(agent: foveal.Agent, played: Recording, tmp_path: Path) -> None:
    points = np.arange(played.episode.length, dtype=float)
    scored = dataclasses.replace(
        played, rewards=points, episode=dataclasses.replace(played.episode, total=float(points.sum()))
    )
    attentions = Lens.on(agent, None).look(scored, 12)
    page = explain_page(tmp_path / "x.html", attentions, frames=3).read_text()
    text = text_of(page)
    length = played.episode.length
    assert f"Score {length * (length - 1) // 2:,} in {length} steps, to the end of the game" in text
    assert "attention and gradient" in text and "no attention inside" not in text
    assert "relative to the largest value" in text and "relative to the 99.5 % quantile" in text
    data = json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page)[1])  # type: ignore[index]
    assert (data["width"], data["height"], data["symbol"], data["total"]) == (160, 210, "V", "score")
    assert data["returns"] == [step * (step - 1) / 2 for step in data["steps"]]
    found, console = visit(page, tmp_path)
    assert console == [] and found["wide"] <= 0
    (player,) = found["players"]
    assert player["painted"] == [True] * 3 and player["layers"] == [True, True, False]
    assert re.fullmatch(rf"step 0 of {length} · V -?[\d.]+ · score so far 0", player["first"])
    assert player["last"].endswith(f"score so far {data['returns'][-1]:.0f}")
    assert found["images"].count(160) == 9 and min(found["images"]) == 160


@pytest.mark.slow
def test_a_film_shows_every_step(agent: foveal.Agent, played: Recording, tmp_path: Path) -> None:
    film(tmp_path / "game.mp4", Lens.on(agent, ["attention", "gradient"]), played)
    with av.open(str(tmp_path / "game.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == played.episode.length
    assert frames[0].shape == (440, 960, 3)
    titles = np.split(frames[0][:20], 3, axis=1)
    assert all(title[:, :100].max() > 150 and title[:, 160:].max() < 40 for title in titles)
    for sight in list(played.sights)[::40]:
        game, own, gradient = np.split(frames[sight.step][20::2, ::2].astype(int), 3, axis=1)
        assert np.abs(game - sight.picture).mean() < 6  # what compression leaves
        assert not np.allclose(own, gradient, atol=20)


@pytest.mark.slow
def test_the_page_tells_how_much_of_a_map_is_its_drawing(tmp_path: Path, played: Recording) -> None:
    """With no weights in the module attention is even; with a weight on what is bright it is not."""
    told = []
    for weight in (0.0, 50.0):
        agent = small()
        module: Any = agent.learner.policy.encoder.attend["2"].layers
        with torch.no_grad():
            module[0].weight.fill_(weight / 100)
            module[2].weight.fill_(weight)
            module[2].bias.fill_(0.5)
        attentions = Lens.on(agent, "attention").look(played, 5)
        page = explain_page(tmp_path / "page.html", attentions, frames=2).read_text()
        pattern = r"7x7, where the drawing adds nothing, .* is ([\d.]+) % of its mean .* its entropy ([\d.]+) of"
        found = re.search(pattern, text_of(page))
        assert found is not None
        told.append((float(found[1]), float(found[2])))
        assert attentions[0].as_dict()["evenness"]["maps"] == len(attentions[0].moments)
        even = agent.even_attention()
        assert even.shape == (84, 84) and (even.min(), even.max()) == (1, 25)  # at most 5 x 5 fields
    assert told[0] == (0.0, 1.0) and told[1][0] > 1 and told[1][1] < 1
    with pytest.raises(FovealError, match="has no attention"):
        small("nature").even_attention()


@pytest.mark.slow
def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    small("nature").save("agent", policy_only=True)
    assert main(["explain", "agent", "--frames", "2", "--video", "film.mp4", "--out", "page.html"]) == 0
    assert capsys.readouterr().out.splitlines() == ["wrote film.mp4", str(tmp_path / "page.html")]
    text = text_of(Path("page.html").read_text())
    assert "This network has no attention inside" in text and "own attention module" not in text
    assert "What nature looks at in atari/breakout" in text and "correlation" not in text.lower()
    with av.open("film.mp4") as container:
        assert container.streams.video[0].width == 640


@pytest.mark.slow
def test_what_is_not_for_games_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(GameWorld, "record", lambda *_, **__: pytest.fail("a game was played"))
    agent = small("nature")
    for options, message in (
        ({"on": "video_hard"}, "unknown condition 'video_hard': choose one of: train"),
        ({"data": tmp_path}, "data means nothing for atari/breakout"),
        ({"quality": "draft"}, "quality means nothing for atari/breakout"),
        ({"skill": 0}, "skill means nothing for atari/breakout"),
        ({"quantile": 0.9}, "maps of atari/breakout have no masks"),
    ):
        with pytest.raises(FovealError, match=message):
            foveal.explain(agent, out=tmp_path / "x.html", **options)  # type: ignore[arg-type]
    with pytest.raises(FovealError, match="frames must be 1 to 8"):
        foveal.explain(agent, out=tmp_path / "x.html", frames=0)
    with pytest.raises(FovealError, match="is a folder"):
        foveal.explain(agent, out=tmp_path)
    assert not list(tmp_path.iterdir())
