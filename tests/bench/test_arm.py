"""Cells of the arm: what is wrong with a suite of it, what its cells share, and a grid from end to end with kills."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("h5py", reason='needs the extra "skills"')

from bench_suites import bench, checksum, write_suite
from foveal.bench import locks, stages
from foveal.bench.arm import METHODS
from foveal.bench.arm_cells import Maker, demonstrations, train
from foveal.bench.arm_forecast import needs
from foveal.bench.cells import DONE, cell_folder, read_cell
from foveal.bench.engines import EngineOptions
from foveal.bench.engines.local import LocalEngine
from foveal.bench.grids import Asked, jobs_of
from foveal.bench.jobs import Job
from foveal.bench.launching import prepare
from foveal.bench.suites import load_suite
from foveal.cli import main
from foveal.errors import FovealError
from foveal.evaluation.results import Results
from foveal.skills.demos import collected, demo_options
from foveal.skills.minari import open_demos
from foveal.skills.seeds import EVALUATION

BOWL, PICK = "ur5e/bowl", "ur5e/pick"
LONG = 900
"""Seconds that a grid may take on a machine that is busy with other things."""
pytestmark = pytest.mark.timeout(2 * LONG)
ARM: dict[str, Any] = {
    "tasks": [PICK],
    "learners": ["skills"],
    "methods": ["script", "hrl-bc"],
    "steps": None,
    "conditions": ["far_starts"],
    "settings": {"skills.epochs": 2},
}
KILLER = """
import os, pathlib, signal
from foveal.skills.minari import DemoWriter
from foveal.training.trainer import Trainer

def once(name):
    marker = pathlib.Path({folder!r}) / name
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)

add, step = DemoWriter.add, Trainer._step

def deadly_add(self, episode):
    add(self, episode)
    if self.episodes == 2:
        once("killed-demonstrations")

def deadly_step(self):
    step(self)
    if self.work.what == "clone" and self.work.steps == self.work.batches + 1:  # an epoch is on the disk
        once("killed-skills")
    if self.work.what == "master" and self.work.steps == 4:
        once("killed-master")

