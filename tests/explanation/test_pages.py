"""Pages: what they say is what was measured, they carry everything, and they work in a browser."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import av
import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import UndefinedError
from PIL import Image
from torch import Tensor

from chromium import visit
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides, Scalar, newest
from foveal.evaluation.layout import duration
from foveal.evaluation.pixel_world import Thinned
from foveal.evaluation.recording import Recording
from foveal.evaluation.results import Condition, Episode, Results, machine, provenance, versions
from foveal.evaluation.statistics import summary
from foveal.explanation import Attention, Curve, Moment, Training, demo_page, explain, look, page, pictures
from foveal.explanation.charts import NARROW, WIDE, Intervals, LearningCurve, Sparkline, ticks
from foveal.explanation.explain import explain_page
from foveal.explanation.panels import episodes
from foveal.explanation.tables import agreement

SIDE = 32
HOSTILE = "</script><script>document.title='hacked'</script><img src=x onerror=alert(1)> & \"quotes\""


class Room(gymnasium.Env[Any, Any]):
    """Random pictures for 20 steps."""

    observation_space = spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8)
    action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.left = 20
        return self._image(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.left -= 1
        return self._image(), 0.5, False, self.left == 0, {}

    def _image(self) -> np.ndarray:
        return self.np_random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)


class Segmented(Room):
    """The agent's own pixels are a block of 8 x 4."""

    def agent_mask(self) -> np.ndarray:
        mask = np.zeros((SIDE, SIDE), bool)
        mask[8:16, 8:12] = True
        return mask


class Choices(Room):
    """Discrete actions, and nobody can tell which pixels are the agent's."""

    action_space = spaces.Discrete(3)


class Proprioceptive(Room):
    """An image beside a vector."""

    observation_space = spaces.Dict(  # type: ignore[assignment]
        {"image": spaces.Box(0, 255, (SIDE, SIDE, 3), np.uint8), "vector": spaces.Box(-1.0, 1.0, (4,), np.float32)}
    )

    def _image(self) -> Any:
        return {"image": super()._image(), "vector": np.full(4, 0.25, np.float32)}


class Square:
    """Values the brightness of the block [8:16, 8:16] of the newest frame, and nothing else: its saliency is known."""

    env_id = "Room"
    env_options = {"image_size": SIDE, "frame_stack": 2, "action_repeat": 1, "quality": "fast", "camera": 0}
    seed = 1
    method_name, learner_name, steps, updates = "sgqn", "sac", 1000, 900
    device = torch.device("cpu")

    def __init__(self, env: type[Room] = Segmented) -> None:
        self.env = env
        self.seen: list[tuple[torch.dtype, tuple[int, ...], Tensor | None]] = []

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        assert deterministic
        return self.env.action_space.sample() * 0, None

    def values(self, obs: Tensor, action: Tensor, vector: Tensor | None = None) -> Tensor:
        self.seen.append((action.dtype, tuple(action.shape), vector))
        value = obs[:, -3:, 8:16, 8:16].mean(dim=(1, 2, 3))  # (B,)
        return torch.stack([value, -100 * obs.sum(dim=(1, 2, 3))])  # the second head would mark everything


# --- what is measured -------------------------------------------------------------------------------------------------


def test_attention_of_a_critic_whose_saliency_is_known() -> None:
    agent = Square()
    (found,) = look(agent, moments=20, progress=False)
    assert len(found.moments) == 20
    block = np.zeros((SIDE, SIDE), bool)
    block[8:16, 8:16] = True
    for moment in found.moments:
        assert np.array_equal(moment.mask, block)  # 64 equal pixels are 6.25 % and tie at the 95 % quantile
        assert np.allclose(moment.strength, block / (3 * 64))
        assert np.isclose(moment.value, moment.frame[8:16, 8:16].mean())
    assert found.precision == pytest.approx(0.5)
    assert found.share == pytest.approx(32 / SIDE**2)
    assert found.ratio == pytest.approx(16)
    assert found.recording.rewards.sum() == found.recording.episode.total == 10.0
    assert [m.step for m in found.moments] == list(range(20))


