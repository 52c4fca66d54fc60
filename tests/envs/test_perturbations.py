"""Colours at test time, the key that finds the background, and what a perturbation is told and tells."""

from __future__ import annotations

import colorsys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import gymnasium
import numpy as np
import pytest

from foveal.envs import PERTURBATIONS, Perturbation, PixelEnv, make
from foveal.envs.perturbations.benchmark_files import read_colors
from foveal.envs.perturbations.colors import STANDARD, generated_colors
from foveal.envs.perturbations.repaint import _compiled, repaint
from foveal.envs.perturbations.video import GREEN, green_key
from foveal.errors import FovealError


def cheap(name: str, **options: Any) -> PixelEnv:
    return make(f"dmc/{name}", **{"image_size": 32, "quality": "draft", **options})


def physics_of(env: PixelEnv) -> Any:
    return env.inner.unwrapped.physics  # type: ignore[attr-defined]


def by_the_benchmarks_way(domain: str, colors: dict[str, tuple[str, str, Any]]) -> Any:
    """A model loaded from the suite's XML with some colours replaced, as the benchmark does at every reset.

    Args:
        domain: of the suite.
        colors: any key -> (asset file, "texture grid", {attribute: rgb}).
    """
    from dm_control.mujoco import Physics
    from dm_control.suite import common

    assets = dict(common.ASSETS)
    for file, element, attributes in colors.values():
        tag, name = element.split()
        root = ET.fromstring(assets[f"./common/{file}.xml"])
        [node] = [node for node in root.iter(tag) if node.get("name") == name]
        for attribute, value in attributes.items():
            node.set(attribute, " ".join(map(str, value)))
        assets[f"./common/{file}.xml"] = ET.tostring(root)
    return Physics.from_xml_string(common.read_model(f"{domain}.xml"), assets)


def test_the_four_of_the_benchmark() -> None:
    assert {"color_easy", "color_hard", "video_easy", "video_hard"} <= set(PERTURBATIONS.names())


def test_the_suites_own_textures_are_compiled_alike() -> None:
    env = cheap("walker-walk")
    model = physics_of(env).model
    for name in ("skybox", "grid"):
        index = model.name2id(name, "texture")
        start = model.tex_adr[index]
        size = model.tex_width[index] * model.tex_height[index] * 3
        assert np.array_equal(model.tex_data[start : start + size], _compiled(name, ()))
    env.close()


@pytest.mark.parametrize("domain", ["walker", "cartpole"])
@pytest.mark.slow
def test_repainting_gives_the_pictures_of_a_model_loaded_anew(domain: str) -> None:
    sky, one, two, body = [0.9, 0.1, 0.3], [0.2, 0.7, 0.1], [0.3, 0.8, 0.2], [0.1, 0.2, 0.9]
    loaded = by_the_benchmarks_way(
        domain,
        {
            "sky": ("skybox", "texture skybox", {"rgb1": sky}),
            "grid": ("materials", "texture grid", {"rgb1": one, "rgb2": two}),
            "body": ("materials", "material self", {"rgba": [*body, 1]}),
        },
    )
    env = make(f"dmc/{domain}-{'walk' if domain == 'walker' else 'swingup'}", image_size=64, seed=0)
    env.reset()
    physics = physics_of(env)
    physics.render(64, 64, 0)  # the colours must reach a context that exists already
    repaint(physics, {"skybox": {"rgb1": sky}, "grid": {"rgb1": one, "rgb2": two}}, body)
    loaded.set_state(physics.get_state())
    loaded.forward()
    assert np.array_equal(physics.render(64, 64, 0), loaded.render(64, 64, 0))
    env.close()
    loaded.free()


@pytest.mark.slow
def test_video_environments_are_painted_green_as_the_benchmark_paints_them() -> None:
    green = {"rgb1": GREEN, "rgb2": GREEN, "markrgb": GREEN}
    colors = {"sky": ("skybox", "texture skybox", green), "grid": ("materials", "texture grid", green)}
    for perturbation, painted in [("video_easy", ["sky"]), ("video_hard", ["sky", "grid"])]:
        loaded = by_the_benchmarks_way("walker", {name: colors[name] for name in painted})
        env = make("dmc/walker-walk", image_size=64, perturbation=perturbation, seed=0)
        env.reset()
        physics = physics_of(env)
        loaded.set_state(physics.get_state())
        loaded.forward()
        assert np.array_equal(physics.render(64, 64, 0), loaded.render(64, 64, 0))
        env.close()
        loaded.free()