DemoWriter.add, Trainer._step = deadly_add, deadly_step
"""


def arm_suite(folder: Path, **changed: object) -> Path:
    return write_suite(folder, **{**ARM, **changed})


def arm_jobs(folder: Path, asked: Asked | None = None, **changed: object) -> list[Job]:
    return jobs_of(load_suite(str(arm_suite(folder, **changed))), asked or Asked(folder / "out"))


def cell(out: Path, method: str) -> Path:
    return cell_folder(out, "small", PICK, "skills", method, 0)


# --- suites ---------------------------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"tasks": [PICK, "dmc/walker-walk"], "conditions": ["train"]}, "dmc/walker-walk needs a suite of its own"),
    ({"learners": ["sac", "skills"]}, "the learner skills, which is for methods of the arm, can't be mixed"),
    ({"learners": ["sac"], "steps": 5, "conditions": ["train"]}, "script is a method of the arm: .* the learner skill"),
    ({"methods": ["hrl_bc"]}, "unknown method 'hrl_bc' of the arm: did you mean 'hrl-bc'"),
    ({"methods": ["sgqn"]}, "unknown method 'sgqn' of the arm: choose one of: flat-bc, "),
    ({"conditions": ["far_start"]}, "unknown condition 'far_start' of ur5e/pick: did you mean 'far_starts'"),
    ({"conditions": ["training"]}, "unknown condition 'training' of ur5e/pick: did you mean 'train'"),
    ({"conditions": ["color_hard"]}, "unknown condition 'color_hard' of ur5e/pick"),
    ({"conditions": ["goal_moved"]}, "goal_moved can't happen in it: leave it out"),
    ({"tasks": ["ur5e/bwol"]}, "unknown task 'ur5e/bwol': did you mean 'ur5e/bowl'"),
    ({"variants": {"mine": {"method": "hrl"}}}, "unknown method 'hrl' of the arm: did you mean 'hrl-bc'"),
]


@pytest.mark.parametrize(("changed", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_what_is_wrong_is_said_with_the_file(changed: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = arm_suite(tmp_path, **changed)
    with pytest.raises(FovealError, match=f"^{path}: .*{message}"):
        load_suite(str(path))


@pytest.mark.parametrize(
    ("changed", "asked", "message"),
    [
        ({"steps": 5}, {}, "leave steps out"),
        ({}, {"steps": 5}, "leave steps out, and take another --preset"),
        ({}, {"data": Path("data")}, "data means nothing for cells of the arm"),
        ({}, {"shield": True}, "shield means nothing for cells of the arm"),
        ({"quality": "exact"}, {}, "quality means nothing"),
        ({}, {"learners": ("sac",)}, "can't be mixed"),
        ({}, {"methods": ("sgqn",)}, "unknown method 'sgqn' of the arm"),
        ({"settings": {"evaluate_every": 5}}, {}, "the arm has no setting 'evaluate_every': its own begin"),
        ({"settings": {"training.batch_size": 5}}, {}, "no setting 'training.batch_size'"),
        ({"settings": {"master.decision": 5}}, {}, "unknown setting .*decision.* did you mean .*decisions"),
        ({"settings": {"demos.order": "script"}}, {}, "leave demos.order out"),
        ({"settings": {"demos.seed": 3}}, {}, "leave demos.seed out"),
    ],
)
def test_what_the_arm_knows_nothing_of_is_refused(
    changed: dict[str, Any], asked: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(FovealError, match=message):
        arm_jobs(tmp_path, Asked(tmp_path / "out", **asked), **changed)


def test_the_extra_is_asked_for_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert main(["bench", "run", "arm-hrl", "--out", str(tmp_path / "out")]) == 2
    assert 'pip install "foveal[skills]"' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_suite_that_ships(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    jobs = jobs_of(load_suite("arm-hrl"), Asked(tmp_path))
    assert {job.method for job in jobs} == set(METHODS)
    events = {"cube_moved", "cube_knocked", "goal_moved", "camera_covered", "object_added"}
    conditions = {job.task: set(job.conditions) for job in jobs}
    assert conditions[BOWL] == {"train", "far_starts", "moved_camera", "noisy_depth"} | events
    assert conditions[BOWL] - conditions[PICK] == {"goal_moved"}


@pytest.mark.slow
def test_a_plan_knows_the_hours_of_the_arm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = arm_suite(tmp_path, methods=["script", "hrl-bc", "flat-bc"], seeds=[0, 1])
    assert bench(suite, tmp_path / "out", "--plan") == 0
    said = capsys.readouterr().out
    assert re.search(r"hrl-bc +0,1 +- +waiting +[\d.e-]+\n", said)
    assert re.search(r"6 cells to do, 1 at once: [\d.e-]+ hours here, one after the other$", said.strip())
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_what_cells_share_is_counted_once(tmp_path: Path) -> None:
    jobs = arm_jobs(tmp_path, methods=["script", "hrl-bc", "flat-bc"])
    script, master, flat = (needs(job).keys() - {job.folder} for job in jobs)
    making = jobs[0].making()
    shared = {making.demos_in(jobs[0].shared), making.skills_in(jobs[0].shared)}
    assert script == master and shared < script  # and the random policy
    assert flat == script - {making.skills_in(jobs[0].shared)}


def test_twice_the_work_takes_twice_as_long(tmp_path: Path) -> None:
    def parts(**settings: object) -> list[float]:
        (job,) = arm_jobs(tmp_path, methods=["hrl-bc"], settings=settings)
        return list(needs(job).values())

    demos, skills, random, cell = parts()
    assert parts(**{"demos.episodes": 8})[0] == pytest.approx(2 * demos)  # of 4
    assert parts(**{"skills.epochs": 2})[1] == pytest.approx(2 * skills)
    assert parts(**{"master.decisions": 16})[3] - random == pytest.approx(2 * (cell - random))


# --- what cells share -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_cells_share_what_is_made_alike(tmp_path: Path) -> None:
    variants = {
        "longer": {"method": "hrl-bc", "settings": {"master.decisions": 12}},
        "fewer": {"method": "hrl-bc", "settings": {"demos.episodes": 3}},
    }
    methods = [*METHODS, *variants]
    jobs = {job.method: job for job in arm_jobs(tmp_path, methods=methods, variants=variants)}
    skills = {name: job.making().skills_in(job.shared) for name, job in jobs.items()}
    demos = {name: job.making().demos_in(job.shared) for name, job in jobs.items()}
    assert skills["hrl-bc"] == skills["script"] == skills["longer"] != skills["fewer"]
    assert demos["hrl-bc"] == demos["script"] == demos["flat-bc"] == demos["longer"]
    assert len({demos[name] for name in ("hrl-bc", "flat-bc-ordered", "fewer")}) == 3
    for changed in ({"seed": 1}, {"preset": "compact"}):
        other = replace(jobs["hrl-bc"], **changed)
        assert other.making().demos_in(other.shared) != demos["hrl-bc"]


def test_commands_say_how_the_same_is_made(tmp_path: Path) -> None:
    settings = {"demos.episodes": 3, "skills.decay": True, "master.decisions": 12}
    jobs = {job.method: job for job in arm_jobs(tmp_path, methods=[*METHODS], settings=settings)}
    words = {name: [shlex.split(part) for part in job.command.split(" && ")] for name, job in jobs.items()}
    assert [part[1] for part in words["hrl-bc"]] == ["demos", "skills", "master"]
    assert [part[1] for part in words["script"]] == ["demos", "skills"] and "--flat" not in words["script"][1]
    assert words["script"] == words["hrl-bc"][:2]
    assert "--flat" in words["flat-bc"][1] and words["flat-bc"][1][-1] == str(jobs["flat-bc"].folder / "run")
    ordered = words["flat-bc-ordered"][0]
    assert ordered[ordered.index("--order") + 1] == "script" and ordered[ordered.index("--episodes") + 1] == "3"
    assert "--decay" in words["script"][1]
    master = words["hrl-bc"][2]
    assert master[master.index("--skills") + 1] == words["hrl-bc"][1][-1] and "12" in master


@pytest.mark.slow
def test_demonstrations_that_a_kill_has_damaged_are_collected_anew(tmp_path: Path) -> None:
    options = demo_options("debug", {"episodes": 1, "size": 8, "render": 8})
    file = tmp_path / "demos" / "data" / "main_data.hdf5"
    file.parent.mkdir(parents=True)
    for content in (None, b"", b"\x89HDF"):
        if content is not None:
            file.write_bytes(content)
            path = file.with_name("metadata.json")
            told = json.loads(path.read_text())
            path.write_text(json.dumps({**told, "total_episodes": 2}))
        demonstrations(PICK, tmp_path / "demos", options, 1)
        assert collected(tmp_path / "demos", options)
        assert [len(shown) > 0 for shown in open_demos(tmp_path / "demos")] == [True]


# --- from end to end ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ledger of both cells that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    assert bench(arm_suite(folder), folder / "out") == 0
    return folder / "out"


@pytest.mark.slow
def test_cells_have_what_the_contract_says(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for method in ARM["methods"]:
        told = read_cell(cell(whole, method))
        assert told is not None and (told.state, told.learner, told.method) == (DONE, "skills", method)
        results = Results.load(cell(whole, method) / "results.json")
        assert results.perturbations == ["far_starts"]
        assert results["far_starts"].success is not None and results["far_starts"].episodes[0].seed == EVALUATION
    chance = Results.load(cell(whole, "script").parents[1] / "random.json")
    assert chance.policy == {"name": "random"} and chance.perturbations == ["far_starts"]
    assert len(list(whole.rglob("main_data.hdf5"))) == 1  # what one has made the other took
    assert (cell(whole, "hrl-bc") / "log.txt").read_text().count("demos:") == 0
    assert main(["bench", "status", str(whole)]) == 0
    assert "small: 2 of 2 done" in capsys.readouterr().out
    assert bench(arm_suite(tmp_path), whole) == 0
    assert "0 of 2 cells to do" in capsys.readouterr().out


@pytest.mark.slow
def test_the_report_tells_success_rates(whole: Path, tmp_path: Path) -> None:
    assert main(["bench", "report", str(whole), "--out", str(tmp_path / "report")]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "ur5e/pick: share of episodes that solve the task." in text
    assert "share of episodes that solve the task, over training seeds" in text
    assert "| script | 0 %" in text  # of skills that have seen four demonstrations


@pytest.mark.slow
def test_the_commands_in_the_cell_train_the_same_policy(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = read_cell(cell(whole, "hrl-bc"))
    assert told is not None
    line = told.command.replace(str(whole), str(tmp_path))
    for words in map(shlex.split, line.split(" && ")):
        assert main([*words[1:], "--workers", "1"]) == 0
    again = cell(tmp_path, "hrl-bc") / "run"
    assert checksum(again) == checksum(cell(whole, "hrl-bc") / "run")


def killed(folder: Path, method: str) -> tuple[Path, list[str]]:
    """A ledger in whose only cell processes were killed, and where."""
    (folder / "killer.py").write_text(KILLER.format(folder=str(folder)))
    (job,) = arm_jobs(folder, Asked(folder / "out", methods=(method,), plugins=("killer",)))
    assert prepare([job], retry_failed=False) == [job]
    LocalEngine(EngineOptions(workers=1, cpus_per_run=1)).run([job.folder], lambda: None)
    return folder / "out", sorted(path.name for path in folder.glob("killed-*"))


def results_of(out: Path, method: str) -> Results:
    return Results.load(cell(out, method) / "results.json")


@pytest.mark.slow
def test_kills_while_skills_are_made_change_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of demonstrations and of cloning: weights and results are the same to the last bit."""
    monkeypatch.chdir(tmp_path)
    out, where = killed(tmp_path, "script")
    assert where == ["killed-demonstrations", "killed-skills"]
    saved = [(cell(ledger, "script") / "run" / "tensors.safetensors").read_bytes() for ledger in (out, whole)]
    assert saved[0] == saved[1]
    assert results_of(out, "script").conditions == results_of(whole, "script").conditions


