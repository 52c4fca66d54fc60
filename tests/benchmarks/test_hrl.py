"""benchmarks/hrl.py: rows of evidence, from nothing to a success rate."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("h5py", reason='needs the extra "skills"')

from hrl import main, run_row
from hrl_contenders import AtRandom, Maker
from hrl_rows import RowOptions, earlier, steps_from_scratch
from rows import claimed

from foveal.errors import FovealError
from foveal.skills.demos import collect, demo_options
from foveal.skills.minari import open_demos
from foveal.skills.policy import SkillPolicy
from foveal.skills.rollouts import play
from foveal.skills.seeds import EVALUATION


@pytest.mark.slow
def test_rows_of_every_method_from_one_command(tmp_path, capsys):
    places = [
        f"--work={tmp_path / 'work'}",
        f"--out={tmp_path / 'out'}",
        "--workers=1",
        "--preset=debug",
        "--episodes=1",
        "--paired=1",
    ]
    for row in ("random", "hrl-bc", "oracle", "ppo"):
        films = ["--films"] if row == "random" else []
        main(["ur5e/pick", "--row", row, *places, *films, "--on", "training"])
        report = json.loads((tmp_path / "out" / f"pick-{row}-0.json").read_text())
        found = report["success"]["training"]
        assert found["episodes"] == 1 and found["outcomes"][0]["seed"] == EVALUATION
        assert 0.0 <= found["low"] <= found["rate"] <= found["high"] <= 1.0
    said = capsys.readouterr().out
    assert said.count("collecting") == 1 and said.count("cloning skills") == 1
    assert [path.name for path in tmp_path.rglob("*.mp4")] == ["pick-random-0-failure.mp4"]
    assert "policy of" in said  # the second row took what the first had made
    assert (tmp_path / "work" / "pick-debug-0" / "demos-random" / "data" / "main_data.hdf5").is_file()


@pytest.mark.slow
def test_rivals_from_one_command_and_conditions_one_after_the_other(tmp_path):
    places = [f"--work={tmp_path / 'work'}", f"--out={tmp_path / 'out'}", "--workers=1", "--preset=debug"]
    for row in ("ppo-shaped", "ppo-from-bc", "replan", "replan-experts", "hrl-bc-drawn"):
        main(["ur5e/pick", "--row", row, *places, "--episodes=1", "--paired=2", "--on", "training"])
    main(["ur5e/pick", "--row", "replan-experts", *places, "--episodes=1", "--paired=2", "--on", "cube_moved"])
    report = json.loads((tmp_path / "out" / "pick-replan-experts-0.json").read_text())
    assert list(report["success"]) == ["training", "cube_moved"]  # the first one's is kept
    outcomes = report["success"]["cube_moved"]["outcomes"]
    assert [outcome["happened"] is not None for outcome in outcomes] == [True, True]
    assert report["success"]["training"]["outcomes"][0]["happened"] is None
    assert (tmp_path / "work" / "pick-debug-0" / "flat-bc-ordered").is_dir()  # which ppo-from-bc started from
    main(["ur5e/pick", "--row", "script", *places, "--paired=1", "--demonstrations=5", "--on", "training"])
    report = json.loads((tmp_path / "out" / "pick-script-5-0.json").read_text())
    assert report["demonstrations"] == 5 and (tmp_path / "work" / "pick-debug-5-0" / "skills").is_dir()


def test_results_of_versions_whose_demonstrations_ended_early_are_not_kept(tmp_path):
    path = tmp_path / "pick-script-0.json"
    path.write_text(json.dumps({"success": {"training": {}}}))
    assert earlier(path) == {} and earlier(tmp_path / "nothing.json") == {}
    path.write_text(json.dumps({"success": {"training": {}}, "demonstrations": None}))
    assert earlier(path) == {"training": {}}


def test_fewer_demonstrations_get_as_many_batches():
    few, usual = (Maker(RowOptions("bowl", demonstrations=n), print)._cloning() for n in (25, None))
    assert few.epochs * 25 == usual.epochs * 300 and few.rollouts_every == few.epochs // 2


def test_demonstrations_that_go_straight_on_get_as_many_batches(monkeypatch):
    steps = {"random": 240_000, "script": 120_000}
    maker = Maker(RowOptions("bowl"), print)
    monkeypatch.setattr(maker, "_demos", lambda order: order)
    monkeypatch.setattr("hrl_contenders.open_demos", lambda order: SimpleNamespace(steps=steps[order]))
    twice = maker._cloning(maker._longer())
    assert twice.epochs == 2 * maker._cloning().epochs and twice.rollouts_every == twice.epochs // 2


def test_training_and_changes_of_the_world_are_compared_over_more_episodes():
    row = RowOptions("bowl")
    assert [row.episodes_of(name) for name in ("training", "cube_moved", "far_starts")] == [100, 100, 50]


def test_a_row_belongs_to_one_process(tmp_path, monkeypatch):
    options = RowOptions("pick", "replan-experts", preset="debug", work=tmp_path / "work", out=tmp_path / "out")
    with (
        claimed(options.work / "locks" / f"{options.name}.lock"),
        pytest.raises(FovealError, match="another process works on pick-replan-experts-0"),
    ):
        run_row(options, lambda _: None)


@pytest.mark.slow
def test_what_is_evaluated_is_written_at_once(tmp_path, monkeypatch):
    options = RowOptions(
        *("pick", "replan-experts", 0, "debug", 1, 1, ("training", "far_starts")),
        work=tmp_path / "work",
        out=tmp_path / "out",
        workers=1,
    )
    played = []

    def stopped(*arguments, **more):
        played.append(arguments)
        if len(played) == 2:
            raise KeyboardInterrupt
        return play(*arguments, **more)

    monkeypatch.setattr("hrl.play", stopped)
    with pytest.raises(KeyboardInterrupt):
        run_row(options, lambda _: None)
    assert list(earlier(options.out / f"{options.name}.json")) == ["training"]


def test_learning_from_scratch_gets_the_steps_of_demonstrations_and_master():
    assert steps_from_scratch("bowl", "compact") == 300 * 250 + 3200 * 60
    assert steps_from_scratch("tower", "compact") > steps_from_scratch("pick", "compact")
    assert steps_from_scratch("bowl", "paper") == 485_000


@pytest.mark.slow
def test_unfinished_demonstrations_are_gone_on_with(tmp_path, monkeypatch):
    """As many as are wanted are learned from, and those of other options are not."""
    folder, asked = tmp_path / "pick-debug-0" / "demos-random", []
    monkeypatch.setattr("hrl_contenders.clone", lambda demos, *_, **__: asked.append(open_demos(demos).episodes))
    monkeypatch.setattr(SkillPolicy, "load", lambda _: None)
    maker = Maker(RowOptions("pick", preset="debug", work=tmp_path, out=tmp_path, workers=1), lambda _: None)
    collect("pick", folder, demo_options("debug", {"episodes": 2}))
    with pytest.raises(FovealError, match="was begun with other settings"):
        maker._skills("skills", "random", flat=False)
    _cut(folder, {"episodes": 4})
    maker._skills("skills", "random", flat=False)
    assert asked == [4]


def _cut(folder, about):
    """Say of demonstrations that there were to be others."""
    path = folder / "data" / "metadata.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "foveal": {**told["foveal"], **about}}))


def test_chance_is_fair_and_repeatable():
    plan = AtRandom(4)
    drawn = plan.choose(None, np.arange(2000), 3, range(2000))
    assert np.bincount(drawn) == pytest.approx([500] * 4, abs=80)
    assert (plan.choose(None, np.arange(3), 3, [5, 6, 7]) == drawn[5:8]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ur5e/bwol"], "did you mean 'ur5e/bowl'"),
        (["bowl", "--row", "hrl_bc"], "hrl.row is 'hrl_bc': did you mean 'hrl-bc'"),
        (["bowl", "--on", "far_start"], "hrl.on is 'far_start': did you mean 'far_starts'"),
        (["pick", "--on", "goal_moved"], "goal_moved can't happen in it"),
        (["bowl", "--augment", "nowhere"], "can't read the augmentation nowhere"),
    ],
)
def test_mistakes_get_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert message in stop.value.code and "\n" not in stop.value.code
    assert list(tmp_path.iterdir()) == []