@pytest.mark.slow
def test_one_draw_an_episode_in_the_benchmarks_order() -> None:
    """``RandomState(seed).randint(100)`` at each reset, and the colours go where the benchmark puts them."""
    env = cheap("cartpole-swingup", perturbation="color_hard", seed=11)
    palette = generated_colors(0.2)
    expected = np.random.RandomState(11).randint(100, size=3)
    for index in expected:
        env.reset()
        colors = palette[index]
        model = physics_of(env).model
        assert np.allclose(physics_of(env).named.model.mat_rgba["self"], [*colors["self_rgb"], 1.0])
        start = model.tex_adr[model.name2id("grid", "texture")]
        texels = model.tex_data[start : start + 300 * 300 * 3].reshape(300, 300, 3)
        corners = {tuple(texels[75, 75]), tuple(texels[75, 225])}
        assert corners == {tuple((colors[name] * 255).astype(np.uint8)) for name in ("grid_rgb1", "grid_rgb2")}
        start = model.tex_adr[model.name2id("skybox", "texture")]
        sky = _compiled("skybox", (("rgb1", tuple(colors["skybox_rgb"].tolist())),))  # the rest: the suite's
        assert np.array_equal(model.tex_data[start : start + sky.size], sky)
    env.close()


@pytest.mark.slow
def test_colours_change_the_picture_and_not_the_simulation() -> None:
    plain, coloured = (cheap("walker-walk", perturbation=name, seed=1) for name in (None, "color_hard"))
    assert not np.array_equal(plain.reset()[0], coloured.reset()[0])
    for _ in range(3):
        action = plain.action_space.sample()
        one, two = plain.step(action), coloured.step(action)
        assert one[1:4] == two[1:4]
        assert not np.array_equal(one[0], two[0])
    assert np.array_equal(plain.agent_mask(), coloured.agent_mask())
    plain.close()
    coloured.close()


@pytest.mark.parametrize("perturbation", ["color_easy", "video_hard"])
@pytest.mark.slow
def test_a_perturbed_run_goes_on_bit_for_bit(perturbation: str) -> None:
    env = cheap("cartpole-swingup", perturbation=perturbation, seed=1, action_repeat=40)
    fresh = cheap("cartpole-swingup", perturbation=perturbation, seed=2, action_repeat=40)
    env.reset()
    env.reset()
    env.step(np.ones(1))
    fresh.set_state(env.get_state())
    for _ in range(2):
        assert np.array_equal(env.step(np.ones(1))[0], fresh.step(np.ones(1))[0])
    assert np.array_equal(env.reset()[0], fresh.reset()[0])
    assert np.array_equal(env.reset()[0], fresh.reset()[0])
    env.close()
    fresh.close()


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.1, 0.2])
def test_generated_colours_are_the_suites_with_noise(spread: float) -> None:
    palette = generated_colors(spread, count=3000)
    for name, standard in STANDARD.items():
        colors = np.stack([entry[name] for entry in palette])
        assert colors.min() >= 0 and colors.max() <= 1
        clear = np.asarray(standard) > 2 * spread, np.asarray(standard) < 1 - 2 * spread
        inside = clear[0] & clear[1]  # hardly clipped
        assert np.allclose(colors.mean(axis=0)[inside], np.asarray(standard)[inside], atol=0.015)
        assert np.allclose(colors.std(axis=0)[inside], spread, atol=0.02)
    for entry in palette:
        assert np.allclose(entry["grid_rgb2"], np.clip(entry["grid_rgb1"] + 0.1, 0, 1))
    again = generated_colors(spread, count=3)
    assert all(np.array_equal(a[name], b[name]) for a, b in zip(again, palette, strict=False) for name in a)


@pytest.mark.slow
def test_the_benchmarks_own_colours(dmcgb: Path) -> None:
    for name, spread in [("color_easy", 0.1), ("color_hard", 0.2)]:
        palette = read_colors(dmcgb / f"{name}.pt")
        assert len(palette) == 100
        assert set(palette[0]) == {"grid_rgb1", "grid_rgb2", "skybox_rgb", "self_rgb"}
        assert np.std([entry["skybox_rgb"][1] for entry in palette]) == pytest.approx(spread, rel=0.3)
    env = cheap("cartpole-swingup", perturbation="color_hard", data=dmcgb, seed=0)
    info = env.spec_info
    assert (info.perturbation, info.perturbation_source) == ("color_hard", "dmc-gb")
    assert (info.perturbation_items, info.perturbation_complete) == (100, True)
    env.reset()
    chosen = palette[np.random.RandomState(0).randint(100)]
    assert np.allclose(physics_of(env).named.model.mat_rgba["self", :3], chosen["self_rgb"])
    env.close()