def test_several_maps_share_their_episode() -> None:
    found = look(Square(), ["train"], saliency=["gradient", "guided_backprop"], moments=20, progress=False)
    assert [attention.saliency for attention in found] == ["gradient", "guided_backprop"]
    assert episodes(found) == [tuple(found)]
    (alone,) = look(Square(), saliency="gradient", moments=20, progress=False)
    for attention in found:  # the value is linear, so both maps are the block
        assert attention.recording.episode == alone.recording.episode
        for moment, expected in zip(attention.moments, alone.moments, strict=True):
            np.testing.assert_array_equal(moment.strength, expected.strength)
            np.testing.assert_array_equal(moment.frame, expected.frame)
        assert attention.weight == pytest.approx(0.5)  # of the block, half is the agent
    assert agreement(*found).tolist() == pytest.approx([1.0] * 20)


def test_agreement_is_the_correlation_of_the_strengths() -> None:
    one = an_attention("train", None)
    moments = [replace(moment, strength=7 - 2 * moment.strength) for moment in one.moments]
    other = replace(one, moments=tuple(moments))
    assert agreement(one, other).tolist() == pytest.approx([-1.0] * 10)
    later = agreement(one, other, later=3)
    strengths = np.stack([moment.strength.ravel() for moment in one.moments])
    wanted = [-np.corrcoef(strengths[i], strengths[(i + 3) % 10])[0, 1] for i in range(10)]
    assert later.tolist() == pytest.approx(wanted, abs=1e-6)
    moments[4] = replace(moments[4], strength=np.ones((SIDE, SIDE), np.float32))  # constant: nothing to correlate
    assert len(agreement(one, replace(one, moments=tuple(moments)))) == 9


def test_the_share_of_saliency_on_the_agent() -> None:
    one = an_attention("train", None)
    mask, strength = np.zeros((SIDE, SIDE), bool), np.ones((SIDE, SIDE), np.float32)
    mask[:4], strength[:2] = True, 5.0
    found = replace(one, moments=(replace(one.moments[0], parts={"agent": mask}, strength=strength),))
    assert found.weight == pytest.approx((2 * 5 + 2) / (2 * 5 + 30))
    assert replace(one, moments=(replace(one.moments[0], parts={}),)).weight is None


def test_looking_is_repeatable_and_takes_fewer_moments_when_asked() -> None:
    first, again = (look(Square(), moments=6, progress=False)[0] for _ in range(2))
    assert [m.step for m in first.moments] == [0, 4, 8, 12, 16]
    assert all(np.array_equal(a.frame, b.frame) for a, b in zip(first.moments, again.moments, strict=True))
    other = look(Square(), moments=6, seed=5, progress=False)[0]
    assert not np.array_equal(first.moments[0].frame, other.moments[0].frame)


def test_discrete_actions_and_vectors_reach_the_critic() -> None:
    agent = Square(Choices)
    (found,) = look(agent, moments=5, progress=False)
    assert agent.seen[0][:2] == (torch.int64, (5,))
    assert found.precision is found.share is found.ratio is None
    agent = Square(Proprioceptive)
    look(agent, moments=5, progress=False)
    assert agent.seen[0][:2] == (torch.float32, (5, 2))
    assert torch.equal(agent.seen[0][2], torch.full((5, 4), 0.25))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"saliency": "guided_backprob"}, "guided_backprop"),
        ({"quantile": 1.0}, "quantile"),
        ({"moments": 0}, "moment"),
        ({"on": "color_herd"}, "color_hard"),
        ({"saliency": ["gradient", "gradient"]}, "named twice"),
        ({"saliency": ["gradient", "attention"]}, "no attention module"),
        ({"saliency": []}, "no saliency map is named"),
        ({"of": "q2"}, "no scalar 'q2': did you mean 'q1'"),
        ({"skill": 0}, "skill means nothing for policies without skills"),
    ],
)
def test_bad_requests_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        look(Square(), progress=False, **options)


def test_a_black_box_has_nothing_that_gradients_could_explain() -> None:
    class Box:
        env_id, env_options, seed, env = "Room", Square.env_options, 1, Segmented

        def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
            raise AssertionError("an episode began")

    with pytest.raises(FovealError, match=r"a Box has no values\(\) and no insides\(\)"):
        look(Box(), progress=False)


