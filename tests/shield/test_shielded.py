"""A policy behind a shield: its alarms, what of it can be looked at, and both as one ONNX file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

import foveal
from foveal.checkpoint import shipped
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.insides import insides_of
from foveal.evaluation.results import Results
from foveal.shield import Shield, ShieldConfig, Shielded
from foveal.shield.measures import measure
from foveal.shield.shielded import SHADOW, Alarms, lit
from foveal.training.looking import collect
from small_env import SIZE, small_agent
from small_shield import SMALL, Ball, Inverter, pictures

STACKED = {"image_size": SIZE, "frame_stack": 2}
TINY = ShieldConfig(filters=4, depth=1)


class Still:
    """Never moves, and keeps what it was given."""

    env_id, env_options, seed = "Ball", STACKED, 1
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.given: list[Any] = []

    def predict(self, observation: Any, *, deterministic: bool = False) -> tuple[Any, None]:
        self.given.append(observation)
        return np.zeros(2, np.float32), None

    def values(self, obs: Any, action: Any, vector: Any = None) -> Any:
        return obs[:, -3:, 4:8, 4:8].mean((1, 2, 3))[None]


def wary(limit: float) -> Inverter:
    """A shield that doubts by the first pixel, 30 of a frame of Ball's as it is."""
    shield = Inverter()
    shield.limit = limit
    return shield


# --- alarms -----------------------------------------------------------------------------------------------------------


def test_alarms_are_told_under_each_condition_anew() -> None:
    policy = Still()
    results = foveal.evaluate(Shielded(wary(31.0), policy), ["noise:5", "train"], 2, env=Ball, progress=False)
    came = 255 - np.stack(policy.given)[:, 3, 0, 0].astype(int)  # the newest frames' first pixels
    assert len(came) == 80 and 0 < (came[:40] > 31).mean() < 1
    assert results["noise:5"].alarms == (came[:40] > 31).mean()
    assert results["train"].alarms == 0.0
    assert Results.from_dict(results.as_dict()) == results
    head, *rows = (line for line in results.table().splitlines()[2:] if not line.startswith("--"))
    assert "alarms" in head and f"{100 * results['noise:5'].alarms:.1f} %" in rows[0] and "0.0 %" in rows[1]
    assert rows[1].index("0.0 %") + len("0.0 %") == head.index("alarms") + len("alarms")


def test_without_a_shield_there_is_no_word_of_alarms() -> None:
    results = foveal.evaluate(Still(), episodes=1, env=Ball, progress=False)
    assert results["train"].alarms is None and "alarms" not in results.table()
    assert "alarms" not in results.as_dict()["perturbations"]["train"]
    chance = Shielded(wary(0.0), Still()).world(foveal.evaluation.world.WorldOptions(env=Ball)).by_chance()
    assert foveal.evaluation.rollouts.run(chance, 1, progress=False)["train"].alarms is None
    assert Alarms().share is None and Alarms(4, 1).share == 0.25


def test_what_learns_at_test_time_learns_from_what_it_is_given() -> None:
    learned = []

    class Adapting(Still):
        @contextmanager
        def adapting(self) -> Iterator[Any]:
            yield lambda seen, action, reward, following, over: learned.append((seen, following))

    policy = Adapting()
    foveal.evaluate(Shielded(wary(31.0), policy), episodes=1, env=Ball, adapt=True, progress=False)
    assert len(learned) == 20
    for (seen, following), given, later in zip(learned, policy.given, [*policy.given[1:], None], strict=True):
        assert np.array_equal(seen, given) and (later is None or np.array_equal(following, later))


# --- insides ----------------------------------------------------------------------------------------------------------


def test_insides_offer_what_was_given_the_mask_and_the_doubt() -> None:
    shielded = Shielded(wary(31.0), Still())
    insides, seen = insides_of(shielded), [pictures(6, SIZE, SIZE, seed=n) for n in range(3)]
    newest = [one[-3:].transpose(1, 2, 0) for one in seen]
    given, task = insides.views["given"], insides.views["task"]
    assert given.beneath and not task.beneath
    assert np.array_equal(given.draw(seen[0]), 255 - newest[0])
    mask = newest[0][..., :1] / 255.0
    expected = (255 - newest[0]) * (SHADOW + (1 - SHADOW) * mask)
    assert np.abs(task.draw(seen[0]) - expected).max() < 1.01
    marked = insides.look("shield", seen)
    assert np.allclose(marked, np.stack([one[..., 0] / 255 for one in newest]))
    doubt = insides.readings["shield's doubt"]
    assert [doubt.read(one) for one in seen] == [one[0, 0, 0] for one in newest] and doubt.limit == 31.0
    values = insides.scalar().bind(seen, [np.zeros(2, np.float32)] * 3)(insides.pixels(seen))
    assert np.allclose(values, [(255 - one[4:8, 4:8].astype(float)).mean() for one in newest])
    assert (shielded.doubt, shielded.alarms.acted) == (0.0, 0)  # looking is not acting
    assert insides_of(Shielded(wary(np.inf), Still())).readings["shield's doubt"].limit is None