@pytest.mark.slow
def test_a_kill_while_the_master_learns_changes_nothing(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The skills that another cell has made are there."""
    monkeypatch.chdir(tmp_path)
    task = cell(whole, "hrl-bc").parents[1]
    shutil.copytree(task / "shared", tmp_path / "out" / "small" / task.name / "shared")
    shutil.copy(task / "random.json", tmp_path / "out" / "small" / task.name)
    out, where = killed(tmp_path, "hrl-bc")
    assert where == ["killed-master"]
    assert checksum(cell(out, "hrl-bc") / "run") == checksum(cell(whole, "hrl-bc") / "run")
    assert results_of(out, "hrl-bc").conditions == results_of(whole, "hrl-bc").conditions


@pytest.mark.slow
def test_a_cell_waits_for_what_another_is_making(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And tells so; then it takes what is there."""
    (job,) = arm_jobs(tmp_path, methods=["script"])
    maker, told = Maker(job, lambda *said: told.append(said)), []
    folder = maker.making.demos_in(job.shared)
    monkeypatch.setattr(stages, "WAIT", 0.01)
    other = demo_options("debug", {"seed": 0})

    def meanwhile(_: float) -> None:
        if not collected(folder, other):
            demonstrations(PICK, folder, other, 1)

    monkeypatch.setattr(stages.time, "sleep", meanwhile)
    with locks.held(folder.parent) as mine:
        assert mine and maker.demonstrations() == folder
    assert told == [("waits for another cell", 0.0)]


@pytest.mark.slow
def test_what_is_trained_needs_no_demonstrations_any_more(whole: Path, tmp_path: Path) -> None:
    """Where cells have their policies, a folder of what they shared may go."""
    (job,) = arm_jobs(tmp_path, methods=["hrl-bc"])
    shutil.copytree(cell(whole, "hrl-bc") / "run", job.folder / "run")
    train(job, lambda *_: None)
    assert not job.shared.exists()