@pytest.mark.slow
def test_maps_of_an_agents_own_choice_are_shown_and_may_have_parts_of_their_own(tmp_path: Path) -> None:
    """A policy from elsewhere, with a scalar and a map that nobody else has."""

    class Own(Square):
        def insides(self) -> Insides:
            def bind(observations: Any, actions: Any) -> Any:
                return lambda pixels: pixels[:, -1, :4].sum((1, 2))

            def edge(observations: Any) -> Tensor:
                return torch.ones(len(observations), SIDE, SIDE).tril()

            scalars = {"heat": Scalar(bind, "H", "heat of the room", "the heat of the upper edge")}
            pixels = lambda observations: torch.from_numpy(np.stack(observations)).float()  # noqa: E731
            return Insides(scalars, pixels, newest, {"edge": edge}, usual=("edge", "gradient"), remark="It is small.")

    edge, gradient = look(Own(), moments=5, progress=False)
    assert np.array_equal(edge.moments[0].strength, np.tril(np.ones((SIDE, SIDE))))
    assert gradient.moments[0].strength[:4].min() == 1 and gradient.moments[0].strength[4:].max() == 0
    assert gradient.moments[0].value == gradient.moments[0].frame[:4, :, 2].sum()
    text = explain(Own(), out=tmp_path / "x.html", of="heat", progress=False).read_text(encoding="utf-8")
    assert "the heat of the upper edge" in text and "It is small." in text and "heat of the room" in text
    with pytest.raises(FovealError, match="no scalar 'q1': choose one of: heat"):
        look(Own(), of="q1", progress=False)


@given(st.integers(1, 40), st.integers(1, 400), st.booleans())
def test_thinning_keeps_even_distances(wanted: int, length: int, known: bool) -> None:
    thinned = Thinned(wanted, length if known else None)
    made = 0

    def item(step: int) -> Any:
        nonlocal made
        made += 1
        return step

    for _ in range(length):
        thinned.offer(item)
    steps = thinned.kept[:: -(-len(thinned.kept) // wanted)]
    assert len(thinned.kept) <= 2 * wanted and steps[0] == 0
    assert min(wanted, length) / 2 <= len(steps) <= wanted
    assert len(set(np.diff(steps))) <= 1
    if known:
        assert made == len(steps)


# --- pictures, charts, markup -----------------------------------------------------------------------------------------


def decoded(uri: str) -> np.ndarray:
    head, _, body = uri.partition(",")
    assert head in {"data:image/png;base64", "data:image/webp;base64"}
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))).convert("RGB"))


def test_pictures_show_what_they_should() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    mask = np.zeros((8, 8), bool)
    mask[2, 3] = True
    kept = pictures.masked(frame, mask)
    assert np.array_equal(kept[2, 3], frame[2, 3])
    assert kept[~mask].max() <= 53  # 0.16 * 255 + 12
    assert np.array_equal(decoded(pictures.png(frame)), frame)
    faint = pictures.heat(frame, np.full((8, 8), 0.5, np.float32), brightest=8.0)
    assert faint.astype(int).sum() < pictures.heat(frame, np.full((8, 8), 0.5, np.float32)).astype(int).sum()
    blank = pictures.heat(frame, np.zeros((8, 8), np.float32))
    assert np.array_equal(blank[..., 0], blank[..., 1])  # grey where nothing is salient
    strong = np.zeros((8, 8), np.float32)
    strong[2, 3] = 1e-9  # any scale
    assert pictures.heat(frame, strong)[2, 3].tolist() == [252, 255, 164]


def test_a_small_picture_keeps_single_pixels_sharp() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[10::16, 10::16] = (252, 255, 164)
    assert np.array_equal(decoded(pictures.webp(frame)), frame)
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    assert np.abs(decoded(pictures.webp(noise)).astype(int) - noise).mean() < 20


def test_colors_run_from_dark_to_light() -> None:
    scale = pictures.colors(np.linspace(0, 1, 64, dtype=np.float32))
    lightness = scale @ np.array([0.299, 0.587, 0.114])
    assert (np.diff(lightness) > 0).all()


