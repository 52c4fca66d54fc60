"""Audits of maps from one end to the other: of networks, black boxes and an agent of foveal's, on recorded frames."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import foveal
from chromium import visit
from foveal.auditing.adapters import AdapterOptions, adapted
from foveal.auditing.cameras import cameras_of
from foveal.auditing.covering import Covering, Sampling, evenly
from foveal.auditing.looking import Looker
from foveal.auditing.report import report
from foveal.errors import FovealError
from foveal.evaluation.insides import Insides
from small_policies import SIDE, Halves, Sides, Told, looking


def told(policy: Any, env: Any, maps: Any = None, **options: Any) -> foveal.Audit:
    settings = {"changes": ["hue"], "severities": [1], "progress": False, "out": None, **options}
    return foveal.audit(policy, env, maps=maps, **settings)


@pytest.fixture(scope="module")
def found() -> foveal.Audit:
    return told(Halves(), Told(), ["gradient", "integrated_gradients"], pixels="unit")


@pytest.mark.slow
def test_a_map_that_tells_bright_pixels_is_true_of_a_network_that_compares_brightness(found: foveal.Audit) -> None:
    gradient, integrated = found.maps
    assert (gradient.name, integrated.name) == ("gradient", "integrated_gradients")
    assert gradient.of == "what the network gives for the action that it chooses"
    deleted = integrated.deletion["value"]
    assert deleted.areas.shape == (5,) and deleted.kept.shape == (5, 11)
    assert set(integrated.deletion) == {"value", "action"}
    assert integrated.parts["precision"].mean > gradient.parts["precision"].mean
    assert integrated.parts["share"].mean == pytest.approx(16 * 12 / SIDE**2)
    assert set(integrated.behaviour) == {"salient", "others", "elsewhere"}
    assert integrated.stable and set(integrated.similar) == set(integrated.stable) and integrated.layers == (1,)
    assert all(-1 <= one.low <= one.mean <= one.high <= 1 for one in integrated.similar.values())
    assert found.summary[2].startswith("Of its maps, ") and len(found.summary) == 4


@pytest.mark.slow
def test_the_page_and_the_json_have_a_row_for_every_map(found: foveal.Audit, tmp_path: Path) -> None:
    page = report(found, tmp_path / "report.html").read_text(encoding="utf-8")
    text = " ".join(re.sub(r"<[^>]+>", " ", page).split())
    for said in (
        "Is the map true?",
        "integrated_gradients",
        "all but what is marked",
        "precision",
        "likeness under hue:3, and SSIM",
        "SSIM 0.",
    ):
        assert said in text
    assert text.index("Is the map true?") < text.index("In numbers")
    assert page.count("what is kept over the share of the picture: ") == 6  # two curves and a likeness of each
    state = json.loads(found.save(tmp_path / "report.json").read_text())
    assert [row["map"] for row in state["maps"]] == ["gradient", "integrated_gradients"]
    assert state["maps"][1]["verdict"] == found.maps[1].verdict
    assert set(state["maps"][0]["ssim"]) == {"noise:3", "hue:3", "shadow:3"}
    assert len(state["maps"][0]["deletion"]["value"]["area"]["values"]) == 5
    probed, console = visit(page, tmp_path, width=500)
    assert console == [] and probed["wide"] <= 0


@pytest.mark.slow
def test_a_black_box_gets_maps_that_need_no_gradient() -> None:
    def unsure(observation: Any) -> np.ndarray:
        halves = observation[:, : SIDE // 2].mean(), observation[:, SIDE // 2 :].mean()
        return np.array(halves, np.float32)

    found = told(unsure, Told(), episodes=2)
    assert [trial.name for trial in found.maps] == ["occlusion", "rise"]
    for trial in found.maps:
        assert trial.of == "the action" and not trial.likeness and not trial.behaviour
        assert trial.parts["pointing"].mean > 0.7
    assert len(found.maps[0].deletion["action"].areas) == 2


def test_maps_that_a_black_box_lacks_are_refused_before_work_and_the_others_named() -> None:
    for name in ("gradient", "grad_cam"):
        with pytest.raises(FovealError, match=rf"{name} needs a gradient.*occlusion, rise, sarfa"):
            told(looking, Sides(), [name])
    with pytest.raises(FovealError, match="unknown saliency map 'gradiant'"):
        told(looking, Sides(), ["gradiant"])
    with pytest.raises(FovealError, match="sarfa explains the choice among discrete actions"):
        told(lambda seen: np.zeros(1), Sides(continuous=True), ["sarfa"])


def test_without_maps_nothing_is_said_of_them() -> None:
    found = told(looking, Sides(), ())
    assert found.maps == () and len(found.summary) == 3 and found.as_dict()["maps"] == []


@pytest.mark.slow
def test_recorded_frames_have_maps_but_no_episodes(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(60):
        env = Sides()
        Image.fromarray(env.reset(seed=number)[0]).save(tmp_path / f"{number:03}.png")
    found = told(Halves(), None, ["gradient"], frames=tmp_path, pixels="unit", discrete=True)
    (trial,) = found.maps
    assert not trial.behaviour and not trial.parts and trial.deletion["value"].area is not None
    assert "no return was measured" in found.summary[3]


@pytest.mark.slow
def test_an_agent_of_foveals_is_asked_for_its_own_maps_too() -> None:
    from small_env import SavedCounter, small_agent

    agent = small_agent(SavedCounter, training={"precision": "float32"})
    found = told(agent, None, episodes=2, changes=["noise"])
    assert [trial.name for trial in found.maps] == ["gradient", "guided_backprop"]
    assert found.maps[0].of == "the critic's first head" and len(found.maps[0].likeness) > 1
    assert "can't be told" in found.summary[2] or "can't be trusted" in found.summary[2]


# --- the pieces -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("continuous", [False, True])
def test_what_a_network_acts_by_is_found(continuous: bool) -> None:
    adapter = adapted(Halves(), AdapterOptions(pixels="unit"))
    (camera,) = cameras_of(Sides().observation_space)
    insides = adapter.insides(camera, discrete=not continuous)
    assert isinstance(insides, Insides)
    assert list(insides.scalars) == (["action", "action1", "action2"] if continuous else ["preference"])
    seen = [Sides().reset(seed=seed)[0] for seed in range(3)]
    assert insides.decision is not None
    numbers = insides.decision.bind(seen, ())(insides.pixels(seen)).detach()
    expected = np.concatenate([adapter.act(one) for one in seen])
    np.testing.assert_allclose(numbers.numpy(), expected, rtol=1e-5)
    scalar = insides.scalar().bind(seen, ())(insides.pixels(seen)).detach().numpy()
    np.testing.assert_allclose(scalar, np.abs(expected).sum(1) if continuous else expected.max(1), rtol=1e-5)


def test_a_black_box_is_asked_with_its_pixels_changed_and_from_its_beginning() -> None:
    class Policy:
        observation_space = spaces.Dict({"camera": spaces.Box(0, 255, (16, 16, 1), np.uint8)})
        resets = 0

        def reset(self) -> None:
            self.resets += 1

        def __call__(self, seen: Any) -> np.ndarray:
            assert seen["camera"].shape == (16, 16, 1) and seen["camera"].dtype == np.uint8
            return np.array([seen["camera"].mean(), 1.0])

    policy = Policy()
    (camera,) = cameras_of(policy.observation_space)
    looker = Looker.on(adapted(policy, AdapterOptions()), camera, None, ["occlusion"], 0)
    seen = [{"camera": np.full((16, 16, 1), 40, np.uint8)}]
    decide = looker.insides.decision
    assert decide is not None
    pixels = looker.insides.pixels(seen)
    assert pixels.shape == (1, 3, 16, 16)
    assert decide.bind(seen, ())(pixels + 10).tolist() == [[50.0, 1.0]] and policy.resets == 1


@pytest.mark.parametrize(("which", "sharp"), [("salient", "right"), ("others", "left")])
def test_what_is_covered_is_blurred_in_every_frame_and_nothing_else(which: str, sharp: str) -> None:
    space = spaces.Box(0, 255, (6, 20, 20), np.uint8)
    (camera,) = cameras_of(space)
    given = np.random.default_rng(0).integers(0, 256, (6, 20, 20), np.uint8)
    strength = torch.zeros(1, 20, 20)
    strength[:, :, :4] = 1.0  # a fifth, at the left
    covering = Covering(lambda views: strength, camera, which)
    covering.begin()
    shown = covering(given)
    kept = slice(0, 4) if sharp == "left" else slice(4, 20)
    blurry = slice(4, 20) if sharp == "left" else slice(0, 4)
    assert np.array_equal(shown[:, :, kept], given[:, :, kept])
    assert shown[:, :, blurry].std() < 0.6 * given[:, :, blurry].std()


def test_elsewhere_is_shifted_the_same_way_for_an_episode() -> None:
    (camera,) = cameras_of(spaces.Box(0, 255, (3, 20, 20), np.uint8))
    given = np.random.default_rng(0).integers(0, 256, (3, 20, 20), np.uint8)
    strength = torch.zeros(1, 20, 20)
    strength[:, :4] = 1.0
    covering = Covering(lambda views: strength, camera, "elsewhere")
    covering.begin()
    first, again = covering(given), covering(given)
    assert np.array_equal(first, again) and np.array_equal(first[:, :4], given[:, :4])
    assert not np.array_equal(first, given)


def test_samples_are_of_the_middle_and_copies() -> None:
    assert evenly(100, 3) == {25, 50, 74} and evenly(1, 3) == {0}
    sampling = Sampling([evenly(10, 2), evenly(4, 2)])
    frame = np.zeros((3, 8, 8), np.uint8)
    for length in (10, 4):
        sampling.begin()
        for step in range(length):
            frame[:] = step
            assert sampling(frame) is frame
    assert [[int(seen.max()) for seen, _ in episode] for episode in sampling.kept] == [[3, 6], [1, 2]]
