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
from foveal.atari.maps import resize_maps
from foveal.atari.recording import Recording, record
from foveal.atari.vector import AtariVector, finished_games
from foveal.cli import main
from foveal.errors import FovealError
from foveal.explanation.games import film_game, game_page, look_at_game, looks
from foveal.explanation.movies import brightest
from foveal.gaze.screens import brightness, shrink

SCREEN = (210, 160)


def small(encoder: str = "sparse-fls", game: str = "breakout") -> foveal.Agent:
    return foveal.Agent(f"atari/{game}", preset="debug", encoder=encoder, training={"precision": "float32"})


@pytest.fixture(scope="module")
def agent() -> foveal.Agent:
    return small()


@pytest.fixture(scope="module")
def played(agent: foveal.Agent) -> Recording:
    return record(agent, progress=False)


# --- the game ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_played_again_is_what_the_agent_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    agent, seen = small("nature"), []
    plain = foveal.Agent.predict

    def noting(self: foveal.Agent, observation: Any, **options: Any) -> Any:
        seen.append(observation[0].copy())
        return plain(self, observation, **options)

    monkeypatch.setattr(foveal.Agent, "predict", noting)
    recording = record(agent, progress=False)
    assert len(recording.actions) == recording.episode.length == len(seen) > 30
    assert len(set(recording.actions.tolist())) > 1
    np.testing.assert_array_equal(np.stack(list(recording.observations())), np.stack(seen))


@pytest.mark.slow
def test_the_screen_is_that_of_the_same_game(played: Recording) -> None:
    """Grey and shrunk by our own code, every screen is the newest picture of the observation."""
    lives = 0
    for observation, screen in zip(played.observations(), played.screens(), strict=True):
        assert screen.shape == (*SCREEN, 3)
        assert np.abs(shrink(brightness(screen)).astype(int) - observation[-1]).max() <= 1
        lives += not observation[0].any()
    assert lives >= 5  # all of the game, not its first life


@pytest.mark.slow
def test_points_sum_to_the_true_score() -> None:
    """In Ms. Pac-Man points are tens, which training would clip to 1."""
    recording = record(small("nature", "ms_pacman"), progress=False)
    assert recording.points.sum() == recording.episode.total >= 60
    assert set(recording.points[recording.points > 0]) >= {10.0}
    assert recording.episode.terminated
    vector = AtariVector(recording.env, 1, recording.episode.seed)
    vector.reset()
    for action in recording.actions:
        infos = vector.step(np.array([action]))[4]
    assert list(finished_games(infos)) == [(0, recording.episode.total, recording.episode.length)]


def test_playing_is_repeatable_and_leaves_training_alone(agent: foveal.Agent, played: Recording) -> None:
    before = agent.acting_generator.get_state()
    again, other = record(agent, progress=False), record(agent, 3, progress=False)
    assert torch.equal(agent.acting_generator.get_state(), before)
    np.testing.assert_array_equal(again.actions, played.actions)
    assert played.episode.seed == agent.seed + 42
    assert other.actions[:40].tolist() != played.actions[:40].tolist()
    with pytest.raises(FovealError, match="negative"):
        record(agent, -1, progress=False)


# --- what is looked at ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_maps_are_the_agents_own(agent: foveal.Agent, played: Recording) -> None:
    own, gradient = look_at_game(agent, played, moments=20)
    assert (own.saliency, gradient.saliency) == ("attention", "gradient")
    observations = list(played.observations())
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
    for moment, screen in zip(own.moments, list(played.screens())[:: steps[1]], strict=True):
        np.testing.assert_array_equal(moment.frame, screen)


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
    assert list(looks(agent)) == ["gradient"]
    assert list(looks(small())) == ["attention", "gradient"]
    assert list(looks(agent, ["guided_backprop", "gradient"])) == ["guided_backprop", "gradient"]
    with pytest.raises(FovealError, match="'nature' has no attention module inside: explain the agent by gradients"):
        looks(agent, "attention")
    with pytest.raises(FovealError, match="no saliency map is named"):
        looks(agent, [])


# --- pages and films --------------------------------------------------------------------------------------------------


def text_of(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


@pytest.mark.slow
def test_the_page_shows_game_attention_and_gradient(agent: foveal.Agent, played: Recording, tmp_path: Path) -> None:
    points = np.arange(played.episode.length, dtype=float)
    scored = dataclasses.replace(
        played, points=points, episode=dataclasses.replace(played.episode, total=float(points.sum()))
    )
    attentions = look_at_game(agent, scored, moments=12)
    page = game_page(tmp_path / "x.html", attentions, agent, frames=3).read_text()
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
    film_game(tmp_path / "game.mp4", agent, played, ["attention", "gradient"])
    with av.open(str(tmp_path / "game.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == played.episode.length
    assert frames[0].shape == (440, 960, 3)
    titles = np.split(frames[0][:20], 3, axis=1)
    assert all(title[:, :100].max() > 150 and title[:, 160:].max() < 40 for title in titles)
    for index, screen in list(enumerate(played.screens()))[::40]:
        game, own, gradient = np.split(frames[index][20::2, ::2].astype(int), 3, axis=1)
        assert np.abs(game - screen).mean() < 6  # what compression leaves
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
        attentions = look_at_game(agent, played, moments=5, saliency="attention")
        page = game_page(tmp_path / "page.html", attentions, agent, frames=2).read_text()
        found = re.search(r"these pictures correlate with that one at (-?[\d.]+)", text_of(page))
        assert found is not None
        told.append(float(found[1]))
        even = agent.even_attention()
        assert even.shape == (84, 84) and (even.min(), even.max()) == (1, 25)  # at most 5 x 5 fields
    assert told[0] == 1.0 and told[1] < 0.99
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


def test_what_is_not_for_games_is_refused_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("foveal.explanation.games.record", lambda *_, **__: pytest.fail("a game was played"))
    agent = small("nature")
    for options in ({"on": "video_hard"}, {"data": tmp_path}, {"quality": "draft"}, {"quantile": 0.9}):
        with pytest.raises(FovealError, match="atari/breakout is explained on 'train' alone"):
            foveal.explain(agent, out=tmp_path / "x.html", **options)  # type: ignore[arg-type]
    with pytest.raises(FovealError, match="frames must be 1 to 8"):
        foveal.explain(agent, out=tmp_path / "x.html", frames=0)
    with pytest.raises(FovealError, match="is a folder"):
        foveal.explain(agent, out=tmp_path)
    assert not list(tmp_path.iterdir())