def test_a_sheet_holds_its_pictures_row_by_row() -> None:
    parts = [np.full((4, 6, 3), 10 * index, np.uint8) for index in range(5)]
    whole = pictures.sheet(parts, 3)
    assert whole.shape == (8, 18, 3)
    assert whole[0, [0, 6, 12], 0].tolist() == [0, 10, 20]
    assert whole[4, [0, 6, 12], 0].tolist() == [30, 40, 0]


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5), st.integers(2, 8))
def test_ticks_are_round_and_cover_the_range(low: float, span: float, count: int) -> None:
    found = ticks(low, low + span, count)
    slack = 1e-6 * (abs(low) + span)
    assert found[0] <= low + slack
    assert found[-1] >= low + span - slack
    assert 2 <= len(found) <= 2 * count + 2
    digits = f"{found[1] - found[0]:.3e}"[0]
    assert digits in "125"


def test_a_learning_curve_puts_points_where_they_belong() -> None:
    points = [(500, summary([40.0, 60.0])), (1000, summary([100.0]))]
    svg = drawn("learning_curve", LearningCurve(WIDE, [(250, 25.0)], points, ("random policy", 10.0)))
    centres = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)"', svg)
    (x0, y0), (x1, y1), (x2, y2) = [(float(x), float(y)) for x, y in centres]
    assert x2 - x1 == pytest.approx(2 * (x1 - x0), abs=0.2)  # 250, 500, 1000 steps
    assert y1 - y2 == pytest.approx(2 * (y0 - y1), abs=0.2)  # 25, 50, 100
    assert "random policy 10" in svg
    assert "agent steps" in svg


def test_charts_stand_empty_and_flat_data() -> None:
    assert "<svg" in drawn("learning_curve", LearningCurve(NARROW, [], [], None))
    assert "<svg" in drawn("sparkline", Sparkline("reward", range(3), [0.0] * 3, 3))
    series = [("SGQN", [summary([0.0])]), ("SAC", [None])]
    assert "<svg" in drawn("intervals", Intervals(WIDE, ["train"], series, "return"))


def test_marks_of_policies_stand_below_one_another() -> None:
    series = [(name, [summary([mean])] * 2) for name, mean in (("SGQN", 10.0), ("SAC", 5.0))]
    found = Intervals(WIDE, ["train", "video_hard"], series, "return")
    assert [found.level(row, position) for row in range(2) for position in range(2)] == [24.5, 35.5, 68.5, 79.5]
    svg = drawn("intervals", found)
    assert f'<circle cx="{found.x(10.0)}" cy="24.5"' in svg and f'<circle cx="{found.x(10.0)}" cy="68.5"' in svg
    assert "video_hard, SAC: 5.0 [5.0, 5.0]" in svg


def drawn(macro: str, data: Any) -> str:
    """By a macro of the charts' template."""
    return str(getattr(page.TEMPLATES.get_template("charts.svg.j2").module, macro)(data))


