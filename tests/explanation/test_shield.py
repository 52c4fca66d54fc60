"""Pages and films of policies behind a shield, and the page of a shield itself."""

from __future__ import annotations

import base64
import io
import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from chromium import visit
from foveal.cli import main
from foveal.corruptions import CORRUPTIONS
from foveal.errors import FovealError
from foveal.explanation import explain, look, pictures, shield_page
from foveal.explanation import shield as page
from foveal.fovea.frames import FrameSet
from foveal.shield import Shield, ShieldConfig, Shielded, train_shield
from foveal.shield.measures import measure
from small_env import SIZE
from small_shield import OPTIONS, SMALL, Ball, Inverter, frames


class Corner:
    """Values the brightness of a block of the newest frame that it is given."""

    env, env_id, env_options, seed = Ball, "Ball", OPTIONS, 1
    method_name, learner_name = "sgqn", "sac"
    device = torch.device("cpu")

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        return np.zeros(2, np.float32), None

    def values(self, obs: Any, action: Any, vector: Any = None) -> Any:
        return obs[:, -3:, 4:8, 4:8].mean((1, 2, 3))[None]


def behind(limit: float = 29.0) -> Shielded:
    shield = Inverter()
    shield.limit = limit
    return Shielded(shield, Corner())


def shown(uri: str) -> Any:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))


def stills(source: str) -> dict[str, Any]:
    """The pictures of a page by what they show."""
    found = re.findall(r'<img src="(data:[^"]+)" alt="([^"]+)"', source)
    return {unescape(alt): shown(uri) for uri, alt in found}