@pytest.mark.parametrize("content", [b"", b"no pickle", b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R."])
def test_damaged_and_hostile_colour_files(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "color_easy.pt").write_bytes(content)
    with pytest.raises(FovealError, match=r"color_easy\.pt is damaged or is no colour file"):
        make("dmc/cartpole-swingup", perturbation="color_easy", data=tmp_path)


def test_a_cut_colour_file(dmcgb: Path, tmp_path: Path) -> None:
    whole = (dmcgb / "color_easy.pt").read_bytes()
    (tmp_path / "color_easy.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FovealError, match="copy it again"):
        make("dmc/cartpole-swingup", perturbation="color_easy", data=tmp_path)


def test_colours_out_of_range(tmp_path: Path) -> None:
    import torch

    entry = {name: [2.0, 0.0, 0.0] for name in ("grid_rgb1", "grid_rgb2", "skybox_rgb", "self_rgb")}
    torch.save([entry], tmp_path / "color_hard.pt")
    with pytest.raises(FovealError, match=r"no rgb in \[0, 1\]"):
        make("dmc/cartpole-swingup", perturbation="color_hard", data=tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"perturbation": "colour_hard"}, "did you mean 'color_hard'"),
        ({"perturbation": "color_hard", "data": "no/such/folder"}, "'no/such/folder', which is no folder"),
        ({"perturbation": "color_hard", "data": Path(__file__).parent}, r"color_hard\.pt is missing"),
        ({"perturbation": "video_hard", "data": Path(__file__).parent}, "video_hard holds no video0.mp4"),
    ],
)
def test_mistakes_are_told_before_anything_is_loaded(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FovealError, match=message):
        make("dmc/cartpole-swingup", **options)


def keyed_pixel(r: int, g: int, b: int) -> bool:
    """The definition, for one pixel."""
    hue, saturation, value = colorsys.rgb_to_hsv(r / 255.0, g / 255.0, b / 255.0)
    return 100 <= hue * 360 <= 185 and 80 <= saturation * 255 <= 255 and 70 <= value * 255 <= 255


def colours_at_the_bounds() -> list[tuple[int, int, int]]:
    """Colours of which hue, saturation or value is exactly, or next to, a bound."""
    found = []
    for high in (69, 70, 71, 90, 160, 204, 254, 255):
        for low in sorted({0, 20, 48, round(high * 175 / 255), round(high * 175 / 255) - 1, high - 1, high}):
            if low > high:
                continue
            span = high - low
            for part in (span / 3, span / 12):  # hue 100 is 120 - 60/3, hue 185 is 180 + 60/12
                for step in (-1, 0, 1):
                    middle = min(max(low + round(part) + step, low), high)
                    found += [(middle, high, low), (low, high, middle), (low, middle, high), (high, middle, low)]
    return found


def test_the_key_is_the_definition() -> None:
    random = np.random.default_rng(0)
    anything = random.integers(0, 256, (60_000, 3))
    greenish = np.clip(np.array([40, 170, 90]) + random.normal(0, 60, (40_000, 3)), 0, 255).astype(int)
    grays = np.repeat(np.arange(256), 3).reshape(-1, 3)
    pixels = np.concatenate([anything, greenish, grays, np.array(colours_at_the_bounds())]).astype(np.uint8)
    expected = np.array([keyed_pixel(*pixel) for pixel in pixels.tolist()])
    assert np.array_equal(green_key(pixels.T.reshape(3, -1, 1))[:, 0], expected)
    assert 0.1 < expected.mean() < 0.9


@pytest.mark.parametrize(
    ("rgb", "background"),
    [
        ((0, 70, 0), True),
        ((0, 69, 0), False),
        ((175, 255, 175), True),  # saturation 80
        ((176, 255, 176), False),
        ((0, 220, 240), True),  # hue 185
        ((0, 219, 240), False),
        ((60, 180, 0), True),  # hue 100, in float64 a hair above
        ((40, 120, 0), False),  # hue 100, in float64 a hair below
        ((0, 0, 0), False),
        ((255, 255, 255), False),
        ((255, 0, 0), False),
    ],
)
def test_colours_at_the_bounds(rgb: tuple[int, int, int], background: bool) -> None:
    image = np.array(rgb, np.uint8).reshape(3, 1, 1)
    assert bool(green_key(image)[0, 0]) is keyed_pixel(*rgb) is background


class Darker(gymnasium.ObservationWrapper[Any, Any, Any]):
    def observation(self, observation: Any) -> Any:
        return observation // 2

    def get_state(self) -> dict[str, Any]:
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        pass


@pytest.mark.slow
def test_a_perturbation_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Night(Perturbation):
        def apply(self, env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
            return Darker(env)

    monkeypatch.setattr(PERTURBATIONS, "_entries", dict(PERTURBATIONS._entries))
    PERTURBATIONS.register("night")(Night)
    day, night = (cheap("cartpole-swingup", perturbation=name, seed=0) for name in (None, "night"))
    assert np.array_equal(day.reset()[0] // 2, night.reset()[0])
    assert night.spec_info.perturbation == "night"
    assert night.spec_info.perturbation_source is None
    night.set_state(night.get_state())
    day.close()
    night.close()