class Reader(HTMLParser):
    """Tags and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


PARAGRAPH = page.TEMPLATES.from_string('<p title="{{ text }}">{{ text }}</p>')


@given(st.text() | st.text("<>&\"'/=; amp"))
def test_text_and_attributes_are_escaped(text: str) -> None:
    text = text.replace("\r", "").replace("\0", "")
    read = Reader(PARAGRAPH.render(text=text))
    assert read.tags == [("p", {"title": text})]
    assert "".join(read.text) == text


def test_data_blocks_cannot_end_their_script() -> None:
    block = page.TEMPLATES.from_string("<script>{{ data | tojson }}</script>").render(data={"text": HOSTILE})
    assert block.count("</script") == 1
    assert json.loads(block.partition(">")[2].rpartition("</script>")[0]) == {"text": HOSTILE}


def test_a_name_that_nobody_gives_a_template_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'title' is undefined"):
        page.render("base.html.j2", config={}, origin={}, written="now")


# --- pages ------------------------------------------------------------------------------------------------------------


def an_attention(perturbation: str, source: str | None) -> Attention:
    random = np.random.default_rng(3)
    moments = tuple(
        Moment(
            step,
            random.integers(0, 256, (SIDE, SIDE, 3), np.uint8),
            random.random((SIDE, SIDE), np.float32),
            random.random((SIDE, SIDE)) > 0.95,
            float(step),
            {"agent": random.random((SIDE, SIDE)) > 0.9},
        )
        for step in range(0, 30, 3)
    )
    episode = Episode(0, 42, 15.0, 30, False, "draft")
    note = provenance(source, 100, 100, True)
    recording = Recording(
        "dmc/room-sit", perturbation, episode, np.full(30, 0.5), (), source=source, note=note, name=perturbation
    )
    scalar = Scalar(lambda observations, actions: lambda pixels: pixels, "Q", "critic's value", "the critic")
    insides = Insides({"q1": scalar}, torch.tensor, newest)
    return Attention(recording, insides, "guided_backprop", None, 0.95, moments)


def some_results(policy: dict[str, Any], means: dict[str, float], source: str = "generated") -> Results:
    conditions = tuple(
        Condition(
            name,
            None if name == "train" else source,
            "draft",
            tuple(Episode(i, 42, mean + i - 1, 30, False, "draft") for i in range(3)),
        )
        for name, mean in means.items()
    )
    environment = {"id": "dmc/room-sit", "image_size": SIDE}
    return Results(environment, policy, 42, conditions, None, 1.0, "2026-01-01T00:00:00+00:00", versions(), machine())


SGQN = {"name": "agent", "method": "sgqn", "learner": "sac", "updates": 1200}
SAC = {"name": "agent", "method": "none", "learner": "sac", "updates": 1200}


def a_demo(folder: Path, **changes: Any) -> Path:
    curve = Curve([(100, 5.0), (200, 30.0)], [(100, summary([4.0, 9.0])), (200, summary([30.0, 50.0]))])
    contents: dict[str, Any] = {
        "results": some_results(SGQN, {"train": 321.0, "color_hard": 210.0}),
        "random": some_results({"name": "random"}, {"train": 30.0, "color_hard": 29.0}),
        "baseline": some_results(SAC, {"train": 333.0, "color_hard": 77.0}),
        "training": Training(1200, 1200, 840.0, curve, machine(), f"foveal demo --name {HOSTILE}"),
        "attentions": [an_attention("train", None), an_attention("color_hard", "generated")],
        "config": {"note": HOSTILE, "method": {"quantile": 0.95}},
    }
    return demo_page(folder / "demo.html", **(contents | changes))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def explained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("explained") / "explain.html"
    return explain(Square(), "train", path, frames=3, moments=10, progress=False)


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("compared") / "explain.html"
    maps = ["gradient", "guided_backprop"]
    return explain(Square(), "train", path, frames=3, moments=10, saliency=maps, progress=False)


@pytest.fixture(params=["demo", "explained", "compared"])
def any_page(request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(request.param))


@pytest.mark.slow
def test_pages_carry_everything_they_need(any_page: Path) -> None:
    source = any_page.read_text(encoding="utf-8")
    read = Reader(source)
    references = [value for _, attrs in read.tags for key, value in attrs.items() if key in {"src", "href"}]
    assert references
    assert all(value is not None and value.startswith("data:") for value in references)
    assert "url(" not in source
    assert "@import" not in source
    assert "default-src 'none'" in (read.all("meta")[1]["content"] or "")
    assert all("alt" in attributes for attributes in read.all("img"))
    assert all(len(attributes["alt"] or "") > 10 for attributes in read.all("img") if "hidden" not in attributes)
    assert all({"role", "aria-label"} <= set(a) or "aria-hidden" in a for a in read.all("svg"))
    assert read.all("html") == [{"lang": "en"}]
    assert len(read.all("h1")) == 1
    assert not [key for _, attrs in read.tags for key in attrs if key.startswith("on") or key == "style"]


def test_what_users_wrote_is_shown_and_never_run(demo: Path) -> None:
    read = Reader(demo.read_text(encoding="utf-8"))
    scripts = read.all("script")
    assert [a.get("type") for a in scripts] == ["application/json", "application/json", None]
    assert any(HOSTILE.replace('"', '\\"') in text for text in read.text)
    assert not [a for a in read.all("img") if a.get("src") == "x"]


def test_the_demo_page_tells_the_numbers_and_their_source(demo: Path) -> None:
    text = " ".join("".join(Reader(demo.read_text(encoding="utf-8")).text).split())
    for said in ("321", "210", "333", "77", "320 to 322", "plain SAC", "random policy", "1,200 updates", "14 minutes"):
        assert said in text, said
    assert "10.7 times what a random policy gets" in text
    assert "not comparable with published ones" in text
    assert len(re.findall("color_hard ?generated", text)) == 3  # return table, precision table and pictures
    ledger = json.loads(demo.with_suffix(".json").read_text(encoding="utf-8"))
    assert ledger["format"] == "foveal.demo/1"
    assert Results.from_dict(ledger["results"])["train"].summary["mean"] == 321
    assert Results.from_dict(ledger["baseline"])["color_hard"].returns.tolist() == [76, 77, 78]
    assert ledger["attention"][1]["ratio"] == an_attention("color_hard", "generated").ratio
    assert ledger["training"]["curve"]["evaluations"][1]["mean"] == 40
    assert ledger["config"]["note"] == HOSTILE


def test_a_demo_without_baseline_and_with_the_benchmarks_own_data(tmp_path: Path) -> None:
    results = some_results(SGQN, {"train": 1.0, "color_hard": 1.0}, "dmc-gb")
    attentions = [replace(an_attention("color_hard", "dmc-gb"), moments=an_attention("train", None).moments[:1])]
    path = a_demo(tmp_path, baseline=None, results=results, attentions=attentions)
    text = path.read_text(encoding="utf-8")
    assert "plain SAC" not in text
    assert ">DMC-GB</span>" in text
    assert "not comparable" not in text


@pytest.mark.slow
def test_a_demo_says_what_its_policy_knew_beside_the_picture(demo: Path, tmp_path: Path) -> None:
    knowing = some_results({**SGQN, "privileged": True}, {"train": 321.0, "color_hard": 210.0})
    said = a_demo(tmp_path, results=knowing).read_text(encoding="utf-8")
    assert "updates, privileged" in said and "“Privileged” is what learned from the simulator's word" in said
    assert "rivileged" not in demo.read_text(encoding="utf-8")


def test_a_demo_on_a_part_of_the_benchmark_says_so_at_every_number(tmp_path: Path) -> None:
    whole = some_results(SGQN, {"train": 1.0, "video_hard": 1.0}, "dmc-gb")
    part = replace(whole.conditions[1], items=20, benchmark_items=100, complete=False)
    results = replace(whole, conditions=(whole.conditions[0], part))
    whole_one = an_attention("video_hard", "dmc-gb")
    attentions = [replace(whole_one, recording=replace(whole_one.recording, note=part.note))]
    path = a_demo(tmp_path, baseline=None, random=results, results=results, attentions=attentions)
    text = " ".join("".join(Reader(path.read_text(encoding="utf-8")).text).split())
    assert len(re.findall(r"video_hard ?20 of 100", text)) == 3  # return table, precision table and pictures
    assert "returns on a part of them are not comparable with published ones" in text
    assert ">DMC-GB</span>" not in path.read_text(encoding="utf-8")
    told = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert told["results"]["perturbations"]["video_hard"]["comparable"] is False
    assert told["attention"][0]["note"] == "20 of 100"


def test_a_demo_never_mixes_environments(tmp_path: Path) -> None:
    other = replace(some_results(SAC, {"train": 1.0}), environment={"id": "dmc/room-stand"})
    with pytest.raises(FovealError, match="room-stand"):
        a_demo(tmp_path, baseline=other)
    assert not list(tmp_path.iterdir())


def test_explain_tells_the_ratio(explained: Path) -> None:
    text = "".join(Reader(explained.read_text(encoding="utf-8")).text)
    assert "50.0 % of the mask lies on the agent, which fills 3.1 % of the picture (16.0× chance)" in text  # noqa: RUF001
    assert "Return 10.0 in 20 steps" in text
    assert explained.is_absolute()


def test_a_comparison_tells_shares_and_agreement(compared: Path) -> None:
    text = " ".join(re.sub(r"<[^>]*>", " ", compared.read_text(encoding="utf-8")).split())
    for name in ("gradient", "guided backprop"):
        assert f"train {name} 10.0 50.0 % 50.0 % 3.1 % 16.0×" in text  # noqa: RUF001
    assert "gradient and guided backprop 1.00 1.00 at other moments" in text
    assert "the 5 % of pixels with the highest saliency in that map" in text
    assert text.count("mask of guided backprop") == 2  # strip and player
    read = Reader(compared.read_text(encoding="utf-8"))
    keys = [attributes["data-layer"] for attributes in read.all("input") if "data-layer" in attributes]
    assert keys == ["frame", "saliency-0", "mask-0", "saliency-1", "mask-1"]
    assert len([a for a in read.all("img") if a["alt"]]) == 5 * 3


@pytest.mark.slow
def test_a_film_has_every_step_and_the_page_as_many_as_asked_for(tmp_path: Path) -> None:
    page = explain(Square(), "train", tmp_path / "x.html", moments=6, video=tmp_path / "x.mp4", progress=False)
    steps = json.loads(re.findall(r'"steps":(\[[^]]*\])', page.read_text(encoding="utf-8"))[0])
    assert steps == [0, 4, 8, 12, 16]
    with av.open(str(tmp_path / "x.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(frames) == 20
    assert frames[0].shape == (20 + 14 * SIDE, 2 * 14 * SIDE, 3)  # titles, and 448 pixels below them
    right = frames[0][20:, 14 * SIDE :].reshape(SIDE, 14, SIDE, 14, 3).mean((1, 3))
    colour = np.ptp(right, axis=2) > 90
    assert colour[9:15, 9:15].all() and not colour[18:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on": ["train", "color_hard"], "video": "x.mp4"}, "shows one condition, and there are 2: .* --on color_hard"),
        ({"video": "x.gif"}, "call it x.mp4, not x.gif"),
    ],
)
def test_explain_refuses_a_bad_film_before_any_work(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    agent = Square()
    with pytest.raises(FovealError, match=message):
        explain(agent, out=tmp_path / "x.html", progress=False, **options)
    assert not agent.seen and not list(tmp_path.iterdir())


@pytest.mark.parametrize("frames", [0, 9])
def test_explain_refuses_a_strip_that_is_no_strip(tmp_path: Path, frames: int) -> None:
    with pytest.raises(FovealError, match="frames"):
        explain(Square(), out=tmp_path / "x.html", frames=frames, progress=False)


def test_explain_refuses_a_bad_place_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    agent = Square()
    for place in (tmp_path, tmp_path / "file" / "x.html"):
        with pytest.raises(FovealError, match="folder"):
            explain(agent, out=place, progress=False)
    assert not agent.seen


def test_explain_page_without_an_agent_mask(tmp_path: Path) -> None:
    bare = an_attention("train", None)
    bare = replace(bare, moments=tuple(replace(moment, parts={}) for moment in bare.moments))
    path = explain_page(tmp_path / "x.html", [bare])
    assert "mask on the agent" not in path.read_text(encoding="utf-8")


def test_durations_in_words() -> None:
    assert [duration(s) for s in (3, 89, 840, 7199, 12_000)] == [
        "3 seconds",
        "89 seconds",
        "14 minutes",
        "2 h 00 min",
        "3 h 20 min",
    ]


# --- in a browser -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pages_work_in_a_browser(any_page: Path, tmp_path: Path) -> None:
    found, console = visit(any_page.read_text(encoding="utf-8"), tmp_path)
    assert console == []
    assert found["images"]
    assert min(found["images"]) >= SIDE
    assert found["wide"] <= 0  # nothing sticks out sideways
    assert "hacked" not in found["title"]
    for player in found["players"]:
        assert player["shown"]
        assert len(player["painted"]) in {3, 5} and all(player["painted"])
        assert re.fullmatch(r"step 0 of \d+ · Q -?\d+\.\d · return so far 0\.0", player["first"])
        assert player["last"] != player["first"]
        assert player["layers"] == [True] * (len(player["painted"]) - 1) + [False]
        assert player["button"] == "Pause"


@pytest.mark.slow
def test_the_demo_page_fits_a_narrow_screen(tmp_path: Path) -> None:
    many = dict.fromkeys(["train", "color_easy", "color_hard", "video_easy", "video_hard"], 123.0)
    path = a_demo(tmp_path, results=some_results(SGQN, many))
    found, console = visit(path.read_text(encoding="utf-8"), tmp_path, width=500)
    assert console == []
    assert found["wide"] <= 0


@pytest.mark.slow
def test_the_browser_check_can_fail(demo: Path, tmp_path: Path) -> None:
    source = demo.read_text(encoding="utf-8").replace("data:image/png;base64,", "https://example.invalid/", 1)
    found, console = visit(source, tmp_path)
    assert min(found["images"]) == 0
    assert any("Content Security Policy" in line for line in console)