def text_of(source: str) -> str:
    """What a page says."""
    bare = re.sub(r"<(script|style)\b.*?</\1>", "", source, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", bare)).split())


# --- a policy behind a shield -----------------------------------------------------------------------------------------


def test_moments_have_what_was_given_and_the_doubt() -> None:
    (found,) = look(behind(), moments=20, progress=False)
    for moment in found.moments:
        assert np.array_equal(moment.views["given"], 255 - moment.frame)
        assert moment.readings == {"shield's doubt": 30.0}
        assert moment.value == pytest.approx((255 - moment.frame[4:8, 4:8].astype(float)).mean())
    assert found.recording.words.who == "SGQN behind a shield"
    (alone,) = look(Corner(), moments=20, progress=False)
    assert alone.recording.words.who == "SGQN" and alone.moments[0].views == alone.moments[0].readings == {}


def test_the_page_shows_what_came_in_what_was_given_and_saliency_on_both(tmp_path: Path) -> None:
    shielded = behind()
    path = explain(shielded, out=tmp_path / "x.html", frames=2, moments=20, progress=False)
    source = path.read_text(encoding="utf-8")
    names = ["frame as it came", "given", "task", "saliency", "saliency on given", "mask"]
    found = stills(source)
    assert list(found) == [f"{name}, Ball under train, step {step}" for name in names for step in (0, 19)]
    (attention,) = look(shielded, moments=20, progress=False)
    moment = attention.moments[-1]
    assert np.array_equal(found["frame as it came, Ball under train, step 19"], moment.frame)
    assert np.array_equal(found["given, Ball under train, step 19"], 255 - moment.frame)
    for name, below in (("saliency", moment.frame), ("saliency on given", 255 - moment.frame)):
        expected = pictures.heat(below, moment.strength)
        assert np.array_equal(found[f"{name}, Ball under train, step 19"], expected)
    text = text_of(source)
    assert "the shield's doubt above its limit in 100.0 % of the moments shown" in text
    assert "shield's doubt, percent; limit 29" in text and 'class="line dashed"' in source
    assert "what the shield made of it and the policy acts on" in text


def test_without_a_limit_there_is_no_line_and_no_alarm(tmp_path: Path) -> None:
    path = explain(behind(np.inf), out=tmp_path / "x.html", frames=1, moments=3, progress=False)
    assert "its limit" not in (source := path.read_text(encoding="utf-8")) and 'class="line dashed"' not in source
    plain = explain(Corner(), out=tmp_path / "y.html", frames=1, moments=3, progress=False).read_text(encoding="utf-8")
    assert "shield" not in text_of(plain) and len(stills(plain)) == 3


def test_the_shields_mask_is_a_map_beside_others(tmp_path: Path) -> None:
    shield, _ = found = look(behind(), saliency=["shield", "gradient"], moments=4, progress=False)
    assert [attention.saliency for attention in found] == ["shield", "gradient"]
    for moment in shield.moments:
        assert np.allclose(moment.strength, moment.frame[..., 0] / 255)


@pytest.mark.slow
def test_a_film_shows_them_side_by_side(tmp_path: Path) -> None:
    explain(behind(), out=tmp_path / "x.html", moments=4, video=tmp_path / "x.mp4", progress=False)
    with av.open(str(tmp_path / "x.mp4")) as container:
        film = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    zoom = 12  # 432 pixels
    assert len(film) == 20 and film[0].shape == (20 + zoom * SIZE, 5 * zoom * SIZE, 3)
    came, given, task, map_on_came, map_on_given = np.split(film[0][20:].astype(int), 5, axis=1)
    assert np.abs(came + given - 255).mean() < 6
    assert task.mean() < 0.5 * given.mean()
    assert map_on_given[:100].mean() > 2 * map_on_came[:100].mean()  # the room is dark, and given it is bright


@pytest.mark.slow
def test_the_page_works_in_a_narrow_browser(tmp_path: Path) -> None:
    """As others of its kind do in a wide one, in ``test_pages``."""
    path = explain(behind(), out=tmp_path / "x.html", moments=10, progress=False)
    found, console = visit(path.read_text(encoding="utf-8"), tmp_path, width=500)
    assert console == [] and found["wide"] <= 0
    (player,) = found["players"]
    assert player["shown"] and player["painted"] == [True] * 6 and player["last"] != player["first"]
    assert player["layers"] == [True] * 5 + [False]


# --- the page of a shield ---------------------------------------------------------------------------------------------


@pytest.fixture
def two_corruptions(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that the small shield is trained on, and one that it is not."""
    monkeypatch.setattr(CORRUPTIONS, "names", lambda: ["hue", "noise"])


@pytest.mark.slow
@pytest.mark.usefixtures("two_corruptions")
def test_the_page_of_a_shield_tells_what_was_measured(tmp_path: Path) -> None:
    shield, some = train_shield(Ball, OPTIONS, SMALL), frames(30, seed=5)
    curves = {"shield/error": [(1, 0.5), (2, 0.1)], "lr": [(1, 1.0)]}
    source = shield_page(tmp_path / "page.html", shield, some, curves).read_text(encoding="utf-8")
    text = text_of(source)
    for name, severity in (("hue", 3), ("hue", 5), ("noise", 3), ("noise", 5)):
        told = measure(shield, some, name, severity)
        alarms = 100 * (told.doubt > shield.limit).mean()
        row = f"{told.before.mean():.1f} → {told.after.mean():.1f} {told.overlap:.2f} {told.doubt.mean():.1f}"
        assert f"{row} {alarms:.0f} % alarms" in text
    assert "hue not trained on" in text and "noise trained on" in text
    assert "30 frames of episodes that it did not learn from, under 2 corruptions; on 1 of these" in text
    assert "AUROC of doubt for the worst 10 % of frames" in text
    assert "from 25.5 to 128" in source  # levels of 255
    found = stills(source)
    assert len(found) == 3 * 6
    place = page.evenly(some, 4).pixels[1].permute(1, 2, 0).numpy()
    assert np.array_equal(found["came in, trained look, severity 3"], place)
    assert not np.array_equal(found["came in, hue, severity 3"], place)
    given = shield.restore(page.evenly(some, 4).pixels[1:2]).frames[0].transpose(1, 2, 0)
    assert np.array_equal(found["given, trained look, severity 3"], given)


@pytest.mark.usefixtures("two_corruptions")
def test_a_shield_that_knows_every_corruption_has_no_unseen_ones_to_tell_of(tmp_path: Path) -> None:
    shield = Shield(ShieldConfig(filters=4, depth=1, corruptions=("noise", "hue")), "x", SIZE, limit=1.0)
    text = text_of(shield_page(tmp_path / "p.html", shield, frames(10)).read_text(encoding="utf-8"))
    assert "AUROC" not in text and "Training" not in text and "on 0 of these" in text


def test_what_no_page_can_be_made_of(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="training is not over"):
        shield_page(tmp_path / "p.html", Shield(SMALL, "x", SIZE), frames(10))
    nothing = FrameSet(torch.zeros(0, 3, SIZE, SIZE), torch.zeros(0, SIZE, SIZE), torch.zeros(0))
    with pytest.raises(FovealError, match="no frames"):
        shield_page(tmp_path / "p.html", Shield(SMALL, "x", SIZE, limit=1.0), nothing)
    assert main(["shield", "page", str(tmp_path)]) == 2


@pytest.mark.slow
def test_a_run_has_its_page_with_curves_and_shows_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "shield"
    settings = "--filters 4 --depth 1 --frames 60 --steps 51 --batch-size 4 --picture-count 8 --corruptions noise"
    small = ["--image-size", "36", *settings.split()]
    assert main(["shield", "train", "dmc/cartpole-swingup", "--out", str(run), *small]) == 0
    assert f"done: {run / 'page.html'}" in capsys.readouterr().out
    source = (run / "page.html").read_text(encoding="utf-8")
    assert "error on the task, levels of 255" in source
    assert main(["shield", "page", str(run), "--out", str(tmp_path / "again.html")]) == 0
    again = (tmp_path / "again.html").read_text(encoding="utf-8")
    assert stills(source).keys() == stills(again).keys()
    assert json.dumps(text_of(source)[:2000]) == json.dumps(text_of(again)[:2000])
    for width in (1000, 500):
        found, console = visit(source, tmp_path, width)
        assert console == [] and found["wide"] <= 0 and min(found["images"]) == 36