def test_a_mask_is_drawn_as_light() -> None:
    frame = np.full((3, 1, 3), 200, np.uint8)
    assert lit(frame, np.array([[0.0, 0.5, 1.0]], np.float32))[0, :, 0].tolist() == [40, 120, 200]


@pytest.mark.slow
def test_maps_of_the_policys_own_are_of_what_it_is_given() -> None:
    agent, shield = small_agent(Ball, method="madi"), Inverter()
    seen = [pictures(9, SIZE, SIZE, seed=n) for n in range(2)]
    found = insides_of(Shielded(shield, agent)).look("masker", seen)
    assert found.equal(insides_of(agent).look("masker", [255 - one for one in seen]))
    assert not found.equal(insides_of(agent).look("masker", seen))


# --- export -----------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("output", ["restored", "masked"])
def test_shield_and_policy_are_one_file(output: str, tmp_path: Path) -> None:
    agent = small_agent(Ball, training={"precision": "float32"})
    shield = Shield(replace(SMALL, output=output), "Ball", SIZE)
    with torch.no_grad():
        shield.network.draw.bias[4] = -5.0  # it sees no task anywhere, and is not quite sure
        shield.network.change[2].weight *= 100.0  # and takes one frame to be changed more than another
    shielded = shield.wrap(agent)
    path = shielded.export(tmp_path / "guarded.onnx")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        image = pictures(batch, 9, SIZE, SIZE, seed=batch)
        image[:, :-3] //= 4  # so that doubt differs within a stack
        action, doubt = session.run(["action", "doubt"], {"image": image})
        np.testing.assert_allclose(action, shielded.predict(image, deterministic=True)[0], atol=1e-3)
        assert np.abs(action - agent.predict(image, deterministic=True)[0]).max() > 0.01  # the shield is in there
        expected = shielded.shield.restore(image[:, -3:]).doubt
        np.testing.assert_allclose(doubt, expected, rtol=1e-4)
        assert np.abs(doubt / shielded.shield.restore(image[:, :3]).doubt - 1).max() > 1e-3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_the_command_exports_alone_or_behind_a_shield(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Shield(TINY, "dmc/walker-stand", 40).save(tmp_path / "shield")
    behind = ["--shield", str(tmp_path / "shield")]
    for more, outputs in (([], ["action"]), (behind, ["action", "doubt"])):
        assert main(["export", "pretrained:walker-stand-sgqn", "--out", str(tmp_path / "p.onnx"), *more]) == 0
        assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "p.onnx")
        session = onnxruntime.InferenceSession(str(tmp_path / "p.onnx"), providers=["CPUExecutionProvider"])
        assert [node.name for node in session.get_outputs()] == outputs


def test_what_cant_be_exported_is_told_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "p.onnx"
    with pytest.raises(FovealError, match=r"a Still has no learner"):
        Shield(TINY, "Ball", SIZE).wrap(Still()).export(path)
    with pytest.raises(FovealError, match=r"a Inverter has no module\(\).*only foveal.Shield can"):
        Shielded(Inverter(), small_agent(Ball)).export(path)
    with pytest.raises(FovealError, match="for uint8 RGB frames of 40 x 40 pixels, and this policy sees others"):
        Shield(TINY, "Ball", 40).wrap(small_agent(Ball)).export(path)
    assert main(["export", "pretrained:walker-stand-sgqn", "--out", str(tmp_path)]) == 2
    assert "name the file to write, e.g." in capsys.readouterr().err
    assert not path.exists()


# --- what ships -------------------------------------------------------------------------------------------------------


def test_a_shield_that_ships_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FovealError, match=r"no pretrained shield 'nonsense'; these ship with foveal"):
        Shield.load("pretrained:nonsense")
    made = Shield(TINY, "dmc/walker-stand", 40, limit=3.0)
    made.save(tmp_path / "pretrained" / "shields" / "walker-stand")
    monkeypatch.setattr("foveal.checkpoint.pretrained.files", lambda _: tmp_path)
    assert Shield.load("pretrained:walker-stand").limit == 3.0
    assert shipped("shields") == ["walker-stand"] and shipped() == []
    with pytest.raises(FovealError, match="no pretrained policy 'shields'; these ship with foveal: none"):
        foveal.load("pretrained:shields")


@pytest.mark.slow
@pytest.mark.parametrize("corruption", ["background_pan", "overlay"])
def test_the_shield_that_ships_knows_its_task(corruption: str) -> None:
    shield = Shield.load("pretrained:walker-stand")
    fresh = collect(shield.env_id, {"image_size": shield.image_size, "quality": "draft", "frame_stack": 1}, 40, 5)
    found = measure(shield, fresh, corruption, 3)
    assert found.after.mean() < found.before.mean() / 3
    assert found.overlap > 0.85
    clean = measure(shield, fresh)
    assert clean.after.mean() < 0.1 and (clean.doubt > shield.limit).mean() <= 0.1
